package seglog

import (
	"math/rand/v2"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// TestNoCheckpointOfHalfARound: the log is written and its indexes are not, because the disk is
// full. An index checkpoint that was found due a moment earlier must not be made of that: it would
// tell the next start to read the log from behind entries that no index has.
func TestNoCheckpointOfHalfARound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt)
		dice := rand.New(rand.NewPCG(1, 1))
		m.add(100, dice)
		m.flush()
		if err := m.sync(); err != nil {
			rt.Fatal(err)
		}
		m.add(100, dice)
		m.mem.SetFault(func(c vfs.Call) error {
			if c.Op == "write" && len(c.Name) > 5 && c.Name[:5] == "index" && c.Name != "index.ckpt.tmp" {
				return unix.ENOSPC
			}
			return nil
		})
		if err := m.log.Flush(); err == nil {
			rt.Fatal("the disk is not full")
		}
		if err := m.log.indexCheckpoint(func() error { _, err := m.log.Sync(); return err }); err != nil {
			rt.Fatal(err)
		}
		m.mem.SetFault(nil)
		m.model.written = 2
		m.kill(false)
		if n := m.log.indexes[1].next; n != m.model.next(1) {
			rt.Fatalf("index 1 ends at %d", n)
		}
	})
}
