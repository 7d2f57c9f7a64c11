package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// The client's own tests that want a live broker get one.
func TestClientAgainstABroker(t *testing.T) {
	b := started(t, nil)
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "test", "-count=1", "-v", "-run", "^TestBroker", "./clients/trimq")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "TRIMQ_TEST_ADDR="+b.Addr)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestBroker") || strings.Contains(string(out), "--- SKIP") {
		t.Errorf("%v\n%s", err, out)
	}
}
