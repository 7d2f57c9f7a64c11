package trimq

import "context"

// Delivery is a message of a queue in a consumer's hands.
type Delivery struct {
	Record          // Offset is its place in the queue
	Attempts uint16 // earlier deliveries; 0: the first
}

// Deliveries are messages of a queue that came together.
type Deliveries struct {
	Messages []Delivery
}

// Ack settles all of them as done.
func (d *Deliveries) Ack() error { return ErrClosed }

// Release gives the memory of the messages back, as Fetch.Release does.
func (d *Deliveries) Release() {}

// QueueConsumer takes messages from a queue.
type QueueConsumer struct{ c *Client }

// ConsumeQueue makes a consumer of a queue.
func (c *Client) ConsumeQueue(ctx context.Context, queue string, opts ...QueueOption) (*QueueConsumer, error) {
	return nil, ErrClosed
}

// Receive gives the next messages, waiting for them until ctx ends.
func (q *QueueConsumer) Receive(ctx context.Context) (*Deliveries, error) { return nil, ErrClosed }

// Ack settles messages, by offset, as done. It does not wait: Flush does.
func (q *QueueConsumer) Ack(offsets ...uint64) error { return ErrClosed }

// Nack puts messages back to their places in the queue.
func (q *QueueConsumer) Nack(offsets ...uint64) error { return ErrClosed }

// Reject drops messages.
func (q *QueueConsumer) Reject(offsets ...uint64) error { return ErrClosed }

// Flush waits until the broker has confirmed all that was settled.
func (q *QueueConsumer) Flush(ctx context.Context) error { return ErrClosed }

// Close flushes and ends the consumer; what it holds unsettled goes back to the queue.
func (q *QueueConsumer) Close(ctx context.Context) error { return ErrClosed }
