package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// Who posts letters, and who takes them.

func toQueue(queue string) func(*rand.Rand) (letter, trimq.Message) {
	return func(*rand.Rand) (letter, trimq.Message) {
		return letter{places: []string{queue}}, trimq.Message{RoutingKey: queue}
	}
}

func toPriorities(r *rand.Rand) (letter, trimq.Message) {
	p := uint8(r.IntN(8)) // some beyond the queue's highest
	return letter{places: []string{"prio"}, priority: p}, trimq.Message{RoutingKey: "prio", Priority: p}
}

func toShort(r *rand.Rand) (letter, trimq.Message) {
	x, m := toQueue("short")(r)
	if r.IntN(2) == 0 {
		x.ttl, m.TTL = messageTTL, trimq.ExpireAfter(messageTTL)
	}
	return x, m
}

func toLater(r *rand.Rand) (letter, trimq.Message) {
	x, m := toQueue("later")(r)
	delay := []time.Duration{0, 1, 100, 600, 1500}[r.IntN(5)] * time.Millisecond
	x.due = time.Now().Add(delay)
	if r.IntN(3) == 0 {
		m.DeliverAt = x.due
	} else {
		m.Delay = delay
	}
	return x, m
}

func toFeed(r *rand.Rand) (letter, trimq.Message) {
	area, price := []string{"hz", "bj", ""}[r.IntN(3)], r.IntN(100)
	var x letter
	m := trimq.Message{Topic: "feed", Partition: trimq.ToPartition(r.Uint32N(2)), Headers: []trimq.Header{{Key: "price", Value: []byte(strconv.Itoa(price))}}}
	if area != "" {
		m.Headers = append(m.Headers, trimq.Header{Key: "area", Value: []byte(area)})
	}
	if area == "hz" {
		x.places = append(x.places, "feed-hz")
	}
	if price > 50 {
		x.places = append(x.places, "feed-dear")
	}
	return x, m
}

// producing is Producer.Produce, or a transaction's.
type produceFunc func(ctx context.Context, m *trimq.Message, done func(trimq.Result, error)) error

// send posts one letter.
func (d *drill) send(ctx context.Context, scene string, produce produceFunc, x *letter, m *trimq.Message) {
	x.value = d.l.name(scene)
	m.Value = []byte(x.value)
	d.l.post(x)
	err := produce(ctx, m, func(_ trimq.Result, err error) {
		var refusal *trimq.Error
		switch {
		case err == nil:
			d.acked.Add(1)
			d.l.answered(x.value, acked)
		case errors.As(err, &refusal) && !errors.Is(err, trimq.ErrUnknownOutcome):
			d.l.answered(x.value, refused)
		default:
			d.l.answered(x.value, unknown)
		}
		if err != nil && x.deal == nil && !d.mayRefuse(err) {
			d.h.report("%s: %v", x.value, err)
		}
	})
	if err != nil {
		d.l.answered(x.value, refused) // not taken: nothing may come of it
	}
}

// post sends letters until the run ends.
func (d *drill) post(scene string, r *rand.Rand, next func(*rand.Rand) (letter, trimq.Message)) {
	party, p := d.producer(scene, r)
	if p == nil {
		return
	}
	for d.ctx.Err() == nil {
		for range 1 + r.IntN(8) {
			x, m := next(r)
			d.send(d.ctx, scene, p.Produce, &x, &m)
		}
		time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
	}
	party.leave(false)
}

// producer is a party that produces.
func (d *drill) producer(name string, r *rand.Rand) (*party, *trimq.Producer) {
	party, err := d.newParty(name)
	if err == nil {
		var p *trimq.Producer
		if p, err = party.client.NewProducer(trimq.WithRetryFor(patience), trimq.WithBatchBytes(1<<(10+r.IntN(5)))); err == nil {
			return party, p
		}
	}
	d.h.report("%s: %v", name, err)
	return nil, nil
}

