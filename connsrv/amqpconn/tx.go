package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Class tx. What is published is part of a transaction of logicsrv's; verdicts wait here until it is
// committed, and go with it. A rollback leaves what they were about in the client's hand.

// transaction is that of a channel.
type transaction struct {
	number   uint64 // logicsrv's; 0: there is none
	verdicts []verdictOn
	returns  []*run           // what reaches no queue, to be returned with the commit
	pushed   int              // of what they are about, what consumers were given: it counts until the commit
	pledged  []ipc.TxnVerdict // verdicts that go with the commit that is under way
}

// verdictOn is a verdict that waits for the commit.
type verdictOn struct {
	held    held
	verdict ipc.Verdict
}

// txSelect makes the channel one with transactions.
func (ch *channel) txSelect(m *amqp.TxSelect) {
	switch ch.mode {
	case modeConfirm:
		ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "cannot switch from confirm to tx mode"))
	case modeTx:
		ch.send(&amqp.TxSelectOk{})
	default:
		ch.begin(m.Method(), &amqp.TxSelectOk{})
	}
}

// begin begins a transaction, and answers then.
func (ch *channel) begin(m amqp.Method, done amqp.Arguments) {
	ch.ask(ipc.TypeBeginTxn, func(head ipc.Head, b []byte) []byte {
		record := ipc.BeginTxn{Head: head}
		return record.Append(b)
	}, func(a answer) {
		begun, err := ipc.TxnBegun{}, error(nil)
		if a.err == nil {
			begun, err = ipc.DecodeTxnBegun(a.payload)
			a.err = ch.conn.undecodable(err)
		}
		if a.err != nil {
			ch.fail(m, failed(a.err))
			return
		}
		ch.mode, ch.tx.number = modeTx, begun.Txn
		ch.send(done)
	})
}

// txEnd commits, or rolls back.
func (ch *channel) txEnd(m amqp.Arguments, commit bool) {
	if ch.mode != modeTx {
		ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "channel is not transactional"))
		return
	}
	done := amqp.Arguments(&amqp.TxRollbackOk{})
	if commit {
		done = &amqp.TxCommitOk{}
	}
	if ch.tx.number == 0 { // before a hand-over it has ended, and the next one has not begun
		ch.begin(m.Method(), done)
		return
	}
	if commit && ch.tx.pledged == nil {
		ch.tx.pledged, ch.tx.verdicts = pledge(ch.tx.verdicts)
	}
	record := ipc.EndTxn{Txn: ch.tx.number, Commit: commit, Verdicts: ch.tx.pledged}
	ch.ask(ipc.TypeEndTxn, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		if a.err != nil && (commit || a.code() != errcode.UnknownTxn) {
			ch.fail(m.Method(), failed(a.err))
			return
		}
		ch.ended(commit)
		ch.begin(m.Method(), done)
	})
}

// ended takes the end of a transaction in.
func (ch *channel) ended(commit bool) {
	c, tx := ch.conn, ch.tx
	ch.tx = transaction{}
	if commit {
		for _, x := range tx.returns {
			ch.giveBack(x)
			c.loop.recycle(x)
		}
		c.redeem(tx.pledged)
		for _, v := range tx.verdicts {
			c.settled.add(v.held, v.verdict)
		}
		c.settle()
		ch.advance()
		return
	}
	back := make([]held, len(tx.verdicts))
	for i := range tx.verdicts {
		back[i] = tx.verdicts[i].held
	}
	slices.SortFunc(back, func(a, b held) int { return int(int64(a.tag - b.tag)) })
	ch.unacked.restore(back)
	ch.advance()
}

// pledge moves what verdicts are about out of the hands that it is in, until the commit is answered.
// A commit takes acknowledgements and rejections, up to a number; the others go behind it.
func pledge(verdicts []verdictOn) (with []ipc.TxnVerdict, later []verdictOn) {
	for _, v := range verdicts {
		s, r := v.held.sub, ipc.Range{First: v.held.offset, Count: 1}
		switch {
		case s.Closing:
		case v.verdict == ipc.VerdictRequeue || len(with) == ipc.MaxTxnVerdicts || !s.InHand.Remove(v.held.index, r):
			later = append(later, v)
		default:
			s.Pledged.Add(v.held.index, r.First, r.Count)
			with = append(with, ipc.TxnVerdict{Sub: s.ID, Queue: s.Index, Index: v.held.index, Verdict: v.verdict, Range: r})
		}
	}
	return with, later
}

// redeem forgets what was pledged: it is done with.
func (c *Conn) redeem(verdicts []ipc.TxnVerdict) {
	for i := range verdicts {
		v := &verdicts[i]
		s := c.sub(v.Sub)
		if s == nil || s.Index != v.Queue {
			continue
		}
		if v.Verdict == ipc.VerdictAck {
			c.lane.Counters.Add(shmqueue.ConnAcknowledged, uint64(v.Range.Count))
		}
		s.Pledged.Take(c.lane.Ranges(), v.Index, v.Range)
		if s.Limit != unlimited {
			s.Limit += uint64(v.Range.Count)
		}
		if s.ended && s.Gaps() == 0 {
			c.endSub(s)
			continue
		}
		c.topUp(s)
	}
}

// rollBack ends the transaction of a channel that ends.
func (ch *channel) rollBack() {
	if ch.tx.number == 0 {
		return
	}
	record := ipc.EndTxn{Head: ch.conn.head(0), Txn: ch.tx.number}
	ch.conn.lane.PutLater(ipc.TypeEndTxn, record.Append(ch.conn.lane.Scratch()))
	ch.tx = transaction{}
}
