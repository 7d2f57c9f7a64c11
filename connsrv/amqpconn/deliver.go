package amqpconn

import (
	"errors"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Messages of queues on their way to the client: a run of offsets of one index, which logicsrv has
// given, becomes one basic.deliver for each. What does not match a queue's filter, or is no longer
// there, is skipped: done with, and the client hears nothing of it.

// opened is where reading has come to in the batch that was read last. Its CRC was right.
type opened struct {
	position uint64 // 0: none was read
	size     int
	place    batch.Place
	held     bool // the reader has its records in memory of its own: it was compressed
}

// spareBytes is how much memory for decompressed records is kept for the next batch.
const spareBytes = 4 << 20

// sendRun sends what is left of a run, as far as there is room. With an error it has come to what
// cannot be read.
func (c *Conn) sendRun(s *consumer, run *ipc.PulledRun) (err error) {
	first := run.First
	var skipped []ipc.Range
	for run.Count > 0 && err == nil && !c.link.Crowded() && !s.channel.asking {
		room := s.channel.room(s)
		if room == 0 {
			break
		}
		err = c.sendBatch(s, run, min(run.Count, room), &skipped)
	}
	c.count(s, run, run.First-first-countOf(skipped))
	c.settleSent(s, run.Index, first, run.First, skipped)
	return err
}

// settleSent passes the verdicts that are connsrv's on [first, next): on what was sent to who
// acknowledges nothing, and on what was skipped.
func (c *Conn) settleSent(s *consumer, index, first, next uint64, skipped []ipc.Range) {
	c.lane.Counters.Add(shmqueue.ConnDeliveries, next-first)
	if s.noAck {
		ranges := c.lane.Ranges()
		for _, x := range skipped {
			if x.First > first {
				ranges = append(ranges, ipc.Range{First: first, Count: uint32(x.First - first)})
			}
			first = x.First + uint64(x.Count)
		}
		if first < next {
			ranges = append(ranges, ipc.Range{First: first, Count: uint32(next - first)})
		}
		c.putVerdict(s, index, ipc.VerdictAck, ranges)
	}
	c.putVerdict(s, index, ipc.VerdictSkip, skipped)
	for _, x := range skipped {
		s.Skipped += uint64(x.Count)
		c.lane.Counters.Add(shmqueue.ConnSkipped, uint64(x.Count))
	}
}

// took moves a run behind its first count messages.
func took(run *ipc.PulledRun, count uint32) {
	run.First += uint64(count)
	run.Count -= count
}

// sendBatch sends up to most messages of a run, of the batch that holds its first one.
func (c *Conn) sendBatch(s *consumer, run *ipc.PulledRun, most uint32, skipped *[]ipc.Range) error {
	r := c.lane.Reading()
	if err := c.lane.ReadStored(r, run.Index, run.First, run.First+uint64(run.Count)); err != nil {
		return c.skipGone(s, run, skipped, err)
	}
	defer r.Release()
	if gone := uint32(r.From - run.First); gone > 0 { // by compaction
		*skipped = append(*skipped, ipc.Range{First: run.First, Count: gone})
		took(run, gone)
	}
	if len(r.Spans) == 0 {
		return nil
	}
	switch fate, err := c.lane.Fate(r, run.Index); {
	case err != nil:
		return err
	case fate == session.FateUnknown && s.getting != nil:
		from := r.Base
		s.getting.unknownFrom = &from
		return nil
	case fate == session.FateUnknown:
		s.channel.askAborted(run.Index, r.Base)
		return nil
	case fate == session.FateDropped:
		n := uint32(min(r.End-run.First, uint64(run.Count)))
		*skipped = append(*skipped, ipc.Range{First: run.First, Count: n})
		took(run, n)
		return nil
	}
	span := &r.Spans[0]
	count := uint32(min(r.End-run.First, uint64(most)))
	note := c.noteOf(span)
	if s.Filter == nil {
		return c.sendPart(s, span, note, run, count)
	}
	runs, err := c.lane.Sift(s.Filter, span, run.Index, ipc.Range{First: run.First, Count: count})
	if err != nil { // what a filter cannot be put to passes
		return c.sendPart(s, span, note, run, count)
	}
	for i := range runs {
		if !runs[i].Match {
			*skipped = append(*skipped, ipc.Range{First: run.First, Count: runs[i].Count})
			took(run, runs[i].Count)
			continue
		}
		end := run.First + uint64(runs[i].Count)
		if err := c.sendPart(s, span, note, run, runs[i].Count); err != nil || run.First < end {
			return err
		}
	}
	return nil
}

// askAborted has the channel's line wait until it is known what was aborted in an index from an offset
// on. No method asks that: behind a hand-over the line asks again.
func (ch *channel) askAborted(index, from uint64) {
	ch.asking = true
	ch.busy++
	ch.conn.put(&ask{channel: ch, typ: ipc.TypeWaitStable, encode: abortedIn(index, from), then: func(a answer) {
		ch.asking = false
		if a.err != nil {
			return // the index is gone, and its consumers hear of that
		}
		if ch.conn.undecodable(ch.conn.lane.EndTold(a.payload)) == nil {
			ch.conn.Drained()
		}
	}})
}

// abortedIn asks what was aborted in an index from an offset on.
func abortedIn(index, from uint64) func(head ipc.Head, b []byte) []byte {
	return func(head ipc.Head, b []byte) []byte {
		m := ipc.WaitStable{Head: head, Index: index, Beyond: ipc.WaitNow, From: from}
		return m.Append(b)
	}
}

// skipGone skips what lies below the start of its index: retention has removed it from the topic, or
// it was acknowledged meanwhile. Any other error stands.
func (c *Conn) skipGone(s *consumer, run *ipc.PulledRun, skipped *[]ipc.Range, err error) error {
	var e *errcode.Error
	if !errors.As(err, &e) || e.Code != errcode.OffsetOutOfRange {
		return err
	}
	start, startErr := c.lane.StartOf(run.Index)
	if startErr != nil || start <= run.First {
		return err
	}
	n := uint32(min(uint64(run.Count), start-run.First))
	*skipped = append(*skipped, ipc.Range{First: run.First, Count: n})
	took(run, n)
	return nil
}

// noteOf reads how the messages of a batch came where they are. A note that is lost keeps no
// message from its consumer.
func (c *Conn) noteOf(span *commitlog.Span) *parsedNote {
	n, err := c.lane.Note(span)
	if err != nil {
		c.lane.Counters.Add(shmqueue.ConnNotesLost, 1)
		if c.lane.LostNote(span.Note) {
			c.settings.Log.Error("a message is delivered without its note", "position", span.Note, "err", err)
		}
		return c.loop.note.parse(nil)
	}
	defer n.Release()
	raw := n.Bytes
	if raw == nil && n.Len > 0 {
		src, off := n.Source()
		raw = src.Bytes(off, n.Len)
	}
	return c.loop.note.parse(raw)
}

// open makes the loop's reader hold a batch, and gives its bytes.
func (l *Loop) open(span *commitlog.Span) (whole []byte, err error) {
	o := &l.opened
	same := o.position == span.Position() && o.size == span.Len && o.position != 0
	if same && o.held {
		return nil, nil
	}
	if whole = span.Seg.Bytes(span.Off, span.Len); len(whole) < span.Len {
		whole = make([]byte, span.Len)
		if _, err := unix.Pread(span.Seg.Fd(), whole, span.Off); err != nil {
			return nil, err
		}
	}
	place := o.place
	*o = opened{}
	l.reader.SkipCRC = same
	if err := l.reader.Reset(whole); err != nil {
		return nil, err
	}
	*o = opened{position: span.Position(), size: span.Len, held: batch.Header(whole).Codec() != batch.None}
	if same {
		o.place = place
	}
	return whole, nil
}

// sendPart sends the next count messages of a run, which lie in the batch of a span, as far as the
// link takes them.
func (c *Conn) sendPart(s *consumer, span *commitlog.Span, note *parsedNote, run *ipc.PulledRun, count uint32) (err error) {
	l := c.loop
	fault := session.OnFault(func() {
		var whole []byte
		if whole, err = l.open(span); err != nil {
			return
		}
		if l.seek(int(run.First-span.Base)) != nil {
			err = l.reader.Err()
			return
		}
		var rec batch.Record
		for ; count > 0 && !c.link.Crowded(); count-- {
			if !l.reader.Next(&rec) {
				err = errcode.New(errcode.Damaged, "the batch ends before offset %d", run.First)
				return
			}
			c.sendRecord(s, &rec, note, run, placeOf(span, whole, rec.Value))
			took(run, 1)
		}
		l.opened.place = l.reader.Place()
	})
	if fault != nil {
		l.opened = opened{}
		return fault
	}
	if l.opened.held && l.reader.Size() > spareBytes {
		l.opened, l.reader = opened{}, batch.Reader{}
	}
	return err
}

// seek makes the record of that number in the batch the next one.
func (l *Loop) seek(record int) error {
	place := l.opened.place
	if place.Record > record {
		place = batch.Place{}
	}
	l.reader.Goto(place)
	for l.reader.Place().Record < record {
		if !l.reader.Skip() {
			return errcode.New(errcode.Damaged, "the batch ends before record %d", record)
		}
	}
	return nil
}

// sendRecord sends one message.
func (c *Conn) sendRecord(s *consumer, rec *batch.Record, note *parsedNote, run *ipc.PulledRun, at mapped) {
	ch := s.channel
	exchange, key := c.origin(s, rec, note)
	var extra amqp.Table
	switch {
	case s.isStream():
		extra = streamHeader(nil, run.First)
	case s.quorum && run.Attempts > 0:
		extra = extra.Add("x-delivery-count", amqp.Int64(int64(run.Attempts)))
	}
	properties := c.loop.propertiesOf(rec, note, extra)
	if g := s.getting; g != nil {
		c.sendContent(ch.number, &amqp.BasicGetOk{
			DeliveryTag: ch.unacked.give(s, run, g.noAck), Redelivered: run.Attempts > 0, Exchange: exchange, RoutingKey: key,
			MessageCount: count32(g.left),
		}, properties, rec.Value, at)
		return
	}
	c.sendContent(ch.number, &amqp.BasicDeliver{
		ConsumerTag: s.tag, DeliveryTag: ch.unacked.give(s, run, s.noAck), Redelivered: run.Attempts > 0, Exchange: exchange, RoutingKey: key,
	}, properties, rec.Value, at)
}

// count counts messages of a run that were sent.
func (c *Conn) count(s *consumer, run *ipc.PulledRun, sent uint64) {
	if sent == 0 {
		return
	}
	c.lane.Counters.Add(s.way(), sent)
	if run.Attempts > 0 {
		c.lane.Counters.Add(shmqueue.ConnRedelivered, sent)
	}
}

// way is what a message counts as that is sent now.
func (s *consumer) way() shmqueue.CounterID {
	switch g := s.getting; {
	case g != nil && g.noAck:
		return shmqueue.ConnGotAutoAck
	case g != nil:
		return shmqueue.ConnGotManualAck
	case s.noAck:
		return shmqueue.ConnSentAutoAck
	}
	return shmqueue.ConnSentManualAck
}

// origin is where a message was published. One that nobody has published through an exchange has the
// queue's name, and the key of its record.
func (c *Conn) origin(s *consumer, rec *batch.Record, note *parsedNote) (exchange, key []byte) {
	switch {
	case s.reply:
		return nil, []byte(replyName(s.name))
	case len(note.raw) > 0:
		exchange, key = []byte(c.local(note.Exchange)), []byte(note.Key)
		if note.Exchange == "" {
			key = []byte(c.local(note.Key))
		}
		return exchange, key
	case len(rec.Key) > 0 && len(rec.Key) <= amqp.MaxShortstr:
		return nil, rec.Key
	}
	return nil, []byte(s.name)
}
