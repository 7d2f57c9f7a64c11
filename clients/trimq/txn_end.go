package trimq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The end of a transaction. END_TXN with verdicts must go over the consumer's connection, one of a
// transaction that belongs to a connection over that. If the connection breaks before the answer,
// it may have been carried out. Then
//
//   - without verdicts the same is asked for over another connection: a commit that was carried out
//     is answered as it was the first time;
//   - with verdicts it must not be, for what they are about has gone back to the queue: a rollback
//     is asked for, and refused if it had been committed.
//
// As long as the broker has not noticed that the connection of a transaction is gone, it knows no
// such transaction of another connection, so the question is repeated.

// Commit makes all messages visible and all verdicts count, once all messages are stored. It may be
// called again when ctx ended. An error that is ErrUnknownOutcome leaves open whether it was
// committed; with any other error but ctx's it was not, and is rolled back.
func (x *Txn) Commit(ctx context.Context) error {
	if e := x.ended.Load(); e != nil {
		return e.err
	}
	x.close()
	err := x.settled(ctx)
	if err != nil && ctx.Err() != nil {
		return err
	}
	verdicts, on, handErr := x.verdicts()
	if err == nil {
		err = handErr
	}
	if err != nil {
		return x.fail(ctx, fmt.Errorf("trimq: transaction %d is rolled back: %w", x.id, err))
	}
	return x.commit(ctx, verdicts, on)
}

