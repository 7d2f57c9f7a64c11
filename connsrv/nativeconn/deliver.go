package nativeconn

import (
	"errors"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/protocol/selector"
	"github.com/trimq/trimq/shmqueue"
)

// Messages of queues on their way to the client: a run of offsets of one index, which logicsrv has
// given, becomes DELIVER frames, one for each stored batch and, under a filter, for each part of
// one that matches. What does not match, or is no longer there, is skipped: done with, and the
// client hears nothing of it.

// delivery is to whom messages go, and how.
type delivery struct {
	sub         *session.Sub // in whose hand they are
	correlation uint64       // of the PULL that they answer
	lease       uint64       // under which they are: in no hand
	autoAck     bool
	counter     shmqueue.CounterID

	attempts uint16 // of the run that is being sent
	note     session.Note
	sent     uint32 // messages, so far
	skipped  []ipc.Range
}

const (
	// maxSkips is how many ranges are skipped before the record of that is put.
	maxSkips = 1024
	// siftBytes is what filters may cost at a time, before other connections have their turn.
	siftBytes = 8 << 20
)

// sendRun sends what is left of a run, batch by batch; false: the link was crowded before its end,
// or the filter has cost enough for now. With an error it has come to what cannot be read.
func (c *Conn) sendRun(d *delivery, run *ipc.PulledRun) (done bool, err error) {
	d.attempts = run.Attempts
	first, sent := run.First, d.sent
	enough := c.lane.Sifted() + siftBytes
	for run.Count > 0 && err == nil && !c.link.Crowded() && !c.asking {
		if c.lane.Sifted() >= enough {
			c.rest()
			break
		}
		if err = c.sendBatch(d, run); len(d.skipped) >= maxSkips {
			c.settleSent(d, run.Index, first, run.First)
			first = run.First
		}
	}
	c.settleSent(d, run.Index, first, run.First)
	c.lane.Counters.Add(d.counter, uint64(d.sent-sent))
	return run.Count == 0, err
}

// settleSent passes the verdicts that are connsrv's on [first, next): on what was sent of it, and
// on what was skipped. connsrv acknowledges what was sent to who wants it so, not logicsrv, because it alone
// knows what it has seen: a logicsrv that died between a delivery and its ack would hand the
// messages out a second time.
func (c *Conn) settleSent(d *delivery, index, first, next uint64) {
	if d.autoAck {
		c.putVerdict(d.sub, index, d.lease, ipc.VerdictAck, except(c.lane.Ranges(), first, next, d.skipped))
	}
	if len(d.skipped) == 0 {
		return
	}
	c.putVerdict(d.sub, index, d.lease, ipc.VerdictSkip, d.skipped)
	n := countOf(d.skipped)
	d.sub.Skipped += n
	c.lane.Counters.Add(shmqueue.ConnSkipped, n)
	d.skipped = d.skipped[:0]
}

// except appends [first, next) without the ranges in out, which lie in it and in order.
func except(dst []ipc.Range, first, next uint64, out []ipc.Range) []ipc.Range {
	for _, x := range out {
		if x.First > first {
			dst = append(dst, ipc.Range{First: first, Count: uint32(x.First - first)})
		}
		first = x.First + uint64(x.Count)
	}
	if first < next {
		dst = append(dst, ipc.Range{First: first, Count: uint32(next - first)})
	}
	return dst
}

// took moves a run behind its first count messages.
func took(run *ipc.PulledRun, count uint32) {
	run.First += uint64(count)
	run.Count -= count
}

// skip notes that the first count messages of a run are not for the client.
func (d *delivery) skip(run *ipc.PulledRun, count uint32) {
	if n := len(d.skipped) - 1; n >= 0 && d.skipped[n].First+uint64(d.skipped[n].Count) == run.First {
		d.skipped[n].Count += count
	} else {
		d.skipped = append(d.skipped, ipc.Range{First: run.First, Count: count})
	}
	took(run, count)
}

// sendBatch sends what a run has of the batch that holds its first message.
func (c *Conn) sendBatch(d *delivery, run *ipc.PulledRun) error {
	r := c.lane.Reading()
	if err := c.lane.ReadStored(r, run.Index, run.First, run.First+uint64(run.Count)); err != nil {
		return c.skipGone(d, run, err)
	}
	if gone := uint32(r.From - run.First); gone > 0 {
		d.skip(run, gone) // by compaction
	}
	if len(r.Spans) == 0 {
		return nil
	}
	count := uint32(min(r.End, run.First+uint64(run.Count)) - run.First)
	fate, err := c.lane.Fate(r, run.Index)
	if err != nil || fate != session.FateKept {
		if fate == session.FateDropped {
			d.skip(run, count)
		} else if err == nil {
			c.askAborted(run.Index, r.Base)
		}
		r.Release()
		return err
	}
	d.note = c.note(run, r)
	if d.sub.Filter == nil {
		c.sendPart(d, r, run, count)
	} else {
		c.sendMatching(d, r, run, d.sub.Filter, count)
	}
	d.note.Release()
	r.Release()
	return nil
}

