package trimq

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Deliveries are messages of a queue that came together. Offset of a Record is here its
// place in the queue, by which it is settled.
type Deliveries struct {
	Messages []Record
	Attempts uint16 // how often they were delivered before; 0: the first time

	q           *QueueConsumer
	first, next uint64
	s           *slab
	headers     []Header
	reader      batch.Reader
}

// Ack settles all of them as done.
func (d *Deliveries) Ack() error { return d.q.settle(ipc.VerdictAck, d.first, d.next) }

// Nack puts all of them back to their places in the queue.
func (d *Deliveries) Nack() error { return d.q.settle(ipc.VerdictRequeue, d.first, d.next) }

// Reject drops all of them.
func (d *Deliveries) Reject() error { return d.q.settle(ipc.VerdictReject, d.first, d.next) }

// Release gives the memory of the messages back, as Fetch.Release does; settle them
// before that. It settles nothing by itself.
func (d *Deliveries) Release() {
	if d == nil || d.s == nil {
		return
	}
	d.s.release()
	d.s = nil
	d.Messages = d.Messages[:0]
	clear(d.headers)
	d.headers = d.headers[:0]
	deliveries.Put(d)
}

var deliveries = sync.Pool{New: func() any { return new(Deliveries) }}

// DeliveryError tells that messages [First, First+Count) of a queue cannot be read. They are
// in this consumer's hands all the same: Reject or Nack them.
type DeliveryError struct {
	Queue string
	First uint64
	Count uint32
	Err   error
}

// Error names the queue and the messages.
func (e *DeliveryError) Error() string {
	return fmt.Sprintf("trimq: queue %s, messages %d to %d: %v", e.Queue, e.First, e.First+uint64(e.Count)-1, e.Err)
}

// Unwrap is the reason.
func (e *DeliveryError) Unwrap() error { return e.Err }

// QueueConsumer takes messages from a queue. Its methods may be called by any goroutine;
// several that call Receive share the decoding.
//
// A message is delivered again, with Attempts raised, when it was put back, or when the
// connection broke before it was settled. What is settled is settled once the broker has it:
// verdicts on their way when a connection breaks are sent again on the next one.
type QueueConsumer struct {
	c     *Client
	name  string
	index uint64
	opt   queueOptions
	link  *link

	notify chan struct{} // capacity 1: there is something for Receive
	first  chan error    // capacity 1: the first subscription's outcome
	stop   chan struct{} // closed by Close

	// Lock order: QueueConsumer.mu alone.
	mu        sync.Mutex
	ready     fifo[*delivered]
	held      rangeSet // delivered on this connection, not settled
	settled   uint64   // of what was delivered on this connection
	limit     uint64   // the credit that the broker has been told
	subbed    bool     // SUBSCRIBE is written on this connection
	confirmed bool     // and answered
	again     time.Time
	giveUp    time.Time // no longer tries again after it
	pause     backoff
	verdicts  [4]rangeSet // by ipc.Verdict: not sent
	stale     [4]rangeSet // the same, on messages that came over an earlier connection
	acks      map[uint64]ackRequest
	corr      uint64
	ackErr    error // the first refusal since the last Flush
	flushes   []chan error
	fatal     error
	closed    bool
}

// delivered is a DELIVER that has arrived.
type delivered struct {
	m     native.Deliver
	batch []byte
	s     *slab
}

