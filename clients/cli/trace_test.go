package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What trace is given wrong is named; what it prints of a real log is tested end to end.
func TestTraceArguments(t *testing.T) {
	s := newStub(t)
	fails := func(want string, args ...string) {
		t.Helper()
		args = append([]string{"--addr", s.ln.Addr().String(), "trace"}, args...)
		if code, _, errs := program(t, "", args...); code == 0 || !strings.Contains(errs, want) {
			t.Errorf("%q: exit code %d, %s", args, code, errs)
		}
	}
	dir := t.TempDir()
	fails("the message is missing")
	fails("does not name its data directory; give it with --data", "q@1")
	fails("is not a broker's data directory", "--data", dir, "q@1")
	fails("/nowhere/x", "--data", "/nowhere/x", "q@1")
	fails(`unexpected argument "r@1"`, "q@1", "r@1")
	if err := os.Mkdir(filepath.Join(dir, "commitlog"), 0o755); err != nil {
		t.Fatal(err)
	}
	for arg, want := range map[string]string{
		"q":      "a message is named QUEUE@OFFSET",
		"q@x":    "a message is named QUEUE@OFFSET",
		"@1":     "a message is named QUEUE@OFFSET",
		"#x@1":   `"x" is no number of an index`,
		"none@1": `no queue or partition is called "none"`,
		"#7@1":   "index",
		"id=1":   "a message with header id=1: the log does not hold it",
	} {
		fails(want, "--data", dir, arg)
	}
}
