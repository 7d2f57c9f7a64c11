package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// compactedIndex is the index that is compacted in these tests.
const compactedIndex = 9

// tombstoneMS is its delete.retention.ms.
const tombstoneMS = 5000

// keptRecord is a record as its producer has sent it.
type keptRecord struct {
	key, value []byte // nil: none
	batch      int    // LSN
	producer   int64  // of its transaction; −1: it is in none
	atMS       int64
}

// washer drives a log with one compacted index, and knows what was put into it.
type washer struct {
	t       rapid.TB
	mem     *vfs.Mem
	log     *Log
	now     int64
	warm    bool
	dice    *rand.Rand
	records map[uint64]keptRecord
	ends    []uint64 // of the index, by LSN
	open    map[int64]bool
	aborted map[uint64]bool // offsets
	synced  int
	looked  map[uint64]int64 // of tombstones: when a pass may have come to them first
	midway  int              // pieces of a pass until the index is trimmed in the midst of it; 0: it is not
}

func newWasher(t rapid.TB, seed uint64) *washer {
	w := &washer{
		t: t, mem: vfs.NewMem(), now: 1_000_000, dice: rand.New(rand.NewPCG(seed, 1)),
		records: map[uint64]keptRecord{}, open: map[int64]bool{}, aborted: map[uint64]bool{}, looked: map[uint64]int64{},
	}
	w.reopen()
	settings := ipc.IndexSettings{Index: compactedIndex}
	half := ipc.IndexSettings{Index: compactedIndex, Compaction: ipc.Compaction{On: true, MaxLagMS: 1 << 62, TombstoneMS: tombstoneMS, ClosingBytes: 1}}
	w.add(&journal.Entry{Ops: []journal.IndexOp{
		{Kind: journal.OpCreate, Index: compactedIndex, Settings: settings},
		{Kind: journal.OpCompact, Index: compactedIndex, Settings: half},
		{Kind: journal.OpClosing, Index: compactedIndex, Settings: half},
	}}, nil, 0)
	return w
}

func (w *washer) reopen() {
	var err error
	hint := uint64(0)
	if w.warm {
		hint = uint64(w.synced)
	}
	w.log, err = Open(Options{
		FS: w.mem, Now: func() int64 { return w.now }, Salt: salts.Uint64, Warm: w.warm, SyncedHint: hint, Pace: w.pace,
		Settings: Settings{
			SegmentBytes: 3000, AheadBytes: 500, SegmentMS: 10_000, IndexEntries: 4, IndexCheckpointBytes: 2500, IndexCheckpointMS: 1000,
			RoundBytes: 2000, OpenIndexFiles: 2, VerifyIndexBytes: 1 << 20, CompactKeys: 1 + w.dice.IntN(20), CompactBytes: 1,
		},
	})
	if err != nil {
		w.t.Fatalf("open: %v", err)
	}
	if d := w.log.Damages(); len(d) > 0 {
		w.t.Fatalf("damages: %v", d)
	}
}

// next is the end of the index.
func (w *washer) next() uint64 {
	if len(w.ends) == 0 {
		return 0
	}
	return w.ends[len(w.ends)-1]
}

// add stores an entry, with a batch of so many offsets if there is one.
func (w *washer) add(e *journal.Entry, raw []byte, count uint32) {
	base := w.next()
	e.LSN, e.Term, e.Level, e.TimeMS = uint64(len(w.ends)+1), 1, ipc.LevelDisk, w.now
	if raw != nil {
		batch.PatchBase(raw, base, 0)
		e.Items = []journal.IndexItem{{Index: compactedIndex, Base: base, Count: count, MaxTimeMS: w.now}}
		e.Bodies = []journal.Body{{RingPos: e.LSN, Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Base: base}}
		if w.dice.IntN(3) == 0 {
			e.Events = journal.AppendNote(nil, journal.EvRouted, e.LSN, fmt.Append(nil, "note ", base))
			e.Bodies[0].Note = journal.NoteAt(0)
		}
	}
	src := func(uint64, int) []byte { return raw }
	res, err := w.log.Add(e, src)
	if err == nil && res == Blocked {
		w.flush()
		res, err = w.log.Add(e, src)
	}
	if err != nil || res != Added {
		w.t.Fatalf("add lsn %d: %d %v", e.LSN, res, err)
	}
	w.ends = append(w.ends, base+uint64(count))
	w.flush()
}

