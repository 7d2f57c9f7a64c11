package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/trimq/trimq/clients/trimq"
)

// AMQP's clients: RabbitMQ's for Go, which post letters and take them beside native ones. What is noted and
// how it is judged is the same, but that AMQP tells no offsets, and of earlier attempts only that there were
// some.

// amqpLoad is a run in which AMQP's clients work beside native ones, at queues.
type amqpLoad struct{ *drill }

// lay makes the queues.
func (d amqpLoad) lay(c *trimq.Client) error {
	for i, q := range []struct {
		name string
		mail
		set trimq.QueueSettings
	}{
		{graveyard, mail{limit: -1}, trimq.QueueSettings{}},
		{"work", mail{limit: comeBacks, graves: graveyard}, trimq.QueueSettings{
			DeliveryLimit: trimq.Some(comeBacks), DeadLetter: true, DeadLetterKey: graveyard,
		}},
		{"prio", mail{limit: -1}, trimq.QueueSettings{MaxPriority: 5}},
		{"plain", mail{limit: -1}, trimq.QueueSettings{}},
		{"fan-a", mail{limit: -1}, trimq.QueueSettings{}},
		{"fan-b", mail{limit: -1}, trimq.QueueSettings{}},
	} {
		d.l.mailbox(q.name, q.mail)
		q.set.Durable = true
		level := d.level([]trimq.Level{trimq.LevelDisk, trimq.LevelPage}[i%2])
		if _, err := c.CreateQueue(d.life, trimq.QueueSpec{Name: q.name, Level: level, QueueSettings: q.set}); err != nil {
			return fmt.Errorf("queue %s: %w", q.name, err)
		}
	}
	if _, err := c.CreateExchange(d.life, trimq.ExchangeSpec{Name: "both", Type: trimq.Fanout, Durable: true}); err != nil {
		return err
	}
	for _, q := range []string{"fan-a", "fan-b"} {
		if _, err := c.CreateBinding(d.life, trimq.BindingSpec{Exchange: "both", Queue: q}); err != nil {
			return err
		}
	}
	return nil
}

// toFan is for both queues that are bound to the exchange.
func toFan(*rand.Rand) (letter, trimq.Message) {
	return letter{places: []string{"fan-a", "fan-b"}}, trimq.Message{Exchange: "both"}
}

// employ starts the clients.
func (d amqpLoad) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	for scene, next := range map[string]func(*rand.Rand) (letter, trimq.Message){
		"work": toQueue("work"), "prio": toPriorities, "plain": toQueue("plain"), "fan": toFan,
	} {
		run(func(r *rand.Rand) { d.publish("amqp-"+scene, r, next) })
		run(func(r *rand.Rand) { d.post(scene, r, next) })
	}
	for i, s := range []staff{
		{queue: "work", judge: byDestiny}, {queue: "work", judge: byDestiny}, {queue: "prio", judge: mostly(take)},
		{queue: "plain", judge: mostly(take)}, {queue: "plain", judge: mostly(take)}, {queue: "fan-a", judge: mostly(take)},
		{queue: "fan-b", judge: mostly(take)},
	} {
		run(func(r *rand.Rand) { d.consume(fmt.Sprintf("amqp-staff-%d-%s", i, s.queue), s, r) })
	}
	for i, s := range []staff{
		{queue: "work", judge: byDestiny}, {queue: "plain", judge: mostly(take)}, {queue: "prio", judge: mostly(take)}, {queue: graveyard, judge: mostly(take)},
	} {
		run(func(r *rand.Rand) { d.serve(fmt.Sprintf("staff-%d-%s", i, s.queue), s, r) })
	}
	return all
}

// settle waits until all has come to where it belongs.
func (d amqpLoad) settle(first *party, n *nemesis) error {
	n.heal()
	if err := d.gather(first); err != nil {
		return err
	}
	return d.shut(first)
}

// amqpClient is one connection of an AMQP client, with a channel.
type amqpClient struct {
	*link
	d  amqpLoad
	c  *amqp.Connection
	ch *amqp.Channel
}

// newAMQP connects a client; it tries as long as the broker may be down. nil: the run is over.
func (d amqpLoad) newAMQP(name string) *amqpClient {
	l, err := d.newLink(name, d.guests)
	if err != nil {
		d.h.report("%v", err)
		return nil
	}
	x := &amqpClient{link: l, d: d}
	for ; d.ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
		x.c, err = amqp.DialConfig("amqp://guest:guest@"+d.guests+"/", amqp.Config{
			Dial: func(network, addr string) (net.Conn, error) { return l.dialWatched(d.life, network, addr) },
		})
		if err != nil {
			continue
		}
		if x.ch, err = x.c.Channel(); err == nil {
			go x.mind(x.ch.NotifyClose(make(chan *amqp.Error, 1)))
			return x
		}
		_ = x.c.Close() // it is broken
	}
	return nil
}

// mind reports that the broker ends a channel, or the connection with it, unless it is about to stop; and
// that the client does, for something came that it cannot read. It ends with the channel.
func (x *amqpClient) mind(ended <-chan *amqp.Error) {
	err := <-ended
	if err == nil || err.Server && err.Code == amqp.ConnectionForced || !err.Server && (x.broke.Load() || x.done.Load()) {
		return
	}
	x.h.report("%s: %v", x.name, err)
}

// leave ends a client: in an orderly way, or as one that is killed. It may find only now that its connection
// has been broken for a while: what came over it last lay on the way.
func (x *amqpClient) leave(killed bool) {
	if killed {
		x.cut()
	}
	x.done.Store(true)
	if x.c.Close() != nil && !killed {
		x.h.note(&opLost{Party: x.name, Cut: true})
	}
}

