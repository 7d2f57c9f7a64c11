package trimq

import (
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// The consumer as a link's role. A partition has at most one fetch on the wire; the next one
// leaves as soon as the answer's batch headers have told where it begins, before anything is
// decoded. With push, the broker sends on its own within the credit that Poll renews.

// stage is how far a partition has come. Those that a consumer has chosen itself are always read; a
// member's are given and taken (group_settle.go).
type stage uint8

const (
	stageReading stage = iota
	stageComing        // it is being found out where to begin, and told to the user
	stageLeaving       // to be given up: nothing of it is given out any more
	stageLeft          // it is not the consumer's any longer
)

// part is a partition that is read. Guarded by Consumer.mu.
type part struct {
	topic  string
	number uint32
	index  uint64
	stage  stage
	placed bool      // it is known where to begin
	told   told      // which of a member's callbacks have heard of it
	urged  time.Time // when it was to be given up

	next     uint64 // to be fetched
	pos      uint64 // to be given out by Poll
	least    uint64 // where it has begun, or was sought to if that is lower
	done     uint64 // where pos was before the last Poll that has given something
	given    uint64 // the number of that Poll
	gen      uint64 // counts seeks: what was asked for earlier is dropped
	buffered int    // bytes that are here and not given out
	asking   bool   // a fetch is on the wire, or its offset is being asked for
	queued   bool   // in Consumer.wants
	stopped  bool   // an error was reported; waits for a Seek
	failed   bool   // an error lies in ready
	retryAt  time.Time
	pause    backoff

	undecoded fifo[*chunk]
	busy      bool // a worker decodes, or is about to

	committed uint64 // position that the broker has for the group, if known
	known     bool

	sub     uint64 // push: the subscription; 0: none
	granted uint64 // its credit in bytes since it began
	taken   uint64 // bytes given out since it began
}

// want lets the writer look at what p has to send. REQUIRES: k.mu held.
func (k *Consumer) want(p *part) {
	if p.queued || p.stopped || p.failed || p.asking || p.stage != stageReading {
		return
	}
	if k.opt.push {
		// A batch that is larger than the credit takes more than was granted.
		if p.sub != 0 && int64(p.granted-p.taken) > int64(k.opt.buffer)/2 {
			return
		}
	} else if p.buffered >= k.opt.buffer {
		return
	}
	p.queued = true
	k.wants.push(p)
	if k.link != nil {
		k.link.kick()
	}
}

func (k *Consumer) up(*conn) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fatal = nil
}

func (k *Consumer) gather(c *conn, o *outbox) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	next := k.wakeLater()
	for _, sub := range k.unsub {
		o.frame(native.CmdUnsubscribe, native.FlagNoReply, 0, &native.Unsubscribe{Sub: sub})
	}
	k.unsub = k.unsub[:0]
	for k.wants.len() > 0 && c.room(o) > 0 {
		p := k.wants.pop()
		p.queued = false
		switch {
		case p.stopped || p.failed || p.asking || p.stage != stageReading:
		case k.opt.push:
			k.pushFrame(p, o)
		default:
			k.fetchFrame(c, p, o)
		}
	}
	return next
}

// wakeLater takes up partitions whose pause is over; it returns when the next one's is.
func (k *Consumer) wakeLater() time.Duration {
	if len(k.later) == 0 {
		return 0
	}
	now := time.Now()
	var next time.Duration
	k.later = slices.DeleteFunc(k.later, func(p *part) bool {
		if d := p.retryAt.Sub(now); d > 0 {
			if next == 0 || d < next {
				next = d
			}
			return false
		}
		p.queued = false
		k.want(p)
		return true
	})
	return next
}

func (k *Consumer) fetchFrame(c *conn, p *part, o *outbox) {
	wait := k.opt.wait
	if len(k.parts) > int(c.hello.WindowRequests) {
		wait = min(wait, crowdedWait) // they take turns
	}
	k.corr++
	p.asking = true
	k.waiting[k.corr] = asked{p, p.gen, native.CmdFetch}
	o.frame(native.CmdFetch, 0, k.corr, &native.Fetch{
		Index: p.index, Offset: p.next, MaxBytes: uint32(k.opt.fetchBytes), MinBytes: 1,
		MaxWaitMS: uint32(max(wait.Milliseconds(), 1)),
	})
}

