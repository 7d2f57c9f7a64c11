package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// model is what a log must be like: a list of bodies, of which the first synced survive
// anything, the first written the death of the process, and what its indexes hold.
type model struct {
	bodies          [][]byte // of LSN i+1
	notes           [][]byte // of LSN i+1; nil: it has none
	entries         []modelEntry
	written, synced int
}

// modelEntry is one entry of an index, in the order of the log.
type modelEntry struct {
	index, offset uint64
	count, skip   uint32
	lsn           int // of the log entry that made it
	body, note    int // LSN that has its batch, and its note; note 0: none
	records       int // of its batch
}

// cut takes away all behind an LSN.
func (m *model) cut(last int) {
	m.bodies, m.notes = m.bodies[:last], m.notes[:last]
	m.entries = slices.DeleteFunc(m.entries, func(e modelEntry) bool { return e.lsn > last })
}

func (m *model) powerCut(last int) {
	m.cut(last)
	m.written, m.synced = last, last
}

// next is the end of an index.
func (m *model) next(index uint64) uint64 {
	for _, e := range slices.Backward(m.entries) {
		if e.index == index {
			return e.offset + uint64(e.count)
		}
	}
	return 0
}

// salts of the logs in tests.
var salts = rand.NewPCG(1, 2)

// machine drives a Log and its model with the same commands.
type machine struct {
	t     *rapid.T
	mem   *vfs.Mem
	log   *Log
	now   int64
	warm  bool
	model model
	// trimmed is how far each index was ever asked to be trimmed.
	trimmed map[uint64]uint64
}

func newMachine(t *rapid.T) *machine {
	m := &machine{t: t, mem: vfs.NewMem(), trimmed: map[uint64]uint64{}}
	m.open(false)
	return m
}

func (m *machine) open(rewrite bool) {
	var err error
	m.log, err = Open(Options{
		FS: m.mem, Now: func() int64 { return m.now }, Salt: salts.Uint64, Warm: m.warm, Rewrite: rewrite, SyncedHint: m.hint(),
		Settings: Settings{
			SegmentBytes: 3000, AheadBytes: 500, SegmentMS: 10_000, IndexEntries: 4, IndexCheckpointBytes: 2500, IndexCheckpointMS: 1000,
			RoundBytes: 2000, OpenIndexFiles: 2, VerifyIndexBytes: 1 << 20,
		},
	})
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	if d := m.log.Damages(); len(d) > 0 {
		m.t.Fatalf("damages: %v", d)
	}
}

func (m *machine) hint() uint64 {
	if m.warm {
		return uint64(m.model.synced)
	}
	return 0
}

// add appends an entry with one batch for index 1, references into indexes 2 and 3, and now and
// then a trim.
func (m *machine) add(size int, dice *rand.Rand) {
	lsn := uint64(len(m.model.bodies) + 1)
	var b batch.Builder
	for range 1 + dice.IntN(4) {
		b.Add(m.now, nil, bytes.Repeat([]byte{byte(lsn)}, size/2), nil)
	}
	count := uint32(b.Count())
	raw := bytes.Clone(b.Seal(batch.None, -1, -1, -1))
	base := m.model.next(1)
	e := journal.Entry{
		LSN: lsn, Term: 1, Level: ipc.LevelDisk, TimeMS: m.now,
		Items:  []journal.IndexItem{{Index: 1, Base: base, Count: count, MaxTimeMS: m.now}},
		Bodies: []journal.Body{{RingPos: lsn, Length: uint32(len(raw)), CRC: uint32(raw[17])<<24 | uint32(raw[18])<<16 | uint32(raw[19])<<8 | uint32(raw[20]), Base: base}},
	}
	item := modelEntry{index: 1, offset: base, count: count, lsn: int(lsn), body: int(lsn), records: int(count)}
	var note []byte
	if dice.IntN(2) == 0 {
		note = journal.AppendNote(nil, journal.EvRouted, lsn, []byte("note"))
		e.Events, e.Bodies[0].Note, item.note = note, journal.NoteAt(0), int(lsn)
	}
	if dice.IntN(8) == 0 {
		index := uint64(1 + dice.IntN(3))
		to := m.model.next(index) / 4 * uint64(dice.IntN(5))
		e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: index, Offset: to}}
		m.trimmed[index] = max(m.trimmed[index], to)
	}
	m.model.entries = append(m.model.entries, item)
	for range dice.IntN(3) {
		m.refer(&e, note, dice)
	}
	m.put(&e, raw)
	m.model.bodies, m.model.notes = append(m.model.bodies, raw), append(m.model.notes, note)
}