// posted is a letter that was published, and by what its confirm is told; nil: it was not sent whole.
type posted struct {
	value string
	told  *amqp.DeferredConfirmation
}

// publish sends letters until the run ends, over one connection after the other.
func (d amqpLoad) publish(name string, r *rand.Rand, next func(*rand.Rand) (letter, trimq.Message)) {
	for life := 0; d.ctx.Err() == nil; life++ {
		x := d.newAMQP(fmt.Sprintf("%s-%d", name, life))
		if x == nil {
			return
		}
		sent, told := make(chan posted, 1000), make(chan struct{})
		go func() {
			defer close(told)
			for p := range sent {
				x.answered(p)
			}
		}()
		for err := x.ch.Confirm(false); err == nil && d.ctx.Err() == nil && !x.ch.IsClosed(); {
			for range 1 + r.IntN(8) {
				l, m := next(r)
				sent <- x.send(name, &l, &m)
			}
			time.Sleep(time.Duration(r.IntN(50)) * time.Millisecond)
		}
		close(sent)
		<-told
		x.leave(false)
	}
}

// send publishes one letter.
func (x *amqpClient) send(scene string, l *letter, m *trimq.Message) posted {
	l.value = x.d.l.name(scene)
	x.d.l.post(l)
	p := posted{value: l.value}
	p.told, _ = x.ch.PublishWithDeferredConfirm(m.Exchange, m.RoutingKey, true, false, amqp.Publishing{
		DeliveryMode: amqp.Persistent, Priority: m.Priority, Body: []byte(l.value),
	})
	return p
}

// answered notes what became of a letter. One that was not confirmed, for the connection broke, may be there
// or not.
func (x *amqpClient) answered(p posted) {
	if p.told != nil {
		if ok, err := p.told.WaitContext(x.life); ok && err == nil {
			x.d.acked.Add(1)
			x.d.l.answered(p.value, acked)
			return
		}
	}
	x.d.l.answered(p.value, unknown)
}

// amqpServing is one incarnation of a consumer.
type amqpServing struct {
	*amqpClient
	s           staff
	who         int
	prefetch    int
	held        []amqp.Delivery // to be acknowledged together
	unconfirmed []settled
}

// consume takes letters from a queue, in incarnations some of which are killed.
func (d amqpLoad) consume(name string, s staff, r *rand.Rand) {
	for life := 0; d.ctx.Err() == nil; life++ {
		x := d.newAMQP(fmt.Sprintf("%s-%d", name, life))
		if x == nil {
			return
		}
		w := &amqpServing{amqpClient: x, s: s, prefetch: 1 + r.IntN(20), who: d.h.hold(x.name, 0)}
		w.once(r)
		killed := r.IntN(2) == 0
		if !killed {
			w.flush()
		}
		d.h.letGo(w.who)
		x.leave(killed)
	}
}

// once works for a time, or until the connection is lost.
func (w *amqpServing) once(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(w.d.ctx, time.Duration(500+r.IntN(5000))*time.Millisecond)
	defer cancel()
	if w.ch.Qos(w.prefetch, 0, false) != nil {
		return // it is broken
	}
	deliveries, err := w.ch.Consume(w.s.queue, "", false, false, false, false, nil)
	for err == nil {
		select {
		case m, ok := <-deliveries:
			if !ok {
				return
			}
			err = w.settle(m, w.saw(&m), r)
		case <-ctx.Done():
			return
		}
	}
}

// saw notes a delivery.
func (w *amqpServing) saw(m *amqp.Delivery) *viewing {
	l := w.d.l
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
	v := &opSaw{N: len(l.sights), Value: string(m.Body), Queue: w.s.queue, Priority: m.Priority, Holder: &w.who, Blind: true}
	if m.Redelivered {
		v.Attempts = 1
	}
	l.h.do(v)
	return l.sights[v.N]
}

// settle passes one verdict. What is taken may be acknowledged later, together with others.
func (w *amqpServing) settle(m amqp.Delivery, v *viewing, r *rand.Rand) error {
	verdict := w.s.judge(string(m.Body), r)
	if verdict == take {
		w.held = append(w.held, m)
		w.unconfirmed = append(w.unconfirmed, settled{string(m.Body), v.at})
		if len(w.held) < w.prefetch && r.IntN(3) > 0 {
			return nil
		}
	}
	err := w.ackHeld()
	switch {
	case err != nil || verdict == take:
	case verdict == putBack:
		w.d.l.putBack(v)
		err = m.Nack(false, true)
	default:
		w.d.l.reject(v)
		err = m.Reject(false)
	}
	return err
}

// ackHeld acknowledges all that is held with one word.
func (w *amqpServing) ackHeld() error {
	if len(w.held) == 0 {
		return nil
	}
	last := w.held[len(w.held)-1]
	w.held = nil
	return last.Ack(true)
}

// flush waits until all verdicts have been taken in: AMQP confirms none, but what is asked behind them is
// answered behind them. What was acknowledged then is done with, unless the connection broke.
func (w *amqpServing) flush() {
	err := w.ackHeld()
	if err == nil {
		_, err = w.ch.QueueDeclarePassive(w.s.queue, true, false, false, false, nil)
	}
	for _, x := range w.unconfirmed {
		if err == nil && !w.h.broke(w.name, x.at.Add(-slack), time.Now()) {
			w.d.l.confirm(w.s.queue, x.value)
		}
	}
}
