package trimq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trimq/trimq/protocol/native"
)

// Consumer reads partitions of topics. Its methods may be called by any goroutine, Poll by
// one at a time if order matters.
type Consumer struct {
	c    *Client
	opt  consumerOptions
	link *link

	notify chan struct{} // capacity 1: there is something for Poll
	stop   chan struct{} // closed by Close
	work   sync.WaitGroup

	// Lock order: Consumer.mu alone; nothing is called with it held.
	mu       sync.Mutex
	assigned assignment
	parts    []*part
	bySub    map[uint64]*part
	waiting  map[uint64]asked // fetches and subscriptions by correlation
	corr     uint64
	subs     uint64
	wants    fifo[*part] // have something to send
	later    []*part     // will have at retryAt
	unsub    []uint64    // subscriptions to be ended
	ready    fifo[item]  // decoded, in order for each partition
	decoding fifo[*part] // have chunks and no worker yet
	workers  int
	commit   commitState
	fatal    error
	closed   bool
}

// asked is a request on the wire.
type asked struct {
	p   *part
	gen uint64
	cmd native.Command
}

// item is what Poll returns.
type item struct {
	p     *part
	gen   uint64
	fetch *Fetch // nil: err
	err   error
	end   uint64 // the offset behind it
	bytes int    // of buffered
}

// fetchMargin is what a fetch's frame has beside the batches.
const fetchMargin = native.FrameHeaderSize + native.FetchReplySize

// NewConsumer makes a consumer of all, or some, partitions of topics. It waits until it knows
// where each of them is to be read from.
func (c *Client) NewConsumer(ctx context.Context, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	o := newConsumerOptions(opts)
	k := &Consumer{
		c: c, opt: o, assigned: &ownAssignment{slices.Clone(topics), o.partitions},
		notify: make(chan struct{}, 1), stop: make(chan struct{}),
		bySub: map[uint64]*part{}, waiting: map[uint64]asked{},
	}
	if len(topics) == 0 {
		return nil, errors.New("trimq: a consumer of no topic")
	}
	if err := k.assign(ctx); err != nil {
		return nil, err
	}
	for _, p := range k.parts {
		k.want(p)
	}
	k.link = newLink(c, min(k.opt.fetchBytes+fetchMargin, 1<<20), k.opt.fetchBytes+frameMargin)
	k.link.roles.add(k, &k.corr)
	if err := c.adopt(k); err != nil {
		return nil, err
	}
	c.topics.watch(k)
	k.link.start()
	return k, nil
}

// assign takes the partitions, and finds where to begin with each.
func (k *Consumer) assign(ctx context.Context) error {
	parts, err := k.assigned.begin(ctx, k.c)
	if err != nil {
		return err
	}
	k.parts = parts
	committed, err := k.committedByIndex(ctx)
	if err != nil {
		return err
	}
	for _, p := range k.parts {
		at, ok := committed[p.index]
		p.committed, p.known = at.Offset, ok
		if !ok {
			if at.Offset, err = k.c.resolve(ctx, p.index, k.opt.from); err != nil {
				return &PartitionError{Topic: p.topic, Partition: p.number, Err: err}
			}
		}
		p.next, p.pos = at.Offset, at.Offset
		p.pause = backoff{min: k.c.opt.backoffMin, max: k.c.opt.backoffMax}
	}
	return nil
}

// Poll gives the next records, of one partition, waiting for them until ctx ends. The caller
// owns the Fetch until it releases it. A *PartitionError concerns one partition, which then
// waits for a Seek; Poll may go on with the others.
func (k *Consumer) Poll(ctx context.Context) (*Fetch, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for {
		f, err, ok := k.take()
		if ok {
			return f, err
		}
		select {
		case <-k.notify:
		case <-k.stop:
			return nil, ErrClosed
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// take pops the next item, if there is one.
func (k *Consumer) take() (*Fetch, error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.ready.len() > 0 {
		it := k.ready.pop()
		p := it.p
		if it.gen != p.gen { // from before a Seek
			it.fetch.Release()
			continue
		}
		if k.ready.len() > 0 {
			k.ring()
		}
		if it.fetch == nil {
			p.stopped = true
			return nil, it.err, true
		}
		p.buffered -= it.bytes
		p.pos = it.end
		p.taken += uint64(it.bytes)
		k.want(p)
		if len(it.fetch.Records) == 0 { // nothing was left of its batches
			it.fetch.Release()
			continue
		}
		return it.fetch, nil, true
	}
	if k.closed {
		return nil, ErrClosed, true
	}
	if k.fatal != nil {
		return nil, k.fatal, true
	}
	return nil, nil, false
}

// ring wakes Poll.
func (k *Consumer) ring() {
	select {
	case k.notify <- struct{}{}:
	default:
	}
}

// Position is a partition and the offset of the next record to read there.
type Position struct {
	Topic     string
	Partition uint32
	Offset    uint64
	Metadata  string // committed with it
}

// Positions gives where the next Poll of each partition continues.
func (k *Consumer) Positions() []Position {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := make([]Position, len(k.parts))
	for i, p := range k.parts {
		all[i] = Position{Topic: p.topic, Partition: p.number, Offset: p.pos}
	}
	return all
}

// part finds a partition. REQUIRES: k.mu held.
func (k *Consumer) part(topic string, partition uint32) *part {
	for _, p := range k.parts {
		if p.number == partition && p.topic == topic {
			return p
		}
	}
	return nil
}

// Seek makes Poll continue elsewhere in a partition, and takes one up again that an error
// had stopped. What was fetched ahead is dropped.
func (k *Consumer) Seek(ctx context.Context, topic string, partition uint32, from From) error {
	k.mu.Lock()
	p := k.part(topic, partition)
	k.mu.Unlock()
	if p == nil {
		return &PartitionError{Topic: topic, Partition: partition, Err: ErrNoPartition}
	}
	offset, err := k.c.resolve(ctx, p.index, from)
	if err != nil {
		return &PartitionError{Topic: topic, Partition: partition, Err: err}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.closed {
		return ErrClosed
	}
	k.seek(p, offset)
	return nil
}

// seek drops what was fetched ahead and goes on at offset. REQUIRES: k.mu held.
func (k *Consumer) seek(p *part, offset uint64) {
	p.gen++
	for p.undecoded.len() > 0 {
		p.undecoded.pop().s.release()
	}
	p.next, p.pos, p.buffered = offset, offset, 0
	p.stopped, p.failed = false, false
	k.endSub(p)
	k.want(p)
}

// topicChanged adds partitions that a topic has got; everything in them is new.
func (k *Consumer) topicChanged(name string, e *topicEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.assigned.grown(name, e) {
		if k.part(name, p.number) == nil {
			p.pause = backoff{min: k.c.opt.backoffMin, max: k.c.opt.backoffMax}
			k.parts = append(k.parts, p)
			k.want(p)
		}
	}
}

// Close ends the consumer. It commits nothing.
func (k *Consumer) Close(context.Context) error {
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return nil
	}
	k.closed = true
	k.mu.Unlock()
	close(k.stop)
	k.c.disown(k)
	k.c.topics.unwatch(k)
	k.link.close()
	k.work.Wait()
	return nil
}

// fail wraps what has gone wrong with a partition.
func (p *part) fail(err error) error {
	return &PartitionError{Topic: p.topic, Partition: p.number, Offset: p.next, Err: err}
}

// String names the partition.
func (p *part) String() string { return fmt.Sprintf("%s/%d", p.topic, p.number) }