// crowdedWait is the long poll's length when there are more partitions than requests in the
// broker's window.
const crowdedWait = 20 * time.Millisecond

// pushFrame subscribes, or raises the credit.
func (k *Consumer) pushFrame(p *part, o *outbox) {
	if p.sub != 0 {
		p.granted = p.taken + uint64(k.opt.buffer)
		o.frame(native.CmdCredit, native.FlagNoReply, 0, &native.Credit{Sub: p.sub, Limit: p.granted})
		return
	}
	k.subs++
	k.corr++
	p.sub, p.taken, p.granted = k.subs, 0, uint64(k.opt.buffer)
	k.bySub[p.sub] = p
	k.waiting[k.corr] = asked{p, p.gen, native.CmdSubscribe}
	o.frame(native.CmdSubscribe, 0, k.corr, &native.Subscribe{
		Sub: p.sub, Index: p.index, Offset: p.next, Limit: p.granted, Kind: native.SubTopic,
	})
}

// endSub forgets a partition's subscription and tells the broker. REQUIRES: k.mu held.
func (k *Consumer) endSub(p *part) {
	if p.sub == 0 {
		return
	}
	delete(k.bySub, p.sub)
	k.unsub = append(k.unsub, p.sub)
	p.sub = 0
}

func (k *Consumer) handle(c *conn, h native.Header, body []byte, s *slab) error {
	switch {
	case h.Flags&native.FlagResponse != 0:
		return k.response(h, body, s)
	case h.Command == native.CmdDeliver:
		return k.deliver(body, s)
	}
	return k.subClosed(body)
}

func (k *Consumer) takes(cmd native.Command) bool {
	return k.opt.push && (cmd == native.CmdDeliver || cmd == native.CmdSubClosed)
}

func (k *Consumer) response(h native.Header, body []byte, s *slab) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	a, ok := k.waiting[h.Correlation]
	if !ok || a.cmd != h.Command {
		return protocolError("answer to %s %d, which was not asked", h.Command, h.Correlation)
	}
	delete(k.waiting, h.Correlation)
	p := a.p
	if a.cmd == native.CmdFetch {
		p.asking = false
	}
	defer k.want(p)
	refusal := responseError(h, body)
	switch {
	case refusal != nil && codeOf(refusal) == errcode.OK:
		return refusal
	case a.gen != p.gen: // a Seek came between
		return nil
	case refusal != nil:
		delete(k.bySub, p.sub)
		p.sub = 0
		k.refusedPart(p, refusal)
		return nil
	case a.cmd == native.CmdSubscribe:
		p.pause.reset()
		return nil
	}
	m, batches, err := native.DecodeFetchReply(body)
	if err != nil {
		return protocolError("%w", err)
	}
	if m.Index != p.index {
		return protocolError("answer for index %d to a fetch of %d", m.Index, p.index)
	}
	p.pause.reset()
	if len(batches) == 0 {
		return nil
	}
	k.arrived(p, &chunk{p: p, gen: p.gen, from: p.next, batches: batches, start: m.Start, visible: m.Visible, s: s})
	return nil
}

// arrived queues batches for decoding and moves on behind them. REQUIRES: k.mu held.
func (k *Consumer) arrived(p *part, ch *chunk) {
	end, err := endOf(ch.batches, p.next)
	ch.end = end
	if err != nil {
		k.failPart(p, err)
		return
	}
	p.next = end
	p.buffered += len(ch.batches)
	ch.s.retain()
	p.undecoded.push(ch)
	if p.busy {
		return
	}
	p.busy = true
	k.decoding.push(p)
	if k.workers < maxWorkers() {
		k.workers++
		k.work.Add(1)
		go k.decode()
	}
}