// skipGone skips what lies below the start of its index: retention has removed it from the topic,
// or somebody has acknowledged it meanwhile, who had it over an earlier connection. Any other error
// stands.
func (c *Conn) skipGone(d *delivery, run *ipc.PulledRun, err error) error {
	var e *errcode.Error
	if !errors.As(err, &e) || e.Code != errcode.OffsetOutOfRange {
		return err
	}
	start, startErr := c.lane.StartOf(run.Index)
	if startErr != nil || start <= run.First {
		return err
	}
	d.skip(run, uint32(min(uint64(run.Count), start-run.First)))
	if next := run.First; run.Count == 0 && next < start && d.lease == 0 {
		c.skipAhead(d.sub, run.Index, next, start)
	}
	return nil
}

// skipAhead tells logicsrv that what it has not handed out yet is gone as well, so that it does not
// come in small portions. Should it refuse, it comes so.
func (c *Conn) skipAhead(s *session.Sub, index, next, start uint64) {
	const most = 1 << 24
	record := ipc.Ack{
		Head: c.head(0), Sub: s.ID, Queue: s.Index, Index: index, Verdict: ipc.VerdictSkip, Recalls: s.Recalls,
		Ranges: []ipc.Range{{First: next, Count: uint32(min(start-next, most))}},
	}
	c.lane.PutLater(ipc.TypeAck, record.Append(c.lane.Scratch()))
}

// sendMatching sends what a filter lets pass of the next count messages of a run, and skips the
// rest. A batch that the filter cannot be put to (it is compressed in a way that is not read here,
// or damaged) passes as a whole: nothing is lost, and the client has to see what is wrong with it.
func (c *Conn) sendMatching(d *delivery, r *session.Reading, run *ipc.PulledRun, f *selector.Filter, count uint32) {
	runs, err := c.lane.Sift(f, &r.Spans[0], run.Index, ipc.Range{First: run.First, Count: count})
	if err != nil {
		c.sendPart(d, r, run, count)
		return
	}
	for i := range runs {
		switch {
		case !runs[i].Match:
			d.skip(run, runs[i].Count)
		case i > 0 && c.link.Crowded():
			return
		default:
			c.sendPart(d, r, run, runs[i].Count)
		}
	}
}

// sendPart sends the next count messages of a run, which lie in the batch that was read.
func (c *Conn) sendPart(d *delivery, r *session.Reading, run *ipc.PulledRun, count uint32) {
	if !c.deliverSlice(d, r, run.Index, run.First, int(count)) {
		c.deliver(d, r, run.Index, run.First, count)
	}
	d.sent += count
	took(run, count)
}

// note reads the note of a batch. One that is damaged keeps no message from its consumer.
func (c *Conn) note(run *ipc.PulledRun, r *session.Reading) session.Note {
	n, err := c.lane.Note(&r.Spans[0])
	if err == nil {
		return n
	}
	c.lane.Counters.Add(shmqueue.ConnNotesLost, 1)
	if c.lane.LostNote(r.Spans[0].Note) {
		c.settings.Log.Error("a message is delivered without its note", "index", run.Index, "offset", run.First, "err", err)
	}
	return session.Note{}
}

// putDeliver queues a DELIVER up to its batches, which the caller adds: size bytes. A note with
// which the frame would be larger than was agreed is left out.
func (c *Conn) putDeliver(d *delivery, m *native.Deliver, size int) {
	note := &d.note
	if native.FrameHeaderSize+native.DeliverSize+note.Len+size > c.settings.MaxFrame && note.Len > 0 {
		c.lane.Counters.Add(shmqueue.ConnNotesLost, 1)
		note = &session.Note{}
	}
	m.Attempts, m.NoteBytes = d.attempts, uint32(note.Len)
	if d.lease == 0 {
		m.Sub = d.sub.ID
	}
	b := c.link.Append(native.FrameHeaderSize + native.DeliverSize + len(note.Bytes))
	native.PutHeader(b, native.CmdDeliver, 0, d.correlation, native.DeliverSize+note.Len+size)
	m.Put(b[native.FrameHeaderSize:])
	if note.Bytes != nil {
		copy(b[native.FrameHeaderSize+native.DeliverSize:], note.Bytes)
	} else if note.Len > 0 {
		src, off := note.Source()
		c.link.WriteRange(src, off, note.Len)
	}
	c.lane.Counters.Add(shmqueue.ConnPushedBytes, uint64(size))
}

// filter gives a consumer its queue's filter. One that cannot be read, which logicsrv lets nobody
// make, keeps no message from it.
func (c *Conn) filter(s *session.Sub, m ipc.Filter) {
	f, err := c.lane.Filter(m)
	if err != nil {
		c.settings.Log.Error("a queue's filter cannot be read; everything passes", "queue", s.Index, "err", err)
	}
	s.Filter, s.Wanted = f, m
}
