package seglog

import (
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestDamagedStart: a start of an index, or its check, that any bit of has flipped is noticed: nothing
// is taken for trimmed that is there, and the index is made anew from the log.
func TestDamagedStart(t *testing.T) {
	name := commitlog.IndexName(1, 0)
	for bit := range 128 {
		mem := vfs.NewMem()
		l := openSmall(t, mem)
		e := journal.Entry{LSN: 1, Term: 1, Level: ipc.LevelPage, Ops: []journal.IndexOp{{Kind: journal.OpCreate, Index: 1}}}
		if res, err := l.Add(&e, nil); err != nil || res != Added {
			t.Fatal(res, err)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		if err := l.indexCheckpoint(func() error { _, err := l.Sync(); return err }); err != nil {
			t.Fatal(err)
		}
		mem.Kill()
		flip(t, mem, name, commitlog.IndexStartOffset+int64(bit/8), byte(1)<<(bit%8))
		if _, _, _, err := commitlog.ReadIndexFile(vfs.Reading(mem), 1, 0); err == nil {
			t.Fatalf("bit %d: the file reads as if it were whole", bit)
		}
		if rebuilt := openSmall(t, mem).stats.Rebuilt; rebuilt != 1 {
			t.Errorf("bit %d: %d indexes were rebuilt", bit, rebuilt)
		}
		if h, _, _, err := commitlog.ReadIndexFile(vfs.Reading(mem), 1, 0); err != nil || h.Start != 0 {
			t.Errorf("bit %d: behind the recovery %+v %v", bit, h, err)
		}
	}
}

func flip(t *testing.T, mem *vfs.Mem, name string, at int64, mask byte) {
	t.Helper()
	f, err := mem.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= mask
	if _, err := f.WritevAt([][]byte{b[:]}, at); err != nil {
		t.Fatal(err)
	}
}