// judgement is what becomes of a message in a consumer's hand.
type judgement uint8

const (
	take judgement = iota
	putBack
	refuse
	keep // take it, but late
)

// staff is who works at a queue.
type staff struct {
	queue   string
	judge   func(value string, r *rand.Rand) judgement
	timeout time.Duration // of acknowledgements; 0: none
	pause   time.Duration // at most, between parcels
}

// mostly takes most messages; of the others some are put back, some of them what it is given.
func mostly(j judgement) func(string, *rand.Rand) judgement {
	return func(_ string, r *rand.Rand) judgement {
		switch n := r.IntN(20); {
		case n == 0:
			return putBack
		case n < 3:
			return j
		}
		return take
	}
}

// byDestiny rejects what is bad, puts back what is poison, always, and takes the rest.
func byDestiny(value string, _ *rand.Rand) judgement {
	return []judgement{take, take, take, take, take, putBack, refuse}[dice(value, 7)]
}

// serve takes letters from a queue, in incarnations some of which are killed.
func (d *drill) serve(name string, s staff, r *rand.Rand) {
	for life := 0; d.ctx.Err() == nil; life++ {
		party, err := d.newParty(fmt.Sprintf("%s-%d", name, life))
		if err != nil {
			d.h.report("%v", err)
			return
		}
		prefetch := 1 + r.IntN(20)
		if s.timeout > 0 { // so that it is known when each was given out
			prefetch = 1
		}
		began := time.Now()
		k, err := party.client.ConsumeQueue(d.life, s.queue, trimq.WithPrefetch(prefetch), trimq.WithAckTimeout(s.timeout))
		if err != nil {
			d.h.report("%s: consume: %v", party.name, err)
			return
		}
		w := &serving{d: d, s: s, k: k, party: party.name, who: d.h.hold(party.name, s.timeout), free: began}
		w.once(r)
		killed := r.IntN(2) == 0
		d.h.letGo(w.who)
		if !killed {
			w.flush()
		}
		party.leave(killed)
	}
}

// serving is one incarnation.
type serving struct {
	d           *drill
	s           staff
	k           *trimq.QueueConsumer
	party       string
	who         int // the incarnation
	unconfirmed []settled
	free        time.Time // with a time-out: it held nothing until then, so what came next was given out later
}

// settled is a letter whose acknowledgement was not confirmed yet.
type settled struct {
	value string
	at    time.Time // when it was received
}

func (w *serving) once(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(w.d.ctx, time.Duration(500+r.IntN(5000))*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		m, err := w.k.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.d.complain(err, "%s: receive", w.party)
			}
			return
		}
		given := time.Time{}
		if w.s.timeout > 0 {
			given = w.free
		}
		views := w.d.l.sawAll(m, w.who, given)
		if w.s.pause > 0 {
			time.Sleep(time.Duration(r.Int64N(int64(w.s.pause))))
		}
		for i := range m.Messages {
			w.settle(string(m.Messages[i].Value), views[i], r)
		}
		m.Release()
		if r.IntN(10) == 0 {
			w.flush()
		}
	}
}

// settle passes one verdict.
func (w *serving) settle(value string, v *viewing, r *rand.Rand) {
	var err error
	verdict := w.s.judge(value, r)
	if verdict == keep {
		time.Sleep(time.Duration(r.Int64N(int64(hasty * 2))))
	}
	w.free = earlier(time.Now(), w.free.Add(w.s.timeout)) // when it may have been taken back
	switch verdict {
	case keep, take:
		if err = w.k.Ack(v.index, v.offset); err == nil {
			w.unconfirmed = append(w.unconfirmed, settled{value, v.at})
		}
	case putBack:
		w.d.l.putBack(v)
		err = w.k.Nack(v.index, v.offset)
	case refuse:
		w.d.l.reject(v)
		err = w.k.Reject(v.index, v.offset)
	}
	if err != nil && !(errors.Is(err, trimq.ErrRecalled) && w.s.timeout > 0) {
		w.d.complain(err, "%s: settle", w.party)
	}
}

