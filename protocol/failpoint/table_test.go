package failpoint

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func openTable(t *testing.T, path string) *Table {
	t.Helper()
	table, err := OpenTable(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := table.Close(); err != nil {
			t.Error(err)
		}
	})
	return table
}

// A table counts for all who have it, and each order is followed by exactly one of them.
func TestTableIsShared(t *testing.T) {
	path := filepath.Join(t.TempDir(), "logicsrv")
	ours := openTable(t, path)
	if err := ours.DieAt("b", 7); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	deaths := make(chan string, 100)
	for range 4 { // as processes do, each with a mapping of its own
		table := openTable(t, path)
		all.Go(func() {
			for _, name := range []string{"a", "b", "a", "b", "c"} {
				fatal, err := table.cross(name)
				if err != nil {
					t.Error(err)
				}
				if fatal {
					deaths <- name
				}
			}
		})
	}
	all.Wait()
	close(deaths)
	var died []string
	for name := range deaths {
		died = append(died, name)
	}
	if len(died) != 1 || died[0] != "b" {
		t.Errorf("died at %q", died)
	}
	if got := fmt.Sprint(ours.Crossings()); got != "map[a:8 b:8 c:4]" {
		t.Errorf("counted %s", got)
	}
	if fatal, err := ours.cross("b"); fatal || err != nil || ours.Count("b") != 9 {
		t.Errorf("the ninth crossing: %v, %v, %d", fatal, err, ours.Count("b"))
	}
}

func TestTableRefusesWhatItCannotHold(t *testing.T) {
	table := openTable(t, filepath.Join(t.TempDir(), "x"))
	for i := range tableRows {
		if _, err := table.cross(fmt.Sprint("place ", i)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{
		"one more": "rows are taken", "": "1 to 48 bytes", strings.Repeat("x", nameBytes+1): "1 to 48 bytes",
	} {
		if _, err := table.cross(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err := OpenTable(t.TempDir()); err == nil {
		t.Error("a directory passes for a table")
	}
}
