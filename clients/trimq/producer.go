package trimq

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// Producer sends messages to topics and exchanges. It is safe for use by many goroutines.
type Producer struct {
	c    *Client
	opt  producerOptions
	win  *window
	link *link
	host *QueueConsumer // whose link it is; nil: its own

	last      atomic.Pointer[topicLanes] // the topic of the latest message
	lastEx    atomic.Pointer[stream]     // its exchange
	topics    sync.Map                   // name → *topicLanes
	exchanges sync.Map                   // name → *stream
	maxBatch  atomic.Int64               // bytes, as the broker's frame limit allows
	full      atomic.Int64               // bytes at which a batch is closed

	// Lock order: stream.mu → Producer.mu → window.mu. None is held while a callback runs.
	mu       sync.Mutex
	streams  []*stream
	closing  bool
	free     []*pending
	due      []*stream   // their open batches are to leave
	linger   fifo[waits] // open batches by the time at which they leave
	queue    fifo[*pending]
	inflight map[uint64]*pending
	sealing  int // taken from queue, not in inflight yet
	bytes    int // of what is in inflight and sealing
	corr     uint64
	retries  fifo[*stream] // stalled, to be taken up again at retryAt
	flushes  flushTable
	txns     map[*Txn]struct{} // that have not ended

	// Identity. ready: id and epoch are valid; renew: they must be replaced before anything
	// new is sent (once nothing is unanswered).
	id       int64
	epoch    int16
	ready    bool
	renew    bool
	renewing bool
	stop     chan struct{} // closed by Close
	renewed  sync.WaitGroup
}

// waits is an open batch in the linger queue.
type waits struct {
	ln     *lane
	b      *pending
	serial uint64 // of b; another one: it has left already
	until  time.Time
}

// producerSlab is the read buffer of a producer's link, in bytes: acknowledgements are small.
const producerSlab = 16 << 10

// NewProducer makes a producer and begins to connect; it does not wait for that.
func (c *Client) NewProducer(opts ...ProducerOption) (*Producer, error) {
	p := c.newProducer(opts)
	p.link = newLink(c, producerSlab, 0)
	p.link.roles.add(p, &p.corr)
	if err := c.adopt(p); err != nil {
		return nil, err
	}
	c.topics.watch(p)
	p.link.start()
	return p, nil
}

// newProducer makes a producer without a link.
func (c *Client) newProducer(opts []ProducerOption) *Producer {
	p := &Producer{
		c: c, opt: newProducerOptions(opts), inflight: map[uint64]*pending{}, txns: map[*Txn]struct{}{},
		id: batch.NoProducer, epoch: -1, stop: make(chan struct{}),
	}
	p.win = newWindow(p.opt.bufferBytes)
	p.limitFrames(native.DefaultMaxFrame)
	p.ready, p.renew = !p.opt.idempotent, p.opt.idempotent
	p.flushes.live = map[uint64]int{}
	return p
}

// limitFrames makes batches fit into the broker's frames.
func (p *Producer) limitFrames(maxFrame uint32) {
	limit := max(int64(maxFrame)-frameMargin, minBatchBytes)
	p.maxBatch.Store(limit)
	p.full.Store(min(int64(p.opt.batchBytes), limit))
}

// Produce takes a message and sends it in the background. It waits, until ctx ends, only
// for room (WithBufferBytes) and for the first description of a topic or exchange.
//
// Without an error, done is called exactly once with what became of the message, from a
// goroutine of the producer, in the order of Produce for each partition; it must not block,
// and not call Produce, which may. With an error the message was not taken and done is never
// called. done may be nil.
func (p *Producer) Produce(ctx context.Context, m *Message, done func(Result, error)) error {
	return p.produce(ctx, m, nil, done)
}

