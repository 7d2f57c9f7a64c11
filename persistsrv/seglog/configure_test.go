package seglog

import (
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// TestConfigureReadAgain: a persistsrv that dies reads the rest of ring 65432 again, and so what
// logicsrv has said of indexes that the log has deleted since. They stay deleted, also where nothing
// of the log had to be read.
func TestConfigureReadAgain(t *testing.T) {
	for _, checkpointed := range []bool{false, true} {
		mem := vfs.NewMem()
		l := openSmall(t, mem)
		appendTo(t, l, 12, 1, 0)
		told := ipc.Configure{Term: 2, Parts: 1, Settings: []ipc.IndexSettings{{Index: 12}}}
		if err := l.Configure(&told); err != nil {
			t.Fatal(err)
		}
		e := journal.Entry{LSN: 2, Term: 2, Level: ipc.LevelPage, Ops: []journal.IndexOp{{Kind: journal.OpDelete, Index: 12}}}
		if res, err := l.Add(&e, nil); err != nil || res != Added {
			t.Fatal(res, err)
		}
		if err := l.Flush(); err != nil {
			t.Fatal(err)
		}
		if checkpointed {
			if err := l.indexCheckpoint(func() error { _, err := l.Sync(); return err }); err != nil {
				t.Fatal(err)
			}
		}
		mem.Kill()
		l = openSmall(t, mem)
		if err := l.Configure(&told); err != nil {
			t.Fatal(err)
		}
		if ids := l.indexIDs(); len(ids) != 0 {
			t.Errorf("with an index checkpoint %v there are the indexes %v", checkpointed, ids)
		}
		// Another logicsrv knows better: what it names is there.
		told.Term = 3
		if err := l.Configure(&told); err != nil {
			t.Fatal(err)
		}
		if ids := l.indexIDs(); len(ids) != 1 {
			t.Errorf("with an index checkpoint %v there are the indexes %v", checkpointed, ids)
		}
	}
}