// refer adds a reference to a part of what some index holds.
func (m *machine) refer(e *journal.Entry, note []byte, dice *rand.Rand) {
	src := m.model.entries[dice.IntN(len(m.model.entries))]
	if src.offset < m.trimmed[src.index] && src.lsn < int(e.LSN) {
		return
	}
	skip := uint32(dice.IntN(int(src.count)))
	r := journal.Ref{
		Index: uint64(2 + dice.IntN(2)), Source: src.index, SourceOffset: src.offset + uint64(skip),
		Count: 1 + uint32(dice.IntN(int(src.count-skip))), Before: uint32(dice.IntN(2)), MaxTimeMS: -1,
	}
	if r.Before == 0 && (src.lsn == int(e.LSN) || len(e.Refs) > 0) {
		r.Before = 1
	}
	r.Base = m.model.next(r.Index)
	made := modelEntry{
		index: r.Index, offset: r.Base, count: r.Count, skip: src.skip + skip, lsn: int(e.LSN), body: src.body, note: src.note, records: src.records,
	}
	if note != nil && dice.IntN(2) == 0 {
		r.Note, made.note = journal.NoteAt(0), int(e.LSN)
	}
	m.model.entries = append(m.model.entries, made)
	e.Refs = append(e.Refs, r)
}

func (m *machine) put(e *journal.Entry, raw []byte) {
	src := func(uint64, int) []byte { return raw }
	res, err := m.log.Add(e, src)
	if err == nil && res == Blocked {
		m.flush()
		res, err = m.log.Add(e, src)
	}
	if err != nil || res != Added {
		m.t.Fatalf("add lsn %d: %d %v", e.LSN, res, err)
	}
}

func (m *machine) flush() {
	if err := m.log.Flush(); err != nil {
		m.t.Fatal(err)
	}
	m.model.written = len(m.model.bodies)
}

func (m *machine) sync() error {
	synced, err := m.log.Sync()
	if err == nil {
		m.model.synced = m.model.written
	}
	if int(synced) != m.model.synced {
		m.t.Fatalf("synced %d, the model %d", synced, m.model.synced)
	}
	return err
}

// kill ends the process: what was only gathered is gone.
func (m *machine) kill(rewrite bool) {
	m.mem.Kill()
	m.model.cut(m.model.written)
	m.warm = true
	m.open(rewrite)
	if got := int(m.log.Written()); got != m.model.written {
		m.t.Fatalf("after a kill the log ends at %d, the model at %d", got, m.model.written)
	}
}

func (m *machine) powerCut(seed uint64) {
	m.mem.Crash(rand.New(rand.NewPCG(seed, 5)))
	m.warm = false
	m.open(false)
	last := int(m.log.Written())
	if last < m.model.synced || last > len(m.model.bodies) {
		m.t.Fatalf("after a power cut the log ends at %d; synced was %d, written %d", last, m.model.synced, m.model.written)
	}
	m.model.powerCut(last)
	if err := m.sync(); err != nil {
		m.t.Fatal(err)
	}
}

// loseIndex kills the process and takes away the files of an index, which is made anew.
func (m *machine) loseIndex(index uint64) {
	bases, err := commitlog.ListIndexFiles(vfs.Reading(m.mem), index)
	if err != nil {
		return // not made yet
	}
	m.mem.Kill()
	for _, base := range bases {
		if err := m.mem.Remove(commitlog.IndexName(index, base)); err != nil {
			m.t.Fatal(err)
		}
	}
	// For good: no power cut brings them back, with what they held some time ago.
	if err := m.mem.SyncDir(commitlog.IndexPath(index)); err != nil {
		m.t.Fatal(err)
	}
	m.kill(false)
}

// failSync lets a sync fail, which ends the process.
func (m *machine) failSync() {
	if !m.log.NeedsSync() {
		return
	}
	failed := false
	m.mem.SetFault(func(c vfs.Call) error {
		if c.Op == "sync" && !failed {
			failed = true
			return unix.EIO
		}
		return nil
	})
	err := m.sync()
	m.mem.SetFault(nil)
	if failed != errors.Is(err, ErrSync) {
		m.t.Fatalf("a failed sync: %v", err)
	}
	if _, again := m.log.Sync(); failed && again == nil {
		m.t.Fatal("a sync after a failed one says yes")
	}
	m.kill(true)
}