func (w *washer) flush() {
	if err := w.log.Flush(); err != nil {
		w.t.Fatal(err)
	}
}

// produce stores a batch, of a transaction or not, compressed or not.
func (w *washer) produce() {
	var b batch.Builder
	producer := int64(w.dice.IntN(5)) - 1
	base := w.next()
	n := 1 + w.dice.IntN(6)
	for i := range n {
		r := keptRecord{batch: len(w.ends) + 1, producer: -1, atMS: w.now, value: fmt.Appendf(nil, "%d %d", base+uint64(i), w.dice.IntN(1000))}
		if w.dice.IntN(20) > 0 {
			r.key = fmt.Append(nil, "k", w.dice.IntN(12))
			if w.dice.IntN(5) == 0 {
				r.value = nil
			}
		}
		if producer >= 2 { // of these, transactions
			r.producer = producer
		}
		b.Add(w.now+int64(i), r.key, r.value, []batch.RecordHeader{{Key: "h", Value: r.value}})
		w.records[base+uint64(i)] = r
	}
	codec := batch.None
	if w.dice.IntN(3) == 0 {
		codec = batch.Zstd
	}
	epoch := int16(0)
	if producer < 0 {
		epoch = -1
	}
	raw := bytes.Clone(b.Seal(codec, producer, epoch, int32(base)))
	if producer >= 2 {
		raw[batch.OffAttributes+1] |= 0x10
		binary.BigEndian.PutUint32(raw[batch.OffCRC:], batch.Checksum(raw))
		w.open[producer] = true
	}
	w.add(&journal.Entry{}, raw, uint32(n))
}

// end ends a transaction.
func (w *washer) end() {
	for producer := int64(2); producer < 4; producer++ {
		if !w.open[producer] || w.dice.IntN(2) == 0 {
			continue
		}
		commit := w.dice.IntN(2) == 0
		for offset, r := range w.records {
			if r.producer == producer {
				w.aborted[offset] = !commit
				r.producer = -2 - producer // ended
				w.records[offset] = r
			}
		}
		delete(w.open, producer)
		w.add(&journal.Entry{}, batch.AppendControl(nil, producer, 0, commit, w.now), 1)
	}
}

func (w *washer) sync() error {
	synced, err := w.log.Sync()
	if err == nil {
		w.synced = int(synced)
	}
	return err
}

// pace is called with each piece of a pass.
func (w *washer) pace(int) bool {
	if w.midway > 0 {
		if w.midway--; w.midway == 0 {
			w.trim()
		}
	}
	return true
}

func (w *washer) trim() {
	to := w.next() / 8 * uint64(w.dice.IntN(6))
	w.add(&journal.Entry{Ops: []journal.IndexOp{{Kind: journal.OpTrim, Index: compactedIndex, Offset: to}}}, nil, 0)
}

// compact makes a pass, and perhaps breaks it off at one of the calls that change files: by death,
// a power cut, or a full disk.
func (w *washer) compact() {
	w.now += 100
	for offset, r := range w.records {
		if r.value == nil && w.looked[offset] == 0 {
			w.looked[offset] = w.now
		}
	}
	how, at, n := w.dice.IntN(6), 1+w.dice.IntN(30), 0
	died := false
	if how == 3 {
		w.midway = at
	}
	if how == 1 { // what a power cut takes away is another test's matter
		w.mustSync()
	}
	if how < 3 {
		w.mem.SetFault(func(c vfs.Call) error {
			if !c.Changes() || how == 2 && (strings.HasPrefix(c.Op, "sync") || c.Op == "remove") { // these need no room
				return nil
			}
			if n++; n < at {
				return nil
			}
			if how == 2 {
				return unix.ENOSPC
			}
			panic(errAbandoned)
		})
	}
	func() {
		defer func() {
			if p := recover(); p != nil {
				if p != errAbandoned {
					panic(p)
				}
				died = true
			}
		}()
		if err := w.log.Compact(w.sync); err != nil {
			w.t.Fatal(err)
		}
	}()
	w.mem.SetFault(nil)
	w.midway = 0
	switch {
	case died && how == 0:
		w.kill()
	case died:
		w.crash()
	}
}

