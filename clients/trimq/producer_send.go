package trimq

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// The producer as a link's role: closed batches out, acknowledgements in.

// maxWrite is how many bytes one gathering hands to the socket, unless one batch has more.
const maxWrite = 1 << 20

func (p *Producer) up(c *conn) {
	p.limitFrames(c.hello.MaxFrame)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewIfQuiet()
}

// gather closes what is due and takes from the queue what the broker's window allows.
func (p *Producer) gather(c *conn, o *outbox) time.Duration {
	next := p.closeDue()
	batches, tooLarge := p.take(c, o)
	for _, b := range tooLarge {
		p.report(b, Result{Partition: b.s.partition}, ErrTooLarge)
	}
	if len(batches) == 0 {
		return next
	}
	for _, b := range batches {
		b.seal(p.opt.codec, p.opt.idempotent)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sealing -= len(batches)
	for _, b := range batches {
		p.corr++
		b.corr = p.corr
		p.inflight[b.corr] = b
		frame := b.frame()
		p.bytes += len(frame) - b.size
		b.size = len(frame)
		o.add(frame, true)
	}
	return next
}

// closeDue closes open batches whose time has come, takes up stalled streams, and returns
// when the next of either is due.
func (p *Producer) closeDue() time.Duration {
	p.mu.Lock()
	due := p.due
	p.due = nil
	for _, s := range due {
		s.inDue = false
	}
	hurry := p.win.waiting()
	var now time.Time
	if p.linger.len() > 0 || p.retries.len() > 0 {
		now = time.Now()
	}
	var late []*lane
	for p.linger.len() > 0 {
		w := p.linger.front()
		if w.serial == w.b.serial {
			if !hurry && now.Before(w.until) {
				break
			}
			late = append(late, w.ln)
		}
		p.linger.pop()
	}
	p.takeUp(now)
	next := p.nextTimer(now)
	p.mu.Unlock()
	for _, s := range due {
		s.closeOpen()
	}
	for _, ln := range late {
		ln.s.mu.Lock()
		ln.s.close(ln)
		ln.s.mu.Unlock()
	}
	return next
}

func (p *Producer) nextTimer(now time.Time) time.Duration {
	var next time.Duration
	sooner := func(t time.Time) {
		if d := max(t.Sub(now), time.Microsecond); next == 0 || d < next {
			next = d
		}
	}
	if p.linger.len() > 0 {
		sooner(p.linger.front().until)
	}
	for _, s := range p.retries.all() {
		sooner(s.retryAt)
	}
	return next
}

// takeUp lets stalled streams go on whose pause is over. REQUIRES: p.mu held.
func (p *Producer) takeUp(now time.Time) {
	for i := 0; i < p.retries.len(); {
		s := p.retries.all()[i]
		if now.Before(s.retryAt) {
			i++
			continue
		}
		p.retries.remove(i)
		if !p.renew && s.sent == 0 {
			p.resume(s)
		}
	}
}

// take pops batches that may be sent now. Until gather has sealed them nobody else sees them.
// What was closed for a broker with larger frames cannot be sent any more.
func (p *Producer) take(c *conn, o *outbox) (taken, tooLarge []*pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.renew {
		p.renewIfQuiet()
	}
	written := 0
	for i := 0; i < p.queue.len(); {
		b := p.queue.all()[i]
		if b.s.stalled {
			p.queue.remove(i) // resume puts it back
			continue
		}
		if !p.ready || p.renew && !b.maybe {
			i++ // only what may be stored already goes out under the old identity
			continue
		}
		if b.size > int(c.hello.MaxFrame) {
			p.queue.remove(i)
			p.refuse(b, ErrTooLarge)
			p.drop(b)
			tooLarge = append(tooLarge, b)
			if b.s.stalled && b.s.sent == 0 {
				p.settle(b.s)
			}
			p.followUp(b.s)
			continue
		}
		n := len(p.inflight) + p.sealing
		if c.room(o) <= len(taken) || n > 0 && p.bytes+b.size > int(c.hello.WindowBytes) ||
			written > 0 && written+b.size > maxWrite {
			break
		}
		p.queue.remove(i)
		b.onWire = true
		b.s.sent++
		p.sealing++
		p.bytes += b.size
		written += b.size
		b.want(p)
		taken = append(taken, b)
	}
	return taken, tooLarge
}

// want notes the identity that a batch is to be sealed with. REQUIRES: p.mu held.
func (b *pending) want(p *Producer) {
	id := identity{p.id, p.epoch, b.seq}
	if b.sealed && id != b.signed {
		b.resign = true
	}
	b.signed = id
}

// seal completes the batch, or gives a sealed one its new identity.
func (b *pending) seal(codec batch.Codec, idempotent bool) {
	id := b.signed
	if !idempotent {
		id = identity{batch.NoProducer, -1, -1}
	}
	switch {
	case !b.sealed:
		b.builder.Seal(codec, id.id, id.epoch, id.seq)
		b.sealed = true
	case b.resign && idempotent:
		framed := b.builder.Framed(native.FrameHeaderSize + len(b.ln.prefix))
		batch.PatchProducer(framed[native.FrameHeaderSize+len(b.ln.prefix):], id.id, id.epoch, id.seq)
	}
	b.resign = false
}

// frame writes the frame header and the command's prefix in front of the sealed batch.
func (b *pending) frame() []byte {
	f := b.builder.Framed(native.FrameHeaderSize + len(b.ln.prefix))
	cmd := native.CmdProduce
	if b.s.exchange {
		cmd = native.CmdPublish
	}
	native.PutHeader(f, cmd, 0, b.corr, len(f)-native.FrameHeaderSize)
	body := f[native.FrameHeaderSize:]
	copy(body, b.ln.prefix)
	if b.s.exchange {
		native.PatchPublish(body, uint32(min(b.payload, math.MaxUint32)), b.delay())
	}
	return f
}

// handle takes the answer to a batch.
func (p *Producer) handle(c *conn, h native.Header, body []byte, _ *slab) error {
	if h.Flags&native.FlagResponse == 0 {
		return protocolError("%s without being asked", h.Command)
	}
	p.mu.Lock()
	b := p.inflight[h.Correlation]
	p.mu.Unlock()
	if b == nil {
		return protocolError("answer to %s %d, which was not asked", h.Command, h.Correlation)
	}
	r, refusal, err := b.answer(h, body)
	if err != nil {
		return err
	}
	p.mu.Lock()
	delete(p.inflight, b.corr)
	p.bytes -= b.size
	b.onWire = false
	s := b.s
	s.sent--
	final := refusal == nil || p.refuse(b, refusal)
	if final {
		p.drop(b)
	}
	if refusal == nil {
		s.pause.reset()
		b.refusal = errcode.OK
		if end := batch.NextSequence(b.seq, b.count); before(s.stored, end) {
			s.stored = end
		}
	}
	if s.stalled && s.sent == 0 {
		p.settle(s)
	}
	p.renewIfQuiet()
	p.followUp(s)
	if p.queue.len() > 0 {
		p.link.kick()
	}
	p.mu.Unlock()
	if final {
		if gone(codeOf(refusal)) {
			p.forget(s)
		}
		if refusal == nil && r.Full > 0 {
			refusal = &Error{Code: errcode.QueueFull, Text: fmt.Sprintf("%d of %d queues did not take it", r.Full, r.Full+r.Queues)}
		}
		p.report(b, r, refusal)
	}
	return nil
}

func (p *Producer) takes(native.Command) bool { return false }

// answer decodes the response to a batch.
func (b *pending) answer(h native.Header, body []byte) (r Result, refusal, err error) {
	want := native.CmdProduce
	if b.s.exchange {
		want = native.CmdPublish
	}
	if h.Command != want {
		return r, nil, protocolError("%s in answer to %s", h.Command, want)
	}
	if refusal = responseError(h, body); refusal != nil {
		if codeOf(refusal) == errcode.OK {
			return r, nil, refusal
		}
		return r, refusal, nil
	}
	r.Partition = b.s.partition
	if b.s.exchange {
		m, err := native.DecodePublishReply(body)
		if err != nil {
			return r, nil, protocolError("%w", err)
		}
		r.Queues, r.Full, r.Duplicate = m.Queues, m.Full, m.Duplicate
		return r, nil, nil
	}
	m, err := native.DecodeProduceReply(body)
	if err != nil {
		return r, nil, protocolError("%w", err)
	}
	r.Offset, r.Duplicate = m.Base, m.Duplicate
	if b.ln.shape.txn != nil {
		r.Offset = UnknownOffset // the commit decides
	}
	return r, nil, nil
}

// drop takes a batch out of its stream. REQUIRES: p.mu held.
func (p *Producer) drop(b *pending) {
	i := slices.Index(b.s.unanswered.all(), b)
	b.s.unanswered.remove(i)
}

// report calls the callbacks of a batch and gives its room back.
func (p *Producer) report(b *pending, r Result, err error) {
	base := r.Offset
	for i := range b.done {
		cb := &b.done[i]
		if cb.done == nil {
			continue
		}
		r.Tag = cb.tag
		if !b.s.exchange && base != UnknownOffset {
			r.Offset = base + uint64(i)
		}
		cb.done(r, err)
	}
	weight := b.weight
	p.mu.Lock()
	p.flushes.end(b)
	b.ln.shape.txn.reported(err)
	p.mu.Unlock()
	p.recycle(b)
	p.win.release(weight)
}

// down puts what was on the wire back to the front of the queue, in its old order. Batches
// behind a refused one of their stream were refused as well, or will be.
func (p *Producer) down(error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	again := make([]*pending, 0, len(p.inflight))
	for _, b := range p.inflight {
		again = append(again, b)
	}
	slices.SortFunc(again, func(a, b *pending) int { return cmp.Compare(a.corr, b.corr) })
	clear(p.inflight)
	p.bytes, p.sealing = 0, 0
	for _, b := range again {
		b.onWire, b.maybe = false, true
		b.s.sent--
	}
	rest := slices.Clone(p.queue.all())
	p.queue.reset()
	for _, b := range append(again, rest...) {
		if !b.s.stalled {
			p.queue.push(b)
		}
	}
	for _, s := range p.streams {
		if s.stalled && s.sent == 0 && !slices.Contains(p.retries.all(), s) {
			p.settle(s)
		}
	}
}

// refused gives up where trying again cannot help.
func (p *Producer) refused(err error, fatal bool) {
	if !fatal {
		return
	}
	for _, s := range p.takeStreams() { // no writer comes to close them
		s.closeOpen()
	}
	p.abandon(err)
}
