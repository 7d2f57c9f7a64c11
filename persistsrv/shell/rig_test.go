package shell

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
	"github.com/trimq/trimq/shmqueue"
)

// turn is one entry of a script, as logicsrv would decide it, with the bytes of its bodies.
type turn struct {
	entry  journal.Entry
	bodies [][]byte // as produced: base offset 0
	state  []byte   // a checkpoint of logicsrv to be sent after it

	stocked int // items that may be referred to already
}

// script makes n turns. Turn i has LSN i+1. The same seed makes the same script.
func script(seed uint64, n int) []turn {
	rng, refs := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
	next := map[uint64]uint64{}
	live := []uint64{1, 2, 3}
	stock := stock{}
	var turns []turn
	for i := range n {
		t := turn{entry: journal.Entry{
			LSN: uint64(i + 1), Term: 1, Level: ipc.Level(1 + rng.IntN(3)), TimeMS: 1_700_000_000_000 + int64(i),
			Events: bytes.Repeat([]byte{byte(i), 7}, 4*(1+rng.IntN(6))),
		}}
		e := &t.entry
		switch {
		case i == 0:
			for _, id := range live {
				e.Ops = append(e.Ops, journal.IndexOp{Kind: journal.OpCreate, Index: id, Settings: ipc.IndexSettings{Index: id}})
			}
		case i%17 == 9:
			id := uint64(10 + i)
			live = append(live, id)
			e.Ops = append(e.Ops, journal.IndexOp{Kind: journal.OpCreate, Index: id, Settings: ipc.IndexSettings{Index: id, RetentionMS: 1 << 40}})
		case i%23 == 20:
			id := live[len(live)-1]
			live = live[:len(live)-1]
			e.Ops = append(e.Ops, journal.IndexOp{Kind: journal.OpDelete, Index: id, Settings: ipc.IndexSettings{Index: id}})
		case i%7 == 5:
			id := live[rng.IntN(len(live))]
			e.Ops = append(e.Ops, journal.IndexOp{
				Kind: journal.OpTrim, Index: id, Offset: next[id] * uint64(rng.IntN(4)) / 4, Settings: ipc.IndexSettings{Index: id},
			})
		}
		for b := range rng.IntN(4) {
			t.addBody(rng, b, live, next)
			for refs.IntN(5) < 2 {
				t.addRef(refs, live, next, stock)
			}
		}
		stock.settle(&t)
		if i%19 == 18 {
			t.state = bytes.Repeat([]byte{byte(i)}, 100+rng.IntN(3000))
		}
		turns = append(turns, t)
	}
	return turns
}

// addBody adds a batch that goes into one or two indexes.
func (t *turn) addBody(rng *rand.Rand, b int, live []uint64, next map[uint64]uint64) {
	var bb batch.Builder
	count := 1 + rng.IntN(3)
	for k := range count {
		bb.Add(t.entry.TimeMS, nil, bytes.Repeat([]byte{byte('a' + k)}, rng.IntN(300)), nil)
	}
	raw := slices.Clone(bb.Seal(batch.None, -1, -1, -1))
	first := live[rng.IntN(len(live))]
	body := journal.Body{
		Length: uint32(len(raw)), CRC: uint32(raw[17])<<24 | uint32(raw[18])<<16 | uint32(raw[19])<<8 | uint32(raw[20]),
		Base: next[first], Epoch: 3,
	}
	if count > 1 {
		body.Note = t.addNote(fmt.Appendf(nil, "published with lsn %d", t.entry.LSN))
	}
	ids := []uint64{first}
	if second := live[rng.IntN(len(live))]; second != first {
		ids = append(ids, second)
	}
	for _, id := range ids {
		t.entry.Items = append(t.entry.Items, journal.IndexItem{
			Index: id, Base: next[id], Count: uint32(count), Body: uint32(len(t.entry.Bodies)), MaxTimeMS: t.entry.TimeMS,
		})
		next[id] += uint64(count)
	}
	t.entry.Bodies = append(t.entry.Bodies, body)
	t.bodies = append(t.bodies, raw)
}

