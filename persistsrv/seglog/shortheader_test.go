package seglog

import (
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestShortIndexHeader: a power cut may leave any part of the header of an index file. What is
// missing of it does not pass for zeros, though it would decode: readers find no whole header.
func TestShortIndexHeader(t *testing.T) {
	name := commitlog.IndexName(1, 0)
	for size := int64(0); size <= commitlog.IndexHeaderSize; size++ {
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
		truncate(t, mem, name, size)
		rebuilt := openSmall(t, mem).stats.Rebuilt
		if (rebuilt == 1) != (size < commitlog.IndexHeaderSize) {
			t.Errorf("with %d bytes of the header %d indexes were rebuilt", size, rebuilt)
		}
		if h, _, _, err := commitlog.ReadIndexFile(vfs.Reading(mem), 1, 0); err != nil || h.Index != 1 {
			t.Errorf("with %d bytes of the header: %+v %v", size, h, err)
		}
	}
}

func openSmall(t *testing.T, mem *vfs.Mem) *Log {
	t.Helper()
	l, err := Open(Options{
		FS: mem, Now: func() int64 { return 0 }, Salt: salts.Uint64,
		Settings: Settings{SegmentBytes: 1 << 20, IndexEntries: 4, IndexCheckpointBytes: 1 << 20, RoundBytes: 1 << 20, OpenIndexFiles: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func truncate(t *testing.T, mem *vfs.Mem, name string, size int64) {
	t.Helper()
	f, err := mem.Open(name)
	if err == nil {
		err = f.Truncate(size)
	}
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}
