package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// drill is a run of what queues can do beyond handing out messages, each with queues of its own and
// many clients, while daemons are killed, together too, and stopped, and clients cut off.
type drill struct {
	*world
	l *ledger
}

const (
	hzOnly     = "area = 'hz'"
	dearOnly   = "price > 50"
	queueTTL   = 600 * time.Millisecond
	messageTTL = 250 * time.Millisecond
	checkAfter = 300 * time.Millisecond
	hasty      = 400 * time.Millisecond // an acknowledgement time-out
	graveyard  = "graves"
	comeBacks  = 2 // delivery limit
)

// lay makes the queues.
func (d *drill) lay(c *trimq.Client) error {
	dead := func(q trimq.QueueSettings, exchange, key string) trimq.QueueSettings {
		q.DeadLetter, q.DeadLetterExchange, q.DeadLetterKey, q.KeepKey = true, exchange, key, key == ""
		return q
	}
	if _, err := c.CreateTopic(d.life, trimq.TopicSpec{Name: "feed", Partitions: 2, Level: d.level(trimq.LevelPage)}); err != nil {
		return err
	}
	for i, q := range []struct {
		name string
		mail
		set trimq.QueueSettings
	}{
		{graveyard, mail{limit: -1}, trimq.QueueSettings{}},
		{"prio", mail{limit: -1}, trimq.QueueSettings{MaxPriority: 5}},
		{"work", mail{limit: comeBacks, graves: graveyard}, dead(trimq.QueueSettings{DeliveryLimit: trimq.Some(comeBacks)}, "", graveyard)},
		{"short", mail{limit: -1, ttl: queueTTL, graves: graveyard}, dead(trimq.QueueSettings{MessageTTLMS: trimq.Some(uint64(queueTTL.Milliseconds()))}, "undertaker", "")},
		{"later", mail{limit: -1}, trimq.QueueSettings{}},
		{"leased", mail{limit: -1}, trimq.QueueSettings{}},
		{"slow", mail{limit: -1}, trimq.QueueSettings{}},
		{"txn-a", mail{limit: -1}, trimq.QueueSettings{}},
		{"txn-b", mail{limit: -1}, trimq.QueueSettings{MaxPriority: 2}},
		{"txn-in", mail{limit: -1}, trimq.QueueSettings{}},
		{"feed-hz", mail{limit: -1}, trimq.QueueSettings{Topic: "feed", FilterKind: trimq.FilterSelector, Filter: hzOnly}},
		{"feed-dear", mail{limit: -1}, trimq.QueueSettings{Topic: "feed", FilterKind: trimq.FilterSelector, Filter: dearOnly}},
	} {
		d.l.mailbox(q.name, q.mail)
		q.set.Durable = true
		spec := trimq.QueueSpec{Name: q.name, QueueSettings: q.set}
		if q.set.Topic == "" {
			spec.Level = d.level([]trimq.Level{trimq.LevelDisk, trimq.LevelPage}[i%2])
		}
		if _, err := c.CreateQueue(d.life, spec); err != nil {
			return fmt.Errorf("queue %s: %w", q.name, err)
		}
	}
	for exchange, queues := range map[string][]string{"undertaker": {graveyard}, "both": {"txn-a", "txn-b"}} {
		if _, err := c.CreateExchange(d.life, trimq.ExchangeSpec{Name: exchange, Type: trimq.Fanout, Durable: true}); err != nil {
			return err
		}
		for _, q := range queues {
			if _, err := c.CreateBinding(d.life, trimq.BindingSpec{Exchange: exchange, Queue: q}); err != nil {
				return err
			}
		}
	}
	return nil
}

// dice is a number below n that follows from a value.
func dice(value string, n uint32) uint32 {
	f := fnv.New32a()
	f.Write([]byte(value))
	return f.Sum32() / 7 % n
}