// rig is a machine with persistsrv's shell on it and a logicsrv that follows a script.
type rig struct {
	t     testing.TB
	mem   *vfs.Mem // nil where fs is the operating system's
	fs    vfs.FS
	turns []turn
	now   int64
	set   Settings
	salts *rand.PCG

	ringA, ringC *shmqueue.Ring
	prodA, prodC *shmqueue.Producer
	consA        *shmqueue.Consumer
	sh           *Shell

	sent   int // turns put into ring C
	synced uint64
	told   uint64 // written
	endA   []ringEnd
	nonce  uint64
}

// ringEnd says what the bodies in ring A up to a position wait for.
type ringEnd struct {
	end, lsn uint64
	sync     bool
}

func smallSettings() Settings {
	return Settings{
		SegmentBytes: 8 << 10, SegmentSeconds: 3600, IndexEntries: 16, DiskReserveBytes: -1, PageFlushMS: 20,
		RetentionCheckMS: 50, FlushBytes: 16 << 10, RoundBytes: 4 << 10, AheadBytes: 1 << 10, CheckpointBytes: 6 << 10, CheckpointMS: 500,
	}
}

func newRig(t testing.TB, turns []turn) *rig {
	r := &rig{t: t, mem: vfs.NewMem(), turns: turns, now: 1_700_000_000_000, set: smallSettings(), nonce: 77, salts: rand.NewPCG(1, 2)}
	r.fs = r.mem
	r.boot()
	return r
}

// boot makes fresh rings, as after the machine's start. logicsrv goes on behind what the log has.
func (r *rig) boot() {
	r.ringA, r.ringC = heapRing(r.t, 1<<16, r.nonce), heapRing(r.t, 1<<16, r.nonce+1)
	r.nonce += 2
	var err error
	if r.prodA, err = r.ringA.Producer(); err == nil {
		if r.consA, err = r.ringA.Consumer(); err == nil {
			r.prodC, err = r.ringC.Producer()
		}
	}
	if err != nil {
		r.t.Fatal(err)
	}
	r.sent, r.endA, r.told = 0, nil, 0
}