// produce takes a message as part of a transaction, or of none.
func (p *Producer) produce(ctx context.Context, m *Message, x *Txn, done func(Result, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := m.check(); err != nil {
		return err
	}
	s, err := p.route(ctx, m)
	if err != nil {
		return err
	}
	return p.add(ctx, s, m, x, done)
}

// route finds the stream that a message belongs to.
func (p *Producer) route(ctx context.Context, m *Message) (*stream, error) {
	if m.Topic == "" {
		if s := p.lastEx.Load(); s != nil && s.name == m.Exchange {
			return s, nil
		}
		return p.exchange(ctx, m.Exchange)
	}
	t := p.last.Load()
	if t == nil || t.name != m.Topic {
		var err error
		if t, err = p.topic(ctx, m.Topic); err != nil {
			return nil, err
		}
	}
	return t.pick(m)
}

// ProduceSync sends a message and waits for its acknowledgement. When ctx ends first, the
// message may or may not be stored.
func (p *Producer) ProduceSync(ctx context.Context, m *Message) (Result, error) {
	return produceSync(ctx, m, p.Produce)
}

func produceSync(ctx context.Context, m *Message, produce func(context.Context, *Message, func(Result, error)) error) (Result, error) {
	type outcome struct {
		r   Result
		err error
	}
	ch := make(chan outcome, 1)
	if err := produce(ctx, m, func(r Result, err error) { ch <- outcome{r, err} }); err != nil {
		return Result{}, err
	}
	select {
	case o := <-ch:
		return o.r, o.err
	case <-ctx.Done():
		return Result{}, errors.Join(ErrUnknownOutcome, ctx.Err())
	}
}

// topic finds a topic's lanes, describing it the first time.
func (p *Producer) topic(ctx context.Context, name string) (*topicLanes, error) {
	if t, ok := p.topics.Load(name); ok {
		p.last.Store(t.(*topicLanes))
		return t.(*topicLanes), nil
	}
	e, err := p.c.topics.get(ctx, name)
	if err != nil {
		return nil, err
	}
	t := p.setTopic(name, e)
	p.last.Store(t)
	return t, nil
}

// setTopic makes lanes for the partitions of a topic; those that it has already stay.
func (p *Producer) setTopic(name string, e *topicEntry) *topicLanes {
	p.limitFrames(p.c.calls.frameLimit())
	p.mu.Lock()
	defer p.mu.Unlock()
	t := &topicLanes{name: name, uuid: e.uuid}
	if old, ok := p.topics.Load(name); ok && old.(*topicLanes).uuid == e.uuid {
		t.streams = append(t.streams, old.(*topicLanes).streams...)
		t.sticky.Store(old.(*topicLanes).sticky.Load())
	} else {
		t.sticky.Store(uint32(time.Now().UnixNano()) % uint32(len(e.indexes)))
	}
	for i := len(t.streams); i < len(e.indexes); i++ {
		t.streams = append(t.streams, p.newPartition(name, uint32(i), e.indexes[i]))
	}
	for _, s := range t.streams {
		s.topic.Store(t)
	}
	p.topics.Store(name, t)
	p.last.Store(nil)
	return t
}

// topicChanged is told by the client's topic table.
func (p *Producer) topicChanged(name string, e *topicEntry) {
	if _, ok := p.topics.Load(name); ok {
		p.setTopic(name, e)
	}
}

// exchange finds an exchange's stream. What it is, and where it may hand messages on, decides
// whether headers take part in routing; that is looked at once, when it is first published to.
func (p *Producer) exchange(ctx context.Context, name string) (*stream, error) {
	if s, ok := p.exchanges.Load(name); ok {
		p.lastEx.Store(s.(*stream))
		return s.(*stream), nil
	}
	byHeaders := false
	if name == "" { // there always; only the broker's limits must be known
		if _, err := p.c.Ping(ctx); err != nil {
			return nil, err
		}
	} else {
		found, err := p.c.Exchanges(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(found) != 1 {
			return nil, protocolError("DESCRIBE of exchange %q tells of %d", name, len(found))
		}
		byHeaders = found[0].ByHeaders()
	}
	p.limitFrames(p.c.calls.frameLimit())
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := p.exchanges.Load(name); ok {
		return s.(*stream), nil
	}
	s := p.newExchange(name, byHeaders)
	p.exchanges.Store(name, s)
	p.lastEx.Store(s)
	return s, nil
}

// forget drops what is known of a destination that the broker no longer knows.
func (p *Producer) forget(s *stream) {
	if s.exchange {
		p.exchanges.CompareAndDelete(s.name, s)
		p.lastEx.Store(nil)
		return
	}
	if t, ok := p.topics.Load(s.name); ok && t.(*topicLanes) == s.topic.Load() {
		p.topics.Delete(s.name)
		p.last.Store(nil)
	}
	p.c.topics.forget(s.name)
}

// Flush sends what has been taken without waiting for company, and waits until all of it has
// been reported.
func (p *Producer) Flush(ctx context.Context) error {
	done := p.flush()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *Producer) flush() <-chan struct{} {
	p.mu.Lock()
	gen := p.flushes.mark()
	p.mu.Unlock()
	for _, s := range p.takeStreams() {
		s.closeOpen()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.flushes.wait(gen)
}

// Close takes no more messages, flushes, and ends the producer. When ctx ends first, what is
// left is reported with ErrUnknownOutcome, and Close returns ctx's error.
func (p *Producer) Close(ctx context.Context) error {
	p.mu.Lock()
	if p.closing {
		p.mu.Unlock()
		return nil
	}
	p.closing = true
	p.mu.Unlock()
	p.c.disown(p)
	p.c.topics.unwatch(p)
	p.win.close() // no batch is opened any more
	for _, s := range p.takeStreams() {
		s.kill()
	}
	err := p.Flush(ctx)
	p.endTxns()
	close(p.stop)
	if p.host == nil {
		p.link.close()
	} else {
		p.host.producers.remove(p)
	}
	p.renewed.Wait()
	p.abandon(ErrClosed)
	return err
}

func (p *Producer) takeStreams() []*stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*stream(nil), p.streams...)
}

// flushTable counts unreported batches by generation; each Flush ends one.
type flushTable struct {
	gen     uint64
	live    map[uint64]int
	waiters []flushWaiter
}

type flushWaiter struct {
	gen  uint64
	done chan struct{}
}

func (f *flushTable) mark() uint64 {
	f.gen++
	return f.gen - 1
}

func (f *flushTable) begin(b *pending) {
	b.gen = f.gen
	f.live[b.gen]++
}

func (f *flushTable) end(b *pending) {
	if f.live[b.gen]--; f.live[b.gen] > 0 {
		return
	}
	delete(f.live, b.gen)
	kept := f.waiters[:0]
	for _, w := range f.waiters {
		if f.reported(w.gen) {
			close(w.done)
		} else {
			kept = append(kept, w)
		}
	}
	f.waiters = kept
}

// reported tells that no batch of this or an earlier generation is left.
func (f *flushTable) reported(gen uint64) bool {
	for g := range f.live {
		if g <= gen {
			return false
		}
	}
	return true
}

func (f *flushTable) wait(gen uint64) <-chan struct{} {
	done := make(chan struct{})
	if f.reported(gen) {
		close(done)
	} else {
		f.waiters = append(f.waiters, flushWaiter{gen, done})
	}
	return done
}

// gone tells codes that mean that the destination itself is not there.
func gone(code errcode.Code) bool {
	return code == errcode.UnknownIndex || code == errcode.NotFound
}
