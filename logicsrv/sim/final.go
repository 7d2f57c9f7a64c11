//go:build failpoints

package sim

import (
	"errors"
	"fmt"
	"strings"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
)

// maxDrain is how many rounds everything may take to come to rest.
const maxDrain = 6000

// settle stops the faults and waits until nothing is left to be done.
func (w *world) settle() {
	w.calm, w.calmMS = true, w.now
	w.disk.full, w.disk.unreadable, w.disk.failSyncs = false, false, 0
	clear(w.fuse[:])
	clear(w.stalled[:])
	clear(w.down[:])
	w.trace("the faults stop")
	for _, c := range w.clients {
		switch c := c.(type) {
		case *producer:
			c.stopped = true
		case *consumer:
			c.stopped = true
		case *fetcher:
			c.stopped = true
		case *member:
			c.stopped = true
		case *peer:
			c.stopped = true
		case *administrator:
			c.stopped = true
		case *puller:
			c.stopped = true
		case *transactor:
			c.stopped = true
		case *teller:
			c.stopped = true
		case *steward:
			c.stopped = true
		case *curator:
			c.stopped = true
		case *keeper:
			c.stopped = true
		case *governor:
			c.stopped = true
		case *hermit:
			c.stopped = true
		}
	}
	w.admin.describeQueues() // whoever does not know of a queue that is there does not drain it
	w.drain("the end of what was under way", w.allSettled)
	w.drain("partition without an owner in a group", w.sharedOut)
	w.poke()
	w.drain("the answer to every parked wait", func() bool { return w.allSettled() && w.nobodyWaits() })
	w.drain("end of every message", func() bool { return w.model.Rest() == "" })
	w.drain("every cursor at the last entry", w.allDurable)
	w.admin.describeQueues()
	w.drain("the description of the queues", w.allSettled)
	for _, q := range w.admin.report.Queues {
		for _, x := range q.Indexes {
			if q.Ready != 0 || q.Unacked != 0 || q.Leased != 0 || q.Dead != 0 || x.Floor != x.Next {
				w.fail("queue %s does not drain: %+v", q.Name, q)
			}
		}
	}
}

// prepare lets the administrator finish before the faults begin.
func (w *world) prepare() {
	if !w.plan.calmStart {
		return
	}
	everybody := w.clients
	w.clients = []client{w.admin}
	w.drain("the end of the preparations", w.admin.done)
	w.clients = everybody
}

// drain runs everything in rounds until done holds in a round in which no tier had work.
func (w *world) drain(what string, done func() bool) {
	for range maxDrain {
		w.step++
		w.now += 3
		progress := false
		for t := range tiers {
			progress = w.stepTier(t) || progress
		}
		w.stepSync()
		w.stepCompact()
		w.stepNotes()
		progress = w.stepReplay() || progress
		for _, c := range w.clients {
			if w.conn != nil {
				c.tick()
			}
		}
		if !progress {
			if done() {
				return
			}
			w.now += 20 // nothing happens but by the clock
		}
	}
	w.fail("after %d quiet rounds there is still no %s\n%s", maxDrain, what, w.standing())
}

func (w *world) allSettled() bool {
	for _, c := range w.clients {
		if !c.settled() {
			return false
		}
	}
	return true
}

func (w *world) nobodyWaits() bool {
	for _, c := range w.clients {
		if f, ok := c.(*fetcher); ok && f.waiting {
			return false
		}
	}
	return true
}

func (w *world) allDurable() bool {
	if w.logic == nil {
		return false
	}
	lsn, _, _ := w.logic.Digest()
	return w.ringC.Word(shmqueue.WordSynced).Load() == lsn && w.ringA.Head() == w.ringA.Tail()
}

// poke stores one more message in every partition, so that every parked wait has an answer.
func (w *world) poke() {
	if w.theme != nil {
		return // nobody waits
	}
	for _, t := range topicSpec {
		for i := range int(t.partitions) {
			p := &producer{topic: t.name, partition: i, window: 1}
			w.addProducer(p)
			p.window = 1
			p.once, p.stopped = true, true
		}
	}
}