func heapRing(t testing.TB, capacity, nonce uint64) *shmqueue.Ring {
	mem := make([]byte, shmqueue.MemorySize(capacity))
	if err := shmqueue.Format(mem, capacity, nonce); err != nil {
		t.Fatal(err)
	}
	ring, err := shmqueue.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// start starts persistsrv.
func (r *rig) start() error {
	sh, err := New(Options{FS: r.fs, RingA: r.ringA, RingC: r.ringC, Settings: r.set, Now: func() int64 { return r.now }, Salt: r.salts.Uint64})
	if err != nil {
		return err
	}
	r.sh = sh
	return nil
}

// send puts the next turns into the rings, as far as there is room.
func (r *rig) send(max int) {
	for range max {
		if r.sent >= len(r.turns) || !r.sendOne(&r.turns[r.sent]) {
			return
		}
		r.sent++
	}
}

func (r *rig) sendOne(t *turn) bool {
	e := t.entry
	e.Nonce = r.ringA.Nonce()
	e.Bodies = slices.Clone(e.Bodies)
	var size uint64
	for _, raw := range t.bodies {
		size += shmqueue.RecordSize(len(raw))
	}
	if r.prodA.Room() < 2*size+4096 || r.prodC.Room() < 16<<10 {
		return false
	}
	for i, raw := range t.bodies {
		slot, err := r.prodA.Claim(len(raw), uint16(ipc.TypeAppend), 0)
		if err != nil {
			r.t.Fatal(err)
		}
		copy(slot.Payload, raw)
		slot.Publish()
		e.Bodies[i].RingPos = slot.PayloadPos
	}
	r.put(ipc.TypeEntry, e.AppendRing(nil))
	for {
		rec, ok := r.consA.Next()
		if !ok {
			break
		}
		r.endA = append(r.endA, ringEnd{rec.End, e.LSN, e.Level == ipc.LevelDisk})
	}
	for part, b := range slices.Collect(slices.Chunk(t.state, 700)) {
		p := ipc.CheckpointPart{
			LSN: e.LSN, ResultsFrom: max(e.LSN, 4) - 3, Part: uint32(part), Parts: uint32((len(t.state) + 699) / 700), Bytes: b,
		}
		r.put(ipc.TypeCheckpoint, p.Append(nil))
	}
	return true
}

func (r *rig) put(typ ipc.Type, payload []byte) {
	if _, err := r.prodC.Put(uint16(typ), 0, payload); err != nil {
		r.t.Fatal(err)
	}
}

// follow reads the cursors as logicsrv does, and frees ring A by them.
func (r *rig) follow() {
	written, synced := r.ringC.Word(shmqueue.WordWritten).Load(), r.ringC.Word(shmqueue.WordSynced).Load()
	if written < r.told || synced < r.synced {
		r.t.Fatalf("cursors went back: written %d → %d, synced %d → %d", r.told, written, r.synced, synced)
	}
	if synced > written {
		r.t.Fatalf("synced %d is ahead of written %d", synced, written)
	}
	r.told, r.synced = written, synced
	for len(r.endA) > 0 && r.endA[0].lsn <= written && (!r.endA[0].sync || r.endA[0].lsn <= synced) {
		r.consA.Release(r.endA[0].end)
		r.endA = r.endA[1:]
	}
}

// step lets everybody do something. It returns what ends the process, or nil.
func (r *rig) step(n int) error {
	r.send(3)
	if _, err := r.sh.Step(); err != nil {
		return err
	}
	r.follow()
	if n%3 == 2 {
		if r.sh.SyncDue() {
			if err := r.sh.SyncLog(); err != nil {
				return err
			}
		}
		r.follow()
	}
	if n%4 == 3 && r.sh.MaintainDue() {
		if err := r.sh.Maintain(); err != nil {
			return err
		}
		r.follow()
	}
	r.now += 7
	return nil
}

// done says whether the whole script is durable.
func (r *rig) done() bool { return r.synced == uint64(len(r.turns)) }

// alive runs f and says whether the process has survived it.
func alive(f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			err, isErr := v.(error)
			if !isErr || !errors.Is(err, vfs.ErrKilled) {
				panic(v)
			}
			ok = false
		}
	}()
	f()
	return true
}

// run drives the script to its end, restarting persistsrv whenever it dies. died is told.
func (r *rig) run(died func()) {
	r.t.Helper()
	for n, starts := 0, 0; !r.done(); n++ {
		if n > 20000 || starts > 200 {
			r.t.Fatalf("does not come to an end: written %d, synced %d of %d", r.told, r.synced, len(r.turns))
		}
		var err error
		ok := alive(func() {
			if r.sh == nil {
				starts++
				if err = r.start(); err != nil {
					return
				}
			}
			err = r.step(n)
		})
		if ok && err == nil {
			continue
		}
		if ok && errors.Is(err, ErrFull) {
			continue // New waits for room
		}
		r.sh = nil
		r.mem.Kill()
		died()
	}
}

