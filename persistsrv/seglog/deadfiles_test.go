package seglog

import (
	"bytes"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"golang.org/x/sys/unix"
)

// appendTo stores a batch of one record in an index, and trims the index up to an offset.
func appendTo(t *testing.T, l *Log, index, lsn, trim uint64) {
	t.Helper()
	var b batch.Builder
	b.Add(0, nil, []byte{byte(lsn)}, nil)
	raw := bytes.Clone(b.Seal(batch.None, -1, -1, -1))
	meta, err := batch.Validate(raw)
	if err != nil {
		t.Fatal(err)
	}
	e := journal.Entry{
		LSN: lsn, Term: 1, Level: ipc.LevelPage,
		Items:  []journal.IndexItem{{Index: index, Base: lsn - 1, Count: 1}},
		Bodies: []journal.Body{{Length: uint32(len(raw)), CRC: meta.CRC, Base: lsn - 1}},
	}
	if trim > 0 {
		e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: index, Offset: trim}}
	}
	if res, err := l.Add(&e, func(uint64, int) []byte { return raw }); err != nil || res != Added {
		t.Fatal(res, err)
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestDeadFilesOutliveAFullDisk: an index checkpoint that does not come about, for the disk is full,
// has taken files that are below their index's start out of the list. The next one removes them.
func TestDeadFilesOutliveAFullDisk(t *testing.T) {
	mem := vfs.NewMem()
	l := openSmall(t, mem)
	for lsn := uint64(1); lsn <= 9; lsn++ {
		trim := uint64(0)
		if lsn == 9 {
			trim = 8
		}
		appendTo(t, l, 1, lsn, trim)
	}
	sync := func() error { _, err := l.Sync(); return err }
	mem.SetFault(func(c vfs.Call) error {
		if c.Op == "create" && strings.HasPrefix(c.Name, commitlog.IndexCheckpointName) {
			return unix.ENOSPC
		}
		return nil
	})
	if err := l.indexCheckpoint(sync); err == nil {
		t.Fatal("the disk is not full")
	}
	bases, err := commitlog.ListIndexFiles(vfs.Reading(mem), 1)
	if err != nil || len(bases) != 3 {
		t.Fatalf("files from %v, %v: without a checkpoint none may go", bases, err)
	}
	mem.SetFault(nil)
	if err := l.indexCheckpoint(sync); err != nil {
		t.Fatal(err)
	}
	bases, err = commitlog.ListIndexFiles(vfs.Reading(mem), 1)
	if err != nil || len(bases) != 2 || bases[0] != 4 {
		t.Fatalf("files from %v are left, %v", bases, err)
	}
}
