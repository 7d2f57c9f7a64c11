package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// worker takes messages from a queue, in incarnations some of which are killed.
func (w *world) work(name, queue string, r *rand.Rand) {
	auto := queue == "auto" && !w.power
	for life := 0; w.ctx.Err() == nil; life++ {
		party, err := w.newParty(fmt.Sprintf("%s-%d", name, life))
		if err != nil {
			w.h.report("%v", err)
			return
		}
		opts := []trimq.QueueOption{trimq.WithPrefetch(1 + r.IntN(100)), trimq.WithAckTimeout(0)}
		if auto {
			opts = append(opts, trimq.WithAutoAck())
		}
		k, err := party.client.ConsumeQueue(w.life, queue, opts...)
		if err != nil {
			w.h.report("%s: consume: %v", party.name, err)
			return
		}
		consumer := w.h.hold(party.name, 0)
		unconfirmed := w.workOnce(k, queue, consumer, auto, r)
		killed := r.IntN(2) == 0
		w.h.letGo(consumer)
		if !killed && !auto {
			w.flush(k, queue, unconfirmed)
		}
		party.leave(killed)
	}
}

// workOnce settles what it gets, most of it as done; it returns what it has settled and not
// had confirmed.
func (w *world) workOnce(k *trimq.QueueConsumer, queue string, consumer int, auto bool, r *rand.Rand) (unconfirmed []uint64) {
	ctx, cancel := context.WithTimeout(w.ctx, time.Duration(300+r.IntN(5000))*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		d, err := k.Receive(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.complain(err, "consumer %d: receive", consumer)
			}
			return unconfirmed
		}
		seen := sights(d.Messages)
		w.h.delivered(queue, consumer, d.Attempts, false, seen)
		switch style := r.IntN(20); {
		case auto:
		case style < 14:
			err = d.Ack()
			unconfirmed = appendOffsets(unconfirmed, seen)
		case style == 14:
			w.h.note(&opNacked{queue, appendOffsets(nil, seen)})
			err = d.Nack()
		case style == 15:
			err = d.Reject()
			unconfirmed = appendOffsets(unconfirmed, seen)
		default:
			for _, m := range seen {
				if r.IntN(8) == 0 {
					w.h.note(&opNacked{queue, []uint64{m.Offset}})
					err = errors.Join(err, k.Nack(d.Index, m.Offset))
				} else {
					err = errors.Join(err, k.Ack(d.Index, m.Offset))
					unconfirmed = append(unconfirmed, m.Offset)
				}
			}
		}
		d.Release()
		if err != nil {
			w.h.report("consumer %d: settle: %v", consumer, err)
		}
		if r.IntN(20) == 0 && !auto {
			unconfirmed = w.flush(k, queue, unconfirmed)
		}
	}
	return unconfirmed
}

func appendOffsets(to []uint64, seen []sight) []uint64 {
	for _, m := range seen {
		to = append(to, m.Offset)
	}
	return to
}

// flush waits until all verdicts are answered; what was settled then never comes again.
func (w *world) flush(k *trimq.QueueConsumer, queue string, unconfirmed []uint64) []uint64 {
	if err := k.Flush(w.life); err != nil {
		w.complain(err, "flush of %s", queue)
		return unconfirmed
	}
	w.h.note(&opConfirmed{queue, unconfirmed})
	return nil
}

// drain empties a queue when all is over.
func (w *world) drain(party *party, name string) error {
	k, err := party.client.ConsumeQueue(w.life, name, trimq.WithAckTimeout(0))
	if err != nil {
		return fmt.Errorf("drain of %s: %w", name, err)
	}
	defer k.Close(w.life)
	consumer := w.h.hold(party.name, 0)
	for {
		ctx, cancel := context.WithTimeout(w.life, 300*time.Millisecond)
		d, err := k.Receive(ctx)
		cancel()
		switch {
		case err == nil:
			seen := sights(d.Messages)
			w.h.delivered(name, consumer, d.Attempts, true, seen)
			if err := d.Ack(); err != nil {
				return err
			}
			d.Release()
			continue
		case !errors.Is(err, context.DeadlineExceeded) || w.life.Err() != nil:
			return fmt.Errorf("drain of %s: %w", name, err)
		}
		if err := k.Flush(w.life); err != nil {
			return fmt.Errorf("drain of %s: %w", name, err)
		}
		info, err := party.client.Queues(w.life, name)
		if err != nil {
			return err
		}
		if i := info[0]; i.Ready == 0 && i.Unacked == 0 {
			if x := i.Indexes[0]; x.Floor != x.Next {
				w.h.report("queue %s is empty with floor %d, next %d", name, x.Floor, x.Next)
			}
			return nil
		}
	}
}

