package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// take removes a request from the table. What was held up by the connection's share of the
// ring may go on.
func (c *Conn) take(req uint64) (session.Request, bool) {
	r, ok := c.pending.Take(req)
	if !ok {
		return r, false
	}
	if r.Command == 0 {
		c.internal--
	}
	if r.Quiet {
		c.quiet--
	}
	if c.shareWait {
		c.shareWait = false
		c.link.Resume()
	}
	return r, true
}

// answer removes the request that a reply is for; false: nobody waits for it any more.
func (c *Conn) answer(head ipc.Head) (session.Request, bool) {
	r, ok := c.take(head.Req)
	if !ok {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
	}
	return r, ok
}

// Reply takes a record from logicsrv in.
func (c *Conn) Reply(typ ipc.Type, payload []byte) {
	if c.state == stateClosed {
		return
	}
	if err := c.reply(typ, payload); err != nil {
		// Only our own daemons write into the ring: this is a bug, and shows in the log.
		c.settings.Log.Error("a reply of logicsrv cannot be decoded", "type", int(typ), "err", err)
	}
	c.closeIfDrained()
}

func (c *Conn) reply(typ ipc.Type, payload []byte) error {
	switch typ {
	case ipc.TypeAppended:
		m, err := ipc.DecodeAppended(payload)
		if err == nil {
			c.appended(&m)
		}
		return err
	case ipc.TypeVisible:
		m, err := ipc.DecodeVisible(payload)
		if err == nil {
			c.lane.ToldVisible(&m)
			c.endTold(m.Head, m.End)
		}
		return err
	case ipc.TypeStable:
		m, err := ipc.DecodeStable(payload)
		if err == nil {
			c.lane.Told(&m)
			c.endTold(m.Head, m.Stable)
		}
		return err
	case ipc.TypeDeliver:
		m, err := ipc.DecodeDeliver(payload)
		if err == nil {
			c.delivered(&m)
		}
		return err
	case ipc.TypeAcked, ipc.TypeCommitted, ipc.TypeExtended:
		m, err := ipc.DecodeDone(payload)
		if err == nil {
			c.plain(m.Head, native.Empty{})
		}
		return err
	case ipc.TypePublished:
		m, err := ipc.DecodePublished(payload)
		if err == nil {
			c.plain(m.Head, &native.PublishReply{Queues: m.Queues, Full: m.Full, Duplicate: m.Duplicate})
		}
		return err
	case ipc.TypeError:
		m, err := ipc.DecodeError(payload)
		if err == nil {
			c.refused(&m)
		}
		return err
	default:
		return c.rareReply(typ, payload)
	}
}

func (c *Conn) rareReply(typ ipc.Type, payload []byte) error {
	switch typ {
	case ipc.TypeProducer:
		m, err := ipc.DecodeProducer(payload)
		if err == nil {
			c.plain(m.Head, &native.InitProducer{ProducerID: m.ProducerID, Epoch: m.Epoch})
		}
		return err
	case ipc.TypeAdminReply:
		m, err := ipc.DecodeAdminReply(payload)
		if err == nil {
			c.plain(m.Head, rawBody(m.Body))
		}
		return err
	case ipc.TypeOffsetList:
		m, err := ipc.DecodeOffsetList(payload)
		if err == nil {
			c.plain(m.Head, &native.OffsetsReply{Offsets: m.Offsets})
		}
		return err
	case ipc.TypeSubscribed:
		m, err := ipc.DecodeSubscribed(payload)
		if err == nil {
			c.subscribed(&m)
		}
		return err
	case ipc.TypeSubClosed:
		m, err := ipc.DecodeSubClosed(payload)
		if err == nil {
			c.subClosedReply(&m)
		}
		return err
	case ipc.TypeRecall:
		m, err := ipc.DecodeRecall(payload)
		if err == nil {
			c.recalled(&m)
		}
		return err
	case ipc.TypePulled:
		m, err := ipc.DecodePulled(payload)
		if err == nil {
			c.pulled(&m)
		}
		return err
	}
	return c.txnReply(typ, payload)
}

