package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
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
// anything, the first written the death of the process, and an index that lists them.
type model struct {
	bodies          [][]byte // of LSN i+1
	written, synced int
}

func (m *model) powerCut(last int) { m.bodies, m.written, m.synced = m.bodies[:last], last, last }

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
}

func (m *machine) open(rewrite bool) {
	var err error
	m.log, err = Open(Options{
		FS: m.mem, Now: func() int64 { return m.now }, Salt: salts.Uint64, Warm: m.warm, Rewrite: rewrite, SyncedHint: m.hint(),
		Settings: Settings{
			SegmentBytes: 3000, SegmentMS: 10_000, IndexEntries: 4, IndexCheckpointBytes: 2500, IndexCheckpointMS: 1000,
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

// add appends an entry with one batch for index 1, and now and then a trim of it.
func (m *machine) add(size int, trim bool) {
	lsn := uint64(len(m.model.bodies) + 1)
	var b batch.Builder
	b.Add(m.now, nil, bytes.Repeat([]byte{byte(lsn)}, size), nil)
	raw := bytes.Clone(b.Seal(batch.None, -1, -1, -1))
	e := journal.Entry{
		LSN: lsn, Term: 1, Level: ipc.LevelDisk, TimeMS: m.now,
		Items:  []journal.IndexItem{{Index: 1, Base: lsn - 1, Count: 1, MaxTimeMS: m.now}},
		Bodies: []journal.Body{{RingPos: lsn, Length: uint32(len(raw)), CRC: uint32(raw[17])<<24 | uint32(raw[18])<<16 | uint32(raw[19])<<8 | uint32(raw[20]), Base: lsn - 1}},
	}
	if trim {
		e.Ops = []journal.IndexOp{{Kind: journal.OpTrim, Index: 1, Offset: lsn / 2}}
	}
	src := func(pos uint64, n int) []byte { return raw }
	res, err := m.log.Add(&e, src)
	if err == nil && res == Blocked {
		m.flush()
		res, err = m.log.Add(&e, src)
	}
	if err != nil || res != Added {
		m.t.Fatalf("add lsn %d: %d %v", lsn, res, err)
	}
	m.model.bodies = append(m.model.bodies, raw)
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
	m.model.bodies = m.model.bodies[:m.model.written]
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

// check compares log and index with the model.
func (m *machine) check() {
	fsys := vfs.Reading(m.mem)
	start, entries, err := commitlog.ReadIndex(fsys, 1)
	if err != nil && m.model.written > 0 {
		m.t.Fatal(err)
	}
	for i := range m.model.bodies[:m.model.written] {
		if uint64(i) < start {
			continue
		}
		k := len(entries) - m.model.written + i
		if k < 0 || entries[k].Offset != uint64(i) {

			m.t.Fatalf("offset %d of %d is not in the index: start %d, %d entries", i, m.model.written, start, len(entries))
		}
		b, err := commitlog.ReadBatch(fsys, entries[k])
		if err != nil || !bytes.Equal(b[16:], m.model.bodies[i][16:]) {
			m.t.Fatalf("offset %d: other bytes: %v", i, err)
		}
	}
	if start > uint64(m.model.written) {
		m.t.Fatalf("the index starts at %d of %d", start, m.model.written)
	}
	if err := m.readLog(); err != nil {
		m.t.Fatal(err)
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
		m := &machine{t: rt, mem: vfs.NewMem()}
		m.open(false)
		rt.Repeat(map[string]func(*rapid.T){
			"add": func(rt *rapid.T) {
				for range rapid.IntRange(1, 6).Draw(rt, "entries") {
					m.add(rapid.IntRange(0, 900).Draw(rt, "size"), rapid.IntRange(0, 9).Draw(rt, "trim") == 0)
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
			"big entry": func(*rapid.T) { m.add(5000, false) },
			"age":       func(*rapid.T) { m.now += 20_000 },
			"kill":      func(*rapid.T) { m.kill(false) },
			"doubt":     func(*rapid.T) { m.kill(true) },
			"fail sync": func(*rapid.T) { m.failSync() },
			"power cut": func(rt *rapid.T) { m.powerCut(rapid.Uint64().Draw(rt, "dice")) },
			"":          func(*rapid.T) { m.check() },
		})
	})
}
