package shell

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// TestPageFlushKeepsItsPace: under a steady load that nobody wants synced, a sync that leaves the
// bytes written meanwhile behind is not followed by the next one before page_flush_ms have passed.
func TestPageFlushKeepsItsPace(t *testing.T) {
	turns := script(11, 300)
	for i := range turns {
		turns[i].entry.Level, turns[i].state = ipc.LevelPage, nil
	}
	r := newRig(t, turns)
	r.set.PageFlushMS, r.set.FlushBytes = 100, 1<<30
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	began, syncs := r.now, int64(0)
	for r.sent < len(r.turns) {
		r.send(1)
		if _, err := r.sh.Step(); err != nil {
			t.Fatal(err)
		}
		if r.sh.SyncDue() {
			syncs++
			if err := r.sh.SyncLog(); err != nil {
				t.Fatal(err)
			}
			// Written while the sync was under way, as far as the loop can tell.
			r.send(1)
			if _, err := r.sh.Step(); err != nil {
				t.Fatal(err)
			}
		}
		r.follow()
		r.now += 10
	}
	if most := (r.now-began)/100 + 1; syncs == 0 || syncs > most {
		t.Fatalf("%d syncs in %d ms, at most %d were due", syncs, r.now-began, most)
	}
}
