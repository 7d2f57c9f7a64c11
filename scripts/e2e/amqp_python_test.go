package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// amqpPython is a Python that has pika: `make amqp-clients` installs one into bin/, from
// testdata/amqp/requirements.txt.
func amqpPython(t *testing.T) string {
	t.Helper()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, python := range []string{filepath.Join(root, "bin", "amqp-clients", "bin", "python"), "python3"} {
		if exec.Command(python, "-c", "import pika").Run() == nil {
			return python
		}
	}
	t.Skip("no Python has pika: `make amqp-clients` installs it")
	return ""
}

func TestAMQPPika(t *testing.T) {
	t.Parallel()
	python := amqpPython(t)
	_, url := amqpBroker(t, nil)
	cmd := exec.CommandContext(testContext(t), python, filepath.Join("testdata", "amqp", "client.py"), url)
	cmd.Env = append(os.Environ(), "PYTHONUNBUFFERED=1")
	out, err := cmd.CombinedOutput()
	if err != nil || strings.Count(string(out), "ok") != 6 {
		t.Errorf("%v\n%s", err, out)
	}
}
