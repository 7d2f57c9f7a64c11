package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/commitlog"
)

func TestDiffLines(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a\nb\n", "a\nb\n", ""},
		{"a\nb\nc\n", "a\nB\nc\nd\n", "- b|+ B|+ d"},
		{"a\n", "", "- a"},
	} {
		if got := strings.Join(diffLines(c.from, c.to), "|"); got != c.want {
			t.Errorf("%q and %q: %q, want %q", c.from, c.to, got, c.want)
		}
	}
}

// TestStateOfNothing: a directory without a log's entries has the empty state, and no checkpoint.
func TestStateOfNothing(t *testing.T) {
	dir := t.TempDir()
	if code, _, errs := program(t, "", "state", "dump", dir); code != exitFailed || !strings.Contains(errs, "data directory") {
		t.Errorf("no data directory: exit code %d, %s", code, errs)
	}
	if err := os.Mkdir(filepath.Join(dir, commitlog.LogDir), 0o700); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]struct {
		code int
		text string
	}{
		"dump":     {exitFailed, "there is no checkpoint yet"},
		"dump log": {0, "state lsn=0 term=0"},
		"dump 5":   {exitFailed, "there is no state at lsn 5"},
		"dump x":   {exitUsage, `"x" is no LSN`},
		"diff 0":   {0, ""},
		"diff 0 7": {exitFailed, "there is no state at lsn 7"},
		"verify":   {0, ", from the log alone"},
	} {
		verb, rest, _ := strings.Cut(args, " ")
		code, out, errs := program(t, "", append([]string{"state", verb, dir}, strings.Fields(rest)...)...)
		if code != want.code || !strings.Contains(out+errs, want.text) {
			t.Errorf("%s: exit code %d, %s%s", args, code, out, errs)
		}
	}
}
