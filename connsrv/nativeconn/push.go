package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// pushBytes is how much of a partition goes into one DELIVER, if its batches are smaller.
const pushBytes = 512 << 10

// push sends what a consumer of a partition may have, and waits for more where that is all.
func (c *Conn) push(s *session.Sub) {
	for c.state == stateOpen && !s.Closing && s.Answered && s.Delivered < s.Limit && s.Wait == 0 && !c.link.Crowded() {
		end := c.lane.Ends[s.Index]
		if s.Next >= end {
			c.waitForMore(s)
			return
		}
		r := c.lane.Reading()
		err := c.lane.Read(r, s.Index, s.Next, end, int(min(s.Limit-s.Delivered, pushBytes, uint64(c.lane.MaxBatch))))
		if err != nil {
			c.closeSub(s, err)
			return
		}
		c.deliver(s, r, s.Next, uint32(r.End-s.Next), 0)
		s.Delivered += uint64(r.Bytes)
		s.Next = r.End
		r.Release()
	}
}

// waitForMore parks a consumer of a partition until there is more than it has.
func (c *Conn) waitForMore(s *session.Sub) {
	req := c.lane.Req()
	m := ipc.Wait{Head: c.head(req), Index: s.Index, Beyond: s.Next}
	c.lane.PutLater(ipc.TypeWait, m.Append(c.lane.Scratch()))
	c.lane.Counters.Add(shmqueue.ConnWaits, 1)
	c.told = true
	s.Wait = req
	c.internal++
	c.pending.Add(session.Request{Req: req, Sub: s})
}

// closeSub tells a client that its consumer has ended.
func (c *Conn) closeSub(s *session.Sub, err error) {
	c.dropSub(s)
	body := native.ErrorBodyOf(err)
	c.send(native.CmdSubClosed, 0, 0, &native.SubClosed{Sub: s.ID, Code: body.Code, Text: body.Text})
}

// deliver sends one DELIVER with the batches that were read.
func (c *Conn) deliver(s *session.Sub, r *session.Reading, first uint64, count uint32, attempts uint16) {
	b := c.link.Append(native.FrameHeaderSize + native.DeliverSize)
	native.PutHeader(b, native.CmdDeliver, 0, 0, native.DeliverSize+r.Bytes)
	m := native.Deliver{Sub: s.ID, Index: s.Index, Base: r.Base, First: first, Count: count, Attempts: attempts}
	m.Put(b[native.FrameHeaderSize:])
	c.writeSpans(r)
	c.lane.Counters.Add(shmqueue.ConnPushedBytes, uint64(r.Bytes))
}

// sliceBytes is the size of a batch from which it is worth to send a part of it only.
const sliceBytes = 4 << 10

// deliverSlice sends a part of one batch as a batch of its own; false: the whole batch shall
// be sent. Without it a consumer with little credit would get a large batch over and over, for a
// few messages each time; or messages that are not in its queue, which the batch holds too.
func (c *Conn) deliverSlice(s *session.Sub, r *session.Reading, first uint64, count int, attempts uint16) bool {
	from := &r.Spans[0]
	if c.link.Crowded() || // a part is a copy in memory, the whole is a range of a file
		!from.Partial && (from.Len < sliceBytes || uint64(2*count) > from.End-from.Base) {
		return false
	}
	const front = native.FrameHeaderSize + native.DeliverSize
	out, err := c.cutOut(c.lane.Scratch()[:front], s, from, first, count)
	if err != nil {
		return false // it is compressed or unreadable: the client has to see what is wrong with it
	}
	batch.PatchBase(out[front:], first, 0)
	native.PutHeader(out, native.CmdDeliver, 0, 0, len(out)-native.FrameHeaderSize)
	m := native.Deliver{Sub: s.ID, Index: s.Index, Base: first, First: first, Count: uint32(count), Attempts: attempts}
	m.Put(out[native.FrameHeaderSize:])
	copy(c.link.Append(len(out)), out)
	c.lane.Counters.Add(shmqueue.ConnPushedBytes, uint64(len(out)-front))
	return true
}

// cutOut appends a part of a batch to dst. A partial batch is decompressed for that, if it must be.
func (c *Conn) cutOut(dst []byte, s *session.Sub, from *commitlog.Span, first uint64, count int) (out []byte, err error) {
	if from.Partial {
		out, taken, err := c.lane.Cut(dst, from, first, count, c.lane.MaxBatch)
		if err == nil && (taken < count || len(out)-len(dst) > c.lane.MaxBatch) {
			err = errcode.New(errcode.BatchTooLarge, "%d messages are too large for a frame", count)
		}
		return out, err
	}
	whole := from.Seg.Bytes(from.Off, from.Len)
	if len(whole) < from.Len {
		return dst, errcode.New(errcode.Internal, "the log is not mapped")
	}
	if at := from.Position(); s.CutAt != at {
		s.CutAt, s.Cut = at, batch.Place{}
	}
	out, s.Cut, err = session.SliceMapped(dst, whole, s.Cut, int(first-from.Base), count)
	return out, err
}

