package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// pushBytes is how much of a partition goes into one DELIVER, if its batches are smaller.
const pushBytes = 512 << 10

// push sends what a consumer of a partition may have, and waits for more where that is all.
func (c *Conn) push(s *session.Sub) {
	for c.state == stateOpen && !s.Closing && s.Answered && s.Delivered < s.Limit && s.Wait == 0 && !c.link.Crowded() {
		end, _ := c.lane.Readable(s.Index, s.Next)
		if s.Next >= end {
			c.waitForMore(s)
			return
		}
		r := c.lane.Reading()
		err := c.lane.ReadCommitted(r, s.Index, s.Next, end, int(min(s.Limit-s.Delivered, pushBytes, uint64(c.lane.MaxBatch))))
		if err != nil {
			c.closeSub(s, err)
			return
		}
		if r.Bytes > 0 {
			c.deliver(&delivery{sub: s}, r, s.Index, s.Next, uint32(r.End-s.Next))
		}
		s.Delivered += uint64(r.Bytes)
		s.Next = r.End
		r.Release()
	}
}

// waitForMore parks a consumer of a partition until there is more than it has.
func (c *Conn) waitForMore(s *session.Sub) {
	req := c.lane.Req()
	c.lane.PutLater(c.wait(req, s.Index, s.Next, s.Next))
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
func (c *Conn) deliver(d *delivery, r *session.Reading, index, first uint64, count uint32) {
	c.putDeliver(d, &native.Deliver{Index: index, Base: r.Base, First: first, Count: count}, r.Bytes)
	r.Send(c.link)
}

// sliceBytes is the size of a batch from which it is worth to send a part of it only.
const sliceBytes = 4 << 10

// deliverSlice sends a part of one batch as a batch of its own; false: the whole batch shall
// be sent. Without it a consumer with little credit would get a large batch over and over, for a
// few messages each time, and one with a filter any batch; or messages that are not in its queue,
// which the batch holds too.
func (c *Conn) deliverSlice(d *delivery, r *session.Reading, index, first uint64, count int) bool {
	from, s := &r.Spans[0], d.sub
	if s.Filter == nil && !from.Partial && c.link.Crowded() { // a part is a copy in memory, the whole is a range of a file
		return false
	}
	if !from.Partial && (s.Filter == nil && from.Len < sliceBytes || uint64(2*count) > from.End-from.Base) {
		return false
	}
	out, err := c.cutOut(c.lane.Scratch(), s, from, first, count)
	if err != nil {
		return false // it is compressed or unreadable: the client has to see what is wrong with it
	}
	batch.PatchBase(out, first, 0)
	c.putDeliver(d, &native.Deliver{Index: index, Base: first, First: first, Count: uint32(count)}, len(out))
	copy(c.link.Append(len(out)), out)
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
