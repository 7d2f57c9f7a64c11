package trimq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Deliveries are messages of a queue that came together to a consumer. They are settled through
// it by index and offset.
type Deliveries struct {
	Parcel
	q *QueueConsumer
}

// Ack settles all of them as done.
func (d *Deliveries) Ack() error { return d.q.settle(ipc.VerdictAck, d.Index, d.first, d.next) }

// Nack puts all of them back to their places in the queue.
func (d *Deliveries) Nack() error { return d.q.settle(ipc.VerdictRequeue, d.Index, d.first, d.next) }

// Reject makes all of them dead: they go to the queue's dead-letter exchange, or are dropped.
func (d *Deliveries) Reject() error { return d.q.settle(ipc.VerdictReject, d.Index, d.first, d.next) }

// Release gives the memory of the messages back, as Fetch.Release does; settle them
// before that. It settles nothing by itself.
func (d *Deliveries) Release() {
	if d != nil && d.release() {
		deliveries.Put(d)
	}
}

var deliveries = sync.Pool{New: func() any { return new(Deliveries) }}

// DeliveryError tells that messages [First, First+Count) of a queue's index cannot be read. They are
// in this consumer's hands all the same: Reject or Nack them.
type DeliveryError struct {
	Queue string
	Index uint64
	First uint64
	Count uint32
	Err   error

	q *QueueConsumer
}

// Error names the queue and the messages.
func (e *DeliveryError) Error() string {
	return fmt.Sprintf("trimq: queue %s, messages %d to %d of index %d: %v", e.Queue, e.First, e.First+uint64(e.Count)-1, e.Index, e.Err)
}

// Unwrap is the reason.
func (e *DeliveryError) Unwrap() error { return e.Err }

// Nack puts the messages back to their places in the queue.
func (e *DeliveryError) Nack() error { return e.settle(ipc.VerdictRequeue) }

// Reject makes the messages dead.
func (e *DeliveryError) Reject() error { return e.settle(ipc.VerdictReject) }

func (e *DeliveryError) settle(v ipc.Verdict) error {
	return e.q.settle(v, e.Index, e.First, e.First+uint64(e.Count))
}

// QueueConsumer takes messages from a queue. Its methods may be called by any goroutine;
// several that call Receive share the decoding.
//
// A message is delivered again, with Attempts raised, when it was put back, when it was not
// settled within the acknowledgement time-out, or when the connection broke before it was
// settled. What is settled is settled once the broker has it: verdicts on their way when a
// connection breaks are sent again on the next one.
type QueueConsumer struct {
	c     *Client
	opt   queueOptions
	link  *link
	name  string // set before the first subscription, as queue is
	queue uint64 // its id

	notify chan struct{} // capacity 1: there is something for Receive
	first  chan error    // capacity 1: the first subscription's outcome
	stop   chan struct{} // closed by Close

	producers producers // that share the connection

	// Lock order: QueueConsumer.mu alone.
	mu        sync.Mutex
	conn      *conn // nil: not connected
	home      *conn // the queue is exclusive to this connection; nil: to none
	ready     fifo[*delivered]
	notes     noteMemory
	hands     map[uint64]*hand // by index
	last      *hand            // the latest that was looked for
	unsent    []*hand          // have verdicts to be sent
	holding   uint64           // delivered on this connection, not settled, not recalled
	settled   uint64           // of what was delivered on this connection
	owed      uint64           // recalled: its credit is renewed with the next Receive
	limit     uint64           // the credit that the broker has been told
	begun     bool             // the queue is known: subscribe
	subbed    bool             // SUBSCRIBE is written on this connection
	confirmed bool             // and answered
	again     time.Time
	giveUp    time.Time // no longer tries again after it
	pause     backoff
	txns      []*Txn // that settle some of what is in hand
	acks      map[uint64]*ackRequest
	corr      uint64
	ackErr    error // the first refusal since the last Flush
	flushes   []chan error
	fatal     error
	closed    bool
}

