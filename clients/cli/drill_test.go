package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestDrillRefuses: what cannot be done is said, and nothing stays behind.
func TestDrillRefuses(t *testing.T) {
	full, scratch := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", scratch)
	for args, want := range map[string]string{
		"drill --dir " + full + " --bin /nowhere": "is not empty",
		"drill":                             "name their directory with --bin",
		"drill --bin /nowhere":              "the programs are not built",
		"drill --bin /nowhere --load x":     "there is no load \"x\"",
		"drill --bin /nowhere --faults x,y": "there is no fault \"x\"",
		"drill check " + full:               "history: no such file",
	} {
		code, _, errs := program(t, "", strings.Fields(args)...)
		if code != exitFailed || !strings.Contains(errs, want) {
			t.Errorf("%s: exit code %d, %s; want %q", args, code, errs, want)
		}
	}
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestDrillCheck: a history is judged again, and the exit code is the verdict.
func TestDrillCheck(t *testing.T) {
	const head = `began 0 {"version":1,"wall":"2026-01-02T03:04:05Z","seed":7,"load":"topics"}` + "\n"
	for text, want := range map[string]int{
		head + "ended 9 {}\n": 0,
		head + "ended 9 {}\nmark 10 {\"name\":\"m\",\"n\":2}\nmark 11 {\"name\":\"m\",\"n\":1}\n": exitFailed,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "history"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		code, out, errs := program(t, "", "drill", "check", dir)
		if code != want || want == 0 && !strings.HasSuffix(out, "good\n") || want != 0 && (!strings.Contains(out, "VIOLATION: m went back") || !strings.Contains(errs, "1 violations")) {
			t.Errorf("%s: exit code %d, %s%s", text, code, out, errs)
		}
	}
}
