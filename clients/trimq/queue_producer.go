package trimq

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// producers are those that share a consumer's connection.
type producers struct {
	mu     sync.Mutex
	all    []*Producer
	closed bool
}

// NewProducer makes a producer on the consumer's connection, so that its transactions can settle what
// the consumer has received. It is closed with the consumer.
func (q *QueueConsumer) NewProducer(opts ...ProducerOption) (*Producer, error) {
	p := q.c.newProducer(opts)
	p.link, p.host = q.link, q
	q.producers.mu.Lock()
	defer q.producers.mu.Unlock()
	if q.producers.closed {
		return nil, ErrClosed
	}
	if err := q.c.adopt(p); err != nil {
		return nil, err
	}
	q.c.topics.watch(p)
	q.producers.all = append(q.producers.all, p)
	q.link.roles.add(p, &p.corr)
	q.link.kick()
	return p, nil
}

// remove ends a producer's part in the link.
func (g *producers) remove(p *Producer) {
	g.mu.Lock()
	g.all = slices.DeleteFunc(g.all, func(other *Producer) bool { return other == p })
	g.mu.Unlock()
	p.link.roles.remove(p, ErrClosed)
}

// closeProducers closes those that are open.
func (q *QueueConsumer) closeProducers(ctx context.Context) error {
	q.producers.mu.Lock()
	q.producers.closed = true
	all := q.producers.all
	q.producers.all = nil
	q.producers.mu.Unlock()
	var errs []error
	for _, p := range all {
		errs = append(errs, p.Close(ctx))
	}
	return errors.Join(errs...)
}
