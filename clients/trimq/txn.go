package trimq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Txn is a transaction: messages, and verdicts on messages of a queue, that take effect together
// with Commit, or not at all. Its methods may be called by any goroutine.
//
// Without a group it belongs to the producer's connection, and the broker rolls it back when that
// breaks. With one it outlives connections: its messages are then "half messages", and where
// nobody decides, the broker asks a TxnChecker of the group.
type Txn struct {
	p      *Producer
	id     uint64
	serial uint64 // no other one of this process has it
	group  string
	home   *conn // whose it is; nil: a group's

	closing atomic.Bool // nothing more is taken; set under Producer.mu

	// Guarded by Producer.mu.
	lanes []*lane
	live  int           // batches that hold messages and are not reported
	idle  chan struct{} // closed once there is none; nil: nobody waits
	cause error         // why a message of it failed

	owned atomic.Pointer[QueueConsumer] // whose messages it settles
	hand  txnHand                       // guarded by its mutex

	asked atomic.Bool // END_TXN with a commit may have been sent
	ended atomic.Pointer[txnEnd]
}

// txnEnd is what has become of a transaction.
type txnEnd struct {
	committed bool
	queues    uint32
	err       error // of Commit
}

var txnSerials atomic.Uint64

// TxnOption configures a transaction.
type TxnOption func(*txnOptions)

type txnOptions struct {
	group, key string
	checkAfter time.Duration
}

// WithTxnGroup makes the transaction one of a producer group. key is the group's name for it, told
// with each check; an open transaction of the group with the same key is the same transaction.
func WithTxnGroup(group, key string) TxnOption {
	return func(o *txnOptions) { o.group, o.key = group, key }
}

// WithCheckAfter sets after what time without a decision the group is asked, and then again
// (default: the broker's, a minute).
func WithCheckAfter(d time.Duration) TxnOption { return func(o *txnOptions) { o.checkAfter = d } }

