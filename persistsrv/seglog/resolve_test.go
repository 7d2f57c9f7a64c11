package seglog

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// bench is a log to which entries are appended one by one.
type bench struct {
	t    *testing.T
	mem  *vfs.Mem
	log  *Log
	text bytes.Buffer // what it logs
	now  int64
	lsn  uint64
	raws map[uint64][]byte // bodies by LSN
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, mem: vfs.NewMem(), raws: map[uint64][]byte{}}
	b.open()
	return b
}

// open starts the log, or starts it again after a kill.
func (b *bench) open() {
	b.t.Helper()
	var err error
	b.log, err = Open(Options{
		FS: b.mem, Now: func() int64 { return b.now }, Salt: salts.Uint64, Warm: b.lsn > 0, SyncedHint: b.lsn,
		Log: slog.New(slog.NewTextHandler(&b.text, nil)),
		Settings: Settings{
			SegmentBytes: 2000, SegmentMS: 1 << 40, IndexEntries: 100, IndexCheckpointBytes: 1 << 30, IndexCheckpointMS: 1 << 40,
			RoundBytes: 1 << 20, OpenIndexFiles: 2, VerifyIndexBytes: 1 << 20,
		},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if d := b.log.Damages(); len(d) > 0 {
		b.t.Fatal(d)
	}
}

func (b *bench) restart() {
	b.t.Helper()
	b.mem.Kill()
	b.open()
}

// entry begins the next entry, with one batch of so many records for index 1 unless it is 0.
func (b *bench) entry(records int) *journal.Entry {
	b.lsn++
	e := &journal.Entry{LSN: b.lsn, Term: 1, Level: ipc.LevelDisk, TimeMS: 1000 + int64(b.lsn)}
	if records == 0 {
		return e
	}
	var bb batch.Builder
	for i := range records {
		bb.Add(1, nil, bytes.Repeat([]byte{byte(i)}, 100), nil)
	}
	raw := bytes.Clone(bb.Seal(batch.None, -1, -1, -1))
	b.raws[b.lsn] = raw
	base := uint64(0)
	if x := b.log.indexes[1]; x != nil {
		base = x.next
	}
	e.Bodies = []journal.Body{{Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Base: base}}
	e.Items = []journal.IndexItem{{Index: 1, Base: base, Count: uint32(records)}}
	return e
}

// noted gives an entry a note, and says how it is called.
func noted(e *journal.Entry, text string) uint32 {
	at := len(e.Events)
	e.Events = journal.AppendNote(e.Events, journal.EvRouted, 1, []byte(text))
	return journal.NoteAt(at)
}

func (b *bench) add(e *journal.Entry) Result {
	b.t.Helper()
	raw := b.raws[e.LSN]
	res, err := b.log.Add(e, func(uint64, int) []byte { return raw })
	if err != nil {
		b.t.Fatal(err)
	}
	return res
}

// put adds an entry and writes it.
func (b *bench) put(e *journal.Entry) {
	b.t.Helper()
	if res := b.add(e); res != Added {
		b.t.Fatalf("lsn %d: %d", e.LSN, res)
	}
	b.flush()
}

func (b *bench) flush() {
	b.t.Helper()
	if err := b.log.Flush(); err != nil {
		b.t.Fatal(err)
	}
}

// tidy makes an index checkpoint and removes what is dead.
func (b *bench) tidy() {
	b.t.Helper()
	for range 2 { // a segment is closed with the sync that the first one asks for
		err := b.log.Maintain(true, func() error { _, err := b.log.Sync(); return err })
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// state gives the log a checkpoint of logicsrv, so that entries are needed for what they hold only.
func (b *bench) state() {
	p := ipc.CheckpointPart{LSN: b.lsn, ResultsFrom: b.lsn + 1, Parts: 1, Bytes: []byte("state")}
	b.log.StatePart(&p)
	b.log.ckpt.changed = true
}

// last is the newest entry of an index.
func (b *bench) last(index uint64) commitlog.Entry {
	b.t.Helper()
	_, entries, err := commitlog.ReadIndex(vfs.Reading(b.mem), index)
	if err != nil || len(entries) == 0 {
		b.t.Fatalf("index %d has no entries (%v)", index, err)
	}
	return entries[len(entries)-1]
}

// leadsTo checks that an entry leads to the batch of an LSN, and to a note.
func (b *bench) leadsTo(e commitlog.Entry, lsn uint64, note string) {
	b.t.Helper()
	fsys := vfs.Reading(b.mem)
	raw, err := commitlog.ReadBatch(fsys, e)
	if err != nil || !bytes.Equal(raw[16:], b.raws[lsn][16:]) || batch.Header(raw).BaseOffset() != e.Base() {
		b.t.Fatalf("%+v does not lead to the batch of lsn %d: %v", e, lsn, err)
	}
	if note == "" {
		if e.Note != 0 {
			b.t.Fatalf("%+v has a note", e)
		}
		return
	}
	got, err := commitlog.ReadBatch(fsys, commitlog.Entry{Position: e.Note, Length: uint32(journal.EventHeaderSize + len(note))})
	if err != nil || string(got[journal.EventHeaderSize:]) != note {
		b.t.Fatalf("%+v has the note %q: %v", e, got, err)
	}
}

// segments lists those that there are, by their positions.
func (b *bench) segments() (positions []uint64) {
	for _, s := range b.log.segs {
		positions = append(positions, s.position)
	}
	return positions
}

// fill appends entries that nothing refers to until a new segment has begun.
func (b *bench) fill() {
	for n := len(b.log.segs); len(b.log.segs) == n; {
		e := b.entry(1)
		e.Items[0].Index = 9
		if x := b.log.indexes[9]; x != nil {
			e.Items[0].Base = x.next
			e.Bodies[0].Base = x.next
		} else {
			e.Items[0].Base, e.Bodies[0].Base = 0, 0
		}
		b.put(e)
	}
	e := b.entry(0)
	e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 9, Offset: 1 << 40}}
	b.put(e)
}

// TestRefsLead: chains of references, to parts of parts, with notes of their own and without.
func TestRefsLead(t *testing.T) {
	b := newBench(t)
	e := b.entry(10)
	e.Bodies[0].Note = noted(e, "first")
	b.put(e)
	e = b.entry(0)
	e.Refs = []journal.Ref{{Index: 2, Base: 0, Source: 1, SourceOffset: 2, Count: 7, MaxTimeMS: -1}}
	b.put(e)
	e = b.entry(0)
	e.Refs = []journal.Ref{{Index: 3, Base: 0, Source: 2, SourceOffset: 1, Count: 5, Note: noted(e, "third"), MaxTimeMS: 77}}
	b.put(e)
	e = b.entry(0) // as many as in the source, of which some were left behind before
	e.Refs = []journal.Ref{{Index: 4, Base: 0, Source: 3, SourceOffset: 0, Count: 5}}
	b.put(e)
	const rebase, partial = commitlog.FlagRebase, commitlog.FlagPartial
	for index, want := range map[uint64]struct {
		skip, count, flags uint32
		timeMS             int64
		note               string
	}{
		1: {0, 10, 0, 0, "first"}, 2: {2, 7, rebase | partial, 1002, "first"},
		3: {3, 5, rebase | partial, 77, "third"}, 4: {3, 5, rebase | partial, 0, "third"},
	} {
		got := b.last(index)
		if got.Skip != want.skip || got.Count != want.count || got.Flags != want.flags || got.MaxTimeMS != want.timeMS {
			t.Errorf("index %d: %+v, want %+v", index, got, want)
		}
		b.leadsTo(got, 1, want.note)
	}
}

// TestRefsToWholeBatches: where the batch is whole and lies at the same offsets, its bytes are
// right as they are.
func TestRefsToWholeBatches(t *testing.T) {
	b := newBench(t)
	b.put(b.entry(3))
	b.put(b.entry(4))
	e := b.entry(0)
	e.Refs = []journal.Ref{
		{Index: 2, Base: 0, Source: 1, SourceOffset: 0, Count: 3},
		{Index: 2, Base: 3, Source: 1, SourceOffset: 3, Count: 4},
		{Index: 3, Base: 5, Source: 1, SourceOffset: 0, Count: 3}, // offsets 0 to 4 were in a hole
		{Index: 4, Base: 1, Source: 1, SourceOffset: 1, Count: 2},
	}
	b.put(e)
	for index, flags := range map[uint64]uint32{2: 0, 3: commitlog.FlagRebase, 4: commitlog.FlagPartial} {
		if got := b.last(index); got.Flags != flags {
			t.Errorf("index %d: flags %d, want %d", index, got.Flags, flags)
		}
	}
	b.leadsTo(b.last(2), 2, "")
	b.leadsTo(b.last(3), 1, "")
}

// TestRefsWithinAnEntry: what an entry stores can be referred to by the entry itself, in chains,
// and in the order that it says. What is gathered and not written yet must be written first.
func TestRefsWithinAnEntry(t *testing.T) {
	b := newBench(t)
	b.put(b.entry(2))
	if res := b.add(b.entry(2)); res != Added { // offsets 2 and 3, not in the index yet
		t.Fatal(res)
	}
	e := b.entry(5)
	e.Bodies[0].Base, e.Items[0].Base = 4, 4
	e.Items[0].Index = 2
	e.Items = append(e.Items, journal.IndexItem{Index: 1, Base: 4, Count: 5})
	e.Refs = []journal.Ref{
		{Index: 3, Base: 0, Source: 1, SourceOffset: 3, Count: 1, Before: 0},
		{Index: 3, Base: 1, Source: 2, SourceOffset: 6, Count: 3, Before: 1},
		{Index: 1, Base: 9, Source: 3, SourceOffset: 2, Count: 2, Before: 2},
		{Index: 3, Base: 4, Source: 1, SourceOffset: 10, Count: 1, Before: 2},
	}
	if res := b.add(e); res != Blocked {
		t.Fatal(res)
	}
	b.flush()
	b.put(e)
	_, entries, err := commitlog.ReadIndex(vfs.Reading(b.mem), 3)
	if err != nil || len(entries) != 3 || entries[0].Skip != 1 || entries[1].Skip != 2 || entries[2].Skip != 4 {
		t.Fatal(entries, err)
	}
	b.leadsTo(entries[0], 2, "")
	for _, x := range []commitlog.Entry{entries[1], entries[2], b.last(1)} {
		b.leadsTo(x, 3, "")
	}
	if got := b.last(1); got.Offset != 9 || got.Skip != 3 || got.Count != 2 || b.log.stats.DamagedRefs != 0 {
		t.Fatalf("%+v", got)
	}
}

// TestRefsToNothing: what cannot be found, or does not lie within one batch, or comes later in the
// entry, is stored as damaged; that is said and counted, and the log goes on.
func TestRefsToNothing(t *testing.T) {
	b := newBench(t)
	e := b.entry(3)
	e.Bodies[0].Note = noted(e, "first")
	b.put(e)
	b.put(b.entry(3))
	e = b.entry(2)
	own := noted(e, "of its own")
	next := uint64(0)
	for _, r := range []journal.Ref{
		{Source: 77, SourceOffset: 0, Count: 1, Note: own}, {Source: 1, SourceOffset: 100, Count: 1}, {Source: 1, SourceOffset: 2, Count: 2},
		{Source: 1, SourceOffset: 6, Count: 1}, {Source: 2, SourceOffset: 9, Count: 1}, {Source: 2, SourceOffset: 0, Count: 1},
		{Source: 1, SourceOffset: 6, Count: 1, Before: 1}, {Source: 1, SourceOffset: 8, Count: 1, Before: 1},
	} {
		r.Index, r.Base = 2, next
		next += uint64(r.Count)
		e.Refs = append(e.Refs, r)
	}
	b.put(e)
	check := func() {
		t.Helper()
		_, entries, err := commitlog.ReadIndex(vfs.Reading(b.mem), 2)
		if err != nil || len(entries) != len(e.Refs) {
			t.Fatal(entries, err)
		}
		for i, x := range entries {
			if lost := i != 6; lost != (x.Flags == commitlog.FlagDamaged && x.Position == 0 && x.Length == 0) {
				t.Errorf("ref %d: %+v", i, x)
			}
		}
		b.leadsTo(entries[6], 3, "")
		if at := entries[0].Note; at != journal.NotePosition(entries[0].Origin, own) {
			t.Errorf("its own note is at %d", at)
		}
	}
	check()
	if b.log.Stats().DamagedRefs != 7 || strings.Count(b.text.String(), "references lead to nothing") != 1 || !strings.Contains(b.text.String(), "lsn=3 refs=7") {
		t.Errorf("%d damaged, the log file says %s", b.log.Stats().DamagedRefs, b.text.String())
	}
	b.put(b.entry(1)) // it goes on
	b.restart()
	check()
	// A reference to one of them is damaged too.
	e = b.entry(0)
	e.Refs = []journal.Ref{{Index: 3, Source: 2, SourceOffset: 1, Count: 1}}
	b.put(e)
	if x := b.last(3); x.Flags != commitlog.FlagDamaged {
		t.Errorf("%+v", x)
	}
	// They can be trimmed as others are.
	e = b.entry(0)
	e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 2, Offset: next}, {Kind: journal.OpDelete, Index: 3}}
	b.put(e)
	if x := b.log.indexes[2]; x.start != next || x.bytes != 0 {
		t.Errorf("starts at %d, %d bytes", x.start, x.bytes)
	}
}

