package trimq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Consumer reads partitions of topics. Its methods may be called by any goroutine, Poll by
// one at a time if order matters.
type Consumer struct {
	c    *Client
	opt  consumerOptions
	link *link

	assigned assignment
	group    *membership   // nil: it is a member of no group
	notify   chan struct{} // capacity 1: there is something for Poll
	saving   chan struct{} // capacity 1: whoever commits holds it, so that no position goes back
	closing  chan struct{} // closed when Close begins
	stop     chan struct{} // closed when there is nothing more to be told to the broker
	work     sync.WaitGroup

	// Lock order: Consumer.mu alone; nothing is called with it held.
	mu       sync.Mutex
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
	polls    polls
	fatal    error
	ended    bool // Close has begun
	closed   bool // nothing can be asked for any more
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

// NewConsumer makes a consumer of topics: of all partitions, or some, and then it waits until it
// knows where each of them is to be read from; or, with WithGroup, a member of a group, and then it
// waits until the broker has taken it in.
func (c *Client) NewConsumer(ctx context.Context, topics []string, opts ...ConsumerOption) (*Consumer, error) {
	o := newConsumerOptions(opts)
	if len(topics) == 0 {
		return nil, errors.New("trimq: a consumer of no topic")
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	k := newConsumer(c, topics, o)
	err := k.assign(ctx)
	if err == nil {
		err = c.adopt(k)
	}
	if err != nil {
		k.abandon()
		return nil, err
	}
	c.topics.watch(k)
	k.link.start()
	if o.autoCommit > 0 {
		k.work.Go(k.commitByItself)
	}
	return k, nil
}

func newConsumer(c *Client, topics []string, o consumerOptions) *Consumer {
	k := &Consumer{
		c: c, opt: o, assigned: &ownAssignment{slices.Clone(topics), o.partitions},
		notify: make(chan struct{}, 1), saving: make(chan struct{}, 1), closing: make(chan struct{}), stop: make(chan struct{}),
		bySub: map[uint64]*part{}, waiting: map[uint64]asked{},
	}
	if o.member.joins {
		k.group = newMembership(k, topics)
		k.assigned = k.group
	}
	k.link = newLink(c, min(o.fetchBytes+fetchMargin, 1<<20), o.fetchBytes+frameMargin)
	k.link.roles.add(k, &k.corr)
	return k
}

// abandon ends a consumer that was never begun.
func (k *Consumer) abandon() {
	close(k.closing)
	if k.group != nil {
		k.group.abandon()
	}
	close(k.stop)
	k.work.Wait()
}

// assign takes the partitions to begin with, and finds where to begin with each.
func (k *Consumer) assign(ctx context.Context) error {
	parts, err := k.assigned.begin(ctx, k.c)
	if err != nil || len(parts) == 0 {
		return err
	}
	committed, err := k.committedByIndex(ctx, parts)
	if err != nil {
		return err
	}
	for _, p := range parts {
		if err := k.place(ctx, p, committed, k.opt.from); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.parts = append(k.parts, parts...)
	for _, p := range parts {
		k.want(p)
	}
	return nil
}

// place finds where a partition is to be read from: where the group has committed, else from.
func (k *Consumer) place(ctx context.Context, p *part, committed map[uint64]ipc.OffsetCommit, from From) error {
	at, known := committed[p.index]
	if !known {
		var err error
		if at.Offset, err = k.c.resolve(ctx, p.index, from); err != nil {
			return &PartitionError{Topic: p.topic, Partition: p.number, Err: err}
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p.committed, p.known = at.Offset, known
	p.next, p.pos, p.done, p.least = at.Offset, at.Offset, at.Offset, at.Offset
	p.placed = true
	p.pause = backoff{min: k.c.opt.backoffMin, max: k.c.opt.backoffMax}
	return nil
}

// Poll gives the next records, of one partition, waiting for them until ctx ends. The caller
// owns the Fetch until it releases it. A *PartitionError concerns one partition, which then
// waits for a Seek; Poll may go on with the others.
func (k *Consumer) Poll(ctx context.Context) (*Fetch, error) {
	if k.group != nil || k.opt.autoCommit > 0 {
		k.pollBegins()
		defer k.pollEnds()
	}
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
		case <-k.closing:
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
	if k.ended {
		return nil, ErrClosed, true
	}
	if k.group != nil {
		if err := k.group.look(); err != nil {
			return nil, err, true
		}
	}
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
		p.taken += uint64(it.bytes)
		k.want(p)
		if len(it.fetch.Records) == 0 { // nothing was left of its batches
			p.pos = it.end
			it.fetch.Release()
			continue
		}
		p.done, p.pos, p.given = p.pos, it.end, k.polls.begun
		return it.fetch, nil, true
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
	all := make([]Position, 0, len(k.parts))
	for _, p := range k.parts {
		if p.placed && p.stage != stageLeaving {
			all = append(all, p.at(p.pos))
		}
	}
	return all
}

// at is a position in the partition.
func (p *part) at(offset uint64) Position {
	return Position{Topic: p.topic, Partition: p.number, Offset: offset}
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

// noPart is the error about a partition that is not the consumer's.
func (k *Consumer) noPart(topic string, partition uint32) error {
	err := ErrNoPartition
	if k.group != nil {
		err = ErrNotAssigned
	}
	return &PartitionError{Topic: topic, Partition: partition, Err: err}
}

// Seek makes Poll continue elsewhere in a partition, and takes one up again that an error
// had stopped. What was fetched ahead is dropped.
func (k *Consumer) Seek(ctx context.Context, topic string, partition uint32, from From) error {
	k.mu.Lock()
	p := k.part(topic, partition)
	k.mu.Unlock()
	if p == nil {
		return k.noPart(topic, partition)
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
	k.drop(p)
	p.next, p.pos, p.done, p.least = offset, offset, offset, min(p.least, offset)
	p.stopped, p.failed = false, false
	k.want(p)
}

// drop forgets what was fetched ahead of a partition. REQUIRES: k.mu held.
func (k *Consumer) drop(p *part) {
	p.gen++
	for p.undecoded.len() > 0 {
		p.undecoded.pop().s.release()
	}
	p.buffered = 0
	k.endSub(p)
}

// topicChanged adds partitions that a topic has got; everything in them is new.
func (k *Consumer) topicChanged(name string, e *topicEntry) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.assigned.grown(name, e) {
		if k.part(name, p.number) == nil {
			p.pause = backoff{min: k.c.opt.backoffMin, max: k.c.opt.backoffMax}
			p.placed = true
			k.parts = append(k.parts, p)
			k.want(p)
		}
	}
}

// Close ends the consumer. It waits for the commits that are under way, and commits nothing itself
// unless WithAutoCommit is set. A member gives up its partitions, which OnRevoked is told of, and
// leaves its group: a static one for the time of its session. What ctx leaves undone the broker
// finds out by itself, after that time.
func (k *Consumer) Close(ctx context.Context) error {
	k.mu.Lock()
	if k.ended {
		k.mu.Unlock()
		return nil
	}
	k.ended = true
	k.mu.Unlock()
	close(k.closing)
	k.c.disown(k)
	k.c.topics.unwatch(k)
	err := k.finish(ctx)
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	close(k.stop)
	k.link.close()
	k.work.Wait()
	return err
}

// finish does what is owed to the group.
func (k *Consumer) finish(ctx context.Context) error {
	if k.opt.group == "" {
		return nil
	}
	k.awaitCommits(ctx)
	if k.group != nil {
		return k.group.leave(ctx)
	}
	if k.opt.autoCommit > 0 {
		return k.save(ctx, k.worked)
	}
	return nil
}

// fail wraps what has gone wrong with a partition.
func (p *part) fail(err error) error {
	return &PartitionError{Topic: p.topic, Partition: p.number, Offset: p.next, Err: err}
}

// String names the partition.
func (p *part) String() string { return fmt.Sprintf("%s/%d", p.topic, p.number) }
