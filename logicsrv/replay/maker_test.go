package replay

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
	"pgregory.net/rapid"
)

// TestSameAsLive: whatever came in, and from whichever checkpoint it begins, what is made of the
// log is byte by byte what the live core was at that entry.
func TestSameAsLive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(rt)
		var spare []byte
		for range rapid.IntRange(1, 120).Draw(rt, "inputs") {
			h.random(rt)
			switch rapid.IntRange(0, 9).Draw(rt, "then") {
			case 0, 1, 2, 3:
				h.end()
				h.now += 10
			case 4:
				h.end()
				h.roll()
			case 5:
				h.end()
				lsn := rapid.Uint64Range(h.newest, h.core.LSN()).Draw(rt, "lsn")
				r, err := NewMaker(core.Config{}, h.files, lsn, spare).Make()
				if err != nil || !bytes.Equal(r.Blob, h.live[lsn]) {
					rt.Fatalf("lsn=%d from checkpoint lsn=%d: %v\nmade %x\nlive %x", lsn, h.newest, err, r.Blob, h.live[lsn])
				}
				spare = r.Blob
				h.store(lsn, bytes.Clone(r.Blob))
			}
		}
	})
}

// TestSteps: a maker ends after a bounded number of steps, and Close between any two does no harm.
func TestSteps(t *testing.T) {
	h := sample(t)
	for stop := range 10 {
		m := NewMaker(core.Config{}, h.files, 10, nil)
		for range stop {
			if done, err := m.Step(); err != nil {
				t.Fatal(err)
			} else if done {
				if !bytes.Equal(m.Result().Blob, h.live[10]) {
					t.Fatal("another state")
				}
				m.Close()
				return
			}
		}
		m.Close()
	}
	t.Fatal("it comes to no end")
}

// TestPassedOver: where the newest checkpoint is damaged, the older one and more of the log do.
func TestPassedOver(t *testing.T) {
	h := sample(t)
	h.store(3, h.live[3])
	h.store(7, h.live[7])
	name := commitlog.CheckpointDir + "/" + journal.CheckpointName(7)
	h.files[name][60] ^= 1
	r, err := NewMaker(core.Config{}, h.files, 9, nil).Make()
	if err != nil || !bytes.Equal(r.Blob, h.live[9]) {
		t.Fatal(err)
	}
	if r.Passed == nil || !strings.Contains(r.Passed.Error(), name) {
		t.Fatalf("passed over: %v", r.Passed)
	}
}

// TestDamageBelowTheCheckpoint: an entry that need not be replayed may be damaged, though it lies in
// the segment in which reading begins.
func TestDamageBelowTheCheckpoint(t *testing.T) {
	for _, stored := range []uint64{7, 8, 9} {
		h := sample(t)
		h.store(stored, h.live[stored])
		name := commitlog.SegmentName(h.segment.Position)
		h.files[name][commitlog.SegmentHeaderSize+30] ^= 1 // the head of lsn 7
		r, err := NewMaker(core.Config{}, h.files, 10, nil).Make()
		if err != nil || !bytes.Equal(r.Blob, h.live[10]) {
			t.Errorf("checkpoint lsn=%d: %v", stored, err)
		}
	}
	h := sample(t)
	h.store(6, h.live[6])
	h.files[commitlog.SegmentName(h.segment.Position)][commitlog.SegmentHeaderSize+30] ^= 1
	if _, err := NewMaker(core.Config{}, h.files, 10, nil).Make(); err == nil {
		t.Error("a damaged entry that has to be replayed was passed over")
	}
}

// TestCannotBeMade: every reason is told, and nothing is made.
func TestCannotBeMade(t *testing.T) {
	segments := func(h *history) []string {
		names := slices.Sorted(maps.Keys(h.files))
		return slices.DeleteFunc(names, func(n string) bool { return !strings.HasPrefix(n, commitlog.LogDir) })
	}
	for name, c := range map[string]struct {
		harm func(h *history)
		lsn  uint64
		want string
	}{
		"a checkpoint from the future": {func(h *history) { h.store(9, h.live[9]) }, 8, "lsn=9 is ahead of the state at lsn=8"},
		"the log is too short":         {func(*history) {}, 11, "behind lsn=10: it ends before lsn=11"},
		"no log": {func(h *history) {
			for _, n := range segments(h) {
				delete(h.files, n)
			}
		}, 10, "behind lsn=0: it ends before lsn=10"},
		"a damaged entry":           {func(h *history) { h.files[segments(h)[1]][70] ^= 1 }, 10, "behind lsn=6: segment commitlog/"},
		"a missing segment":         {func(h *history) { delete(h.files, segments(h)[0]) }, 10, "lsn 7 behind 0"},
		"a damaged checkpoint only": {func(h *history) { h.store(3, h.live[3][1:]) }, 10, "load checkpoint lsn=3"},
		"another shard's":           {func(h *history) { h.store(3, shardOf(h.live[3])) }, 10, "load checkpoint lsn=3"},
	} {
		t.Run(name, func(t *testing.T) {
			h := sample(t)
			c.harm(h)
			r, err := NewMaker(core.Config{}, h.files, c.lsn, nil).Make()
			if err == nil || !strings.Contains(err.Error(), c.want) || len(r.Blob) > 0 {
				t.Errorf("%d bytes, %v; want %q", len(r.Blob), err, c.want)
			}
		})
	}
}

// shardOf is a state without anything, of shard 5.
func shardOf([]byte) []byte { return core.New(core.Config{Shard: 5}).Checkpoint(nil) }