const (
	queueSub       = 1    // the only subscription of its connection
	staleSub       = 2    // never one: verdicts on what came over an earlier connection
	maxAckRanges   = 4096 // in one ACK
	maxAcksOnWire  = 2
	subCorrelation = 1 // of SUBSCRIBE; ACKs count on from it
	queueSlab      = 256 << 10
)

// ConsumeQueue makes a consumer of a queue and waits until the broker has accepted it.
func (c *Client) ConsumeQueue(ctx context.Context, queue string, opts ...QueueOption) (*QueueConsumer, error) {
	found, err := c.queueNamed(ctx, queue)
	if err != nil {
		return nil, err
	}
	q, err := c.newQueueConsumer(opts)
	if err != nil {
		return nil, err
	}
	q.begin(queue, found.Queue, nil)
	return q.started(ctx)
}

// newQueueConsumer makes a consumer that connects; begin tells it to which queue.
func (c *Client) newQueueConsumer(opts []QueueOption) (*QueueConsumer, error) {
	q := &QueueConsumer{
		c: c, opt: newQueueOptions(opts), hands: map[uint64]*hand{}, acks: map[uint64]*ackRequest{},
		notify: make(chan struct{}, 1), first: make(chan error, 1), stop: make(chan struct{}),
		pause: backoff{min: c.opt.backoffMin, max: c.opt.backoffMax},
	}
	q.link = newLink(c, queueSlab, native.DefaultMaxFrame)
	q.link.roles.add(q, &q.corr)
	q.corr += subCorrelation
	if err := c.adopt(q); err != nil {
		return nil, err
	}
	q.link.start()
	return q, nil
}

// begin subscribes to a queue. If it is exclusive to a connection, home, which is no more, it has
// gone with that: false.
func (q *QueueConsumer) begin(name string, queue uint64, home *conn) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if home != nil && q.conn != home {
		return false
	}
	q.name, q.queue, q.home, q.begun = name, queue, home, true
	q.link.kick()
	return true
}

// started waits for the first subscription.
func (q *QueueConsumer) started(ctx context.Context) (*QueueConsumer, error) {
	var err error
	select {
	case err = <-q.first:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		q.end()
		return nil, err
	}
	return q, nil
}

// Name is the name of the queue.
func (q *QueueConsumer) Name() string { return q.name }

