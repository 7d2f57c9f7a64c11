package shell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// rig is a shell between the ends of its neighbours, which the test moves by hand: records go
// into ring 12345, come out of ring 54321, and a log writer of a few lines takes ring 65432.
type rig struct {
	t       testing.TB
	a, b, c *shmqueue.Ring
	in      *shmqueue.Producer
	out     *shmqueue.Consumer
	entries *shmqueue.Consumer
	dir     string
	now     int64
	read    func() // called behind each reading of the clock; nil: nothing happens then
	shell   *Shell
	limits  Limits
	parked  []Parked
	lsn     uint64 // written to the log
	blob    []byte // of a checkpoint under way
	stored  int    // checkpoints
	req     uint64
}

func newRig(t testing.TB, capacityB uint64) *rig {
	t.Helper()
	return newRigOf(t, 1<<16, capacityB, 1<<16)
}

// newRigOf is newRig with the capacities of all three rings.
func newRigOf(t testing.TB, capacityA, capacityB, capacityC uint64) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), now: 1_700_000_000_000}
	ring := func(capacity, nonce uint64) *shmqueue.Ring {
		mem := make([]byte, shmqueue.MemorySize(capacity))
		r.must(shmqueue.Format(mem, capacity, nonce))
		q, err := shmqueue.Open(mem)
		r.must(err)
		return q
	}
	r.a, r.b, r.c = ring(capacityA, 11), ring(capacityB, 22), ring(capacityC, 33)
	var err error
	r.in, err = r.a.Producer()
	r.must(err)
	r.out, err = r.b.Consumer()
	r.must(err)
	r.entries, err = r.c.Consumer()
	r.must(err)
	r.must(os.MkdirAll(filepath.Join(r.dir, commitlog.LogDir), 0o755))
	r.must(os.MkdirAll(filepath.Join(r.dir, commitlog.CheckpointDir), 0o755))
	h := commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 30, Salt: segmentSalt}
	r.must(os.WriteFile(r.segment(), h.Append(nil), 0o644))
	r.c.Word(shmqueue.WordStatus).Store(shmqueue.StatusRecovered)
	return r
}

// segmentSalt is that of the rig's one segment.
const segmentSalt = 0x0123456789abcdef

func (r *rig) segment() string { return filepath.Join(r.dir, commitlog.SegmentName(0)) }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// start makes a shell and steps it until it runs. What the log writer has to do for that, it does.
func (r *rig) start() Recovery {
	r.t.Helper()
	s, err := New(Options{
		RingA: r.a, RingB: r.b, RingC: r.c, LogFS: commitlog.DirFS(r.dir),
		Now: r.clock, Limits: r.limits,
		Park: func(p Parked) { r.parked = append(r.parked, p) },
	})
	r.must(err)
	r.shell = s
	for range 1000 {
		_, err := s.Step()
		r.must(err)
		if rec, ok := s.Recovered(); ok {
			return rec
		}
		r.write()
	}
	r.t.Fatal("the shell does not come up")
	return Recovery{}
}

// clock is the shell's.
func (r *rig) clock() int64 {
	now := r.now
	if r.read != nil {
		r.read()
	}
	return now
}

// settle steps the shell, and what it has beside it, until nothing is left to do.
func (r *rig) settle() {
	r.t.Helper()
	for range 1000 {
		progress, err := r.shell.Step()
		r.must(err)
		if !r.shell.StepReplay() && !progress {
			return
		}
	}
	r.t.Fatal("the shell does not come to rest")
}

// write appends all of ring 65432 to the log and moves written; it releases what needs no sync.
func (r *rig) write() {
	r.t.Helper()
	for {
		rec, ok := r.entries.Next()
		if !ok {
			break
		}
		switch ipc.Type(rec.Type) {
		case ipc.TypeEntry:
			e, err := journal.DecodeRing(rec.Payload)
			r.must(err)
			r.append(&e)
		case ipc.TypeCheckpoint:
			r.part(rec.Payload)
		}
		r.entries.Release(rec.End)
	}
	r.c.Word(shmqueue.WordWritten).Store(r.lsn)
	r.c.Word(shmqueue.WordRead).Store(r.entries.Read())
}

