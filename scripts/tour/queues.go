package tour

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

const queueMessages = 30

// durable makes a queue that outlives everything.
func (t *tour) durable(ctx context.Context, name string, set trimq.QueueSettings) error {
	set.Durable = true
	_, err := t.client.CreateQueue(ctx, trimq.QueueSpec{Name: name, QueueSettings: set})
	return err
}

// letters are n messages of a place, every bad-th of them one that consumers reject.
func letters(place string, n, bad int) (values []string) {
	for i := range n {
		v := value(place, i, 29*i%400)
		if i%bad == bad-1 {
			v = "bad " + v
		}
		values = append(values, v)
	}
	return values
}

func isBad(value string) bool { return strings.HasPrefix(value, "bad ") }

func (t *tour) publish(ctx context.Context, values []string, to func(i int, value string) trimq.Message) error {
	var messages []trimq.Message
	for i, v := range values {
		messages = append(messages, to(i, v))
	}
	_, err := t.send(ctx, messages)
	return err
}

// empty consumes a queue until so many messages are settled: bad ones are rejected, some others put
// back the first time. see looks at each delivery.
func (t *tour) empty(ctx context.Context, b *box, settled int, see func(sight) error, opts ...trimq.QueueOption) error {
	k, err := t.client.ConsumeQueue(ctx, b.where, append([]trimq.QueueOption{trimq.WithPrefetch(8)}, opts...)...)
	if err != nil {
		return err
	}
	for err == nil && len(b.settled) < settled {
		var d *trimq.Deliveries
		if d, err = k.Receive(ctx); err != nil {
			err = fmt.Errorf("with %d of %d settled: %w", len(b.settled), settled, err)
			break
		}
		err = t.settle(ctx, k, d, b, see)
		d.Release()
	}
	return errors.Join(err, k.Close(ctx))
}

// settle gives a verdict on each message of a parcel, and waits until it is confirmed. A verdict that came
// too late, as the connection broke, is none: the message comes again.
func (t *tour) settle(ctx context.Context, k *trimq.QueueConsumer, d *trimq.Deliveries, b *box, see func(sight) error) error {
	var given []sight
	var err error
	for _, m := range d.Messages {
		s := sight{d.Index, m.Offset, string(m.Value)}
		_, before := b.values[s.value]
		b.saw(s)
		if see != nil {
			err = errors.Join(err, see(s))
		}
		var verdict error
		switch {
		case isBad(s.value):
			verdict = k.Reject(d.Index, m.Offset)
		case !before && m.Offset%5 == 0:
			_ = k.Nack(d.Index, m.Offset) // or it comes back by itself
			continue
		default:
			verdict = k.Ack(d.Index, m.Offset)
		}
		if verdict == nil {
			given = append(given, s)
		} else if !errors.Is(verdict, trimq.ErrRecalled) {
			err = errors.Join(err, verdict)
		}
	}
	switch late := k.Flush(ctx); {
	case errors.Is(late, trimq.ErrRecalled):
	case late != nil:
		err = errors.Join(err, late)
	default:
		for _, s := range given {
			b.settled[spot{s.index, s.offset}] = true
		}
	}
	return err
}

// work publishes to a queue, and rejects some messages, which come to another one.
func work(t *tour, ctx context.Context, name string) error {
	graves := name + ".graves"
	err := errors.Join(t.durable(ctx, graves, trimq.QueueSettings{}),
		t.durable(ctx, name, trimq.QueueSettings{DeadLetter: true, DeadLetterKey: graves, MaxPriority: 3}))
	if err != nil {
		return err
	}
	values := letters(name, queueMessages, 6)
	if err := t.publish(ctx, values, func(i int, v string) trimq.Message {
		m := letter(name, v)
		m.Priority = uint8(i % 3)
		return m
	}); err != nil {
		return err
	}
	at := newBox(name)
	if err := t.empty(ctx, at, len(values), nil); err != nil {
		return err
	}
	t.wrongs(at.judge(values, nil))
	var bad []string
	for _, v := range values {
		if isBad(v) {
			bad = append(bad, v)
		}
	}
	dead := newBox(graves)
	if err := t.empty(ctx, dead, len(bad), nil); err != nil {
		return err
	}
	t.wrongs(dead.judge(bad, nil))
	return t.leave(ctx, name, graves)
}

// leave removes queues, in which nothing may be left.
func (t *tour) leave(ctx context.Context, queues ...string) error {
	for _, q := range queues {
		info, err := t.client.Queues(ctx, q)
		if err != nil {
			return err
		}
		if rest := info[0].Ready + info[0].Unacked + info[0].Leased + info[0].Dead; rest > 0 {
			t.wrongs([]string{fmt.Sprintf("%s: %d messages are left when all are settled", q, rest)})
		}
		if err := gone(t.client.DeleteQueue(ctx, q, trimq.DeleteCondition{})); err != nil {
			return err
		}
	}
	return nil
}