// readAll notes all that a topic holds.
func (w *world) readAll(party *party, topic string) error {
	info, err := party.client.Topics(w.life, topic)
	if err != nil {
		return err
	}
	left := uint64(0)
	for _, p := range info[0].Partitions {
		if p.Next != p.Visible {
			w.h.report("topic %s: index %d has next %d, visible %d, and all is quiet", topic, p.Index, p.Next, p.Visible)
		}
		left += p.Visible
	}
	k, err := party.client.NewConsumer(w.life, []string{topic})
	if err != nil {
		return err
	}
	defer k.Close(w.life)
	for left > 0 {
		f, err := k.Poll(w.life)
		if err != nil {
			return fmt.Errorf("%s: %d records left: %w", topic, left, err)
		}
		w.h.note(&opFinal{place(f.Topic, f.Partition), sights(f.Records)})
		left -= min(left, uint64(len(f.Records)))
		f.Release()
	}
	return nil
}

// insist does something that is the same when it is done again, until the disk has room for it.
func (w *world) insist(do func() error) error {
	for {
		err := do()
		if !errors.Is(err, trimq.ErrDiskFull) || !w.excused() || w.life.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// govern makes and removes things, and watches that no number goes back.
func (w *world) govern(r *rand.Rand) {
	party, err := w.newParty("governor")
	if err != nil {
		w.h.report("%v", err)
		return
	}
	defer party.leave(false)
	c := party.client
	there := map[string]bool{} // side topics and queues; only this goroutine makes them
	partitions := uint32(1)
	check := func(what string, do func() error) bool {
		err := w.insist(do)
		if err != nil && w.ctx.Err() == nil {
			w.h.report("%s: %v", what, err)
		}
		return err == nil
	}
	for n := 0; w.ctx.Err() == nil; n++ {
		name := fmt.Sprintf("side-%d", r.IntN(6))
		if there[name] {
			if check("delete queue", func() error { return c.DeleteQueue(w.life, name, trimq.DeleteCondition{}) }) &&
				check("delete topic", func() error { return c.DeleteTopic(w.life, name+"-topic") }) {
				there[name] = false
			}
		} else {
			there[name] = check("create", func() error {
				_, e1 := c.CreateQueue(w.life, trimq.QueueSpec{Name: name, Level: trimq.LevelPage, QueueSettings: trimq.QueueSettings{Durable: true}})
				_, e2 := c.CreateTopic(w.life, trimq.TopicSpec{Name: name + "-topic", Partitions: 2, Level: trimq.LevelDisk})
				_, e3 := c.CreateBinding(w.life, trimq.BindingSpec{Exchange: "side", Queue: name, RoutingKey: name})
				return errors.Join(e1, e2, e3)
			})
		}
		if n%10 == 9 && partitions < 20 {
			partitions++
			check("add partitions", func() error { return c.AddPartitions(w.life, "grows", partitions) })
		}
		w.watch(party)
		time.Sleep(time.Duration(r.IntN(100)) * time.Millisecond)
	}
	w.census(party, there, partitions)
}

// watch looks at numbers that only grow.
func (w *world) watch(party *party) {
	topics, err := party.client.Topics(w.life, w.topics()...)
	if err != nil {
		w.h.report("topics: %v", err)
	}
	for _, t := range topics {
		for i, p := range t.Partitions {
			if !w.power { // it may take back what was not acknowledged
				w.h.mark(fmt.Sprintf("next of %s/%d", t.Name, i), p.Next)
			}
			w.h.mark(fmt.Sprintf("visible end of %s/%d", t.Name, i), p.Visible)
		}
	}
	queues, err := party.client.Queues(w.life, w.queues()...)
	if err != nil {
		w.h.report("queues: %v", err)
	}
	if w.power {
		return
	}
	for _, q := range queues {
		w.h.mark("next of "+q.Name, q.Indexes[0].Next)
		w.h.mark("floor of "+q.Name, q.Indexes[0].Floor)
	}
}

// census wants exactly what was made and not deleted.
func (w *world) census(party *party, there map[string]bool, partitions uint32) {
	topics, e1 := party.client.Topics(w.life)
	queues, e2 := party.client.Queues(w.life)
	if err := errors.Join(e1, e2); err != nil {
		w.h.report("census: %v", err)
		return
	}
	has := map[string]int{}
	for _, t := range topics {
		has[t.Name]++
		if t.Name == "grows" && len(t.Partitions) != int(partitions) {
			w.h.report("%d partitions instead of %d", len(t.Partitions), partitions)
		}
	}
	for _, q := range queues {
		has[q.Name]++
	}
	for n := range 6 {
		name := fmt.Sprintf("side-%d", n)
		if want := map[bool]int{true: 2}[there[name]]; has[name]+has[name+"-topic"] != want {
			w.h.report("%s: %d of topic and queue are there, want %d", name, has[name]+has[name+"-topic"], want)
		}
	}
}
