package drill

import (
	"math/rand/v2"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// Who works at the partitions that linear.go looks at: few, one message at a time.

// extend appends to a partition.
func (w *world) extend(name, topic string, r *rand.Rand) {
	party, err := w.newParty(name)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	defer party.leave(false)
	x := &producing{w: w, name: name, topics: true}
	w.h.note(&opSender{Name: name, Idempotent: true})
	if x.p, err = party.client.NewProducer(trimq.WithRetryFor(patience)); err != nil {
		w.h.report("%s: %v", name, err)
		return
	}
	for w.ctx.Err() == nil {
		n := w.h.send(name, sentMessage{topic: topic})
		m := &trimq.Message{Topic: topic, Partition: trimq.ToPartition(0), Tag: uint64(n), Value: valueFor(name, n, r.IntN(50))}
		res, err := x.p.ProduceSync(w.life, m)
		res.Tag = uint64(n) // which there is none of where it was not sent
		x.done(res, err)
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
	}
}

// look asks how long a partition is.
func (w *world) look(name, topic string, r *rand.Rand) {
	party, err := w.newParty(name)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	defer party.leave(false)
	for w.ctx.Err() == nil {
		asked := time.Now()
		topics, err := party.client.Topics(w.life, topic)
		if err != nil {
			w.h.report("%s: %v", name, err)
			return
		}
		p := topics[0].Partitions[0]
		w.h.note(&opLooked{Where: place(topic, 0), Asked: w.h.since(asked), Next: p.Next, Visible: p.Visible})
		time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond)
	}
}
