package core

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Inputs that touch soft state alone leave no event and are decided again after a restart.
//
// Each of them first compares the epoch: what a connsrv that is dead has said of its consumers
// and waits is void, for they died with it. Hard inputs do not: a message that was published,
// or acknowledged, stays so whoever brought it.
//
// All are absolute, so that connsrv may say them twice: a limit is counted from the Subscribe,
// a Subscribe of what exists is answered again, an end of what has ended is an end.

// decideSubscribe makes a consumer, once it is known who else consumes.
func (c *Core) decideSubscribe() {
	m, err := ipc.DecodeSubscribe(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	id := subID{m.Conn, m.Sub}
	// One that has been told as SubState already is answered again like any that exists.
	if !c.resynced && c.consumers[id] == nil {
		c.dropJoining(func(s *joiner) bool { return subID{s.Conn, s.Sub} == id })
		if len(c.joining) >= c.cfg.MaxConsumers {
			c.refuse(m.Head, errcode.LimitExceeded, "too many consumers")
			return
		}
		if code, text := c.mayConsume(&m); code != errcode.OK {
			c.refuse(m.Head, code, text)
			return
		}
		// Answered now: once the record is released, nobody would repeat the request.
		c.joining = append(c.joining, joiner{Subscribe: m})
		c.answerSubscribe(&m)
		return
	}
	c.subscribe(&m)
}

// mayConsume tells why a consumer cannot be one of its queue, whoever else is.
func (c *Core) mayConsume(m *ipc.Subscribe) (errcode.Code, string) {
	q := c.queueByID[m.Queue]
	switch {
	case q == nil:
		return errcode.UnknownIndex, fmt.Sprintf("there is no queue with the id %d", m.Queue)
	case c.locked(q, m.Head):
		return errcode.Locked, fmt.Sprintf("queue %s belongs to another connection", quoted(q.name))
	case len(m.Consumer.Tag) > ipc.MaxTag:
		return errcode.InvalidArgument, fmt.Sprintf("a consumer tag of %d bytes; at most %d are allowed", len(m.Consumer.Tag), ipc.MaxTag)
	case m.Consumer.Puller:
		return errcode.InvalidArgument, "who pulls does not subscribe"
	}
	return errcode.OK, ""
}

// joiner is a Subscribe that waits for the end of the resync. told: connsrv has told of the consumer
// since the marker.
type joiner struct {
	ipc.Subscribe
	told bool
}

// joinLate makes a consumer of a Subscribe that has been answered while soft state was told.
func (c *Core) joinLate(m *ipc.Subscribe) {
	q := c.queueByID[m.Queue]
	if q == nil {
		c.closeSub(m.Head, m.Sub)
		return
	}
	// It has been told that it is a consumer; now that the others are known it may turn out that
	// it cannot be. Those who were there before it stay.
	if code, text := q.exclude(m.Consumer.Exclusive); code != errcode.OK {
		c.endSub(m.Head, m.Sub, code, text)
		return
	}
	c.welcome(m, q)
}

// welcome makes a consumer, and has the log tell of it.
func (c *Core) welcome(m *ipc.Subscribe, q *queue) {
	c.join(&consumer{subID: subID{m.Conn, m.Sub}, queue: q, limit: m.Limit, wants: m.Consumer})
	c.joined = append(c.joined, journal.Joined{Pos: journal.NoInput, Queue: q.id, Conn: m.Conn, Sub: m.Sub, Tag: m.Consumer.Tag})
	c.tellJoined()
}

// tellJoined has the log tell of who has become a consumer, as far as the entry takes it: with the end
// of a resync any number does, and then it takes some turns.
func (c *Core) tellJoined() {
	done := 0
	for i := range c.joined {
		ev := &c.joined[i]
		if !c.fits(joinedBytes + len(ev.Tag)) {
			break
		}
		if c.queueByID[ev.Queue] != nil {
			c.turn.raise(ipc.LevelPage)
			c.turn.events = ev.Append(c.turn.events)
		}
		done++
	}
	c.joined = slices.Delete(c.joined, 0, done)
}

// joinedBytes is what the event takes besides the tag, and more.
const joinedBytes = 64

// dropJoining takes Subscribes back that wait for the end of the resync.
func (c *Core) dropJoining(gone func(*joiner) bool) {
	c.joining = slices.DeleteFunc(c.joining, func(s joiner) bool { return gone(&s) })
}

// subscribe makes a consumer, now that all others are known. A Subscribe of a consumer that exists
// is one that is told again, for connsrv had no answer to it when it was asked for its state: it
// is answered again, and its credit never falls by that.
func (c *Core) subscribe(m *ipc.Subscribe) {
	if code, text := c.mayConsume(m); code != errcode.OK {
		c.refuse(m.Head, code, text)
		return
	}
	q := c.queueByID[m.Queue]
	id := subID{m.Conn, m.Sub}
	if k := c.consumers[id]; k != nil {
		if k.queue != q || k.wants.Puller {
			c.refuse(m.Head, errcode.AlreadyExists, fmt.Sprintf("subscription %d consumes another queue", m.Sub))
			return
		}
		k.limit = max(k.limit, m.Limit) // told again
		c.touch(q)
		c.answerSubscribe(m)
		return
	}
	if code, text := q.exclude(m.Consumer.Exclusive); code != errcode.OK {
		c.refuse(m.Head, code, text)
		return
	}
	if len(c.consumers) >= c.cfg.MaxConsumers {
		c.refuse(m.Head, errcode.LimitExceeded, fmt.Sprintf("at most %d consumers", c.cfg.MaxConsumers))
		return
	}
	c.welcome(m, q)
	c.answerSubscribe(m)
}

// answerSubscribe goes at once, so that it stands before the first delivery. It reveals
// nothing: who knows the queue's index has been told it at its own level.
//
// REQUIRES: mayConsume has found the queue.
func (c *Core) answerSubscribe(m *ipc.Subscribe) {
	if m.Req != 0 {
		reply := ipc.Subscribed{Head: m.Head, Sub: m.Sub, Filter: c.queueByID[m.Queue].filter()}
		c.turn.sent(atOnce, ipc.TypeSubscribed, reply.Append(c.turn.recs))
	}
}

// decideUnsubscribe ends a consumer.
func (c *Core) decideUnsubscribe() {
	m, err := ipc.DecodeUnsubscribe(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	id := subID{m.Conn, m.Sub}
	c.dropJoining(func(s *joiner) bool { return subID{s.Conn, s.Sub} == id })
	if k := c.consumers[id]; k != nil && m.Keep && k.holding() > 0 {
		c.retire(k)
	} else if k != nil {
		c.leave(k)
	}
	if m.Req != 0 { // also where it is gone already: the end is what was asked for
		reply := ipc.SubClosed{Head: m.Head, Sub: m.Sub}
		c.turn.sent(atOnce, ipc.TypeSubClosed, reply.Append(c.turn.recs))
	}
}

// closeSub tells a consumer, unasked, that its queue is gone.
func (c *Core) closeSub(h ipc.Head, sub uint64) {
	c.endSub(h, sub, errcode.NotFound, "the queue has been deleted")
}

// endSub tells a consumer, unasked, that it is none any longer.
func (c *Core) endSub(h ipc.Head, sub uint64, code errcode.Code, text string) {
	m := ipc.SubClosed{
		Head: ipc.Head{Epoch: h.Epoch, Conn: h.Conn}, Sub: sub,
		Code: uint16(code), Text: text,
	}
	c.turn.sent(atOnce, ipc.TypeSubClosed, m.Append(c.turn.recs))
}

// decideCredit raises how much a consumer may be given. A lower limit than before is an old
// one, or takes back what has not been used: it holds from now on.
func (c *Core) decideCredit() {
	m, err := ipc.DecodeCredit(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	id := subID{m.Conn, m.Sub}
	if k := c.consumers[id]; k != nil {
		k.limit = m.Limit
		c.touch(k.queue)
		return
	}
	for i := range c.joining {
		if s := &c.joining[i]; s.Conn == m.Conn && s.Sub == m.Sub {
			s.Limit = m.Limit
		}
	}
}

// decideConnClosed ends all that a connection had.
func (c *Core) decideConnClosed() {
	m, err := ipc.DecodeConnClosed(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	c.dropJoining(func(s *joiner) bool { return s.Conn == m.Conn })
	c.ownerGone(m.Conn)
	c.closeParked(m.Conn)
	k := c.conns[m.Conn]
	if k == nil {
		return
	}
	for p := k.pulls.first; p != nil; p = k.pulls.first {
		c.unparkPull(p)
	}
	for _, group := range k.txns {
		c.dropTxnMember(m.Conn, group)
	}
	// The lists hang on k from here on; detach and unpark look for the connection in vain.
	delete(c.conns, m.Conn)
	for _, sub := range k.subs {
		c.detach(sub)
	}
	for w := k.waits; w != nil; {
		next := w.connNext
		c.unpark(w)
		w = next
	}
}