// logged reads the log and compares it with the script: the entries that are there must be
// the script's first ones, whole.
func (r *rig) logged() int {
	r.t.Helper()
	n, err := r.readLog()
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func (r *rig) readLog() (last int, err error) {
	rd, err := commitlog.NewReader(vfs.Reading(r.fs), 0)
	if err != nil {
		return 0, err
	}
	defer rd.Close()
	rd.VerifyBodies(true)
	for {
		e, _, err := rd.Next()
		if err == io.EOF {
			return last, nil
		}
		var d *commitlog.Damage
		if errors.As(err, &d) && d.Removed {
			continue
		}
		if err != nil {
			return last, fmt.Errorf("after lsn %d: %w", last, err)
		}
		if err := r.matches(rd, e); err != nil {
			return last, err
		}
		last = int(e.LSN)
	}
}

func (r *rig) matches(rd *commitlog.Reader, e *journal.Entry) error {
	want := &r.turns[e.LSN-1]
	if !bytes.Equal(e.Events, want.entry.Events) || len(e.Bodies) != len(want.bodies) ||
		!slices.Equal(e.Items, want.entry.Items) || !slices.Equal(e.Ops, want.entry.Ops) || !sameRefs(e.Refs, want.entry.Refs) || e.Level != want.entry.Level {
		return fmt.Errorf("lsn %d is not the script's:\n%+v\n%+v", e.LSN, e, want.entry)
	}
	for i, raw := range want.bodies {
		got, err := rd.Body(i, nil)
		if err != nil {
			return err
		}
		if !bytes.Equal(got[16:], raw[16:]) {
			return fmt.Errorf("lsn %d body %d has other bytes", e.LSN, i)
		}
		if base := beUint64(got); base != want.entry.Bodies[i].Base {
			return fmt.Errorf("lsn %d body %d has base offset %d, want %d", e.LSN, i, base, want.entry.Bodies[i].Base)
		}
	}
	return nil
}

func beUint64(b []byte) (v uint64) {
	for _, c := range b[:8] {
		v = v<<8 | uint64(c)
	}
	return v
}

// checkIndexes compares all indexes with the model after n turns, and every batch that an
// index leads to with what was produced.
func (r *rig) checkIndexes(n int) {
	r.t.Helper()
	if err := r.compareIndexes(n); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) compareIndexes(n int) error {
	fsys := vfs.Reading(r.fs)
	ids, err := commitlog.ListIndexes(fsys)
	if err != nil {
		return err
	}
	log := commitlog.NewBatchReader(fsys)
	defer log.Close()
	model := r.model(n)
	if len(ids) != len(model) {
		return fmt.Errorf("indexes %v, the model has %d", ids, len(model))
	}
	for _, id := range ids {
		start, entries, err := commitlog.ReadIndex(fsys, id)
		if err != nil {
			return err
		}
		want := model[id]
		if want == nil || start != want.start {
			return fmt.Errorf("index %d starts at %d, the model says %+v", id, start, want)
		}
		got := slices.DeleteFunc(entries, func(e commitlog.Entry) bool { return e.End() <= start })
		left := slices.DeleteFunc(slices.Clone(want.entries), func(e modelEntry) bool { return e.End() <= start })
		if len(got) != len(left) {
			return fmt.Errorf("index %d has %d entries from %d on, the model %d", id, len(got), start, len(left))
		}
		for i := range got {
			if err := compareEntry(log, id, got[i], &left[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func compareEntry(log *commitlog.BatchReader, id uint64, got commitlog.Entry, want *modelEntry) error {
	is := want.Entry
	is.Position, is.Origin, is.Note = got.Position, got.Origin, got.Note
	if got != is {
		return fmt.Errorf("index %d: entry %+v, the model %+v", id, got, is)
	}
	b, err := log.Batch(got)
	if err != nil {
		return fmt.Errorf("index %d: %+v: %w", id, got, err)
	}
	if _, err := batch.Validate(b); err != nil || beUint64(b) != got.Base() || !bytes.Equal(b[16:], want.raw[16:]) {
		return fmt.Errorf("index %d: %+v leads to a batch with base %d, or to another one: %w", id, got, beUint64(b), err)
	}
	if err := compareNote(log, got.Note, want.note); err != nil {
		return fmt.Errorf("index %d: %+v: its note: %w", id, got, err)
	}
	return nil
}
