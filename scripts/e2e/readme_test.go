package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/scripts/broker"
)

// TestReadme runs the commands of the README's part "Run it" as they stand there, but for the
// directory, keys and ports, which are this test's.
func TestReadme(t *testing.T) {
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, part, found := strings.Cut(string(readme), "\n## Run it\n")
	part, _, ends := strings.Cut(part, "\n## ")
	if !found || !ends {
		t.Fatal(`the README has no part "Run it"`)
	}
	var script strings.Builder
	for line := range strings.Lines(part) {
		// The programs are built by `make e2e`; to build them here would swap them under other tests.
		if command, ok := strings.CutPrefix(line, "    "); ok && strings.TrimSpace(command) != "make" {
			script.WriteString(command)
		}
	}
	b := prepare(t, nil)
	commands := strings.ReplaceAll(script.String(), "/tmp/trimq", b.Config.DataDir)
	if n := strings.Count(commands, b.Config.DataDir); n < 3 {
		t.Fatalf("%d commands name the data directory:\n%s", n, commands)
	}
	run := exec.CommandContext(testContext(t), "bash", "-ex", "-o", "pipefail", "-c", commands)
	run.Dir = root
	run.Env = append(os.Environ(), "TRIMQ_ADDR="+b.Addr, "TRIMQ_LISTEN="+b.Addr, "TRIMQ_ADMIN_LISTEN="+b.Admin,
		"TRIMQ_SHM_KEY_BASE="+fmt.Sprint(b.KeyBase), "TRIMQ_RUN_DIR="+b.Config.RunDir, "TRIMQ_LOG_DIR="+b.Config.LogDir)
	out, err := run.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for line, times := range map[string]int{"hello": 3, "disk on fire": 1, "logicsrv ended": 1, "stopped": 1} {
		if n := strings.Count("\n"+string(out), "\n"+line+"\n"); n != times {
			t.Errorf("%q is printed %d times, should be %d\n%s", line, n, times, out)
		}
	}
}