// part gathers a checkpoint, and stores it with its last part.
func (r *rig) part(record []byte) {
	r.t.Helper()
	p, err := ipc.DecodeCheckpointPart(record)
	r.must(err)
	if p.Part == 0 {
		r.blob = r.blob[:0]
	}
	if r.blob = append(r.blob, p.Bytes...); p.Part+1 == p.Parts {
		file := filepath.Join(r.dir, commitlog.CheckpointName(p.LSN))
		r.must(os.WriteFile(file, journal.AppendCheckpoint(nil, p.LSN, p.ResultsFrom, r.blob), 0o644))
		r.stored++
	}
}

func (r *rig) append(e *journal.Entry) {
	r.t.Helper()
	if e.LSN <= r.lsn {
		return
	}
	if e.LSN != r.lsn+1 {
		r.t.Fatalf("entry lsn=%d behind lsn=%d", e.LSN, r.lsn)
	}
	st, err := os.Stat(r.segment())
	r.must(err)
	h := commitlog.SegmentHeader{Salt: segmentSalt}
	b := e.AppendDisk(nil, r.c.Word(shmqueue.WordSynced).Load(), h.EntrySalt(uint64(st.Size()-commitlog.SegmentHeaderSize)))
	for i := range e.Bodies {
		body := r.a.At(e.Bodies[i].RingPos, int(e.Bodies[i].Length))
		if body == nil {
			r.t.Fatalf("body %d of lsn=%d has left ring 12345", i, e.LSN)
		}
		prefix := e.Bodies[i].Prefix()
		b = append(append(b, prefix[:]...), body[journal.BodyPrefixSize:]...)
	}
	b = append(b, make([]byte, e.DiskSize()-len(b))...)
	f, err := os.OpenFile(r.segment(), os.O_WRONLY|os.O_APPEND, 0)
	r.must(err)
	_, err = f.Write(b)
	r.must(errors.Join(err, f.Close()))
	r.lsn = e.LSN
}

// sync moves synced to written.
func (r *rig) sync() { r.c.Word(shmqueue.WordSynced).Store(r.c.Word(shmqueue.WordWritten).Load()) }

// replies takes everything out of ring 54321, as text.
func (r *rig) replies() (out []string) {
	for {
		rec, ok := r.out.Next()
		if !ok {
			return out
		}
		out = append(out, r.text(ipc.Type(rec.Type), rec.Payload))
		r.out.Release(rec.End)
	}
}

func (r *rig) text(typ ipc.Type, b []byte) string {
	r.t.Helper()
	switch typ {
	case ipc.TypeMarker:
		m, err := ipc.DecodeMarker(b)
		r.must(err)
		return fmt.Sprintf("marker term=%d ask=%d", m.Term, m.Ask)
	case ipc.TypeAppended:
		m, err := ipc.DecodeAppended(b)
		r.must(err)
		return fmt.Sprintf("appended req=%d base=%d", m.Req, m.Base)
	case ipc.TypeError:
		m, err := ipc.DecodeError(b)
		r.must(err)
		return fmt.Sprintf("error req=%d code=%d %s", m.Req, m.Code, m.Text)
	case ipc.TypeAdminReply:
		m, err := ipc.DecodeAdminReply(b)
		r.must(err)
		return fmt.Sprintf("admin req=%d", m.Req)
	}
	return fmt.Sprintf("type %d", typ)
}

func (r *rig) head() ipc.Head {
	r.req++
	return ipc.Head{Epoch: 1, Conn: 256, Req: r.req}
}

func (r *rig) put(typ ipc.Type, parts ...[]byte) {
	r.t.Helper()
	_, err := r.in.Put(uint16(typ), 0, parts...)
	r.must(err)
}

// topic creates a topic of one partition; the index is 2 in an empty broker.
func (r *rig) topic() {
	body := admin.CreateTopic{Name: "t", Partitions: 1, Level: ipc.LevelDisk}
	m := ipc.Admin{Head: r.head(), Command: uint16(admin.CmdCreateTopic), Body: body.Append(nil)}
	r.put(ipc.TypeAdmin, m.Append(nil))
}

// produce puts one batch of a record.
func (r *rig) produce(level ipc.Level) {
	var b batch.Builder
	b.Add(r.now, nil, []byte("value"), nil)
	body := b.Seal(batch.None, batch.NoProducer, -1, -1)
	meta, err := batch.Validate(body)
	r.must(err)
	m := ipc.Append{Head: r.head(), Index: topicIndex, Level: level, Batch: meta}
	r.put(ipc.TypeAppend, m.Append(nil), body)
}

const topicIndex = 2