// verdicts are those that the commit bears, and the connection over which it must go.
func (x *Txn) verdicts() (all []ipc.TxnVerdict, on *conn, err error) {
	q := x.owned.Load()
	if q == nil {
		return nil, nil, nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	return x.hand.verdicts(), x.hand.conn, x.hand.err
}

// control are the calls by which the transaction is begun and ended, and the connection to which it
// belongs; nil: any will do.
func (x *Txn) control() (*calls, *conn) {
	if x.home == nil {
		return x.p.c.calls, nil
	}
	return x.p.link.control(), x.home
}

// commit asks for it.
func (x *Txn) commit(ctx context.Context, verdicts []ipc.TxnVerdict, hand *conn) error {
	cs, on := x.control()
	if len(verdicts) > 0 {
		cs, on = x.owned.Load().link.control(), hand
	}
	m := native.EndTxn{Txn: x.id, Commit: true, Verdicts: verdicts}
	reply, a, err := ask(ctx, cs, on, native.CmdEndTxn, &m, native.DecodeEndTxnReply)
	if a.sent > 0 {
		x.asked.Store(true)
	}
	switch code := codeOf(err); {
	case err == nil:
		x.finish(txnEnd{committed: true, queues: reply.Queues})
		return nil
	case errors.Is(err, errConnLost) && x.asked.Load():
		return x.learn(ctx, len(verdicts) == 0)
	case errors.Is(err, errConnLost):
		return x.fail(ctx, fmt.Errorf("trimq: transaction %d is rolled back: %w", x.id, errConnLost))
	case ctx.Err() != nil:
		return err
	case code == errcode.OK && x.asked.Load(): // the client was closed, or the answer is none
		return errors.Join(ErrUnknownOutcome, err)
	case code == errcode.OK:
		return err
	}
	if _, _, recalled := x.verdicts(); recalled != nil { // that is why
		err = errors.Join(recalled, err)
	}
	return x.fail(ctx, fmt.Errorf("trimq: transaction %d is rolled back: %w", x.id, err))
}

// learn finds out what has become of a commit whose connection broke before the answer, by asking
// for the end again: the same, or the other way.
func (x *Txn) learn(ctx context.Context, commit bool) error {
	pause := backoff{min: unavailablePause, max: time.Second}
	until := time.Now().Add(x.p.c.opt.answerTimeout)
	for {
		reply, err := x.p.c.endTxn(ctx, x.id, commit)
		committed := reply.Committed
		if codeOf(err) == errcode.TxnEnded {
			committed, err = !commit, nil
		}
		switch {
		case err == nil && committed:
			x.finish(txnEnd{committed: true, queues: reply.Queues})
			return nil
		case err == nil:
			e := fmt.Errorf("trimq: transaction %d was rolled back: its connection broke: %w", x.id, ErrTxnEnded)
			x.finish(txnEnd{err: e})
			return e
		case ctx.Err() != nil:
			return errors.Join(ErrUnknownOutcome, err)
		case codeOf(err) != errcode.UnknownTxn || time.Now().After(until) || pause.sleep(ctx) != nil:
			e := errors.Join(ErrUnknownOutcome, err)
			x.finish(txnEnd{err: e})
			return e
		}
	}
}

// fail rolls back and gives the reason, which is the outcome from now on.
func (x *Txn) fail(ctx context.Context, reason error) error {
	if err := x.rollback(ctx, reason); errors.Is(err, ErrTxnEnded) {
		return err
	}
	return reason
}

// Rollback drops all messages of the transaction, and forgets its verdicts: what they are about is in
// the hand of the consumer again. If ctx ends first, the broker is told all the same, as long as the
// connection lasts. ErrTxnEnded: it has been committed.
func (x *Txn) Rollback(ctx context.Context) error {
	if e := x.ended.Load(); e != nil {
		if e.committed {
			return fmt.Errorf("trimq: transaction %d was committed: %w", x.id, ErrTxnEnded)
		}
		return nil
	}
	x.close()
	return x.rollback(ctx, fmt.Errorf("trimq: transaction %d was rolled back: %w", x.id, ErrTxnEnded))
}

// rollback asks for it; outcome is what Commit says from then on.
func (x *Txn) rollback(ctx context.Context, outcome error) error {
	if x.lost() {
		if x.asked.Load() {
			return x.rolledBack(x.learn(ctx, false))
		}
		x.finish(txnEnd{err: outcome})
		return nil
	}
	err := x.askRollback(ctx)
	switch code := codeOf(err); {
	case code == errcode.TxnEnded:
		x.finish(txnEnd{committed: true})
		return fmt.Errorf("trimq: transaction %d was committed: %w", x.id, err)
	case errors.Is(err, errConnLost) && x.asked.Load():
		return x.rolledBack(x.learn(ctx, false))
	case errors.Is(err, errConnLost) || code == errcode.UnknownTxn:
		err = nil // the broker does it by itself, or has done it
	case err != nil && x.asked.Load():
		return err // it may have been committed
	}
	x.finish(txnEnd{err: outcome})
	return err
}

// rolledBack is the outcome of a rollback that learn has found out.
func (x *Txn) rolledBack(err error) error {
	switch e := x.ended.Load(); {
	case e != nil && e.committed:
		return fmt.Errorf("trimq: transaction %d was committed: %w", x.id, ErrTxnEnded)
	case errors.Is(err, ErrTxnEnded):
		return nil
	}
	return err
}

// askRollback sends END_TXN. It goes out even if ctx ends before.
func (x *Txn) askRollback(ctx context.Context) error {
	cs, on := x.control()
	pause := backoff{min: unavailablePause, max: time.Second}
	for {
		c, err := cs.start(on, native.CmdEndTxn, &native.EndTxn{Txn: x.id})
		if err != nil {
			return err
		}
		select {
		case <-c.done:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !notTaken(c.err) || pause.sleep(ctx) != nil {
			return c.err
		}
	}
}

// endTxns ends what a producer that is closed has not ended. Those of a group stay open: whoever
// knows their outcome may still end them, or a TxnChecker does.
func (p *Producer) endTxns() {
	p.mu.Lock()
	var open []*Txn
	for x := range p.txns {
		if x.home != nil {
			open = append(open, x)
		}
	}
	p.mu.Unlock()
	for _, x := range open {
		if p.host != nil { // the connection stays
			p.link.control().start(x.home, native.CmdEndTxn, &native.EndTxn{Txn: x.id})
		}
		x.finish(txnEnd{err: fmt.Errorf("trimq: transaction %d was rolled back with its producer: %w", x.id, ErrClosed)})
	}
}

// EndTxn commits a transaction of a producer group, or rolls it back, by its number: what a
// TxnChecker does, and people do who have found one that nobody decides. It tells how many queues
// and partitions have its messages. ErrTxnEnded: it was decided the other way before.
func (c *Client) EndTxn(ctx context.Context, txn uint64, commit bool) (queues uint32, err error) {
	reply, err := c.endTxn(ctx, txn, commit)
	return reply.Queues, err
}

func (c *Client) endTxn(ctx context.Context, txn uint64, commit bool) (native.EndTxnReply, error) {
	return request(ctx, c, native.CmdEndTxn, &native.EndTxn{Txn: txn, Commit: commit}, native.DecodeEndTxnReply)
}
