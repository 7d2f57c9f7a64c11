package trimq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// What a producer does when the broker refuses a batch.
//
// The broker takes the batches of a stream in order of sequence only. When it refuses one, it
// refuses all behind it that are on the wire already (OutOfOrderSequence). So the stream
// stalls: nothing more is sent until all that is on the wire is answered. Then
//
//   - a batch that was refused for good has been reported, and those behind it move up: they
//     take the sequences that it did not use;
//   - otherwise they are sent again as they are, after a pause;
//   - when the broker says OutOfOrderSequence though nothing before was refused, it has lost
//     what it had acknowledged (at level page, with the power), or has forgotten the producer:
//     the producer stops sending, waits for all answers, and begins anew under another epoch.
//
// In each case it is known that what is sent again has not been stored.

// refuse notes a refusal; true: for good. REQUIRES: p.mu held.
func (p *Producer) refuse(b *pending, err error) bool {
	s := b.s
	code := codeOf(err)
	b.maybe = false // the broker says so
	if b.failing.IsZero() {
		b.failing = time.Now()
	}
	order := code == errcode.OutOfOrderSequence || lostIdentity(code)
	again := code.Retriable() && time.Since(b.failing) < p.opt.retryFor
	if p.opt.idempotent && order || again {
		b.refusal, b.refused = code, err
		s.stalled = true
		return false
	}
	if p.opt.idempotent {
		s.stalled = true
		if !s.shifted || before(b.seq, s.shiftAt) {
			s.shifted, s.shiftAt = true, b.seq
		}
	}
	return true
}

// lostIdentity tells codes that mean that the broker does not know this producer's id.
func lostIdentity(code errcode.Code) bool {
	return code == errcode.UnknownProducer || code == errcode.ProducerFenced
}

// before compares sequences, which wrap at 2³¹.
func before(a, b int32) bool { return a != b && (b-a)&0x7fffffff < 1<<30 }

// settle decides how a stalled stream goes on. REQUIRES: p.mu held; s.sent == 0.
func (p *Producer) settle(s *stream) {
	head := errcode.OK
	if s.unanswered.len() > 0 {
		head = s.unanswered.front().refusal
	}
	if p.opt.idempotent && (lostIdentity(head) || head == errcode.OutOfOrderSequence && !s.shifted) {
		if lostIdentity(head) {
			p.id, p.epoch = batch.NoProducer, -1
		}
		p.renew = true // renewIfQuiet and then renewed go on
		return
	}
	if s.shifted {
		s.shifted = false
		p.moveUp(s)
	}
	if !head.Retriable() {
		p.resume(s)
		return
	}
	s.retryAt = time.Now().Add(s.pause.delay())
	p.retries.push(s)
	p.link.kick()
}

// moveUp has the batches behind one that was refused for good take the sequences that it did not
// use. Those before it keep theirs: one may have been stored over an earlier connection, and those
// behind it since, though it is refused for now. What has been stored is not used twice. REQUIRES:
// p.mu held; none of them is on the wire.
func (p *Producer) moveUp(s *stream) {
	at := s.shiftAt
	if before(at, s.stored) {
		at = s.stored
	}
	for _, b := range s.unanswered.all() {
		if !before(b.seq, s.shiftAt) {
			b.seq = at
			at = batch.NextSequence(at, b.count)
		}
	}
	s.next = at
}

// renumber gives the unanswered batches of a stream consecutive sequences. REQUIRES: p.mu
// held; none of them is on the wire.
func (p *Producer) renumber(s *stream, at int32) {
	for _, b := range s.unanswered.all() {
		b.seq = at
		at = batch.NextSequence(at, b.count)
	}
	s.next = at
}

// resume queues all that a stalled stream holds. What the writer has not looked at since the
// stall is in the queue still, and must not be there twice. REQUIRES: p.mu held; s.sent == 0.
func (p *Producer) resume(s *stream) {
	if !s.stalled {
		return
	}
	s.stalled = false
	others := slices.DeleteFunc(slices.Clone(p.queue.all()), func(b *pending) bool { return b.s == s })
	p.queue.reset()
	for _, b := range others {
		p.queue.push(b)
	}
	for _, b := range s.unanswered.all() {
		b.refusal, b.refused = errcode.OK, nil
		p.queue.push(b)
	}
	p.link.kick()
}

// renewIfQuiet starts to ask for an identity once nothing is unanswered. REQUIRES: p.mu held.
func (p *Producer) renewIfQuiet() {
	if !p.renew || p.renewing || len(p.inflight)+p.sealing > 0 {
		return
	}
	for _, b := range p.queue.all() {
		if b.maybe && !b.s.stalled {
			return // may be stored: to be sent again and answered first
		}
	}
	p.renewing = true
	p.renewed.Add(1)
	go p.askIdentity(p.id, p.epoch)
}

// askIdentity gets an id, or another epoch of the one that there is.
func (p *Producer) askIdentity(id int64, epoch int16) {
	defer p.renewed.Done()
	ctx, cancel := until(p.stop)
	defer cancel()
	got, err := request(ctx, p.c, native.CmdInitProducer, &native.InitProducer{ProducerID: id, Epoch: epoch}, native.DecodeInitProducer)
	if err == nil && (got.ProducerID < 0 || got.Epoch < 0) {
		err = protocolError("INIT_PRODUCER gave id %d epoch %d", got.ProducerID, got.Epoch)
	}
	if err != nil {
		p.identityFailed(ctx, err)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.id, p.epoch = got.ProducerID, got.Epoch
	p.ready, p.renew, p.renewing = true, false, false
	p.queue.reset()
	p.retries.reset()
	for _, s := range p.streams {
		s.shifted, s.stored = false, 0
		s.stalled = true
		p.renumber(s, 0)
		p.resume(s)
	}
	p.link.kick()
}

// identityFailed reports what is waiting as failed: nothing of it has been stored. The next
// message makes the producer ask again.
func (p *Producer) identityFailed(ctx context.Context, err error) {
	if lostIdentity(codeOf(err)) {
		p.mu.Lock()
		p.id, p.epoch, p.renewing = batch.NoProducer, -1, false
		p.renewIfQuiet()
		p.mu.Unlock()
		return
	}
	if ctx.Err() == nil {
		p.abandon(fmt.Errorf("no producer id: %w", err))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.renewing = false
}

// abandon reports every closed batch as failed. What may be stored is reported with
// ErrUnknownOutcome, and the next epoch begins. REQUIRES: nothing is on the wire.
func (p *Producer) abandon(err error) {
	p.mu.Lock()
	var lost []*pending
	for _, s := range p.streams {
		lost = append(lost, s.unanswered.all()...)
		s.unanswered.reset()
		s.stalled, s.shifted, s.next, s.stored = false, false, 0, 0
		p.followUp(s)
	}
	p.queue.reset()
	p.retries.reset()
	p.renew = p.opt.idempotent
	p.mu.Unlock()
	for _, b := range lost {
		why := err
		if b.maybe {
			why = errors.Join(ErrUnknownOutcome, err)
		}
		p.report(b, Result{Partition: b.s.partition}, why)
	}
}