// TestRefOutlivesItsSource: the source is trimmed and deleted by the entry that refers to it, and
// the log is rebuilt without any index.
func TestRefOutlivesItsSource(t *testing.T) {
	b := newBench(t)
	e := b.entry(3)
	e.Items[0].Index, e.Bodies[0].Note = 7, noted(e, "to 7")
	b.put(e)
	e = b.entry(0)
	e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 7, Offset: 3}, {Kind: journal.OpDelete, Index: 7}}
	e.Refs = []journal.Ref{{Index: 2, Source: 7, SourceOffset: 1, Count: 1, MaxTimeMS: -1}}
	b.put(e)
	b.leadsTo(b.last(2), 1, "to 7")
	want := b.last(2)
	b.tidy()
	for _, name := range []string{commitlog.IndexName(2, 0), commitlog.IndexCheckpointName} {
		b.mem.Kill()
		if err := b.mem.Remove(name); err != nil {
			t.Fatal(err)
		}
		b.open()
		if got := b.last(2); got != want {
			t.Errorf("without %s: %+v, want %+v", name, got, want)
		}
	}
}

// TestWhatKeepsASegment: an index entry keeps the segments of its batch, of its note, and of the
// entry that it came from, each for itself; and none when it is trimmed.
func TestWhatKeepsASegment(t *testing.T) {
	b := newBench(t)
	e := b.entry(2) // the batch
	b.put(e)
	b.fill()
	atNote := b.log.cur.position
	e = b.entry(0)
	e.Refs = []journal.Ref{{Index: 2, Source: 1, SourceOffset: 1, Count: 1, Note: noted(e, "noted later")}}
	b.put(e)
	b.fill()
	atOrigin := b.log.cur.position
	e = b.entry(0) // takes batch and note over
	e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 1, Offset: 2}, {Kind: journal.OpTrim, Index: 2, Offset: 1}}
	e.Refs = []journal.Ref{{Index: 3, Source: 2, SourceOffset: 0, Count: 1}}
	b.put(e)
	b.fill()
	atEnd := b.log.cur.position
	b.state()
	b.tidy()
	if got := b.segments(); !slices.Equal(got, []uint64{0, atNote, atOrigin, atEnd}) {
		t.Fatalf("segments %d, want %d", got, []uint64{0, atNote, atOrigin, atEnd})
	}
	b.leadsTo(b.last(3), 1, "noted later")
	// Nothing else leads there; the index can be made anew all the same.
	b.mem.Kill()
	if err := b.mem.Remove(commitlog.IndexName(3, 0)); err != nil {
		t.Fatal(err)
	}
	b.open()
	b.leadsTo(b.last(3), 1, "noted later")
	e = b.entry(0)
	e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 3, Offset: 1}}
	b.put(e)
	b.fill()
	b.state()
	b.tidy()
	if got := b.segments(); len(got) > 2 || got[0] < atEnd {
		t.Fatalf("segments %d are left", got)
	}
}