// standing describes a world that does not come to rest.
func (w *world) standing() string {
	var b strings.Builder
	ring := func(name string, r *shmqueue.Ring) {
		fmt.Fprintf(&b, "ring %s: head %d tail %d capacity %d\n", name, r.Head(), r.Tail(), r.Capacity())
	}
	ring("A", w.ringA)
	ring("B", w.ringB)
	ring("C", w.ringC)
	for i := shmqueue.Word(0); i < 6; i++ {
		fmt.Fprintf(&b, "word %v: A %d B %d C %d\n", i, w.ringA.Word(i).Load(), w.ringB.Word(i).Load(), w.ringC.Word(i).Load())
	}
	if w.logic != nil {
		fmt.Fprintf(&b, "logicsrv: %s\n", w.logic.Standing())
	}
	fmt.Fprintf(&b, "not done: %s\n", w.model.Rest())
	for _, c := range w.clients {
		l := c.side()
		fmt.Fprintf(&b, "%s settled=%v", l.name, c.settled())
		switch c := c.(type) {
		case *producer:
			fmt.Fprintf(&b, " open=%d asking=%v broken=%v", len(c.open), c.asking, c.broken)
		case *consumer:
			fmt.Fprintf(&b, " sub=%+v asked=%v leaving=%v verdicts=%d", c.sub, c.asked, c.leaving, c.verdicts)
		case *fetcher:
			fmt.Fprintf(&b, " pos=%d waiting=%v committing=%v asking=%v", c.pos, c.waiting, c.committing, c.asking)
		case *member:
			fmt.Fprintf(&b, " id=%s epoch=%d owned=%v told=%v asking=%v full=%v", c.id, c.epoch, c.owned, c.told, c.asking, c.full)
		case *peer:
			fmt.Fprintf(&b, " id=%s phase=%d generation=%d owned=%v asking=%v", c.id, c.phase, c.generation, c.owned, c.asking)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// judge holds everything that is stored against everything that was said. REQUIRES: settle.
func (w *world) judge() {
	w.follow()
	w.checkClaims()
	w.compareLog()
	for _, m := range w.messages {
		w.judgeMessage(m)
	}
	w.judgeBank()
	lsn, live, _ := w.logic.Digest()
	if lsn != w.log.last {
		w.fail("logicsrv is at lsn=%d, the log at lsn=%d", lsn, w.log.last)
	}
	w.judgeReplay(live)
	w.judgeFiles()
	w.checkWashed()
}

func (w *world) judgeMessage(m *message) {
	switch {
	case m.refused && m.lsn != 0:
		w.fail("%v was refused and is stored", m)
	case m.acked && !m.lost && m.lsn == 0 && (m.index != 0 || m.queues > 0) && !w.dropped(m):
		w.fail("%v was acknowledged and is not stored", m)
	case m.acked && !m.lost && m.lsn != 0:
		w.checkPlaces(m)
	}
	for _, p := range m.places {
		x := w.shadow(p.index)
		if w.isQueue(p.index) && x.deleted == 0 {
			w.judgeConsumed(m, p)
		}
	}
}

// judgeConsumed: what stood in a queue was delivered to somebody who could take it.
func (w *world) judgeConsumed(m *message, p place) {
	for o := p.base; o < p.base+uint64(m.meta.Count); o++ {
		if w.times[spot{p.index, place{p.index, o}}] == 0 {
			w.fail("%v: offset %d of queue %d is acknowledged and was never delivered", m, o, p.index)
		}
	}
}

func (w *world) isQueue(index uint64) bool {
	for _, q := range []string{"q-disk", "q-page", "q-memory"} {
		if w.indexOf(q, 0) == index {
			return true
		}
	}
	return false
}

// judgeReplay rebuilds the state from the log, and from the newest checkpoint.
func (w *world) judgeReplay(live uint64) {
	cfg := w.logicOptions().Core
	first := uint64(0)
	all := core.New(cfg)
	w.readLog(0, func(_ *commitlog.Reader, e *journal.Entry, _ commitlog.Place) {
		if first == 0 {
			first = e.LSN
		}
		if first == 1 && e.LSN == all.LSN()+1 {
			w.must(all.Replay(e), fmt.Sprintf("replay lsn=%d", e.LSN))
		}
	})
	if all.LSN() == w.log.last && all.Digest() != live {
		w.fail("replayed from the beginning the state has digest %x, live it is %x", all.Digest(), live)
	}
	was := w.running
	w.running = observer
	blob, lsn, _, err := commitlog.LatestCheckpoint(w.disk.read())
	w.running = was
	if errors.Is(err, commitlog.ErrNoCheckpoint) {
		return
	}
	w.must(err, "read the newest checkpoint")
	w.stats.checkpoints++
	loaded, err := core.Load(cfg, blob)
	w.must(err, "load the newest checkpoint")
	if was, ok := w.digests[lsn]; ok && loaded.Digest() != was {
		w.fail("checkpoint lsn=%d has digest %x, live it was %x", lsn, loaded.Digest(), was)
	}
	w.readLog(lsn+1, func(_ *commitlog.Reader, e *journal.Entry, _ commitlog.Place) {
		w.must(loaded.Replay(e), fmt.Sprintf("replay lsn=%d behind checkpoint lsn=%d", e.LSN, lsn))
	})
	if loaded.Digest() != live {
		w.fail("replayed from checkpoint lsn=%d the state has digest %x, live it is %x", lsn, loaded.Digest(), live)
	}
}

// judgeFiles lets the inspection tool's verification look at the log and its indexes.
func (w *world) judgeFiles() {
	was := w.running
	w.running = observer
	defer func() { w.running = was }()
	sum, err := commitlog.Verify(w.disk.read(), func(f commitlog.Finding) {
		if f.Severity == commitlog.Error {
			w.fail("verify: %s position %d: %s", f.File, f.Position, f.What)
		}
	})
	w.must(err, "verify the data directory")
	if sum.Segments > 0 && sum.LastLSN != w.log.last {
		w.fail("verify ends at lsn=%d, the log at lsn=%d", sum.LastLSN, w.log.last)
	}
	for index, want := range w.model.Starts() {
		start, _, err := commitlog.ReadIndex(w.disk.read(), index)
		w.must(err, "read an index")
		if start != want {
			w.fail("index %d begins at %d, records below %d were deleted", index, start, want)
		}
	}
}
