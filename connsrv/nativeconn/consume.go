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

// sub finds a consumer by the client's number, or a puller by its own.
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
	case c.subAt(native.PullerBit) >= maxSubs:
		err = errcode.New(errcode.LimitExceeded, "%d subscriptions on this connection", maxSubs)
	case len(m.Tag) > ipc.MaxTag:
		err = errcode.New(errcode.InvalidArgument, "a consumer tag of %d bytes; at most %d are allowed", len(m.Tag), ipc.MaxTag)
	}
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s := &session.Sub{ID: m.Sub, Index: m.Index, Limit: m.Limit, Next: m.Offset}
	if m.Kind == native.SubTopic {
		return c.subscribeTopic(h, s)
	}
	return c.subscribeQueue(h, s, &m)
}

// subscribeQueue makes a consumer of a queue. What is acknowledged as soon as it is sent is not
// held, so that no time-out is for it.
func (c *Conn) subscribeQueue(h native.Header, s *session.Sub, m *native.Subscribe) bool {
	s.Queue = true
	s.Consumer = ipc.Consumer{AutoAck: m.AutoAck, Exclusive: m.Exclusive, Priority: m.Priority, AckTimeoutMS: m.AckTimeoutMS, Tag: m.Tag}
	if m.AutoAck {
		s.Consumer.AckTimeoutMS = 0
	}
	s.Told, _ = s.TopUp(c.lane.Rings)
	req := c.lane.Req()
	record := ipc.Subscribe{Head: c.head(req), Sub: s.ID, Queue: s.Index, Limit: s.Told, Consumer: s.Consumer}
	if !c.lane.Put(c.link, ipc.TypeSubscribe, record.Append(c.lane.Scratch())) {
		return false
	}
	c.told = true
	c.addSub(s)
	c.add(h, session.Request{Req: req, Sub: s})
	return true
}

// subscribed takes the answer in, which comes before the first delivery. A filter that cannot be
// read, which logicsrv should not have let pass, keeps no message from its consumer.
func (c *Conn) subscribed(m *ipc.Subscribed) {
	r, ok := c.answer(m.Head)
	if !ok || r.Sub == nil {
		return
	}
	r.Sub.Answered = true
	c.filter(r.Sub, m.Filter)
	c.respond(header(&r), native.Empty{})
}

// subscribeTopic makes a consumer of a partition. logicsrv is asked for the visible end
// first, which tells whether index and offset are right; its answer starts the push.
func (c *Conn) subscribeTopic(h native.Header, s *session.Sub) bool {
	req := c.lane.Req()
	if !c.putWait(c.link, req, s.Index, ipc.WaitNow, s.Next) {
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
	if s == nil || s.Puller {
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
	if s.Puller {
		return
	}
	if limit, tell := s.TopUp(c.lane.Rings); tell && !s.Closing && !c.link.Crowded() {
		record := ipc.Credit{Head: c.head(0), Sub: s.ID, Limit: limit}
		c.lane.PutLater(ipc.TypeCredit, record.Append(c.lane.Scratch()))
		s.Told = limit
	}
}

// subClosed takes the end of a consumer of a queue in.
func (c *Conn) subClosed(m *ipc.SubClosed) {
	s := c.sub(m.Sub)
	if s == nil || !s.Queue {
		return
	}
	c.closeSub(s, errcode.New(errcode.Code(m.Code), "%s", m.Text))
}

// recalled takes in that a consumer has held messages for too long: they have gone back. What it
// has passed a verdict on meanwhile is none of them.
func (c *Conn) recalled(m *ipc.Recall) {
	s := c.sub(m.Sub)
	if s == nil || !s.Queue {
		return
	}
	s.Recalls++
	if s.Closing {
		return
	}
	told := &native.Recall{Sub: s.ID, Index: m.Index}
	for _, r := range m.Ranges {
		told.Ranges = s.InHand.Take(told.Ranges, m.Index, r)
		told.Ranges = s.Pledged.Take(told.Ranges, m.Index, r)
	}
	if len(told.Ranges) > 0 {
		c.lane.Counters.Add(shmqueue.ConnRecalled, countOf(told.Ranges))
		c.dispatch(parcel{sub: s, recalled: told})
	}
}
