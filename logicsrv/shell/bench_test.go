package shell

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/logicsrv/replay"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// crowd is the checkpoint of a state with 10,000 queues, 100,000 bindings, 100,000 producers and
// a topic whose one partition has the index that topicIndex names.
func crowd(tb testing.TB) (blob []byte, lsn uint64) {
	c := core.New(core.Config{})
	apply := func(events ...interface{ Append([]byte) []byte }) {
		var b []byte
		for _, ev := range events {
			b = ev.Append(b)
		}
		if err := c.Replay(&journal.Entry{LSN: c.LSN() + 1, Term: 1, Level: ipc.LevelDisk, Events: b}); err != nil {
			tb.Fatal(err)
		}
	}
	apply(&journal.TopicCreated{ID: 1, Name: "t", Level: ipc.LevelDisk, Indexes: []uint64{topicIndex}})
	apply(&journal.ExchangeCreated{ID: 3, Exchange: admin.CreateExchange{Name: "x", Type: admin.Topic}})
	for i := range 10_000 {
		apply(&journal.QueueCreated{Queue: uint64(4 + i), Name: fmt.Sprintf("queue-%05d", i), Level: ipc.LevelDisk, Settings: admin.QueueSettings{Durable: true}})
	}
	for i := range 100_000 {
		apply(&journal.BindingCreated{Binding: admin.CreateBinding{
			Exchange: "x", Queue: fmt.Sprintf("queue-%05d", i%10_000), RoutingKey: fmt.Sprintf("region-%d.shop.%d", i%7, i),
		}}, &journal.ProducerCreated{ProducerID: int64(i + 1)}, &journal.Routed{Sent: journal.Sent{Exchange: 3, Count: 1, ProducerID: int64(i + 1), TTLMS: ipc.NoTTL}})
	}
	return c.Checkpoint(nil), c.LSN()
}

// crowded is a running rig whose state is the crowd.
func crowded(b *testing.B) *rig {
	r := newRigOf(b, 1<<24, 1<<22, 1<<24)
	blob, lsn := crowd(b)
	r.must(os.WriteFile(filepath.Join(r.dir, commitlog.CheckpointName(lsn)), journal.AppendCheckpoint(nil, lsn, lsn+1, blob), 0o644))
	h := commitlog.SegmentHeader{BaseLSN: lsn + 1, Capacity: 1 << 30, Salt: segmentSalt}
	r.must(os.WriteFile(r.segment(), h.Append(nil), 0o644))
	r.lsn = lsn
	r.limits.CheckpointMS = 1 << 60
	r.limits.CheckpointEvents = 1 << 60
	r.limits.CheckpointBytes = 1 << 60
	r.limits.CheckpointGapMS, r.limits.ReplayShare = 1, 100
	r.write()
	r.start()
	r.shell.opt.Now = func() int64 { return time.Now().UnixMilli() }
	return r
}

// load is the neighbours of a shell at full load, without garbage of their own: what the garbage
// collector does is then the shell's doing.
type load struct {
	*rig
	log    *os.File
	sched  *os.File
	body   []byte
	meta   ipc.BatchMeta
	record []byte
	disk   []byte
	entry  journal.Entry
}

func newLoad(r *rig) *load {
	var builder batch.Builder
	builder.Add(r.now, nil, []byte("value"), nil)
	l := &load{rig: r, body: builder.Seal(batch.None, batch.NoProducer, -1, -1)}
	var err error
	l.meta, err = batch.Validate(l.body)
	r.must(err)
	l.log, err = os.OpenFile(r.segment(), os.O_RDWR, 0)
	r.must(err)
	r.t.Cleanup(func() { l.log.Close() })
	l.record = make([]byte, 1024)
	if l.sched, err = os.Open("/proc/thread-self/schedstat"); err == nil {
		r.t.Cleanup(func() { l.sched.Close() })
	}
	return l
}

// fill puts a turn's worth of inputs into ring 12345.
func (l *load) fill(inputs int) {
	for range inputs {
		m := ipc.Append{Head: l.head(), Index: topicIndex, Level: ipc.LevelPage, Batch: l.meta}
		l.record = m.Append(l.record[:0])
		l.put(ipc.TypeAppend, l.record, l.body)
	}
}

// drain is persistsrv and connsrv: what the shell has put into their rings is taken out.
func (l *load) drain() {
	for rec, ok := l.entries.Next(); ok; rec, ok = l.entries.Next() {
		switch ipc.Type(rec.Type) {
		case ipc.TypeEntry:
			l.store(rec.Payload)
		case ipc.TypeCheckpoint:
			l.part(rec.Payload)
		}
		l.entries.Release(rec.End)
	}
	l.c.Word(shmqueue.WordWritten).Store(l.lsn)
	l.c.Word(shmqueue.WordRead).Store(l.entries.Read())
	l.sync()
	for rec, ok := l.out.Next(); ok; rec, ok = l.out.Next() {
		l.out.Release(rec.End)
	}
}