// employ starts the clients.
func (d *drill) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	for scene, next := range map[string]func(r *rand.Rand) (letter, trimq.Message){
		"prio": toPriorities, "work": toQueue("work"), "short": toShort, "later": toLater, "leased": toQueue("leased"),
		"slow": toQueue("slow"), "txn-in": toQueue("txn-in"), "feed": toFeed,
	} {
		run(func(r *rand.Rand) { d.post(scene, r, next) })
	}
	for i, s := range []staff{
		{queue: "prio", judge: mostly(take)}, {queue: "prio", judge: mostly(take)},
		{queue: "work", judge: byDestiny}, {queue: "work", judge: byDestiny},
		{queue: "short", judge: mostly(take), pause: 150 * time.Millisecond},
		{queue: "later", judge: mostly(take)},
		{queue: "slow", judge: mostly(keep), timeout: hasty}, {queue: "slow", judge: mostly(keep)},
		{queue: "txn-a", judge: mostly(take)}, {queue: "txn-b", judge: mostly(take)},
		{queue: "feed-hz", judge: mostly(take)}, {queue: "feed-hz", judge: mostly(take)}, {queue: "feed-dear", judge: mostly(take)},
		{queue: graveyard, judge: mostly(take)},
	} {
		run(func(r *rand.Rand) { d.serve(fmt.Sprintf("staff-%d-%s", i, s.queue), s, r) })
	}
	for i := range 3 {
		run(func(r *rand.Rand) { d.pull(fmt.Sprintf("puller-%d", i), r) })
	}
	run(func(r *rand.Rand) { d.trade("trader", r) })
	run(func(r *rand.Rand) { d.promise("promiser", r) })
	run(func(r *rand.Rand) { d.transform("transformer-1", r) })
	run(func(r *rand.Rand) { d.transform("transformer-2", r) })
	return all
}

// settle waits until all has come to where it belongs, and then looks at the order of priorities.
func (d *drill) settle(first *party, n *nemesis) error {
	n.heal()
	checker, err := d.check("last checker")
	if err != nil {
		return err
	}
	if err := d.gather(first); err != nil {
		return err
	}
	if err := d.byPriority(first); err != nil {
		return err
	}
	checker.leave(false)
	return d.shut(first)
}

// gather waits until all has come to where it belongs.
func (d *drill) gather(first *party) error {
	for end := time.Now().Add(cmp.Or(d.o.Settle, patience/2)); ; {
		rest, err := d.sweep(first)
		if err != nil {
			return err
		}
		if rest == 0 && d.l.missing() == 0 {
			return nil
		}
		if time.Now().After(end) {
			d.h.report("%d messages are left, %d are missing", rest, d.l.missing())
			return nil
		}
	}
}

// sweep takes what is in the queues, and counts what is left, with transactions that are open.
func (d *drill) sweep(first *party) (rest uint64, err error) {
	for queue := range d.l.queues {
		if err := d.drain(first, queue, func(*trimq.Deliveries, *trimq.Record) {}); err != nil {
			return 0, err
		}
	}
	queues, err := first.client.Queues(d.life)
	if err != nil {
		return 0, err
	}
	for _, q := range queues {
		rest += q.Ready + q.Unacked + q.Leased + q.Dead
	}
	txns, err := first.client.Txns(d.life)
	return rest + uint64(len(txns)), err
}

// drain takes what is ready in a queue.
func (d *drill) drain(first *party, queue string, see func(*trimq.Deliveries, *trimq.Record)) error {
	k, err := first.client.ConsumeQueue(d.life, queue, trimq.WithAckTimeout(0))
	if err != nil {
		return fmt.Errorf("drain of %s: %w", queue, err)
	}
	defer k.Close(d.life)
	for {
		ctx, cancel := context.WithTimeout(d.life, 100*time.Millisecond)
		m, err := k.Receive(ctx)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) && d.life.Err() == nil {
			return k.Flush(d.life)
		}
		if err != nil {
			return fmt.Errorf("drain of %s: %w", queue, err)
		}
		for i := range m.Messages {
			d.l.saw(&m.Parcel, &m.Messages[i], opSaw{Drained: true})
			see(m, &m.Messages[i])
		}
		if err := m.Ack(); err != nil {
			return err
		}
		m.Release()
	}
}

// byPriority has a backlog and drains it: higher priorities come first, equals in order of publishing.
func (d *drill) byPriority(first *party) error {
	p, err := first.client.NewProducer()
	if err != nil {
		return err
	}
	order := map[string]int{}
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 300 {
		x, m := toPriorities(r)
		d.send(d.life, "backlog", p.Produce, &x, &m)
		order[x.value] = i
	}
	if err := p.Close(d.life); err != nil {
		return err
	}
	last, at, seen := uint8(255), -1, 0
	err = d.drain(first, "prio", func(m *trimq.Deliveries, x *trimq.Record) {
		priority, n := min(m.Priority, 5), order[string(x.Value)]
		if priority > last || priority == last && n <= at {
			d.h.report("message %d of priority %d came behind message %d of priority %d", n, priority, at, last)
		}
		last, at = priority, n
		seen++
	})
	if seen != len(order) {
		d.h.report("%d of %d messages with priorities came", seen, len(order))
	}
	return err
}
