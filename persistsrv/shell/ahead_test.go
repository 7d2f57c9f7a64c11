package shell

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
)

// last is the log's last segment, and where in its file the log ends.
func (r *rig) last() (f commitlog.SegmentFile, end int64) {
	r.t.Helper()
	segs, err := commitlog.ListSegments(vfs.Reading(r.fs))
	if err != nil || len(segs) == 0 {
		r.t.Fatal(len(segs), err)
	}
	places, _ := r.places()
	p := places[len(places)-1]
	return segs[len(segs)-1], p.Offset + int64(p.Length)
}

// TestFileRunsAhead: the file of the last segment is longer than the log, which is no damage and no torn
// end to anybody, after a death and after a power cut, and it no longer is after an end in good order.
func TestFileRunsAhead(t *testing.T) {
	r := newRig(t, script(7, 120))
	r.set.SegmentBytes = 1 << 20
	r.set.AheadBytes = 16 << 10
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	for n := range 30 {
		if err := r.step(n); err != nil {
			t.Fatal(err)
		}
	}
	sound := func(when string, ahead bool) {
		t.Helper()
		if f, end := r.last(); (f.Size > end) != ahead || f.Size > end+r.set.AheadBytes+commitlog.Alignment {
			t.Fatalf("%s: the file has %d bytes, the log %d of them", when, f.Size, end)
		}
		_, err := commitlog.Verify(vfs.Reading(r.fs), func(f commitlog.Finding) {
			if strings.Contains(f.What, "ends before") || f.Severity == commitlog.Error {
				t.Errorf("%s: %+v", when, f)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	sound("in the middle of the work", true)
	logged := r.logged()
	for _, power := range []bool{false, true} {
		if power {
			if err := r.sh.SyncLog(); err != nil {
				t.Fatal(err)
			}
			r.mem.Crash(rand.New(rand.NewPCG(1, 2)))
			r.boot()
		}
		text := r.restart()
		if s := r.sh.Log().Stats(); strings.Contains(text, "torn end") || s.TornBytes > 0 || r.logged() != logged {
			t.Fatalf("power cut %t: %d bytes torn, %d of %d entries are left\n%s", power, s.TornBytes, r.logged(), logged, text)
		}
	}
	r.sent = logged
	r.send(1)
	if _, err := r.sh.Step(); err != nil {
		t.Fatal(err)
	}
	sound("after an append to it", true)
	if err := r.sh.Finish(); err != nil {
		t.Fatal(err)
	}
	sound("after the end", false)
}
