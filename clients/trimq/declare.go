package trimq

import (
	"context"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/native"
)

// DeclareAndConsume makes a queue over the consumer's own connection, unless an equal one is there,
// and consumes from it. So it can be an exclusive one, which goes with the connection: when that
// breaks, the consumer ends with ErrNotFound. Name tells what a queue is called whose name the
// broker has chosen.
func (c *Client) DeclareAndConsume(ctx context.Context, spec QueueSpec, opts ...QueueOption) (*QueueConsumer, error) {
	for {
		q, err := c.newQueueConsumer(opts)
		if err != nil {
			return nil, err
		}
		if err = q.declare(ctx, &spec); err != nil {
			q.end()
			return nil, err
		}
		if _, err = q.started(ctx); err == nil {
			return q, nil
		}
		if !q.lostHome() || ctx.Err() != nil {
			return nil, err
		}
	}
}

// declare makes the queue over the consumer's connection, and begins with it.
func (q *QueueConsumer) declare(ctx context.Context, spec *QueueSpec) error {
	for {
		made, a, err := ask(ctx, q.link.control(), nil, native.CmdCreateQueue, spec, admin.DecodeCreated)
		if err != nil {
			return err
		}
		var home *conn
		if spec.Exclusive {
			home = a.on
		}
		if q.begin(made.Name, made.Index, home) {
			return nil
		}
	}
}

// lostHome tells whether the queue was exclusive to a connection that is no more.
func (q *QueueConsumer) lostHome() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.home != nil && q.home != q.conn
}

// Subscription is a queue over a topic: its messages are the topic's, from a position on, and
// nothing is copied. CreateQueue, with a Topic, makes one with more properties.
type Subscription struct {
	Name      string
	Topic     string
	Selector  string // only messages whose headers fulfil the condition; empty: all
	Tags      string // only messages whose header tag is one of these: a || b; empty: all
	From      From   // where to begin, if it is not there yet; its zero value: with what the topic keeps
	Transient bool   // it need not survive a boot
}

// Subscribe makes a subscription, unless an equal one is there, and consumes from it. The broker
// keeps how far it has got; where it goes on can be changed with Seek.
func (c *Client) Subscribe(ctx context.Context, s Subscription, opts ...QueueOption) (*QueueConsumer, error) {
	spec, err := c.queueOf(ctx, &s)
	if err != nil {
		return nil, err
	}
	return c.DeclareAndConsume(ctx, spec, opts...)
}

// queueOf is the queue that a subscription is.
func (c *Client) queueOf(ctx context.Context, s *Subscription) (spec QueueSpec, err error) {
	spec = QueueSpec{Name: s.Name, QueueSettings: QueueSettings{Durable: !s.Transient, Topic: s.Topic}}
	switch {
	case s.Topic == "":
		return spec, invalid("subscription %q names no topic", s.Name)
	case s.Selector != "" && s.Tags != "":
		return spec, invalid("subscription %q has a selector and tags: give one of them", s.Name)
	case s.Selector != "":
		spec.FilterKind, spec.Filter = FilterSelector, s.Selector
	case s.Tags != "":
		spec.FilterKind, spec.Filter = FilterTags, s.Tags
	}
	if s.From.kind == 0 {
		return spec, nil
	}
	return spec, c.StartAt(ctx, &spec, s.From)
}

// StartAt makes the queue over a topic that spec is to create begin there.
func (c *Client) StartAt(ctx context.Context, spec *QueueSpec, from From) (err error) {
	spec.From, spec.Offsets = admin.FromEarliest, nil
	switch from.kind {
	case fromEarliest:
	case fromLatest:
		spec.From = admin.FromLatest
	default:
		spec.From = admin.FromOffsets
		spec.Offsets, err = c.offsetsOf(ctx, spec.Topic, from)
	}
	return err
}

// offsetsOf is a position in all partitions of a topic.
func (c *Client) offsetsOf(ctx context.Context, topic string, from From) ([]uint64, error) {
	e, err := c.topics.get(ctx, topic)
	if err != nil {
		return nil, err
	}
	offsets := make([]uint64, len(e.indexes))
	for i, index := range e.indexes {
		if offsets[i], err = c.resolve(ctx, index, from); err != nil {
			return nil, &PartitionError{Topic: topic, Partition: uint32(i), Err: err}
		}
	}
	return offsets, nil
}