// Receive gives the next messages, waiting for them until ctx ends.
func (q *QueueConsumer) Receive(ctx context.Context) (*Deliveries, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		d, err := q.take()
		if err != nil {
			return nil, err
		}
		if d != nil {
			return q.open(d)
		}
		select {
		case <-q.notify:
		case <-q.stop:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (q *QueueConsumer) take() (*delivered, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, ErrClosed
	}
	if q.owed > 0 { // who asks for more is alive
		q.settled, q.owed = q.settled+q.owed, 0
		q.link.kick()
	}
	if q.ready.len() > 0 {
		d := q.ready.pop()
		if q.ready.len() > 0 {
			q.ring()
		}
		if q.opt.autoAck {
			q.count(q.hand(d.m.Index).held.remove(d.m.First, d.next()))
		}
		return d, nil
	}
	if q.fatal != nil {
		q.ring() // for the next one who asks
	}
	return nil, q.fatal
}

func (q *QueueConsumer) ring() {
	select {
	case q.notify <- struct{}{}:
	default:
	}
}

// open checks and unpacks a delivery, in the goroutine that asked for it.
func (q *QueueConsumer) open(in *delivered) (*Deliveries, error) {
	d := deliveries.Get().(*Deliveries)
	d.q = q
	if err := d.Parcel.open(in, q.name); err != nil {
		d.Release()
		return nil, &DeliveryError{Queue: q.name, Index: in.m.Index, First: in.m.First, Count: in.m.Count, Err: err, q: q}
	}
	return d, nil
}

// hand is what is known of an index. REQUIRES: q.mu held.
func (q *QueueConsumer) hand(index uint64) *hand {
	if q.last != nil && q.last.index == index {
		return q.last
	}
	h := q.hands[index]
	if h == nil {
		h = &hand{index: index}
		q.hands[index] = h
	}
	q.last = h
	return h
}

// Ack settles messages of an index of the queue, by offset, as done. It does not wait for the
// broker; Flush does. With ErrRecalled the others of them are settled all the same.
func (q *QueueConsumer) Ack(index uint64, offsets ...uint64) error {
	return q.settleEach(ipc.VerdictAck, index, offsets)
}

// Nack puts messages back to their places in the queue.
func (q *QueueConsumer) Nack(index uint64, offsets ...uint64) error {
	return q.settleEach(ipc.VerdictRequeue, index, offsets)
}

// Reject makes messages dead.
func (q *QueueConsumer) Reject(index uint64, offsets ...uint64) error {
	return q.settleEach(ipc.VerdictReject, index, offsets)
}

func (q *QueueConsumer) settleEach(v ipc.Verdict, index uint64, offsets []uint64) (late error) {
	for _, o := range offsets {
		if o == math.MaxUint64 {
			return invalid("offset %d", o)
		}
		if err := q.settle(v, index, o, o+1); errors.Is(err, ErrRecalled) {
			late = err
		} else if err != nil {
			return err
		}
	}
	return late
}

// settle notes a verdict for the writer. Neighbours become one range.
func (q *QueueConsumer) settle(v ipc.Verdict, index, first, next uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if q.opt.autoAck {
		return nil
	}
	h := q.hand(index)
	settled, late := h.settle(v, first, next)
	q.send(h)
	q.count(settled)
	if late > 0 {
		return recalledError(q.name, index, late)
	}
	return nil
}

// send lets the writer look at what h has to send. REQUIRES: q.mu held.
func (q *QueueConsumer) send(h *hand) {
	if !h.queued && !h.idle() {
		h.queued = true
		q.unsent = append(q.unsent, h)
	}
}

// count makes room for as many messages as are settled. REQUIRES: q.mu held.
func (q *QueueConsumer) count(settled uint64) {
	q.settled += settled
	q.holding -= settled
	q.link.kick()
}

// Flush waits until the broker has confirmed all that was settled. It returns the first
// refusal of a verdict since the last Flush.
func (q *QueueConsumer) Flush(ctx context.Context) error {
	q.mu.Lock()
	done := make(chan error, 1)
	q.flushes = append(q.flushes, done)
	q.flushed()
	q.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flushed answers those who flush once nothing is left. REQUIRES: q.mu held.
func (q *QueueConsumer) flushed() {
	if len(q.flushes) == 0 {
		return
	}
	left := len(q.acks) > 0 || len(q.unsent) > 0
	if left && q.fatal == nil && !q.closed {
		return
	}
	err := q.ackErr
	if left && err == nil {
		err = errors.Join(ErrClosed, q.fatal)
	}
	q.ackErr = nil
	for _, done := range q.flushes {
		done <- err
	}
	q.flushes = nil
}

// Close flushes and ends the consumer; what it holds unsettled goes back to the queue.
func (q *QueueConsumer) Close(ctx context.Context) error {
	q.mu.Lock()
	closed := q.closed
	q.mu.Unlock()
	if closed {
		return nil
	}
	errs := []error{q.closeProducers(ctx), q.Flush(ctx)}
	q.end()
	return errors.Join(errs...)
}

func (q *QueueConsumer) end() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed = true
	q.flushed()
	q.loseBound()
	q.mu.Unlock()
	close(q.stop)
	q.c.disown(q)
	q.link.close()
}

// lasting tells refusals of a subscription that trying again cannot change.
func lasting(code errcode.Code) bool {
	return !code.Retriable() && code != errcode.InUse
}