// BeginTxn begins a transaction, for messages through this producer.
func (p *Producer) BeginTxn(ctx context.Context, opts ...TxnOption) (*Txn, error) {
	var o txnOptions
	for _, set := range opts {
		set(&o)
	}
	if (o.group == "") != (o.key == "") {
		return nil, invalid("a transaction of group %q with key %q: it has both, or none", o.group, o.key)
	}
	m := native.BeginTxn{Group: o.group, Key: o.key, CheckMS: ceilMS(o.checkAfter)}
	reply, a, err := ask(ctx, p.link.control(), nil, native.CmdBeginTxn, &m, native.DecodeBeginTxnReply)
	if err != nil {
		return nil, err
	}
	x := &Txn{p: p, id: reply.Txn, serial: txnSerials.Add(1), group: o.group}
	if o.group == "" {
		x.home = a.on
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing {
		return nil, ErrClosed
	}
	p.txns[x] = struct{}{}
	return x, nil
}

// InTxn runs f within a transaction. It commits where f returns nil; otherwise, or where f panics, it
// rolls back. A Commit that could not be decided is ErrUnknownOutcome.
func (p *Producer) InTxn(ctx context.Context, f func(ctx context.Context, x *Txn) error, opts ...TxnOption) error {
	x, err := p.BeginTxn(ctx, opts...)
	if err != nil {
		return err
	}
	finished := false
	defer func() {
		if !finished {
			x.rollbackSoon()
		}
	}()
	err = f(ctx, x)
	finished = true
	if err != nil {
		x.rollbackSoon()
		return err
	}
	return x.Commit(ctx)
}

// ID is the broker's number for the transaction.
func (x *Txn) ID() uint64 { return x.id }

// number is the id, 0 for no transaction.
func (x *Txn) number() uint64 {
	if x == nil {
		return 0
	}
	return x.id
}

// mark tells transactions apart within this process; 0 for none.
func (x *Txn) mark() uint64 {
	if x == nil {
		return 0
	}
	return x.serial
}

// Produce is Producer.Produce within the transaction. The callback says that the broker has the
// message; nobody sees it before the commit, and where it will be is not known (UnknownOffset).
func (x *Txn) Produce(ctx context.Context, m *Message, done func(Result, error)) error {
	return x.p.produce(ctx, m, x, done)
}

// ProduceSync is Producer.ProduceSync within the transaction.
func (x *Txn) ProduceSync(ctx context.Context, m *Message) (Result, error) {
	return produceSync(ctx, m, x.Produce)
}

// Ack makes it part of the transaction that messages of a queue are done with. They must be in the
// hand of the consumer; once the transaction has failed they are again, unless its connection broke.
// The consumer's connection must be that to which the transaction belongs (QueueConsumer.NewProducer),
// or the transaction one of a group.
func (x *Txn) Ack(d *Deliveries) error {
	return d.q.bind(x, ipc.VerdictAck, d.Index, d.first, d.next)
}

// Reject makes it part of the transaction that messages of a queue are dead, as Ack.
func (x *Txn) Reject(d *Deliveries) error {
	return d.q.bind(x, ipc.VerdictReject, d.Index, d.first, d.next)
}

// AckOffsets is Ack for single messages of an index.
func (x *Txn) AckOffsets(q *QueueConsumer, index uint64, offsets ...uint64) error {
	for _, o := range offsets {
		if err := q.bind(x, ipc.VerdictAck, index, o, o+1); err != nil {
			return err
		}
	}
	return nil
}

// errTxnClosed: the transaction takes nothing more.
func (x *Txn) errTxnClosed() error {
	return fmt.Errorf("trimq: transaction %d takes nothing more: %w", x.id, ErrTxnEnded)
}

// close lets nothing more in, and has what is filling leave.
func (x *Txn) close() {
	p := x.p
	p.mu.Lock()
	x.closing.Store(true)
	lanes := x.lanes
	p.mu.Unlock()
	for _, ln := range lanes {
		ln.s.mu.Lock()
		ln.s.close(ln)
		ln.s.mu.Unlock()
	}
}

// settled waits until all its messages have been reported, and tells why one of them failed.
func (x *Txn) settled(ctx context.Context) error {
	p := x.p
	p.mu.Lock()
	idle := x.idle
	if idle == nil {
		idle = make(chan struct{})
		x.idle = idle
		x.wakeIdle()
	}
	p.mu.Unlock()
	select {
	case <-idle:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return x.cause
}

// fillsIn notes a lane that messages of the transaction are to fill; false: it takes nothing more.
func (x *Txn) fillsIn(ln *lane) bool {
	if x == nil {
		return true
	}
	x.p.mu.Lock()
	defer x.p.mu.Unlock()
	if x.closing.Load() {
		return false
	}
	x.lanes = append(x.lanes, ln)
	return true
}

// begun counts a batch in. REQUIRES: p.mu held.
func (x *Txn) begun() {
	if x != nil {
		x.live++
	}
}

// reported counts a batch out. REQUIRES: p.mu held.
func (x *Txn) reported(err error) {
	if x == nil {
		return
	}
	if err != nil && x.cause == nil {
		x.cause = err
	}
	x.live--
	x.wakeIdle()
}

// wakeIdle tells who waits for the last batch. REQUIRES: p.mu held.
func (x *Txn) wakeIdle() {
	if x.live > 0 || x.idle == nil {
		return
	}
	select {
	case <-x.idle:
	default:
		close(x.idle)
	}
}

// finish remembers what has become of the transaction, and lets go of what it had.
func (x *Txn) finish(e txnEnd) {
	x.closing.Store(true)
	if !x.ended.CompareAndSwap(nil, &e) {
		return
	}
	if q := x.owned.Load(); q != nil {
		q.unbind(x, e.committed)
	}
	p := x.p
	p.mu.Lock()
	delete(p.txns, x)
	lanes := x.lanes
	x.lanes = nil
	p.mu.Unlock()
	for _, ln := range lanes {
		ln.s.dropLane(ln)
	}
}

// lost tells whether the connection to which the transaction belongs is no more.
func (x *Txn) lost() bool {
	if x.home == nil {
		return false
	}
	select {
	case <-x.home.dead:
		return true
	default:
		return false
	}
}

// rollbackSoon rolls back without waiting longer than for an answer that is on its way.
func (x *Txn) rollbackSoon() {
	ctx, cancel := context.WithTimeout(context.Background(), rollbackPatience)
	defer cancel()
	if err := x.Rollback(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		x.p.c.opt.log.Debug("rollback", "txn", x.id, "err", err)
	}
}

// rollbackPatience is how long InTxn waits for a rollback; the broker is told all the same.
const rollbackPatience = 5 * time.Second
