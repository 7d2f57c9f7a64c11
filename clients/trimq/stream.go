package trimq

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/hash"
	"github.com/trimq/trimq/protocol/native"
)

// stream is one sequence of an idempotent producer: a partition, or an exchange. Its batches
// are stored in the order in which they were closed.
type stream struct {
	p         *Producer
	name      string // of the topic or exchange
	exchange  bool
	partition uint32
	index     uint64 // of the partition
	byHeaders bool   // an exchange that may route by headers: what shares a batch shares its headers
	topic     atomic.Pointer[topicLanes]

	mu    sync.Mutex // guards the lanes and their open batches
	lane  lane       // a partition's, outside of transactions
	lanes map[string]*lane
	dead  bool  // the producer is closed
	cur   *lane // of an exchange: the latest
	key   []byte

	// Guarded by Producer.mu.
	unanswered fifo[*pending] // closed, in order of sequence
	sent       int            // of unanswered, on the wire
	next       int32          // sequence of the next record
	stored     int32          // the sequence behind the last batch that is known to be stored
	stalled    bool           // nothing is sent before what is on the wire is answered
	shifted    bool           // a batch was refused for good: sequences from shiftAt on are free
	shiftAt    int32
	pause      backoff
	retryAt    time.Time
	inDue      bool
	begun      int // open batches that hold records
}

// pending is a batch that has not been reported. Until it is closed it is guarded by
// stream.mu, then by Producer.mu; between gather's two looks the writer has it alone.
type pending struct {
	s       *stream
	ln      *lane
	builder batch.Builder
	done    []callback
	weight  int64 // taken from the window
	payload int64 // bytes of keys and values
	dueMS   int64 // Unix time until which its messages are delayed; known once it has been framed
	room    int   // bytes that it may grow to with that
	began   time.Time
	timeMS  int64
	gen     uint64
	serial  uint64 // counts how often this memory has held a batch that was closed

	seq     int32
	count   int
	size    int // bytes on the wire, at most
	corr    uint64
	sealed  bool
	signed  identity // what it was sealed with
	resign  bool     // its identity has changed since
	maybe   bool     // it was on a connection that broke: it may be stored
	refusal errcode.Code
	refused error
	failing time.Time // since when it is refused
	onWire  bool
}

type callback struct {
	done func(Result, error)
	tag  uint64
}

type identity struct {
	id    int64
	epoch int16
	seq   int32
}

// Bytes that a record and a frame take beside their content, at most.
const (
	recordMargin = 40
	headerMargin = 10
	frameMargin  = 4 << 10
	maxLanes     = 1024 // remembered for an exchange
	firstRoom    = 4 << 10
	minWeight    = 2 << 10 // of a batch in the window, however small it is
)

// topicLanes are the streams of a topic's partitions. Never changed, only replaced.
type topicLanes struct {
	name    string
	uuid    [16]byte
	streams []*stream
	sticky  atomic.Uint32 // where messages without a key go
}

// pick chooses the partition of a message.
func (t *topicLanes) pick(m *Message) (*stream, error) {
	n := uint32(len(t.streams))
	switch {
	case m.Partition != 0:
		if uint32(m.Partition-1) >= n {
			return nil, &PartitionError{Topic: t.name, Partition: uint32(m.Partition - 1), Err: ErrNoPartition}
		}
		return t.streams[m.Partition-1], nil
	case n == 1:
		return t.streams[0], nil
	case m.Key != nil:
		return t.streams[hash.Partition(m.Key, n)], nil
	}
	return t.streams[t.sticky.Load()%n], nil
}

// newPartition makes a partition's stream. REQUIRES: p.mu held.
func (p *Producer) newPartition(topic string, partition uint32, index uint64) *stream {
	s := &stream{p: p, name: topic, partition: partition, index: index, pause: p.retryPause()}
	s.lane.s, s.lane.prefix = s, s.prefix(nil, shape{})
	p.streams = append(p.streams, s)
	return s
}

// newExchange makes an exchange's stream. REQUIRES: p.mu held.
func (p *Producer) newExchange(name string, byHeaders bool) *stream {
	s := &stream{p: p, name: name, exchange: true, byHeaders: byHeaders, lanes: map[string]*lane{}, pause: p.retryPause()}
	p.streams = append(p.streams, s)
	return s
}

func (p *Producer) retryPause() backoff {
	return backoff{min: p.c.opt.backoffMin, max: p.c.opt.backoffMax}
}

// sizeOf is what a message takes in a batch, at most.
func sizeOf(m *Message) int {
	n := len(m.Key) + len(m.Value) + recordMargin
	for i := range m.Headers {
		n += len(m.Headers[i].Key) + len(m.Headers[i].Value) + headerMargin
	}
	return n
}

// add encodes a message into the open batch of its lane.
func (p *Producer) add(ctx context.Context, s *stream, m *Message, x *Txn, done func(Result, error)) error {
	size := sizeOf(m)
	if int64(size) > p.maxBatch.Load() {
		return ErrTooLarge
	}
	for {
		s.mu.Lock()
		if s.dead {
			s.mu.Unlock()
			return ErrClosed
		}
		ln := s.laneOf(m, x)
		if ln == nil {
			s.mu.Unlock()
			return x.errTxnClosed()
		}
		b := ln.open
		if b == nil || b.builder.Len()+size > b.room {
			if err := p.makeRoom(ctx, ln, size); err != nil {
				return err
			}
			continue
		}
		timeMS := b.timeMS
		if !m.Time.IsZero() {
			timeMS = m.Time.UnixMilli()
		}
		if !b.builder.Add(timeMS, m.Key, m.Value, m.Headers) {
			s.mu.Unlock()
			return ErrTooLarge
		}
		b.payload += int64(len(m.Key) + len(m.Value))
		b.done = append(b.done, callback{done, m.Tag})
		if len(b.done) == 1 {
			p.begun(s, b)
		}
		s.mu.Unlock()
		return nil
	}
}

