package seglog

import (
	"math/rand/v2"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"pgregory.net/rapid"
)

// TestSegmentShorterThanItsHeader: a power cut has left the first bytes of a segment that was not
// synced, and the segment behind it. That is the torn end of the log, not damage.
func TestSegmentShorterThanItsHeader(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt)
		dice := rand.New(rand.NewPCG(1, 2))
		m.add(100, dice)
		m.flush()
		if err := m.sync(); err != nil {
			rt.Fatal(err)
		}
		for range 2 { // a segment each
			m.add(5000, dice)
			m.flush()
		}
		m.mem.Kill()
		segs, err := commitlog.ListSegments(vfs.Reading(m.mem))
		if err != nil || len(segs) != 3 {
			rt.Fatal(segs, err)
		}
		f, err := m.mem.Open(segs[1].Name)
		if err != nil {
			rt.Fatal(err)
		}
		if err := f.Truncate(int64(rapid.IntRange(0, commitlog.SegmentHeaderSize-1).Draw(rt, "bytes"))); err != nil {
			rt.Fatal(err)
		}
		m.open(false) // fails the test where there is damage
		if got := m.log.Written(); got != 1 {
			rt.Fatalf("the log ends at lsn %d", got)
		}
	})
}
