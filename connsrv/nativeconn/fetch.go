package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// maxFetchWaitMS bounds a long poll.
const maxFetchWaitMS = 10 * 60 * 1000

// fetch reads a partition. What is known to be visible is answered at once; for the rest
// logicsrv is asked to tell when there is more.
func (c *Conn) fetch(h native.Header, body []byte) bool {
	m, err := native.DecodeFetch(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	p := session.Park{
		Index: m.Index, Offset: m.Offset,
		MaxBytes:   min(int(m.MaxBytes), c.lane.MaxBatch),
		DeadlineMS: c.link.NowMS() + int64(min(m.MaxWaitMS, maxFetchWaitMS)),
	}
	p.MinBytes = min(int(m.MinBytes), p.MaxBytes)
	return c.continueFetch(h, &p)
}

// continueFetch answers a fetch or parks it; false: there is no room in the ring.
func (c *Conn) continueFetch(h native.Header, p *session.Park) bool {
	end, stable := c.lane.Readable(p.Index, p.Offset) // 0 where nothing is known: below every offset
	over := c.link.NowMS() >= p.DeadlineMS || c.state == stateDraining
	if p.Offset < end {
		r := c.lane.Reading()
		defer r.Release()
		if err := c.readOn(p, r, end); err != nil {
			c.refuse(h, err)
			return true
		}
		if r.Bytes > 0 && (r.Bytes >= p.MinBytes || over || r.End < end) {
			c.answerFetch(h, p, r, end)
			return true
		}
	}
	known := end
	if stable { // what is not stable yet is to come
		known = c.lane.Ends[p.Index]
	}
	switch {
	case p.Asking && p.Offset > known: // that is what logicsrv has just told
		c.refuse(h, errcode.New(errcode.OffsetOutOfRange, "offset %d is beyond the end, %d", p.Offset, known))
		return true
	case p.Asking && over:
		c.answerEmpty(h, p, c.lane.StableEnd(p.Index))
		return true
	}
	p.Beyond = max(end, p.Offset)
	p.Asking = false
	if over || p.Offset > known {
		// Is the offset beyond the true end, or do we only know an old one?
		p.Beyond, p.Asking = ipc.WaitNow, true
	}
	return c.park(h, p)
}

// maxTakenOut is how many reads of which nothing is left are made before others have their turn.
const maxTakenOut = 16

// readOn reads for a fetch, and moves it over what is no reader's.
func (c *Conn) readOn(p *session.Park, r *session.Reading, end uint64) error {
	for range maxTakenOut {
		if err := c.lane.ReadCommitted(r, p.Index, p.Offset, end, p.MaxBytes); err != nil || r.Bytes > 0 {
			return err
		}
		if p.Offset = r.End; p.Offset >= end {
			break
		}
		r.Release()
	}
	return nil
}

// park puts a Wait for a fetch; false: no room.
func (c *Conn) park(h native.Header, p *session.Park) bool {
	req := c.lane.Req()
	if !c.putWait(c.link, req, p.Index, p.Beyond, p.Offset) {
		return false
	}
	kept := *p // only a fetch that waits costs an allocation
	kept.Req = req
	c.add(h, session.Request{Req: req, Park: &kept})
	if !p.Asking {
		c.deadline(p.DeadlineMS)
	}
	return true
}

// deadline has Deadline called at a time, or earlier.
func (c *Conn) deadline(atMS int64) {
	if c.deadlineMS == 0 || atMS < c.deadlineMS {
		c.deadlineMS = atMS
		c.link.SetDeadline(atMS)
	}
}

// putWait puts a Wait into the ring, for a reader who goes on from an offset; false: no room.
func (c *Conn) putWait(who session.Link, req, index, beyond, from uint64) bool {
	typ, record := c.wait(req, index, beyond, from)
	if !c.lane.Put(who, typ, record) {
		return false
	}
	c.told = true
	c.lane.Counters.Add(shmqueue.ConnWaits, 1)
	return true
}

// wait is the record of a Wait: where there are transactions, of one for the stable end.
func (c *Conn) wait(req, index, beyond, from uint64) (ipc.Type, []byte) {
	if c.lane.Stables[index] == nil {
		m := ipc.Wait{Head: c.head(req), Index: index, Beyond: beyond}
		return ipc.TypeWait, m.Append(c.lane.Scratch())
	}
	m := ipc.WaitStable{Head: c.head(req), Index: index, Beyond: beyond, From: from}
	return ipc.TypeWaitStable, m.Append(c.lane.Scratch())
}

// answerFetch sends what was read.
func (c *Conn) answerFetch(h native.Header, p *session.Park, r *session.Reading, visible uint64) {
	if h.Flags&native.FlagNoReply != 0 {
		return
	}
	c.lane.Counters.Add(shmqueue.ConnFetchedBytes, uint64(r.Bytes))
	const front = native.FrameHeaderSize + native.FetchReplySize
	b := c.link.Append(front)
	native.PutHeader(b, native.CmdFetch, native.FlagResponse, h.Correlation, native.FetchReplySize+r.Bytes)
	reply := native.FetchReply{Index: p.Index, Start: r.Start, Visible: visible, NBytes: uint32(r.Bytes)}
	reply.Put(b[native.FrameHeaderSize:])
	r.Send(c.link)
}

// answerEmpty answers a fetch for which there is nothing.
func (c *Conn) answerEmpty(h native.Header, p *session.Park, visible uint64) {
	start, err := c.lane.StartOf(p.Index)
	if err != nil {
		c.refuse(h, err)
		return
	}
	c.respond(h, &native.FetchReply{Index: p.Index, Start: start, Visible: visible})
}

// ended takes the answer to a Wait in: up to where messages can be read.
func (c *Conn) ended(end uint64, r *session.Request) {
	switch {
	case r.Park != nil && r.Park.Line:
		c.asking = false
		c.Drained()
	case r.Sub != nil:
		r.Sub.Wait = 0
		c.push(r.Sub)
	case r.Park == nil:
	case r.Park.Times:
		c.answerOffsets(header(r), r.Park, end)
	default:
		if !c.continueFetch(header(r), r.Park) {
			// No room to wait on: what there is now is answer enough.
			c.endPark(r)
		}
	}
}

// endPark answers a parked fetch with what there is.
func (c *Conn) endPark(r *session.Request) {
	h, p := header(r), r.Park
	end, _ := c.lane.Readable(p.Index, p.Offset)
	if p.Offset >= end {
		c.answerEmpty(h, p, c.lane.StableEnd(p.Index))
		return
	}
	reading := c.lane.Reading()
	defer reading.Release()
	if err := c.readOn(p, reading, end); err != nil {
		c.refuse(h, err)
		return
	}
	c.answerFetch(h, p, reading, end)
}

// Deadline answers the long polls whose time is over, has logicsrv answer the pulls, and goes on
// with what was to rest.
func (c *Conn) Deadline(nowMS int64) {
	rested := c.resting
	c.resting = false
	c.expireParks(nowMS)
	if rested {
		c.Drained()
	}
	c.closeIfDrained()
}

func (c *Conn) expireParks(nowMS int64) {
	c.deadlineMS = 0
	if c.resting {
		c.deadlineMS = c.link.NowMS()
	}
	var over []uint64
	c.pending.Each(func(r *session.Request) {
		at := int64(0)
		switch {
		case r.Park != nil && !r.Park.Asking: // asking: the answer comes as soon as logicsrv can give it
			if at = r.Park.DeadlineMS; at <= nowMS {
				over = append(over, r.Req)
			}
		case c.pullWaits(r):
			p := c.pulls[r.Req]
			if at = p.DeadlineMS; at <= nowMS {
				c.endWait(p)
			}
		default:
			return
		}
		if at > nowMS && (c.deadlineMS == 0 || at < c.deadlineMS) {
			c.deadlineMS = at
		}
	})
	for _, req := range over {
		if r, ok := c.take(req); ok {
			c.unwait(req)
			c.endPark(&r)
		}
	}
	c.link.SetDeadline(c.deadlineMS)
}

// unwait takes a Wait back.
func (c *Conn) unwait(req uint64) {
	m := ipc.Unwait{Head: c.head(0), Target: req}
	c.lane.PutLater(ipc.TypeUnwait, m.Append(c.lane.Scratch()))
}

// noOffset is where nobody reads: nothing that was aborted has to be told.
const noOffset = 1<<64 - 1

// listOffsets asks for the visible end first: every form of it is bounded by that.
func (c *Conn) listOffsets(h native.Header, body []byte) bool {
	m, err := native.DecodeListOffsets(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	p := session.Park{Index: m.Index, Offset: noOffset, Beyond: ipc.WaitNow, Asking: true, Times: true, TimeMS: m.TimeMS}
	return c.park(h, &p)
}

// answerOffsets answers LIST_OFFSETS, now that the visible end is known.
func (c *Conn) answerOffsets(h native.Header, p *session.Park, visible uint64) {
	start, err := c.lane.StartOf(p.Index)
	if err != nil {
		c.refuse(h, err)
		return
	}
	reply := native.ListOffsetsReply{Index: p.Index, Offset: visible, TimeMS: -1, Start: start, Visible: visible}
	switch {
	case p.TimeMS == native.TimeLatest:
	case p.TimeMS == native.TimeEarliest:
		reply.Offset = start
	default:
		offset, timeMS, found, err := c.lane.ByTime(p.Index, p.TimeMS)
		if err != nil {
			c.refuse(h, err)
			return
		}
		if found && offset < visible {
			reply.Offset, reply.TimeMS = offset, timeMS
		}
	}
	c.respond(h, &reply)
}