// makeRoom prepares the lane's open batch for another message: lets it grow, or closes it and
// opens another. REQUIRES: s.mu held; it is released.
func (p *Producer) makeRoom(ctx context.Context, ln *lane, size int) error {
	s, full := ln.s, int(p.full.Load())
	b := ln.open
	if b != nil && len(b.done) > 0 && b.builder.Len()+size > full {
		s.close(ln)
		b = nil
	}
	if b == nil {
		s.mu.Unlock()
		return p.open(ctx, ln, max(size, min(ln.guess(), full)))
	}
	more := max(min(b.room, full-b.room), b.builder.Len()+size-b.room)
	serial := b.serial
	s.mu.Unlock()
	if err := p.acquire(ctx, int64(more)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if ln.open != b || b.serial != serial { // it has left meanwhile
		p.win.release(int64(more))
		return nil
	}
	b.weight += int64(more)
	b.room += more
	return nil
}

// acquire takes bytes of the window, waiting for them; the writer is told, because what
// lingers must leave when somebody waits.
func (p *Producer) acquire(ctx context.Context, n int64) error {
	return p.win.acquire(ctx, n, p.link.kick)
}

// open puts a new batch with so much room into a lane.
func (p *Producer) open(ctx context.Context, ln *lane, room int) error {
	if err := p.acquire(ctx, int64(room)); err != nil {
		return err
	}
	b := p.newPending()
	s := ln.s
	s.mu.Lock()
	if ln.open != nil {
		s.mu.Unlock()
		p.recycle(b)
		p.win.release(int64(room))
		return nil
	}
	if x := ln.shape.txn; x != nil && x.closing.Load() { // its lanes are about to be dropped
		s.mu.Unlock()
		p.recycle(b)
		p.win.release(int64(room))
		return x.errTxnClosed()
	}
	b.s, b.ln, b.weight, b.room, b.began = s, ln, int64(room), room, time.Now()
	b.timeMS = b.began.UnixMilli()
	b.builder.Reserve(native.FrameHeaderSize+len(ln.prefix), room)
	ln.open = b
	s.mu.Unlock()
	return nil
}

// begun notes the first record of a batch. REQUIRES: s.mu held.
func (p *Producer) begun(s *stream, b *pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flushes.begin(b)
	b.ln.shape.txn.begun()
	s.begun++
	switch {
	case p.opt.linger > 0:
		p.linger.push(waits{b.ln, b, b.serial, b.began.Add(p.opt.linger)})
		if p.linger.len() == 1 {
			p.link.kick() // the writer sets its timer
		}
	case s.unanswered.len() == 0:
		p.makeDue(s)
	}
}

// makeDue has the writer close what is open in s. REQUIRES: p.mu held.
func (p *Producer) makeDue(s *stream) {
	if !s.inDue {
		s.inDue = true
		p.due = append(p.due, s)
		p.link.kick()
	}
}

// followUp has what is filling leave once nothing of its stream is unanswered: nothing else
// would. REQUIRES: p.mu held.
func (p *Producer) followUp(s *stream) {
	if s.unanswered.len() == 0 && s.begun > 0 && p.opt.linger == 0 {
		p.makeDue(s)
	}
}

// kill lets nothing more in.
func (s *stream) kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
}

// closeOpen closes all open batches of a stream.
func (s *stream) closeOpen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(&s.lane)
	for _, ln := range s.lanes {
		s.close(ln)
	}
}

// close ends the filling of a lane's batch: it gets its sequence and its place in the queue.
// An open batch without a record stays; somebody is about to fill it. REQUIRES: s.mu held.
func (s *stream) close(ln *lane) {
	b := ln.open
	if b == nil || len(b.done) == 0 {
		return
	}
	p := s.p
	ln.open = nil
	b.count = b.builder.Count()
	b.size = b.builder.Len() + native.FrameHeaderSize + len(ln.prefix)
	ln.hint.Store(int64(b.builder.Len()))
	refund := b.weight - int64(max(b.size, minWeight))
	if refund > 0 {
		b.weight -= refund
		p.win.release(refund)
	}
	if t := s.topic.Load(); t != nil {
		t.sticky.CompareAndSwap(s.partition, (s.partition+1)%uint32(len(t.streams)))
	}
	p.mu.Lock()
	s.begun--
	b.serial++
	b.seq = s.next
	s.next = batch.NextSequence(s.next, b.count)
	s.unanswered.push(b)
	if !s.stalled {
		p.queue.push(b)
	}
	p.mu.Unlock()
	p.link.kick()
}

const maxFree = 256 // pending batches kept for reuse

func (p *Producer) newPending() *pending {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	return &pending{}
}

// recycle makes a batch that nobody refers to any longer available again.
func (p *Producer) recycle(b *pending) {
	clear(b.done)
	b.builder.Reset()
	*b = pending{builder: b.builder, done: b.done[:0], serial: b.serial}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.free) < maxFree {
		p.free = append(p.free, b)
	}
}
