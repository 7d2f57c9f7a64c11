package nativeconn

import (
	"os"
	"testing"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// testLog writes what persistsrv would: batches, their notes and the index entries that lead to
// both, in files of the real formats.
type testLog struct {
	tb      testing.TB
	dir     string
	seg     *os.File
	end     int64 // of seg
	indexes map[uint64]*testIndex
}

type testIndex struct {
	file *os.File
	next uint64
	n    int64
}

func newTestLog(tb testing.TB, dir string) *testLog {
	l := &testLog{tb: tb, dir: dir, indexes: map[uint64]*testIndex{}, end: commitlog.SegmentHeaderSize}
	l.seg = roomtest.File(l.tb, l.dir, commitlog.SegmentName(0), (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 28}).Append(nil))
	l.write(make([]byte, 8)) // position 0 would be no note
	return l
}

// close closes the files before the test ends.
func (l *testLog) close() {
	l.seg.Close()
	for _, ix := range l.indexes {
		ix.file.Close()
	}
}

// write appends bytes to the log and returns their position.
func (l *testLog) write(b []byte) uint64 {
	if _, err := l.seg.WriteAt(b, l.end); err != nil {
		l.tb.Fatal(err)
	}
	at := l.end
	l.end += int64(len(b)+7) &^ 7
	return uint64(at - commitlog.SegmentHeaderSize)
}

// note appends the event that a note is part of.
func (l *testLog) note(n ipc.Note) uint64 {
	ev := journal.Routed{Sent: journal.Sent{Exchange: 1, Count: 1, TTLMS: ipc.NoTTL}, Targets: []journal.Target{{Index: 1}}, Note: n}
	return l.write(ev.Append(nil))
}

// store appends a batch to the log and an index, with its note's position; 0: none.
func (l *testLog) store(index uint64, messages []byte, note uint64) (base uint64) {
	h := batch.Header(messages)
	return l.enter(index, commitlog.Entry{
		Position: l.write(messages), Note: note, Length: uint32(len(messages)), Count: uint32(h.Count()), MaxTimeMS: h.MaxTimeMS(),
	})
}

// enter appends an entry to an index, at its end.
func (l *testLog) enter(index uint64, e commitlog.Entry) (base uint64) {
	ix := l.indexes[index]
	if ix == nil {
		h := commitlog.IndexHeader{Slots: 65536, Index: index}
		ix = &testIndex{file: roomtest.File(l.tb, l.dir, commitlog.IndexName(index, 0), h.Append(nil))}
		l.indexes[index] = ix
	}
	e.Offset = ix.next
	if _, err := ix.file.WriteAt(e.Append(nil), commitlog.IndexHeaderSize+ix.n*commitlog.IndexEntrySize); err != nil {
		l.tb.Fatal(err)
	}
	ix.n++
	ix.next += uint64(e.Count)
	return e.Offset
}

// corrupt changes a byte at a log position.
func (l *testLog) corrupt(position uint64) {
	off := int64(position) + commitlog.SegmentHeaderSize + 20
	b := make([]byte, 1)
	_, err := l.seg.ReadAt(b, off)
	if err == nil {
		_, err = l.seg.WriteAt([]byte{b[0] ^ 1}, off)
	}
	if err != nil {
		l.tb.Fatal(err)
	}
}

// trim moves the start of an index.
func (l *testLog) trim(index, start uint64) {
	h := commitlog.IndexHeader{Slots: 65536, Index: index, Start: start}
	if _, err := l.indexes[index].file.WriteAt(h.Append(nil), 0); err != nil {
		l.tb.Fatal(err)
	}
}