func (c *Conn) txnReply(typ ipc.Type, payload []byte) error {
	switch typ {
	case ipc.TypeTxnBegun:
		m, err := ipc.DecodeTxnBegun(payload)
		if err == nil {
			c.plain(m.Head, &native.BeginTxnReply{Txn: m.Txn})
		}
		return err
	case ipc.TypeTxnEnded:
		m, err := ipc.DecodeTxnEnded(payload)
		if err == nil {
			c.txnEnded(&m)
		}
		return err
	case ipc.TypeGroupAssignment:
		return c.groupReply(payload)
	case ipc.TypeCheckTxn:
		m, err := ipc.DecodeCheckTxn(payload)
		if err == nil {
			c.checkTxn(&m)
		}
		return err
	}
	return errcode.New(errcode.Internal, "record type %d", typ)
}

// rawBody is a body that is encoded already.
type rawBody []byte

// Append appends it.
func (r rawBody) Append(b []byte) []byte { return append(b, r...) }

// plain answers a request whose reply is its result.
func (c *Conn) plain(head ipc.Head, body native.Body) {
	if r, ok := c.answer(head); ok {
		delete(c.txns, head.Req) // of a TXN_MEMBER: nothing is to be taken back
		c.respond(header(&r), body)
	}
}

// appended answers PRODUCE, the commonest of all. Where a batch of a transaction will lie nobody
// knows.
func (c *Conn) appended(m *ipc.Appended) {
	r, ok := c.answer(m.Head)
	if !ok || r.Quiet {
		return
	}
	b := c.link.Append(native.FrameHeaderSize + native.ProduceReplySize)
	native.PutHeader(b, native.CmdProduce, native.FlagResponse, r.Correlation, native.ProduceReplySize)
	body := native.ProduceReply{Base: m.Base, Duplicate: m.Duplicate}
	if r.InTxn {
		body.Base = 0
	}
	body.Append(b[:native.FrameHeaderSize])
}

// endTold takes the answer to a Wait in.
func (c *Conn) endTold(head ipc.Head, end uint64) {
	r, ok := c.answer(head)
	switch {
	case !ok:
	case r.Sub != nil && !r.Sub.Answered:
		c.topicSubscribed(&r, c.lane.Ends[r.Sub.Index])
	default:
		c.ended(end, &r)
	}
}

func (c *Conn) subClosedReply(m *ipc.SubClosed) {
	if m.Req == 0 {
		c.subClosed(m)
		return
	}
	r, ok := c.answer(m.Head)
	if !ok || r.Sub == nil {
		return
	}
	c.dropSub(r.Sub)
	c.respond(header(&r), native.Empty{})
}

// refused passes an error on to the client, and ends what cannot be without the request.
func (c *Conn) refused(m *ipc.Error) {
	r, ok := c.answer(m.Head)
	if !ok {
		return
	}
	err := errcode.New(errcode.Code(m.Code), "%s", m.Text)
	h := header(&r)
	switch {
	case r.Park != nil && r.Park.Line: // the index is gone, and its consumers hear of that
		c.asking = false
	case r.Sub == nil:
		c.undo(&r)
		c.refuse(h, err)
	case r.Command == 0: // the wait of a consumer of a partition
		r.Sub.Wait = 0
		c.closeSub(r.Sub, err)
	case h.Command == native.CmdUnsubscribe && errcode.Code(m.Code) == errcode.UnknownSubscription:
		// logicsrv has restarted in between: it is gone, as was wanted.
		c.dropSub(r.Sub)
		c.respond(h, native.Empty{})
	default:
		r.Sub.Wait = 0
		c.dropSub(r.Sub)
		c.refuse(h, err)
	}
}

// undo takes back what a request has changed that was refused.
func (c *Conn) undo(r *session.Request) {
	if p := c.pullOf(r); p != nil {
		c.uncount(p)
	}
	if t, ok := c.txns[r.Req]; ok {
		delete(c.txns, r.Req)
		c.unpledge(t.verdicts)
		c.leaveGroup(t.joined)
	}
}

// Broadcast takes a record for all connections in.
func (c *Conn) Broadcast(typ ipc.Type, payload []byte) {
	if typ != ipc.TypeIndexGone || c.state == stateClosed {
		return
	}
	m, err := ipc.DecodeIndexGone(payload)
	if err != nil {
		return
	}
	gone := errcode.New(errcode.UnknownIndex, "index %d was deleted", m.Index)
	for i := len(c.subs) - 1; i >= 0; i-- {
		switch s := c.subs[i]; {
		case s.Index != m.Index:
		case s.Puller: // the queue's own index bears its number
			c.dropSub(s)
		case !s.Queue && s.Answered:
			c.closeSub(s, gone)
		}
	}
}