// flush waits until all verdicts are answered. What was acknowledged then is done with, unless its
// connection broke: then it may have died before the acknowledgement came, which is void.
func (w *serving) flush() {
	err := w.k.Flush(w.d.life)
	if err != nil && !(errors.Is(err, trimq.ErrRecalled) && w.s.timeout > 0) {
		w.d.complain(err, "%s: flush", w.party)
	}
	for _, x := range w.unconfirmed {
		if err == nil && !w.d.h.broke(w.party, x.at.Add(-slack), time.Now()) {
			w.d.l.confirm(w.s.queue, x.value)
		}
	}
	w.unconfirmed = nil
}

// pull takes leased letters, and deletes them by their handles, gives them back, has them for longer or
// forgets them.
func (d *drill) pull(name string, r *rand.Rand) {
	party, err := d.newParty(name)
	if err != nil {
		d.h.report("%v", err)
		return
	}
	defer party.leave(false)
	for d.ctx.Err() == nil {
		visibility := time.Duration(200+r.IntN(1200)) * time.Millisecond
		got, err := party.client.Pull(d.ctx, "leased", 1+r.IntN(5), time.Second, trimq.WithVisibility(visibility))
		if d.ctx.Err() == nil {
			d.complain(err, "%s: pull", name)
		}
		var leases []*viewing
		var handles []trimq.Handle
		for _, p := range got {
			for i := range p.Messages {
				h, err := trimq.ParseHandle(p.Handle(i).String())
				if err != nil {
					d.h.report("%s: %v", name, err)
				}
				v := d.l.saw(&p.Parcel, &p.Messages[i], d.granted(p.Until, visibility))
				leases, handles = append(leases, v), append(handles, h)
			}
			p.Release()
		}
		for i, h := range handles {
			d.settleLease(party.client, leases[i], h, r)
		}
	}
}

// granted is what is known of a lease that ends at a time.
func (d *drill) granted(until time.Time, visibility time.Duration) opSaw {
	end := d.h.since(until)
	granted := end - visibility
	return opSaw{Granted: &granted, Least: end}
}

// settleLease does one thing or the other with a leased letter.
func (d *drill) settleLease(c *trimq.Client, v *viewing, h trimq.Handle, r *rand.Rand) {
	sent, least := time.Now(), v.lease.least // which only this goroutine changes
	switch n := r.IntN(20); {
	case n == 0: // forgotten
	case n == 1:
		time.Sleep(time.Until(least) + 50*time.Millisecond)
		d.deleteLease(c, v, h)
	case n < 4:
		d.leaseChanged(v, c.Return(d.life, h), earlier(least, sent))
	case n < 7:
		longer := time.Duration(r.IntN(5)*200) * time.Millisecond
		err := c.Extend(d.life, longer, h)
		end := sent.Add(longer)
		if err != nil {
			end = earlier(least, end)
		}
		if d.leaseChanged(v, err, end); r.IntN(2) == 0 {
			d.deleteLease(c, v, h)
		}
	default:
		d.deleteLease(c, v, h)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// leaseChanged notes when a lease ends at the earliest after a change that was made, or may have been.
func (d *drill) leaseChanged(v *viewing, err error, least time.Time) {
	switch {
	case err == nil || errors.Is(err, trimq.ErrUnknownOutcome):
		d.l.lasts(v, least)
	case !errors.Is(err, trimq.ErrLeaseExpired):
		d.h.report("lease: %v", err)
	}
}

func (d *drill) deleteLease(c *trimq.Client, v *viewing, h trimq.Handle) {
	sent := time.Now()
	switch err := c.Delete(d.life, h); {
	case err == nil:
		d.l.deleted(v, sent)
	case !errors.Is(err, trimq.ErrUnknownOutcome) && !errors.Is(err, trimq.ErrLeaseExpired):
		d.h.report("lease: %v", err)
	}
}