// check compares log and indexes with the model.
func (m *machine) check() {
	log := commitlog.NewBatchReader(vfs.Reading(m.mem))
	defer log.Close()
	for index := uint64(1); index <= 3; index++ {
		m.checkIndex(log, index)
	}
	m.checkNeeds()
	if err := m.readLog(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) checkIndex(log *commitlog.BatchReader, index uint64) {
	want := slices.DeleteFunc(slices.Clone(m.model.entries), func(e modelEntry) bool {
		return e.index != index || e.lsn > m.model.written
	})
	start, entries, err := commitlog.ReadIndex(vfs.Reading(m.mem), index)
	if err != nil && len(want) > 0 {
		m.t.Fatal(err)
	}
	end := uint64(0)
	for i, w := range want {
		if end = w.offset + uint64(w.count); end <= start {
			continue
		}
		k := len(entries) - len(want) + i
		if k < 0 {
			m.t.Fatalf("index %d, offset %d is not there: start %d, %d entries of %d", index, w.offset, start, len(entries), len(want))
		}
		m.checkEntry(log, entries[k], w)
	}
	if start > end {
		m.t.Fatalf("index %d starts at %d of %d", index, start, end)
	}
}

func (m *machine) checkEntry(log *commitlog.BatchReader, e commitlog.Entry, w modelEntry) {
	partial := w.skip > 0 || int(w.count) < w.records
	if e.Offset != w.offset || e.Count != w.count || e.Skip != w.skip || (e.Flags&commitlog.FlagPartial != 0) != partial || e.Flags&commitlog.FlagDamaged != 0 {
		m.t.Fatalf("%+v, the model has %+v", e, w)
	}
	b, err := log.Batch(e)
	if err != nil || !bytes.Equal(b[16:], m.model.bodies[w.body-1][16:]) || batch.Header(b).BaseOffset() != e.Base() {
		m.t.Fatalf("%+v leads to other bytes: %v", e, err)
	}
	if w.note == 0 {
		if e.Note != 0 {
			m.t.Fatalf("%+v has a note, the model none", e)
		}
		return
	}
	note := m.model.notes[w.note-1]
	b, err = log.Bytes(e.Note, len(note))
	if err != nil || !bytes.Equal(b, note) {
		m.t.Fatalf("%+v leads to another note: %v", e, err)
	}
}

// checkNeeds counts again which segments are needed.
func (m *machine) checkNeeds() {
	type count struct{ refs, live uint64 }
	want := map[*segment]*count{}
	for _, s := range m.log.segs {
		want[s] = &count{}
	}
	for _, id := range m.log.indexIDs() {
		_, entries, err := commitlog.ReadIndex(vfs.Reading(m.mem), id)
		if err != nil {
			m.t.Fatal(err)
		}
		for _, e := range entries {
			if e.End() <= m.log.indexes[id].start {
				continue
			}
			needed := map[*segment]bool{m.log.at(e.Origin): true, m.log.at(e.Position): true}
			if e.Note != 0 {
				needed[m.log.at(e.Note)] = true
			}
			for s := range needed {
				if s == nil {
					m.t.Fatalf("index %d: %+v needs a segment that is gone", id, e)
				}
				want[s].refs++
			}
			want[m.log.at(e.Position)].live += uint64(e.Length)
		}
	}
	for s, w := range want {
		if s.refs != w.refs || s.live != w.live {
			m.t.Fatalf("segment %d: %d refs, %d bytes live; counted again %d, %d", s.position, s.refs, s.live, w.refs, w.live)
		}
	}
}

func (m *machine) readLog() error {
	r, err := commitlog.NewReader(vfs.Reading(m.mem), 0)
	if err != nil {
		return err
	}
	defer r.Close()
	r.VerifyBodies(true)
	last := 0
	for {
		e, _, err := r.Next()
		var d *commitlog.Damage
		switch {
		case err == io.EOF && last < m.model.written:
			return fmt.Errorf("the log ends at %d, written is %d", last, m.model.written)
		case err == io.EOF:
			return nil
		case errors.As(err, &d) && d.Removed:
			continue
		case err != nil:
			return err
		}
		if last = int(e.LSN); last > len(m.model.bodies) || e.Bodies[0].Length != uint32(len(m.model.bodies[last-1])) {
			return fmt.Errorf("lsn %d is not the model's", e.LSN)
		}
	}
}

// TestAgainstModel does random commands to a log and to its model.
func TestAgainstModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m := newMachine(rt)
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				dice := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "dice"), 3))
				for range rapid.IntRange(1, 6).Draw(rt, "entries") {
					m.add(rapid.IntRange(0, 900).Draw(rt, "size"), dice)
				}
			},
			"flush": func(*rapid.T) { m.flush() },
			"sync": func(rt *rapid.T) {
				if err := m.sync(); err != nil {
					rt.Fatal(err)
				}
			},
			"maintain": func(rt *rapid.T) {
				m.now += 2000
				if err := m.log.Maintain(rapid.Bool().Draw(rt, "force"), m.sync); err != nil {
					rt.Fatal(err)
				}
			},
			"checkpoint": func(rt *rapid.T) {
				p := ipc.CheckpointPart{LSN: uint64(m.model.written), ResultsFrom: max(1, uint64(m.model.written)) - 1, Parts: 1, Bytes: []byte("state")}
				m.log.StatePart(&p)
			},
			"big entry": func(*rapid.T) { m.add(5000, rand.New(rand.NewPCG(uint64(m.now), 4))) },
			"lose an index": func(rt *rapid.T) {
				m.loseIndex(uint64(1 + rapid.IntRange(0, 2).Draw(rt, "index")))
			},
			"age":       func(*rapid.T) { m.now += 20_000 },
			"kill":      func(*rapid.T) { m.kill(false) },
			"doubt":     func(*rapid.T) { m.kill(true) },
			"fail sync": func(*rapid.T) { m.failSync() },
			"power cut": func(rt *rapid.T) { m.powerCut(rapid.Uint64().Draw(rt, "dice")) },
			"":          func(*rapid.T) { m.check() },
		})
	})
}