// TestPins: retention trims the source while a reference to it is on its way; the segment stays.
func TestPins(t *testing.T) {
	b := newBench(t)
	b.put(b.entry(2))
	e := b.entry(0)
	e.Ops = []journal.IndexOp{{Kind: journal.OpConfigure, Index: 1, Settings: ipc.IndexSettings{Index: 1, RetentionMS: 1}}}
	b.put(e)
	b.fill()
	b.state()
	e = b.entry(0)
	e.Refs = []journal.Ref{{Index: 2, Source: 1, SourceOffset: 0, Count: 2}}
	if res := b.add(e); res != Added {
		t.Fatal(res)
	}
	b.now = 1 << 30
	if err := b.log.Retain(); err != nil {
		t.Fatal(err)
	}
	if x := b.log.indexes[1]; x.start != 2 {
		t.Fatalf("starts at %d", x.start)
	}
	b.tidy()
	if got := b.segments(); got[0] != 0 {
		t.Fatalf("segments %d", got)
	}
	b.flush()
	b.tidy()
	b.leadsTo(b.last(2), 1, "")
	for _, s := range b.log.segs {
		if s.pins != 0 {
			t.Errorf("segment %d has %d pins", s.position, s.pins)
		}
	}
	b.restart()
	b.leadsTo(b.last(2), 1, "")
}

