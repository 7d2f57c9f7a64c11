package nativeconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// Transactions are logicsrv's. What is connsrv's of them is who answers for a producer group, which
// is told again in answer to a Marker, and what becomes of the messages on which an END_TXN passes
// verdicts: until it is answered they are pledged, in hand for logicsrv and out of reach of other
// verdicts; then they are done with or, if it was refused, in hand as before.

// txnChange is what a request about a transaction has changed already, and takes back if it is
// refused.
type txnChange struct {
	verdicts []ipc.TxnVerdict // on what is pledged
	joined   string           // a group of which the connection is a member since
}

// maxGroups bounds the producer groups that one connection answers for.
const maxGroups = 256

// beginTxn opens a transaction. One without a group ends with the connection, of whose end
// logicsrv must therefore hear.
func (c *Conn) beginTxn(h native.Header, body []byte) bool {
	m, err := native.DecodeBeginTxn(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	c.told = true
	return c.forward(h, ipc.TypeBeginTxn, func(head ipc.Head, b []byte) []byte {
		record := ipc.BeginTxn{Head: head, Group: m.Group, Key: m.Key, CheckMS: m.CheckMS}
		return record.Append(b)
	})
}

// endTxn commits a transaction or rolls it back. Verdicts on what is in no hand (any more) are not
// passed on: logicsrv is told that there were some. It refuses to commit, unless it has committed
// before: then somebody asks again whose connection broke, and is answered like the first time.
func (c *Conn) endTxn(h native.Header, body []byte) bool {
	m, err := native.DecodeEndTxn(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	record := ipc.EndTxn{Txn: m.Txn, Commit: m.Commit}
	if m.Commit {
		held, err := c.pledge(m.Verdicts)
		if err != nil {
			c.refuse(h, err)
			return true
		}
		if record.Unheld = !held; held {
			record.Verdicts = m.Verdicts
		}
	}
	req, done := c.put(h, ipc.TypeEndTxn, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	})
	if req == 0 {
		c.unpledge(record.Verdicts)
	} else if len(record.Verdicts) > 0 {
		c.changed(req, txnChange{verdicts: record.Verdicts})
	}
	return done
}

// changed remembers what to take back if a request is refused.
func (c *Conn) changed(req uint64, t txnChange) {
	if c.txns == nil {
		c.txns = map[uint64]txnChange{}
	}
	c.txns[req] = t
}

// pledge takes what verdicts are about out of the hands that it is in: all or, where some of it is
// in none, nothing.
func (c *Conn) pledge(verdicts []ipc.TxnVerdict) (held bool, err error) {
	for i := range verdicts {
		v := &verdicts[i]
		s := c.sub(v.Sub)
		if s == nil || s.Closing || !s.Queue || s.Index != v.Queue {
			c.unpledge(verdicts[:i])
			return false, nil
		}
		before := s.Gaps()
		if !s.InHand.Remove(v.Index, v.Range) {
			c.unpledge(verdicts[:i])
			return false, nil
		}
		s.Pledged.Add(v.Index, v.Range.First, v.Range.Count)
		if err := c.checkGaps(s, before); err != nil {
			c.unpledge(verdicts[:i+1])
			return false, err
		}
	}
	return true, nil
}

// unpledge puts back what pledge has taken, but for what has been recalled since.
func (c *Conn) unpledge(verdicts []ipc.TxnVerdict) {
	for i := range verdicts {
		v := &verdicts[i]
		if s := c.sub(v.Sub); s != nil && s.Index == v.Queue {
			for _, r := range s.Pledged.Take(c.lane.Ranges(), v.Index, v.Range) {
				s.InHand.Add(v.Index, r.First, r.Count)
			}
		}
	}
}

// redeem forgets what was pledged: it is done with.
func (c *Conn) redeem(verdicts []ipc.TxnVerdict) {
	for i := range verdicts {
		v := &verdicts[i]
		if s := c.sub(v.Sub); s != nil && s.Index == v.Queue {
			s.Pledged.Take(c.lane.Ranges(), v.Index, v.Range)
			c.topUp(s)
		}
		c.lane.Counters.Add(shmqueue.ConnAcked, uint64(v.Range.Count))
	}
}

// txnEnded takes the end of a transaction in.
func (c *Conn) txnEnded(m *ipc.TxnEnded) {
	r, ok := c.answer(m.Head)
	if !ok {
		return
	}
	t := c.txns[m.Req]
	delete(c.txns, m.Req)
	if m.Committed {
		c.redeem(t.verdicts)
	} else {
		c.unpledge(t.verdicts)
	}
	c.respond(header(&r), &native.EndTxnReply{Committed: m.Committed, Queues: m.Queues})
}

// txnMember makes the connection answer for a producer group, or no longer.
func (c *Conn) txnMember(h native.Header, body []byte) bool {
	m, err := native.DecodeTxnMember(body)
	at, found := slices.BinarySearch(c.groups, m.Group)
	if err == nil && m.Join && !found && len(c.groups) >= maxGroups {
		err = errcode.New(errcode.LimitExceeded, "this connection answers for %d producer groups", maxGroups)
	}
	if err != nil {
		c.refuse(h, err)
		return true
	}
	req, done := c.put(h, ipc.TypeTxnMember, func(head ipc.Head, b []byte) []byte {
		record := ipc.TxnMember{Head: head, Group: m.Group, Join: m.Join}
		return record.Append(b)
	})
	switch {
	case req == 0:
	case m.Join && !found:
		c.told = true
		c.groups = slices.Insert(c.groups, at, m.Group)
		c.changed(req, txnChange{joined: m.Group})
	case !m.Join:
		c.leaveGroup(m.Group)
	}
	return done
}

// leaveGroup makes the connection answer for a group no longer.
func (c *Conn) leaveGroup(group string) {
	if at, found := slices.BinarySearch(c.groups, group); found {
		c.groups = slices.Delete(c.groups, at, at+1)
	}
}

// checkTxn asks the client what has become of a transaction, if it still answers for its group.
func (c *Conn) checkTxn(m *ipc.CheckTxn) {
	if _, found := slices.BinarySearch(c.groups, m.Group); !found {
		return // somebody else is asked next time
	}
	c.send(native.CmdCheckTxn, 0, 0, &native.CheckTxn{Txn: m.Txn, Group: m.Group, Key: m.Key, Checks: m.Checks})
}

// leaveGroups has others asked from now on.
func (c *Conn) leaveGroups() {
	for _, group := range c.groups {
		m := ipc.TxnMember{Head: c.head(0), Group: group}
		c.lane.PutLater(ipc.TypeTxnMember, m.Append(c.lane.Scratch()))
	}
	c.groups = nil
}
