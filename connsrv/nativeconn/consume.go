package nativeconn

import (
	"sort"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// maxSubs bounds the consumers of one connection.
const maxSubs = 4096

// sub finds a consumer by the client's number.
func (c *Conn) sub(id uint64) *session.Sub {
	if i := c.subAt(id); i < len(c.subs) && c.subs[i].ID == id {
		return c.subs[i]
	}
	return nil
}

func (c *Conn) subAt(id uint64) int {
	return sort.Search(len(c.subs), func(i int) bool { return c.subs[i].ID >= id })
}

func (c *Conn) addSub(s *session.Sub) {
	i := c.subAt(s.ID)
	c.subs = append(c.subs, nil)
	copy(c.subs[i+1:], c.subs[i:])
	c.subs[i] = s
}

// dropSub forgets a consumer, and its wait.
func (c *Conn) dropSub(s *session.Sub) {
	s.Closing = true
	if s.Wait != 0 {
		if _, ok := c.take(s.Wait); ok {
			c.unwait(s.Wait)
		}
		s.Wait = 0
	}
	if i := c.subAt(s.ID); i < len(c.subs) && c.subs[i] == s {
		c.subs = append(c.subs[:i], c.subs[i+1:]...)
	}
	if len(c.subs) == 0 {
		c.subs = nil
	}
}

// subscribe makes a consumer.
func (c *Conn) subscribe(h native.Header, body []byte) bool {
	m, err := native.DecodeSubscribe(body)
	switch {
	case err != nil:
	case c.sub(m.Sub) != nil:
		err = errcode.New(errcode.AlreadyExists, "subscription %d is in use", m.Sub)
	case len(c.subs) >= maxSubs:
		err = errcode.New(errcode.LimitExceeded, "%d subscriptions on this connection", len(c.subs))
	}
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s := &session.Sub{ID: m.Sub, Index: m.Index, Limit: m.Limit, Next: m.Offset}
	if m.Kind == native.SubTopic {
		return c.subscribeTopic(h, s)
	}
	s.Queue, s.AutoAck, s.Exclusive = true, m.AutoAck, m.Exclusive
	s.Told, _ = s.TopUp(c.lane.Rings)
	req := c.lane.Req()
	record := ipc.Subscribe{
		Head: c.head(req), Sub: s.ID, Queue: s.Index, Limit: s.Told, Consumer: ipc.Consumer{Exclusive: s.Exclusive},
	}
	if !c.lane.Put(c.link, ipc.TypeSubscribe, record.Append(c.lane.Scratch())) {
		return false
	}
	c.told = true
	c.addSub(s)
	c.add(h, session.Request{Req: req, Sub: s})
	return true
}

// subscribeTopic makes a consumer of a partition. logicsrv is asked for the visible end
// first, which tells whether index and offset are right; its answer starts the push.
func (c *Conn) subscribeTopic(h native.Header, s *session.Sub) bool {
	req := c.lane.Req()
	if !c.putWait(c.link, req, s.Index, ipc.WaitNow) {
		return false
	}
	c.addSub(s)
	s.Wait = req
	c.add(h, session.Request{Req: req, Sub: s})
	return true
}

// topicSubscribed ends subscribeTopic.
func (c *Conn) topicSubscribed(r *session.Request, end uint64) {
	s, h := r.Sub, header(r)
	s.Wait = 0
	start, err := c.lane.StartOf(s.Index)
	if err == nil && (s.Next > end || s.Next < start) {
		err = errcode.New(errcode.OffsetOutOfRange, "offset %d is not in %d to %d", s.Next, start, end)
	}
	if err != nil {
		c.dropSub(s)
		c.refuse(h, err)
		return
	}
	s.Answered = true
	c.respond(h, native.Empty{})
	c.push(s)
}

// unsubscribe ends a consumer.
func (c *Conn) unsubscribe(h native.Header, body []byte) bool {
	m, err := native.DecodeUnsubscribe(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s := c.sub(m.Sub)
	if s == nil || s.Closing || !s.Answered {
		c.refuse(h, errcode.New(errcode.UnknownSubscription, "no subscription %d", m.Sub))
		return true
	}
	if !s.Queue {
		c.dropSub(s)
		c.respond(h, native.Empty{})
		return true
	}
	req := c.lane.Req()
	record := ipc.Unsubscribe{Head: c.head(req), Sub: s.ID}
	if !c.lane.Put(c.link, ipc.TypeUnsubscribe, record.Append(c.lane.Scratch())) {
		return false
	}
	s.Closing = true
	c.add(h, session.Request{Req: req, Sub: s})
	return true
}

// credit raises what may be delivered.
func (c *Conn) credit(h native.Header, body []byte) bool {
	m, err := native.DecodeCredit(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s := c.sub(m.Sub)
	if s == nil {
		// The consumer may have ended while the credit was on its way.
		c.refuse(h, errcode.New(errcode.UnknownSubscription, "no subscription %d", m.Sub))
		return true
	}
	s.Limit = max(s.Limit, m.Limit)
	switch {
	case s.Closing:
	case s.Queue:
		if limit, tell := s.TopUp(c.lane.Rings); tell && !c.link.Crowded() {
			if !c.putCredit(c.link, s, limit) {
				return false
			}
		}
	case s.Answered:
		c.push(s)
	}
	c.respond(h, native.Empty{})
	return true
}

// putCredit tells logicsrv a limit; false: no room.
func (c *Conn) putCredit(who session.Link, s *session.Sub, limit uint64) bool {
	record := ipc.Credit{Head: c.head(0), Sub: s.ID, Limit: limit}
	if !c.lane.Put(who, ipc.TypeCredit, record.Append(c.lane.Scratch())) {
		return false
	}
	s.Told = limit
	return true
}

// topUp tells logicsrv a larger limit when it is time, unless the client is slow to read.
func (c *Conn) topUp(s *session.Sub) {
	if limit, tell := s.TopUp(c.lane.Rings); tell && !s.Closing && !c.link.Crowded() {
		record := ipc.Credit{Head: c.head(0), Sub: s.ID, Limit: limit}
		c.lane.PutLater(ipc.TypeCredit, record.Append(c.lane.Scratch()))
		s.Told = limit
	}
}

// ack passes verdicts on. A verdict of a consumer that this connection does not have is that
// of one whose connection broke: it says all that is needed, so that what it is about does not
// come again. To put something back is not for it; that has happened.
func (c *Conn) ack(h native.Header, body []byte) bool {
	m, err := native.DecodeAck(body, c.lane.Ranges())
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s := c.sub(m.Sub)
	if s == nil && m.Verdict == ipc.VerdictRequeue || s != nil && (!s.Queue || s.Closing) {
		c.refuse(h, errcode.New(errcode.UnknownSubscription, "no subscription %d", m.Sub))
		return true
	}
	if ipc.AckSize(len(m.Ranges)) > c.lane.MaxRecord {
		c.refuse(h, errcode.New(errcode.LimitExceeded, "%d ranges in one ACK", len(m.Ranges)))
		return true
	}
	if err := c.takeFromHand(s, &m); err != nil {
		c.refuse(h, err)
		return true
	}
	req := uint64(0)
	if h.Flags&native.FlagNoReply == 0 {
		req = c.lane.Req()
	}
	slot, ok := c.lane.Claim(c.link, ipc.AckSize(len(m.Ranges)), ipc.TypeAck)
	if !ok {
		putBack(s, m.Ranges)
		return false
	}
	record := ipc.Ack{Head: c.head(req), Sub: m.Sub, Queue: m.Queue, Index: m.Index, Lease: m.Lease, Verdict: m.Verdict, Ranges: m.Ranges}
	record.Append(slot.Payload[:0])
	slot.Publish()
	if s != nil {
		c.topUp(s)
	}
	if req != 0 {
		c.add(h, session.Request{Req: req})
	}
	for _, r := range m.Ranges {
		c.lane.Counters.Add(shmqueue.ConnAcked, uint64(r.Count))
	}
	return true
}

// takeFromHand removes the ranges of a verdict from what the consumer holds: all or none.
func (c *Conn) takeFromHand(s *session.Sub, m *native.Ack) error {
	if s == nil {
		return nil
	}
	if m.Index != s.Index {
		return errcode.New(errcode.InvalidArgument, "subscription %d is of index %d, not %d", s.ID, s.Index, m.Index)
	}
	before := s.InHand.Gaps()
	for i, r := range m.Ranges {
		if !s.InHand.Remove(r) {
			putBack(s, m.Ranges[:i])
			return errcode.New(errcode.InvalidArgument, "not all of offsets %d to %d are in hand", r.First, r.First+uint64(r.Count)-1)
		}
	}
	if gaps := s.InHand.Gaps(); gaps > before && gaps > c.lane.MaxGaps() {
		putBack(s, m.Ranges)
		return errcode.New(errcode.LimitExceeded, "what is in hand would fall into %d ranges, at most %d: acknowledge lower offsets first", gaps, c.lane.MaxGaps())
	}
	return nil
}

func putBack(s *session.Sub, ranges []ipc.Range) {
	if s == nil {
		return
	}
	for _, r := range ranges {
		s.InHand.Add(r.First, r.Count)
	}
}