func (w *washer) kill() {
	w.mem.Kill()
	w.warm = true
	w.reopen()
	if int(w.log.Written()) != len(w.ends) {
		w.t.Fatalf("after a kill the log ends at %d, not %d", w.log.Written(), len(w.ends))
	}
}

func (w *washer) mustSync() {
	if err := w.sync(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *washer) powerCut() {
	w.mustSync()
	w.crash()
}

func (w *washer) crash() {
	w.mem.Crash(rand.New(rand.NewPCG(w.dice.Uint64(), 5)))
	w.warm = false
	w.reopen()
	if int(w.log.Written()) < w.synced {
		w.t.Fatalf("after a power cut the log ends at %d; synced was %d", w.log.Written(), w.synced)
	}
}

// check compares what can be read with what was put in.
func (w *washer) check() {
	x := w.log.indexes[compactedIndex]
	start, entries, err := commitlog.ReadIndex(vfs.Reading(w.mem), compactedIndex)
	if err != nil {
		w.t.Fatal(err)
	}
	if start != x.start {
		w.t.Fatalf("the files begin at %d, the index at %d", start, x.start)
	}
	log := commitlog.NewBatchReader(vfs.Reading(w.mem))
	defer log.Close()
	there := map[uint64]bool{}
	next := uint64(0)
	for _, e := range entries {
		if e.End() <= start {
			continue
		}
		if e.Offset < next {
			w.t.Fatalf("%+v follows offset %d", e, next)
		}
		next = e.End()
		w.checkBatch(log, &e, there)
	}
	if next != w.next() && x.start < w.next() {
		w.t.Fatalf("the index ends at %d, not %d", next, w.next())
	}
	w.checkLast(there, x)
	w.checkRefs(entries, x)
	if sum, err := commitlog.Verify(vfs.Reading(w.mem), func(f commitlog.Finding) {
		if f.Severity == commitlog.Error {
			w.t.Errorf("verify: %+v", f)
		}
	}); err != nil || sum.Errors > 0 {
		w.t.Fatalf("verify: %d errors, %v", sum.Errors, err)
	}
}

// checkBatch compares the records of a batch with those that were put in, and notes them.
func (w *washer) checkBatch(log *commitlog.BatchReader, e *commitlog.Entry, there map[uint64]bool) {
	b, err := log.Batch(*e)
	if err != nil {
		w.t.Fatal(err)
	}
	h := batch.Header(b)
	if h.Sparse() != (e.Flags&commitlog.FlagSparse != 0) || h.BaseOffset() != e.Offset || uint32(h.LastOffsetDelta())+1 != e.Count {
		w.t.Fatalf("%+v leads to a batch at %d with %d records", e, h.BaseOffset(), h.Count())
	}
	if e.Note != 0 {
		want := fmt.Append(nil, "note ", e.Offset)
		note, err := log.Bytes(e.Note, len(journal.AppendNote(nil, journal.EvRouted, 1, want)))
		if err != nil || !bytes.Contains(note, want) {
			w.t.Fatalf("%+v has another note: %q %v", e, note, err)
		}
	}
	err = batch.Iterate(b, func(rec *batch.Record) error {
		if h.Control() {
			return nil
		}
		r, ok := w.records[rec.Offset]
		if !ok || !bytes.Equal(r.key, rec.Key) || !bytes.Equal(r.value, rec.Value) || (r.value == nil) != (rec.Value == nil) || rec.TimeMS != r.atMS+int64(rec.Offset-e.Offset) {
			return fmt.Errorf("offset %d holds %q %q at %d, was %+v", rec.Offset, rec.Key, rec.Value, rec.TimeMS, r)
		}
		there[rec.Offset] = true
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// checkLast sees that of each key the last record that counts is there, and where a pass has come to, no
// other and none that was aborted.
func (w *washer) checkLast(there map[uint64]bool, x *index) {
	last, lastBelow := map[string]uint64{}, map[string]uint64{}
	for offset := x.start; offset < w.next(); offset++ {
		r, ok := w.records[offset]
		switch {
		case !ok || w.aborted[offset]:
		case r.key == nil || r.producer >= 0:
			if !there[offset] {
				w.t.Fatalf("offset %d, which nothing has replaced, is not there: %+v", offset, r)
			}
		default:
			last[string(r.key)] = offset
			if offset < x.cleaned {
				lastBelow[string(r.key)] = offset
			}
		}
	}
	for key, offset := range last {
		r := w.records[offset]
		may := r.value == nil && w.looked[offset] > 0 && w.now >= w.looked[offset]+tombstoneMS
		if !there[offset] && !may {
			w.t.Fatalf("the last record of %s, offset %d, is not there: %+v", key, offset, r)
		}
	}
	for offset := range there {
		r := w.records[offset]
		if offset < x.cleaned && offset >= x.start && r.key != nil && (w.aborted[offset] || lastBelow[string(r.key)] > offset) {
			w.t.Fatalf("offset %d is still there: %+v, compacted up to %d", offset, r, x.cleaned)
		}
	}
}

// checkRefs counts again who needs which pack and segment.
func (w *washer) checkRefs(entries []commitlog.Entry, x *index) {
	type count struct{ refs, live uint64 }
	want := map[*segment]*count{}
	for _, s := range w.log.segs {
		want[s] = &count{}
	}
	for _, p := range w.log.packs {
		want[&p.segment] = &count{}
	}
	total := uint64(0)
	for _, e := range entries {
		if e.End() <= x.start {
			continue
		}
		total += uint64(e.Length)
		segs, n, of := w.log.needs(&e)
		if n == 0 || of == nil {
			w.t.Fatalf("%+v needs what is gone", e)
		}
		for _, s := range segs[:n] {
			want[s].refs++
		}
		want[of].live += uint64(e.Length)
	}
	for s, c := range want {
		if s.refs != c.refs || s.live != c.live {
			w.t.Fatalf("position %d: %d refs, %d bytes live; counted again %d, %d", s.position, s.refs, s.live, c.refs, c.live)
		}
	}
	if x.bytes != total {
		w.t.Fatalf("the index has %d bytes, counted again %d", x.bytes, total)
	}
}

// TestCompaction does random things to a compacted index, and breaks passes off.
func TestCompaction(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWasher(rt, rapid.Uint64().Draw(rt, "seed"))
		rt.Repeat(map[string]func(*rapid.T){
			"produce": func(rt *rapid.T) {
				for range rapid.IntRange(1, 8).Draw(rt, "batches") {
					w.produce()
				}
			},
			"end":     func(*rapid.T) { w.end() },
			"compact": func(*rapid.T) { w.compact() },
			"compact again": func(*rapid.T) {
				for range 3 {
					w.compact()
				}
			},
			"trim": func(*rapid.T) { w.trim() },
			"maintain": func(rt *rapid.T) {
				w.now += 2000
				if err := w.log.Maintain(rapid.Bool().Draw(rt, "force"), w.sync); err != nil {
					rt.Fatal(err)
				}
			},
			"checkpoint": func(*rapid.T) {
				p := ipc.CheckpointPart{LSN: w.log.Written(), ResultsFrom: w.log.Written(), Parts: 1, Bytes: []byte("state")}
				w.log.StatePart(&p)
			},
			"kill":      func(*rapid.T) { w.kill() },
			"power cut": func(*rapid.T) { w.powerCut() },
			"lose the index": func(*rapid.T) {
				w.mem.Kill()
				bases, err := commitlog.ListIndexFiles(vfs.Reading(w.mem), compactedIndex)
				if err != nil {
					return
				}
				for _, base := range bases {
					if err := errors.Join(w.mem.Remove(commitlog.IndexName(compactedIndex, base)), w.mem.SyncDir(commitlog.IndexPath(compactedIndex))); err != nil {
						w.t.Fatal(err)
					}
				}
				w.warm = true
				w.reopen()
			},
			"": func(*rapid.T) { w.check() },
		})
	})
}
