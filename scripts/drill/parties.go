package drill

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// The parties of a run: clients whose connections can be cut, what they send and receive.

// party is one client of the native protocol.
type party struct {
	*link
	client *trimq.Client
}

// newParty connects a client; it waits as long as the broker may be down.
func (w *world) newParty(name string) (*party, error) {
	ctx, cancel := context.WithTimeout(w.life, patience)
	defer cancel()
	l, err := w.newLink(name, w.addr)
	if err != nil {
		return nil, err
	}
	p := &party{link: l}
	p.client, err = trimq.Dial(ctx, []string{l.addr}, trimq.WithName(name), trimq.WithLogger(slog.New(p)), trimq.WithDialer(p.dial))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return p, nil
}

// party is a slog.Handler: the client warns when it has lost a connection.
func (p *party) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (p *party) WithAttrs([]slog.Attr) slog.Handler           { return p }
func (p *party) WithGroup(string) slog.Handler                { return p }
func (p *party) Handle(_ context.Context, r slog.Record) error {
	var why strings.Builder
	r.Attrs(func(a slog.Attr) bool { fmt.Fprintf(&why, " %s", a); return true })
	if strings.Contains(why.String(), trimq.ErrProtocol.Error()) {
		p.h.report("%s: %s%s", p.name, r.Message, why.String())
	}
	p.h.note(&opLost{Party: p.name, Why: r.Message + why.String()})
	return nil
}

// leave closes a party's client: in an orderly way, or as one that is killed.
func (p *party) leave(killed bool) {
	ctx, cancel := context.WithTimeout(p.life, patience)
	defer cancel()
	if killed {
		p.cut()
		cancel()
	}
	if err := p.client.Close(ctx); err != nil && !killed {
		p.h.report("%s: close: %v", p.name, err)
	}
}

// producing is one producer at work.
type producing struct {
	w      *world
	name   string
	p      *trimq.Producer
	killed atomic.Bool
	given  atomic.Bool // it was reported that messages were given up
	topics bool        // to partitions; else through the exchange
}

// done notes what became of a message.
func (x *producing) done(r trimq.Result, err error) {
	o := &opSettled{Who: x.name, N: int(r.Tag)}
	var refusal *trimq.Error
	switch {
	case err == nil:
		o.Fate, o.Reached, o.Forgotten = acked, r.Queues, r.Duplicate && r.Queues == 0
		if x.topics && r.Offset != trimq.UnknownOffset {
			o.Offset = &r.Offset
		}
		x.w.acked.Add(1)
	case errors.Is(err, trimq.ErrUnknownOutcome) || errors.Is(err, trimq.ErrClosed):
		o.Fate = unknown
		if !x.killed.Load() && x.given.CompareAndSwap(false, true) { // once is enough
			x.w.h.report("message %d of %s: %v", r.Tag, x.name, err)
		}
	case errors.As(err, &refusal):
		o.Fate = refused
		if !x.w.mayRefuse(err) {
			x.w.h.report("message %d of %s was refused: %v", r.Tag, x.name, err)
		}
	default:
		o.Fate = unknown
		x.w.h.report("message %d of %s: %v", r.Tag, x.name, err)
	}
	x.w.h.note(o)
}

// mayRefuse tells whether the broker may say that of a message that is as it should be: that it leads
// nowhere, which judges look at, or that the disk is full, when it is.
func (w *world) mayRefuse(err error) bool {
	return errors.Is(err, trimq.ErrUnroutable) || errors.Is(err, trimq.ErrDiskFull) && w.excused()
}