// TestRefsFarBack: sources in old files of a long index, not in the order of their offsets.
func TestRefsFarBack(t *testing.T) {
	b := newBench(t)
	const n = 350 // several files of 100 entries
	for range n {
		b.put(b.entry(2))
	}
	e := b.entry(0)
	for i := range n {
		e.Refs = append(e.Refs, journal.Ref{Index: 2, Base: uint64(i), Source: 1, SourceOffset: uint64(2*((i*151)%n) + i%2), Count: 1})
	}
	b.put(e)
	_, entries, err := commitlog.ReadIndex(vfs.Reading(b.mem), 2)
	if err != nil || len(entries) != n {
		t.Fatal(len(entries), err)
	}
	for i, x := range entries {
		if x.Skip != uint32(i%2) {
			t.Fatalf("%+v", x)
		}
		b.leadsTo(x, uint64((i*151)%n)+1, "")
	}
}

// TestOldDataDirectory: one that a build before the first release has written is refused by name.
func TestOldDataDirectory(t *testing.T) {
	mem := vfs.NewMem()
	f, err := mem.Create(commitlog.MarkerName)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WritevAt([][]byte{[]byte("TriMQ data directory, format 1\n")}, 0); err != nil {
		t.Fatal(err)
	}
	_, err = Open(Options{FS: mem, Now: func() int64 { return 0 }, Salt: salts.Uint64})
	if err == nil || !strings.Contains(err.Error(), "unreleased build of format 1: start with an empty one") {
		t.Fatal(err)
	}
}