// delivered carries out what logicsrv has decided: these offsets go to this consumer.
func (c *Conn) delivered(m *ipc.Deliver) {
	s := c.sub(m.Sub)
	if s == nil || s.Closing || !s.Queue || s.Index != m.Index || c.state != stateOpen {
		return // it goes back with the consumer's end, which is on its way to logicsrv
	}
	if !s.InHand.Add(m.First, m.Count) {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	s.Delivered += uint64(m.Count)
	c.lane.Counters.Add(shmqueue.ConnDeliveries, uint64(m.Count))
	for first, end := m.First, m.First+uint64(m.Count); first < end; {
		r := c.lane.Reading()
		if err := c.lane.ReadStored(r, s.Index, first); err != nil {
			c.undeliverable(s, m, first, err)
			return
		}
		count := min(r.End, end) - first
		if !c.deliverSlice(s, r, first, int(count), m.Attempts) {
			c.deliver(s, r, first, uint32(count), m.Attempts)
		}
		first += count
		r.Release()
	}
	if s.AutoAck {
		c.autoAck(s, m)
	}
	c.topUp(s)
}

// autoAck acknowledges what has been handed to a consumer that wants it so. connsrv does it,
// not logicsrv, because it alone knows what it has seen: a logicsrv that died between a
// delivery and its ack would hand the messages out a second time.
func (c *Conn) autoAck(s *session.Sub, m *ipc.Deliver) {
	r := [1]ipc.Range{{First: m.First, Count: m.Count}}
	record := ipc.Ack{Head: c.head(0), Sub: s.ID, Queue: s.Index, Index: s.Index, Verdict: ipc.VerdictAck, Ranges: r[:]}
	c.lane.PutLater(ipc.TypeAck, record.Append(c.lane.Scratch()))
	s.InHand.Remove(r[0])
}

// undeliverable ends a consumer whose messages cannot be read: to go on would lose them
// silently. They go back to the queue.
func (c *Conn) undeliverable(s *session.Sub, m *ipc.Deliver, offset uint64, err error) {
	c.settings.Log.Error("a message cannot be delivered", "index", m.Index, "offset", offset, "err", err)
	record := ipc.Unsubscribe{Head: c.head(0), Sub: s.ID}
	c.lane.PutLater(ipc.TypeUnsubscribe, record.Append(c.lane.Scratch()))
	c.closeSub(s, err)
}

// subClosed takes the end of a consumer of a queue in.
func (c *Conn) subClosed(m *ipc.SubClosed) {
	s := c.sub(m.Sub)
	if s == nil || !s.Queue {
		return
	}
	c.closeSub(s, errcode.New(errcode.Code(m.Code), "%s", m.Text))
}

// Drained goes on with what was held up because too much waited to be sent.
func (c *Conn) Drained() {
	for i := 0; i < len(c.subs); i++ { // push may end one
		s := c.subs[i]
		if s.Queue {
			c.topUp(s)
		} else {
			c.push(s)
		}
	}
}

// Resync tells consumers and waits again, in answer to a marker.
func (c *Conn) Resync(m ipc.Marker, first bool) bool {
	if c.state == stateClosed || c.lane == nil {
		return true
	}
	if first {
		c.resyncSub, c.resyncReq = 0, 0
	}
	for i := c.subAt(c.resyncSub); i < len(c.subs); i++ {
		s := c.subs[i]
		if s.Queue && !s.Closing && !c.tellSub(m, s) {
			c.resyncSub = s.ID
			return false
		}
		if s.ID == 1<<64-1 {
			break
		}
		c.resyncSub = s.ID + 1
	}
	c.resyncSub = 1<<64 - 1
	done := true
	c.pending.Each(func(r *session.Request) {
		if done && r.Req > c.resyncReq && c.tellWait(r, &done) {
			c.resyncReq = r.Req
		}
	})
	return done
}

func (c *Conn) tellSub(m ipc.Marker, s *session.Sub) bool {
	record := ipc.SubState{
		Head: c.head(0), Term: m.Term, Ask: m.Ask, Sub: s.ID, Queue: s.Index, Limit: s.Told,
		Delivered: s.Delivered, Consumer: ipc.Consumer{Exclusive: s.Exclusive},
	}
	for _, r := range s.InHand.Ranges(c.lane.Ranges()) {
		record.InHand = append(record.InHand, ipc.Held{Index: s.Index, Range: r})
	}
	return c.lane.Put(nil, ipc.TypeSubState, record.Append(c.lane.Scratch()))
}

// tellWait tells a request again if it is a Wait; done becomes false when the ring is full.
func (c *Conn) tellWait(r *session.Request, done *bool) bool {
	beyond := uint64(0)
	index := uint64(0)
	switch {
	case r.Park != nil:
		index, beyond = r.Park.Index, r.Park.Beyond
	case r.Sub != nil && r.Sub.Wait == r.Req && r.Sub.Answered:
		index, beyond = r.Sub.Index, r.Sub.Next
	case r.Sub != nil && r.Sub.Wait == r.Req:
		index, beyond = r.Sub.Index, ipc.WaitNow
	default:
		return true
	}
	*done = c.putWait(nil, r.Req, index, beyond)
	return *done
}