// ackRequest is an ACK on the wire.
type ackRequest struct {
	verdict ipc.Verdict
	stale   bool
	ranges  []ipc.Range
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
	found, err := c.Queues(ctx, queue)
	if err != nil {
		return nil, err
	}
	if len(found) != 1 {
		return nil, protocolError("DESCRIBE of queue %q tells of %d", queue, len(found))
	}
	q := &QueueConsumer{
		c: c, name: queue, index: found[0].Queue, opt: newQueueOptions(opts),
		notify: make(chan struct{}, 1), first: make(chan error, 1), stop: make(chan struct{}),
		acks:  map[uint64]ackRequest{},
		pause: backoff{min: c.opt.backoffMin, max: c.opt.backoffMax},
	}
	q.link = newLink(c, queueSlab, native.DefaultMaxFrame)
	q.link.roles.add(q, &q.corr)
	q.corr += subCorrelation
	if err := c.adopt(q); err != nil {
		return nil, err
	}
	q.link.start()
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
			return q.decode(d)
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
	if q.ready.len() > 0 {
		d := q.ready.pop()
		if q.ready.len() > 0 {
			q.ring()
		}
		if q.opt.autoAck {
			q.count(d.m.First, d.m.First+uint64(d.m.Count))
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

// decode checks and unpacks a delivery, in the goroutine that asked for it.
func (q *QueueConsumer) decode(in *delivered) (*Deliveries, error) {
	d := deliveries.Get().(*Deliveries)
	d.q, d.s, d.Attempts = q, in.s, in.m.Attempts
	d.first, d.next = in.m.First, in.m.First+uint64(in.m.Count)
	err := d.reader.Reset(in.batch)
	if err == nil {
		if batch.Header(in.batch).Codec() != batch.None {
			d.reader.TakeBuffer() // the messages are to outlive the reader's next batch
		}
		d.reader.Rebase(in.m.Base)
		d.Messages = appendRecords(d.Messages, &d.headers, &d.reader, d.first, d.next)
		err = d.reader.Err()
	}
	if err == nil && len(d.Messages) != int(in.m.Count) {
		err = fmt.Errorf("%d messages instead of %d", len(d.Messages), in.m.Count)
	}
	if err != nil {
		d.Release()
		return nil, &DeliveryError{Queue: q.name, First: in.m.First, Count: in.m.Count, Err: corrupt(err)}
	}
	return d, nil
}

// Ack settles messages, by offset, as done. It does not wait for the broker; Flush does.
func (q *QueueConsumer) Ack(offsets ...uint64) error { return q.settleEach(ipc.VerdictAck, offsets) }

// Nack puts messages back to their places in the queue.
func (q *QueueConsumer) Nack(offsets ...uint64) error {
	return q.settleEach(ipc.VerdictRequeue, offsets)
}

// Reject drops messages.
func (q *QueueConsumer) Reject(offsets ...uint64) error {
	return q.settleEach(ipc.VerdictReject, offsets)
}

func (q *QueueConsumer) settleEach(v ipc.Verdict, offsets []uint64) error {
	for _, o := range offsets {
		if o == math.MaxUint64 {
			return fmt.Errorf("trimq: offset %d: %w", o, ErrInvalidArgument)
		}
		if err := q.settle(v, o, o+1); err != nil {
			return err
		}
	}
	return nil
}

// settle notes a verdict for the writer. Neighbours become one range.
func (q *QueueConsumer) settle(v ipc.Verdict, first, next uint64) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	if q.opt.autoAck {
		return nil
	}
	q.held.split(first, next, func(a, b uint64, held bool) {
		switch {
		case held:
			q.verdicts[v].add(a, b)
		case v != ipc.VerdictRequeue: // that has come to pass by itself
			q.stale[v].add(a, b)
		}
	})
	q.count(first, next)
	q.link.kick()
	return nil
}

// count makes room for as many messages as are settled. REQUIRES: q.mu held.
func (q *QueueConsumer) count(first, next uint64) {
	q.settled += q.held.remove(first, next)
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
	left := len(q.acks) > 0
	for i := range q.verdicts {
		left = left || !q.verdicts[i].empty() || !q.stale[i].empty()
	}
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
	err := q.Flush(ctx)
	q.end()
	return err
}

func (q *QueueConsumer) end() {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return
	}
	q.closed = true
	q.flushed()
	q.mu.Unlock()
	close(q.stop)
	q.c.disown(q)
	q.link.close()
}

// lasting tells refusals of a subscription that trying again cannot change.
func lasting(code errcode.Code) bool {
	return !code.Retriable() && code != errcode.InUse
}