// store appends an entry to the log.
func (l *load) store(payload []byte) {
	l.must(l.entry.DecodeRing(payload))
	end, err := l.log.Seek(0, io.SeekEnd)
	l.must(err)
	h := commitlog.SegmentHeader{Salt: segmentSalt}
	l.disk = l.entry.AppendDisk(l.disk[:0], l.lsn, h.EntrySalt(uint64(end-commitlog.SegmentHeaderSize)))
	for i := range l.entry.Bodies {
		prefix := l.entry.Bodies[i].Prefix()
		body := l.a.At(l.entry.Bodies[i].RingPos, int(l.entry.Bodies[i].Length))
		l.disk = append(append(l.disk, prefix[:]...), body[journal.BodyPrefixSize:]...)
	}
	for len(l.disk)%8 != 0 {
		l.disk = append(l.disk, 0)
	}
	_, err = l.log.Write(l.disk)
	l.must(err)
	l.lsn = l.entry.LSN
}

// BenchmarkLongestTurn makes b.N checkpoints of a large state under load, 5,000 turns of 64 inputs
// a second with a loop that never sleeps, and says how long the longest turn was for which such a checkpoint was to
// blame: the median of them, and the worst. Other work on the machine lengthens turns too; how
// much shows the first line, in which no checkpoint is made, and the figures without the time in
// which the loop's thread waited for a processor.
func BenchmarkLongestTurn(b *testing.B) {
	wanted := func(c *checkpoint) { c.wanted = true }
	for _, c := range []struct {
		name       string
		checkpoint func(c *checkpoint)
		process    bool
	}{
		{"without", nil, false},
		{"process", wanted, true},
		{"goroutine", wanted, false},
		{"live", func(c *checkpoint) { c.live = true }, false},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := crowded(b)
			if c.process {
				r.shell.replay.beside = replay.Process{Path: replay.Self, Data: r.dir}.Make
			}
			defer r.shell.replay.start(func() {})()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			l := newLoad(r)
			l.cycle(c.checkpoint) // the rings have been round, and memory is no longer new
			var longest, undisturbed, all []time.Duration
			b.ResetTimer()
			for range b.N {
				turns := l.cycle(c.checkpoint)
				longest = append(longest, 0)
				undisturbed = append(undisturbed, 0)
				for _, t := range turns {
					all = append(all, t.took)
					longest[len(longest)-1] = max(longest[len(longest)-1], t.took)
					undisturbed[len(longest)-1] = max(undisturbed[len(longest)-1], t.took-t.waited)
				}
			}
			b.StopTimer()
			report := func(of []time.Duration, what string) {
				slices.Sort(of)
				b.ReportMetric(float64(of[len(of)/2].Microseconds())/1000, "ms-median-"+what)
				b.ReportMetric(float64(of[len(of)-1].Microseconds())/1000, "ms-worst-"+what)
			}
			report(longest, "longest")
			report(undisturbed, "undisturbed")
			b.ReportMetric(float64(len(all))/float64(b.N), "turns")
			b.ReportMetric(0, "ns/op") // says nothing
		})
	}
}

// turnTime is how long a turn took, and how much of that its thread waited for a processor.
type turnTime struct{ took, waited time.Duration }

// cycle runs turns until a checkpoint is stored, at least for a while.
func (l *load) cycle(checkpoint func(c *checkpoint)) (turns []turnTime) {
	const least, most, pace = 300 * time.Millisecond, time.Minute, 200 * time.Microsecond
	if checkpoint != nil {
		checkpoint(&l.shell.checkpoint)
	}
	stored := l.stored
	for start := time.Now(); time.Since(start) < least || checkpoint != nil && l.stored == stored; {
		began := time.Now()
		turns = append(turns, l.turn())
		for time.Since(began) < pace {
		}
		if time.Since(start) > most {
			l.t.Fatal("the checkpoint does not come")
		}
	}
	return turns
}

// turn lets the shell take one turn and says how long it took.
func (l *load) turn() turnTime {
	l.fill(64)
	waited := l.waited()
	start := time.Now()
	_, err := l.shell.Step()
	took := time.Since(start)
	waited = l.waited() - waited
	l.must(err)
	l.drain()
	return turnTime{took, waited}
}

// waited is how long this thread has been ready to run and was not, as far as the kernel tells.
func (l *load) waited() (ns time.Duration) {
	n, _ := l.sched.ReadAt(l.record[:64], 0) // nil where the kernel does not count
	_, behind, _ := bytes.Cut(l.record[:n], []byte{' '})
	for _, digit := range behind {
		if digit < '0' || digit > '9' {
			break
		}
		ns = 10*ns + time.Duration(digit-'0')
	}
	return ns
}
