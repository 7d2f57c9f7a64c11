package model

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// delayedBatch: a batch is routed, and held back until it is due.
func (m *Model) delayedBatch(e *journal.Delayed) {
	b := &heldBatch{
		limbo: e.Limbo, offset: e.Offset, dueMS: e.DueMS, ttlMS: e.TTLMS, letter: letterOf(&e.Note, &e.Sent), dests: e.Dests, order: m.came,
	}
	m.came++
	if m.judging() {
		p, ok := m.cause.(*ipc.Publish)
		if !ok || p.Txn != 0 || p.DueMS != e.DueMS || !m.waits(p) || e.TTLMS != p.TTLMS || e.Weight != p.Weight || e.Count != p.Batch.Count {
			m.cfg.Fail("a batch is delayed until %d, published was %+v", e.DueMS, m.cause)
			return
		}
		m.judgeNote(&e.Note, p)
		m.judgeDests(m.routeAll(p), e.Dests)
	}
	m.limbo[place{e.Limbo, e.Offset}] = b
	m.delayed = append(m.delayed, b)
}

// judgeDests: where a delayed batch goes is decided when it is published.
func (m *Model) judgeDests(r *router, dests []uint64) {
	rest := slices.Clone(dests)
	for _, q := range r.queues {
		i := slices.Index(rest, q.id)
		if i < 0 {
			m.cfg.Fail("a delayed batch does not go to queue %s: %v", q.name, dests)
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
	for _, t := range r.topics {
		i := slices.IndexFunc(rest, func(id uint64) bool {
			return slices.ContainsFunc(t.partitions, func(p *partition) bool { return p.index == id })
		})
		if i < 0 {
			m.cfg.Fail("a delayed batch does not go to topic %s: %v", t.name, dests)
			return
		}
		rest = slices.Delete(rest, i, i+1)
	}
	if len(rest) > 0 && !r.vague {
		m.cfg.Fail("a delayed batch goes to %v, where no binding leads", rest)
	}
}

// released: a batch that was held back is where it was for.
func (m *Model) released(e *journal.Released) {
	b := m.limbo[place{e.Limbo, e.Offset}]
	if b == nil || b.released || b.letter.count != e.Count {
		m.cfg.Fail("a batch at %d of index %d is released, which does not wait: %+v", e.Offset, e.Limbo, b)
		return
	}
	if m.judging() {
		m.judgeReleased(e, b)
	}
	b.released = true
	m.freed = append(m.freed, b)
	m.delayed = slices.DeleteFunc(m.delayed, func(o *heldBatch) bool { return o == b })
	m.goesTo(e.Targets, e.Count, b.letter.weight, b.ttlMS, b.letter)
	m.condemn(e.Targets)
}

// judgeReleased: not before it is due, or its transaction is committed, and in order of time.
func (m *Model) judgeReleased(e *journal.Released, b *heldBatch) {
	r := &m.routes
	if b.dueMS == 0 {
		c, ok := m.cause.(*ipc.EndTxn)
		if !ok || !c.Commit || m.txns[c.Txn] == nil || !slices.Contains(m.txns[c.Txn].parts, b) {
			m.cfg.Fail("a part of a transaction is released without a commit")
			return
		}
		if b.partition == 0 {
			r = m.routeLetter(b.letter)
		} else {
			*r = router{}
			if p := m.parts[b.partition]; p != nil {
				r.topics = append(r.topics, p.topic)
			}
		}
		m.judgePlaces(r, batchOf(b.letter, true), e.Targets, e.Full)
		return
	}
	if m.now() < b.dueMS {
		m.cfg.Fail("a batch that is due at %d is released at %d", b.dueMS, m.now())
	}
	m.saw(RuleDelay)
	for _, o := range m.delayed {
		switch {
		case o == b:
		case o.dueMS < b.dueMS:
			m.cfg.Fail("a batch that is due at %d is released before one that was due at %d", b.dueMS, o.dueMS)
		case o.dueMS > b.dueMS && o.order < b.order:
			m.saw(RuleDelayOrder)
		}
	}
	*r = router{}
	for _, id := range b.dests {
		if q := m.queues[id]; q != nil {
			r.queues = append(r.queues, q)
		} else if p := m.parts[id]; p != nil {
			r.topics = append(r.topics, p.topic)
		}
	}
	m.judgePlaces(r, batchOf(b.letter, true), e.Targets, e.Full)
}

// txnBegun opens a transaction.
func (m *Model) txnBegun(e *journal.TxnBegun) {
	x := &txn{id: e.Txn, group: e.Group, key: e.Key, owner: e.Owner, begunMS: m.now(), checkMS: e.CheckMS, nextMS: m.now() + e.CheckMS, lsn: m.lsn + 1}
	if m.judging() {
		b, ok := m.cause.(*ipc.BeginTxn)
		if !ok || b.Group != e.Group || b.Key != e.Key || m.groupTxn(e.Group, e.Key) != nil {
			m.cfg.Fail("transaction %d of group %q key %q is opened, asked for was %+v", e.Txn, e.Group, e.Key, m.cause)
			return
		}
		if o := m.owner(b.Epoch, b.Conn); e.Group == "" && e.Owner != o {
			m.cfg.Fail("transaction %d belongs to %+v, %+v has opened it", e.Txn, e.Owner, o)
		}
	}
	m.txns[e.Txn] = x
}

// groupTxn is the open transaction of a producer group with a key.
func (m *Model) groupTxn(group, key string) *txn {
	for _, x := range m.txns {
		if group != "" && x.group == group && x.key == key {
			return x
		}
	}
	return nil
}

// txnHeld: a batch is part of a transaction.
func (m *Model) txnHeld(e *journal.TxnHeld) {
	x := m.txns[e.Txn]
	if x == nil {
		m.cfg.Fail("a batch becomes part of transaction %d, which is not open", e.Txn)
		return
	}
	b := &heldBatch{limbo: e.Limbo, offset: e.Offset, ttlMS: e.TTLMS, letter: letterOf(&e.Note, &e.Sent), partition: e.Partition}
	if m.judging() {
		switch c := m.cause.(type) {
		case *ipc.Publish:
			m.judgeNote(&e.Note, c)
			m.judgeMayUse(x, c.Head, c.Txn)
		case *ipc.Append:
			m.judgeMayUse(x, c.Head, c.Txn)
		default:
			m.cfg.Fail("a batch becomes part of transaction %d, sent was %+v", e.Txn, m.cause)
		}
	}
	x.parts = append(x.parts, b)
	m.limbo[place{e.Limbo, e.Offset}] = b
}

func (m *Model) judgeMayUse(x *txn, h ipc.Head, id uint64) {
	if x.id != id || !m.mayUse(x, h) {
		m.cfg.Fail("connection %d uses transaction %d, asked for was %d", h.Conn, x.id, id)
	}
}

// mayUse tells whether a transaction is open to a connection.
func (m *Model) mayUse(x *txn, h ipc.Head) bool {
	return x != nil && !x.doomed && (x.group != "" || x.owner == m.owner(h.Epoch, h.Conn))
}

// txnEnded: all parts are released, or none.
func (m *Model) txnEnded(e *journal.TxnEnded) {
	x := m.txns[e.Txn]
	if x == nil {
		m.cfg.Fail("transaction %d ends, which is not open", e.Txn)
		return
	}
	for _, b := range x.parts {
		if m.judging() && b.released != e.Committed {
			m.cfg.Fail("transaction %d is committed: %t, its batch at %d of index %d is released: %t", e.Txn, e.Committed, b.offset, b.limbo, b.released)
		}
		b.released = true
	}
	if m.judging() {
		m.judgeEnded(e, x)
	}
	delete(m.txns, e.Txn)
	m.ends[e.Txn] = ending{e.Committed, e.Queues}
}

// judgeEnded: there is a reason for the end.
func (m *Model) judgeEnded(e *journal.TxnEnded, x *txn) {
	if c, ok := m.cause.(*ipc.EndTxn); ok && e.Pos != journal.NoInput {
		if c.Txn != e.Txn || c.Commit != e.Committed || !m.mayUse(x, c.Head) {
			m.cfg.Fail("transaction %d is ended, asked for was %+v", e.Txn, c)
		}
		if c.Commit {
			m.judgeCommit(c)
			m.saw(RuleCommit)
		} else {
			m.saw(RuleRollback)
		}
		return
	}
	overdue := m.now() >= x.nextMS && x.checks >= uint32(m.cfg.TxnChecks) || m.now()-x.begunMS >= m.cfg.TxnMaxMS
	switch {
	case e.Committed:
		m.cfg.Fail("transaction %d is committed though nobody has asked for it", e.Txn)
	case x.group == "" && x.doomed:
		m.saw(RuleTxnOwner)
	case x.group != "" && overdue && x.checks < uint32(m.cfg.TxnChecks) && m.cfg.Answers(x.group):
		m.cfg.Fail("transaction %d of group %q is given up after %d checks, though somebody could be asked", x.id, x.group, x.checks)
	case x.group != "" && overdue:
		m.saw(RuleTxnGivenUp)
	default:
		m.cfg.Fail("transaction %d of group %q is rolled back after %d checks without a reason", e.Txn, x.group, x.checks)
	}
}

// judgeCommit: the verdicts of a commit count with it.
func (m *Model) judgeCommit(c *ipc.EndTxn) {
	for _, v := range c.Verdicts {
		m.in(v.Queue, v.Index, []ipc.Range{v.Range}, func(x *message) {
			if x.is != dead {
				m.cfg.Fail("%v was settled in transaction %d, which is committed, and is not done", x, c.Txn)
			}
		})
	}
}

// txnChecked: a member of the group is being asked.
func (m *Model) txnChecked(e *journal.TxnChecked) {
	x := m.txns[e.Txn]
	if m.judging() && (x.group == "" || m.now() < x.nextMS || x.checks >= uint32(m.cfg.TxnChecks) || !m.synced) {
		m.cfg.Fail("transaction %d of group %q is checked for the %d. time at %d, before %d", e.Txn, x.group, x.checks+1, m.now(), x.nextMS)
	}
	x.checks++
	x.nextMS = e.NextMS
	x.late = 0
}

// checkTxn: a connection is asked that answers for the group.
func (m *Model) checkTxn(o *Output) {
	c, err := ipc.DecodeCheckTxn(o.Record)
	m.must(err, "decode a check")
	x := m.txns[c.Txn]
	if x == nil || x.group != c.Group || x.key != c.Key || x.checks != c.Checks+1 {
		m.cfg.Fail("a check asks for %+v, the transaction is %+v", c, x)
		return
	}
	if !m.members[c.Group][c.Conn] || c.Epoch != m.epoch {
		m.cfg.Fail("connection %d is asked about transaction %d, it does not answer for group %q", c.Conn, c.Txn, c.Group)
	}
	m.saw(RuleTxnCheck)
}

// answeredEnd: who asks for an end again is told how it was.
func (m *Model) answeredEnd(c *ipc.EndTxn, o *Output, ev journal.Event) {
	if code, ok := m.refused(o); ok {
		m.refusedEnd(c, code)
		return
	}
	a, err := ipc.DecodeTxnEnded(o.Record)
	m.must(err, "decode the end of a transaction")
	e, ended := m.ends[c.Txn]
	if !ended || a.Committed != c.Commit || e.committed != c.Commit || a.Queues != e.queues {
		m.cfg.Fail("an end of transaction %d is answered with %+v, it was %+v", c.Txn, a, e)
	}
	if ev.Type == journal.EvUnchanged {
		m.saw(RuleTxnEndAgain)
	}
	if c.Commit && !m.synced {
		m.redeem(c)
	}
}

// redeem notes what connsrv will say is in hand, for it does not know yet that a commit has settled it.
func (m *Model) redeem(c *ipc.EndTxn) {
	for _, v := range c.Verdicts {
		for o := v.Range.First; o < v.Range.First+uint64(v.Range.Count); o++ {
			m.redeemed[redeemed{subID{c.Conn, v.Sub}, place{v.Index, o}}] = true
		}
	}
}

func (m *Model) refusedEnd(c *ipc.EndTxn, code errcode.Code) {
	e, ended := m.ends[c.Txn]
	legal := false
	switch code {
	case errcode.TxnEnded:
		legal = ended && e.committed != c.Commit
		m.saw(RuleTxnEndRefused)
	case errcode.UnknownTxn:
		legal = !ended && !m.mayUse(m.txns[c.Txn], c.Head)
	case errcode.UnknownIndex: // a queue of its verdicts is gone
		legal = slices.ContainsFunc(c.Verdicts, func(v ipc.TxnVerdict) bool { return m.laneOf(v.Queue, v.Index) == nil })
	case errcode.LimitExceeded:
		legal = len(c.Verdicts) > 0 || m.txns[c.Txn] != nil && len(m.txns[c.Txn].parts) > 0
	}
	if !legal {
		m.cfg.Fail("an end of transaction %d is refused: %v; %+v, open is %+v", c.Txn, code, e, m.txns[c.Txn])
	}
}
