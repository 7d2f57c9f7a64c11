package trimq

import (
	"context"
	"sync"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// pulls is the link over which a client pulls, made with the first Pull, and what it knows of
// queues.
type pulls struct {
	c *Client

	mu     sync.Mutex
	calls  *calls
	ids    map[string]uint64 // of queues, by name
	closed bool
}

// begin gives the link's calls.
func (p *pulls) begin() (*calls, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, ErrClosed
	}
	if p.calls == nil {
		p.calls = newCalls(newLink(p.c, queueSlab, native.DefaultMaxFrame))
		p.calls.link.start()
	}
	return p.calls, nil
}

// id finds a queue.
func (p *pulls) id(ctx context.Context, queue string) (uint64, error) {
	p.mu.Lock()
	id := p.ids[queue]
	p.mu.Unlock()
	if id != 0 {
		return id, nil
	}
	found, err := p.c.queueNamed(ctx, queue)
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ids == nil {
		p.ids = map[string]uint64{}
	}
	p.ids[queue] = found.Queue
	return found.Queue, nil
}

// forget makes the next pull look for the queue again.
func (p *pulls) forget(queue string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.ids, queue)
}

func (p *pulls) close() {
	p.mu.Lock()
	p.closed = true
	cs := p.calls
	p.mu.Unlock()
	if cs != nil {
		cs.close()
	}
}

// pulled takes messages for a PULL. Its answer comes behind them.
func (cs *calls) pulled(h native.Header, body []byte, s *slab) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	q := cs.waiting[h.Correlation]
	if h.Command != native.CmdDeliver || q == nil || q.pull == nil {
		return protocolError("%s with correlation %d, which did not ask for it", h.Command, h.Correlation)
	}
	in, err := arrive(body, s, &cs.notes)
	if err != nil {
		return err
	}
	q.answer.got = append(q.answer.got, in)
	return nil
}

// unwanted gives back what a PULL has got that was given up. What was settled with it is lost.
// REQUIRES: cs.mu held.
func (cs *calls) unwanted(q *call, body []byte) error {
	reply, err := native.DecodePullReply(body)
	if err != nil {
		return protocolError("%w", err)
	}
	on := q.answer.on
	if reply.Lease != 0 {
		on = nil
	}
	for _, in := range q.answer.got {
		if q.pull.AutoAck {
			break
		}
		m := native.Ack{
			Sub: in.m.Sub, Queue: q.pull.Queue, Index: in.m.Index, Lease: reply.Lease, Verdict: ipc.VerdictRequeue,
			Ranges: []ipc.Range{{First: in.m.First, Count: in.m.Count}},
		}
		cs.put(on, native.CmdAck, &m)
	}
	q.answer.drop()
	return nil
}
