package trimq

import "context"

// Producer sends messages to topics and exchanges. It is safe for use by many goroutines.
type Producer struct{ c *Client }

// NewProducer makes a producer and begins to connect; it does not wait for that.
func (c *Client) NewProducer(opts ...ProducerOption) (*Producer, error) { return nil, ErrClosed }

// Produce takes a message and sends it in the background. It waits, until ctx ends, only
// for room (WithBufferBytes) and for a topic's first description.
//
// Without an error, done is called exactly once with what became of the message, from a
// goroutine of the producer, in the order of Produce for each partition; it must not block,
// and not call Produce. With an error the message was not taken and done is never called.
// done may be nil.
func (p *Producer) Produce(ctx context.Context, m *Message, done func(Result, error)) error {
	return ErrClosed
}

// ProduceSync sends a message and waits for its acknowledgement. When ctx ends first, the
// message may or may not have been stored.
func (p *Producer) ProduceSync(ctx context.Context, m *Message) (Result, error) {
	return Result{}, ErrClosed
}

// Flush sends what has been taken without waiting for company, and waits until all of it has
// been reported.
func (p *Producer) Flush(ctx context.Context) error { return ErrClosed }

// Close takes no more messages, flushes, and ends the producer. When ctx ends first, what is
// left is reported with ErrUnknownOutcome.
func (p *Producer) Close(ctx context.Context) error { return ErrClosed }
