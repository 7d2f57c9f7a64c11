package trace

import (
	"bytes"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// testLog is a data directory in memory: one segment, and the index entries of what it holds.
type testLog struct {
	t       *testing.T
	files   map[string][]byte
	header  commitlog.SegmentHeader
	segment []byte
	lsn     uint64
	indexes map[uint64][]commitlog.Entry
}

func newLog(t *testing.T) *testLog {
	h := commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 20, Salt: 0x1234567}
	return &testLog{t: t, files: map[string][]byte{}, header: h, segment: h.Append(nil), indexes: map[uint64][]commitlog.Entry{}}
}

// event is what all events are.
type event interface{ Append(b []byte) []byte }

// stored is a batch of an entry, and where it comes to lie.
type stored struct {
	values []string // of its records; each has a header id=value
	to     []journal.Target
}

// entry appends an entry, a second behind the one before.
func (l *testLog) entry(batches []stored, refs []journal.Ref, events ...event) {
	l.lsn++
	e := journal.Entry{LSN: l.lsn, Term: 1, Level: ipc.LevelDisk, TimeMS: 1_800_000_000_000 + 1000*int64(l.lsn), Refs: refs}
	for _, ev := range events {
		e.Events = ev.Append(e.Events)
	}
	var bodies [][]byte
	for i, s := range batches {
		b, meta := l.batch(s.values)
		e.Bodies = append(e.Bodies, journal.Body{Length: uint32(len(b)), CRC: meta.CRC, Base: s.to[0].Base})
		bodies = append(bodies, b)
		for _, to := range s.to {
			e.Items = append(e.Items, journal.IndexItem{Index: to.Index, Base: to.Base, Count: meta.Count, Body: uint32(i)})
		}
	}
	at := uint64(len(l.segment) - commitlog.SegmentHeaderSize)
	for i := range e.Items {
		it := &e.Items[i]
		l.indexes[it.Index] = append(l.indexes[it.Index], commitlog.ItemEntry(&e, it, at, at+e.BodyOffset(int(it.Body))))
	}
	for i := range refs {
		r := &e.Refs[i]
		source := l.find(r.Source, r.SourceOffset)
		r.Position, r.Length = source.Position, source.Length
		if r.Skip = source.Skip + uint32(r.SourceOffset-source.Offset); r.Skip > 0 {
			r.Flags |= journal.RefPartial
		}
		l.indexes[r.Index] = append(l.indexes[r.Index], commitlog.RefEntry(&e, r, at))
	}
	l.segment = e.AppendDisk(l.segment, l.lsn-1, l.header.EntrySalt(at))
	for i, b := range bodies {
		prefix := e.Bodies[i].Prefix()
		l.segment = append(append(l.segment, prefix[:]...), b[len(prefix):]...)
	}
	for len(l.segment)%8 != 0 {
		l.segment = append(l.segment, 0)
	}
}

func (l *testLog) find(index, offset uint64) commitlog.Entry {
	for _, e := range l.indexes[index] {
		if offset >= e.Offset && offset < e.End() {
			return e
		}
	}
	l.t.Fatalf("nothing at %d of index %d", offset, index)
	return commitlog.Entry{}
}

func (l *testLog) batch(values []string) ([]byte, ipc.BatchMeta) {
	var out batch.Builder
	out.Reserve(0, 1<<16)
	for _, v := range values {
		out.Add(1, nil, []byte(v), []batch.RecordHeader{{Key: "id", Value: []byte(v)}})
	}
	b := bytes.Clone(out.Seal(batch.None, journal.NoProducer, 0, 0))
	meta, err := batch.Validate(b)
	if err != nil {
		l.t.Fatal(err)
	}
	return b, meta
}

// fs writes everything into files.
func (l *testLog) fs() commitlog.FS {
	l.files[commitlog.SegmentName(0)] = l.segment
	for index, entries := range l.indexes {
		h := commitlog.IndexHeader{Slots: uint32(len(entries)), Index: index}
		b := h.Append(nil)
		for i := range entries {
			b = entries[i].Append(b)
		}
		l.files[commitlog.IndexName(index, 0)] = b
	}
	return l
}

func (l *testLog) Open(name string) (commitlog.File, error) {
	b, ok := l.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return memFile{bytes.NewReader(b)}, nil
}

func (l *testLog) List(dir string) (names []string, err error) {
	for name := range maps.Keys(l.files) {
		if rest, ok := strings.CutPrefix(name, dir+"/"); ok && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	if names == nil {
		return nil, fs.ErrNotExist
	}
	slices.Sort(names)
	return names, nil
}

type memFile struct{ *bytes.Reader }

func (f memFile) Size() (int64, error) { return f.Reader.Size(), nil }
func (memFile) Close() error           { return nil }

var _ io.ReaderAt = memFile{}