// fan publishes through an exchange to two queues.
func fan(t *tour, ctx context.Context, name string) error {
	queues := []string{name + ".a", name + ".b"}
	if _, err := t.client.CreateExchange(ctx, trimq.ExchangeSpec{Name: name, Type: trimq.Topic, Durable: true}); err != nil {
		return err
	}
	for _, q := range queues {
		if err := t.durable(ctx, q, trimq.QueueSettings{}); err != nil {
			return err
		}
		if _, err := t.client.CreateBinding(ctx, trimq.BindingSpec{Exchange: name, Queue: q, RoutingKey: "all.#"}); err != nil {
			return err
		}
	}
	values := letters(name, queueMessages/2, queueMessages)
	if err := t.publish(ctx, values, func(_ int, v string) trimq.Message {
		return trimq.Message{Exchange: name, RoutingKey: "all.of.them", Mandatory: true, Value: []byte(v)}
	}); err != nil {
		return err
	}
	for _, q := range queues {
		b := newBox(q)
		if err := t.empty(ctx, b, len(values), nil); err != nil {
			return err
		}
		t.wrongs(b.judge(values, nil))
	}
	return errors.Join(t.leave(ctx, queues...), gone(t.client.DeleteExchange(ctx, name, trimq.DeleteCondition{})))
}

// later publishes with delays, which must not be cut short.
func later(t *tour, ctx context.Context, name string) error {
	if err := t.durable(ctx, name, trimq.QueueSettings{}); err != nil {
		return err
	}
	values := letters(name, queueMessages/2, queueMessages)
	due := map[string]time.Time{}
	if err := t.publish(ctx, values, func(i int, v string) trimq.Message {
		m := letter(name, v)
		m.Delay = time.Duration(1+i*13%100) * time.Millisecond
		due[v] = time.Now().Add(m.Delay).Truncate(time.Millisecond)
		return m
	}); err != nil {
		return err
	}
	b := newBox(name)
	err := t.empty(ctx, b, len(values), func(s sight) error {
		if now := time.Now(); now.Before(due[s.value]) {
			return fmt.Errorf("%s: %.40q came %s early", name, s.value, due[s.value].Sub(now))
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.wrongs(b.judge(values, nil))
	return t.leave(ctx, name)
}

// leased is for how long pulled messages are invisible.
const leased = time.Second

// lease pulls messages, and settles them with their handles.
func lease(t *tour, ctx context.Context, name string) error {
	if err := t.durable(ctx, name, trimq.QueueSettings{}); err != nil {
		return err
	}
	values := letters(name, queueMessages/2, queueMessages)
	if err := t.publish(ctx, values, func(_ int, v string) trimq.Message { return letter(name, v) }); err != nil {
		return err
	}
	b, open := newBox(name), map[spot]bool{} // open: settled perhaps, if they do not come again
	for len(b.settled) < len(values) {
		wait := 200 * time.Millisecond
		if len(b.settled)+len(open) == len(values) {
			wait = 2 * leased
		}
		pulled, err := t.client.Pull(ctx, name, 5, wait, trimq.WithVisibility(leased))
		if err != nil {
			return fmt.Errorf("pull, with %d of %d settled: %w", len(b.settled), len(values), err)
		}
		if len(pulled) == 0 && wait > leased {
			break
		}
		for _, p := range pulled {
			if err := settlePulled(ctx, p, b, open); err != nil {
				return err
			}
		}
	}
	t.wrongs(b.judge(values, nil))
	return t.leave(ctx, name)
}

func settlePulled(ctx context.Context, p *trimq.Pulled, b *box, open map[spot]bool) error {
	defer p.Release()
	for _, m := range p.Messages {
		b.saw(sight{p.Index, m.Offset, string(m.Value)})
	}
	err := p.Delete(ctx)
	for _, m := range p.Messages {
		at := spot{p.Index, m.Offset}
		delete(open, at)
		switch {
		case err == nil:
			b.settled[at] = true
		case errors.Is(err, trimq.ErrUnknownOutcome): // the lease is over, and it may be this that has ended it
			open[at] = true
		case !errors.Is(err, trimq.ErrLeaseExpired):
			return fmt.Errorf("delete what was pulled: %w", err)
		}
	}
	return nil
}

// view subscribes to every third message of a topic.
func view(t *tour, ctx context.Context, name string) error {
	topic := name + ".topic"
	if _, err := t.client.CreateTopic(ctx, trimq.TopicSpec{Name: topic, Partitions: 1, Level: trimq.LevelPage}); err != nil {
		return err
	}
	if err := t.durable(ctx, name, trimq.QueueSettings{Topic: topic, FilterKind: trimq.FilterSelector, Filter: "third = 'yes'"}); err != nil {
		return err
	}
	values, want := letters(name, queueMessages, 2*queueMessages), []string(nil)
	if err := t.publish(ctx, values, func(i int, v string) trimq.Message {
		m := trimq.Message{Topic: topic, Value: []byte(v), Headers: []trimq.Header{{Key: "third", Value: []byte("no")}}}
		if i%3 == 0 {
			m.Headers[0].Value = []byte("yes")
			want = append(want, v)
		}
		return m
	}); err != nil {
		return err
	}
	b := newBox(name)
	if err := t.empty(ctx, b, len(want), nil); err != nil {
		return err
	}
	t.wrongs(b.judge(want, nil))
	return errors.Join(gone(t.client.DeleteQueue(ctx, name, trimq.DeleteCondition{})), gone(t.client.DeleteTopic(ctx, topic)))
}
