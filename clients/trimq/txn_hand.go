package trimq

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
)

// txnHand is what a transaction settles of a queue. Guarded by the mutex of the consumer. All of it
// is in the hand of one connection; when that breaks, or some of it is recalled, the transaction
// cannot be committed any more.
type txnHand struct {
	q    *QueueConsumer
	conn *conn // over which the messages came
	sets []boundSet
	err  error // why it cannot be committed
}

// boundSet is one verdict on messages of one index.
type boundSet struct {
	h       *hand
	verdict ipc.Verdict
	set     rangeSet
}

// bind makes a verdict part of a transaction.
func (q *QueueConsumer) bind(x *Txn, v ipc.Verdict, index, first, next uint64) error {
	if !x.owned.CompareAndSwap(nil, q) && x.owned.Load() != q {
		return invalid("transaction %d settles messages of another consumer already: those of one can be part of it", x.id)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	t := &x.hand
	defer func() {
		if t.q == nil {
			x.owned.Store(nil) // nothing came of it
		}
	}()
	switch {
	case q.closed:
		return ErrClosed
	case q.opt.autoAck:
		return invalid("the messages of a consumer with automatic acknowledgement are settled already")
	case x.closing.Load():
		return x.errTxnClosed()
	case x.home != nil && x.home != q.conn:
		return x.foreign()
	case t.err != nil:
		return t.err
	}
	if err := q.inHand(index, first, next); err != nil {
		return err
	}
	if t.q == nil {
		t.q, t.conn = q, q.conn
		q.txns = append(q.txns, x)
	}
	h := q.hand(index)
	h.held.remove(first, next)
	h.bound.add(first, next)
	t.of(h, v).add(first, next)
	if n := t.ranges(); n > ipc.MaxTxnVerdicts {
		t.of(h, v).remove(first, next)
		h.bound.remove(first, next)
		h.held.add(first, next)
		return invalid("transaction %d would settle %d ranges of messages; at most %d fit: settle neighbours together, or commit more often", x.id, n, ipc.MaxTxnVerdicts)
	}
	return nil
}

// foreign says that the transaction and the consumer have different connections.
func (x *Txn) foreign() error {
	if x.lost() {
		return fmt.Errorf("trimq: transaction %d was rolled back with its connection: %w", x.id, ErrTxnEnded)
	}
	return invalid("transaction %d belongs to another connection than the consumer's: make the producer with QueueConsumer.NewProducer, or give the transaction a group", x.id)
}

// inHand refuses what the consumer does not hold. REQUIRES: q.mu held.
func (q *QueueConsumer) inHand(index, first, next uint64) error {
	h := q.hand(index)
	missing, late := uint64(0), uint64(0)
	h.held.split(first, next, func(a, b uint64, held bool) {
		if !held {
			missing += b - a
			h.recalled.split(a, b, func(a, b uint64, recalled bool) {
				if recalled {
					late += b - a
				}
			})
		}
	})
	switch {
	case late > 0:
		return recalledError(q.name, index, late)
	case missing > 0:
		return fmt.Errorf("trimq: queue %s, index %d: %d messages went back with their connection, or are settled: %w", q.name, index, missing, ErrRecalled)
	}
	return nil
}

// of finds the set of a verdict.
func (t *txnHand) of(h *hand, v ipc.Verdict) *rangeSet {
	i := slices.IndexFunc(t.sets, func(b boundSet) bool { return b.h == h && b.verdict == v })
	if i < 0 {
		i = len(t.sets)
		t.sets = append(t.sets, boundSet{h: h, verdict: v})
	}
	return &t.sets[i].set
}

func (t *txnHand) ranges() (n int) {
	for i := range t.sets {
		n += len(t.sets[i].set.list)
	}
	return n
}

// verdicts are what END_TXN bears.
func (t *txnHand) verdicts() (all []ipc.TxnVerdict) {
	for i := range t.sets {
		b := &t.sets[i]
		set := rangeSet{list: slices.Clone(b.set.list)}
		for _, r := range set.take(len(set.list) + ipc.MaxTxnVerdicts) {
			all = append(all, ipc.TxnVerdict{Sub: queueSub, Queue: t.q.queue, Index: b.h.index, Verdict: b.verdict, Range: r})
		}
	}
	return all
}

// recallBound takes [first, next) out of transactions, which fail with that. REQUIRES: q.mu held.
func (q *QueueConsumer) recallBound(h *hand, first, next uint64) {
	n := h.bound.remove(first, next)
	if n == 0 {
		return
	}
	q.holding -= n
	q.owed += n
	for _, x := range q.txns {
		for i := range x.hand.sets {
			if b := &x.hand.sets[i]; b.h == h && b.set.remove(first, next) > 0 {
				x.hand.err = recalledError(q.name, h.index, n)
			}
		}
	}
}

// loseBound: what transactions would settle has gone back with the connection. REQUIRES: q.mu held.
func (q *QueueConsumer) loseBound() {
	for _, x := range q.txns {
		x.hand.err = fmt.Errorf("trimq: transaction %d: what it would settle went back with the connection: %w", x.id, ErrRecalled)
	}
	q.txns = q.txns[:0]
}

// unbind ends a transaction's part in the consumer: what it has not settled is in hand again.
func (q *QueueConsumer) unbind(x *Txn, committed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	i := slices.Index(q.txns, x)
	if i < 0 {
		return // the connection broke
	}
	q.txns = slices.Delete(q.txns, i, i+1)
	for i := range x.hand.sets {
		b := &x.hand.sets[i]
		for _, s := range b.set.list {
			if n := b.h.bound.remove(s.first, s.next); committed {
				q.count(n)
			} else {
				b.h.held.add(s.first, s.next)
			}
		}
	}
}