// produce sends until the world stops or the producer's life ends.
func (w *world) produce(name string, r *rand.Rand, idempotent bool, life time.Duration, next func(*rand.Rand) (sentMessage, trimq.Message)) {
	party, err := w.newParty(name)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	opts := []trimq.ProducerOption{trimq.WithBatchBytes(1 << (10 + r.IntN(7))), trimq.WithRetryFor(patience)}
	if !idempotent {
		opts = append(opts, trimq.WithoutIdempotence())
	}
	if r.IntN(3) == 0 {
		opts = append(opts, trimq.WithZstd())
	}
	x := &producing{w: w, name: name}
	w.h.note(&opSender{Name: name, Idempotent: idempotent})
	if x.p, err = party.client.NewProducer(opts...); err != nil {
		w.h.report("%s: %v", name, err)
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, life)
	defer cancel()
	for ctx.Err() == nil {
		for range 1 + r.IntN(40) {
			note, m := next(r)
			x.topics = note.topic != ""
			n := w.h.send(name, note)
			size := r.IntN(600)
			if r.IntN(200) == 0 {
				size = r.IntN(40_000)
			}
			if m.Tag, m.Value = uint64(n), valueFor(name, n, size); note.deletes {
				m.Headers, m.Value = []trimq.Header{{Key: nameHeader, Value: valueFor(name, n, 0)}}, nil
			}
			if err := x.p.Produce(ctx, &m, x.done); err != nil {
				w.h.note(&opSettled{Who: name, N: n, Fate: refused}) // not taken: nothing may come of it
				if ctx.Err() == nil {
					w.h.report("%s: produce: %v", name, err)
				}
			}
		}
		time.Sleep(time.Duration(r.IntN(12)) * time.Millisecond)
	}
	x.killed.Store(w.ctx.Err() == nil && r.IntN(2) == 0)
	party.leave(x.killed.Load())
}

// follow reads a topic as a group of one, in incarnations that commit what they have read.
func (w *world) follow(group, topic string, r *rand.Rand, push bool) {
	party, err := w.newParty(group)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	defer party.leave(false)
	opts := []trimq.ConsumerOption{trimq.WithPositions(group), trimq.WithFetchBytes(64 << 10), trimq.WithFetchWait(200 * time.Millisecond)}
	if push {
		opts = append(opts, trimq.WithPush())
	}
	for w.ctx.Err() == nil {
		k, err := party.client.NewConsumer(w.life, []string{topic}, opts...)
		if err != nil {
			w.h.report("%s: %v", group, err)
			return
		}
		w.followOnce(k, group, topic, r)
		_ = k.Close(w.life)
	}
}

func (w *world) followOnce(k *trimq.Consumer, group, topic string, r *rand.Rand) {
	at := map[string]uint64{}
	found, err := k.Committed(w.life)
	if err != nil {
		w.h.report("%s: committed: %v", group, err)
	}
	for _, p := range found {
		where := place(p.Topic, p.Partition)
		at[where] = p.Offset
		w.h.note(&opCommits{group, where, p.Offset, stepFound})
	}
	ctx, cancel := context.WithTimeout(w.ctx, time.Duration(1+r.IntN(5))*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		asked := time.Now()
		f, err := k.Poll(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.complain(err, "%s: poll", group)
			}
			return
		}
		where := place(f.Topic, f.Partition)
		seen := sights(f.Records)
		w.h.note(&opRead{Where: where, Asked: w.h.since(asked), Next: at[where], Records: seen})
		if len(seen) > 0 {
			at[where] = seen[len(seen)-1].Offset + 1
		}
		f.Release()
		if r.IntN(10) == 0 {
			w.commit(k, group)
		}
	}
}

// commit commits where the consumer stands; the context is not the run's, so that its
// outcome is known.
func (w *world) commit(k *trimq.Consumer, group string) {
	at := k.Positions()
	for _, p := range at {
		w.h.note(&opCommits{group, place(p.Topic, p.Partition), p.Offset, stepTried})
	}
	if err := w.insist(func() error { return k.CommitPositions(w.life, at...) }); err != nil {
		w.h.report("%s: commit: %v", group, err)
		return
	}
	for _, p := range at {
		w.h.note(&opCommits{group, place(p.Topic, p.Partition), p.Offset, stepAnswered})
	}
}

func sights(records []trimq.Record) []sight {
	seen := make([]sight, 0, len(records))
	for _, m := range records {
		value := m.Value
		if value == nil && len(m.Headers) == 1 {
			value = m.Headers[0].Value
		}
		seen = append(seen, sight{m.Offset, nameOf(value)})
	}
	return seen
}