// endOf is the offset behind a run of batches. The first one reaches from: one that lies below is not
// what was asked for, and who sends it may have left out what was.
func endOf(batches []byte, from uint64) (uint64, error) {
	end := uint64(0)
	for rest := batches; len(rest) > 0; {
		first, more, err := batch.Split(rest)
		if err != nil {
			return 0, corrupt(err)
		}
		h := batch.Header(first)
		base, delta := h.BaseOffset(), h.LastOffsetDelta()
		if delta < 0 || base < end || base+uint64(delta)+1 < base {
			return 0, corrupt(errcode.New(errcode.InvalidBatch, "batch with base offset %d and %d records behind offset %d", base, delta+1, end))
		}
		if end = base + uint64(delta) + 1; end <= from {
			return 0, corrupt(errcode.New(errcode.InvalidBatch, "a batch ends at offset %d, asked for %d", end, from))
		}
		rest = more
	}
	if end == 0 {
		return 0, corrupt(errcode.New(errcode.InvalidBatch, "no batch, asked for offset %d", from))
	}
	return end, nil
}

// refusedPart decides what a refusal means for a partition. REQUIRES: k.mu held.
func (k *Consumer) refusedPart(p *part, err error) {
	code := codeOf(err)
	switch {
	case code == errcode.OffsetOutOfRange && k.opt.reset.kind != 0:
		p.asking = true // nothing is fetched until the offset is known
		k.work.Add(1)
		go k.resetPart(p, p.gen)
	case code.Retriable():
		k.postpone(p)
	default:
		if gone(code) {
			k.c.topics.forget(p.topic)
		}
		k.failPart(p, err)
	}
}

// postpone tries a partition again after a pause. REQUIRES: k.mu held.
func (k *Consumer) postpone(p *part) {
	p.retryAt = time.Now().Add(p.pause.delay())
	if !slices.Contains(k.later, p) {
		k.later = append(k.later, p)
	}
	p.queued = true // wakeLater wants it
	k.link.kick()
}

// failPart puts an error in its place behind what has arrived. REQUIRES: k.mu held.
func (k *Consumer) failPart(p *part, err error) {
	p.failed = true
	if p.undecoded.len() > 0 || p.busy {
		p.undecoded.push(&chunk{p: p, gen: p.gen, err: p.fail(err)})
		return
	}
	k.ready.push(item{p: p, gen: p.gen, err: p.fail(err)})
	k.ring()
}

// resetPart finds where to go on after OffsetOutOfRange.
func (k *Consumer) resetPart(p *part, gen uint64) {
	defer k.work.Done()
	ctx, cancel := until(k.stop)
	defer cancel()
	offset, err := k.c.resolve(ctx, p.index, k.opt.reset)
	k.mu.Lock()
	defer k.mu.Unlock()
	p.asking = false
	if k.closed {
		return
	}
	if gen != p.gen { // a Seek came between
		k.want(p)
		return
	}
	if err != nil {
		k.failPart(p, err)
		return
	}
	p.next = offset
	k.want(p)
}

// deliver takes batches that the broker pushes.
func (k *Consumer) deliver(body []byte, s *slab) error {
	m, _, batches, err := native.DecodeDeliver(body)
	if err != nil {
		return protocolError("%w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.bySub[m.Sub]
	if p == nil || p.stopped || p.failed || p.stage != stageReading || len(batches) == 0 {
		return nil // of a subscription that has been ended
	}
	if m.Index != p.index {
		return protocolError("DELIVER for index %d to a subscription of %d", m.Index, p.index)
	}
	k.arrived(p, &chunk{p: p, gen: p.gen, from: p.next, batches: batches, visible: m.First + uint64(m.Count), s: s})
	return nil
}

func (k *Consumer) subClosed(body []byte) error {
	m, err := native.DecodeSubClosed(body)
	if err != nil {
		return protocolError("%w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p := k.bySub[m.Sub]; p != nil {
		delete(k.bySub, m.Sub)
		p.sub = 0
		k.refusedPart(p, &Error{Code: m.Code, Text: m.Text})
		k.want(p)
	}
	return nil
}

// down forgets what was on the wire: each partition asks again from where it stands.
func (k *Consumer) down(error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, a := range k.waiting {
		if a.cmd == native.CmdFetch {
			a.p.asking = false
		}
	}
	clear(k.waiting)
	clear(k.bySub)
	k.unsub = k.unsub[:0]
	for _, p := range k.parts {
		p.sub = 0
		k.want(p)
	}
}

// refused makes Poll tell an error that will not go away by itself.
func (k *Consumer) refused(err error, fatal bool) {
	if !fatal {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fatal = err
	k.ring()
}
