//go:build failpoints

package sim

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// topicSpec names the topics of every history.
var topicSpec = []struct {
	name       string
	partitions uint32
	level      ipc.Level
}{
	{"t-disk", 2, ipc.LevelDisk},
	{"t-page", 1, ipc.LevelPage},
	{"t-memory", 1, ipc.LevelMemory},
}

// cast puts the clients of a history together.
func (w *world) cast() {
	if w.theme != nil {
		w.castTheme()
		return
	}
	a := &administrator{party: party{w: w, name: "admin"}}
	w.admin = a
	w.clients = append(w.clients, a)
	for _, t := range topicSpec {
		a.topic(t.name, t.partitions, t.level)
	}
	w.prepareBank(a)
	a.queue("q-disk", ipc.LevelDisk)
	a.queue("q-page", ipc.LevelPage)
	a.queue("q-memory", ipc.LevelMemory)
	a.exchange("fan", admin.Fanout)
	a.exchange("dir", admin.Direct)
	a.exchange("top", admin.Topic)
	a.exchange("hdr", admin.Headers)
	a.exchangeAs(admin.CreateExchange{Name: "front", Type: admin.Topic, Durable: true, Alternate: "fan"})
	a.bind("fan", "q-disk", "")
	a.bind("fan", "q-page", "")
	a.bind("dir", "q-disk", "d")
	a.bind("dir", "q-memory", "m")
	a.bind("top", "q-disk", "*.disk")
	a.bind("top", "q-page", "all.#")
	a.bind("top", "t-disk", "all.disk")
	a.bind("hdr", "q-page", "", ipc.Header{Key: "kind", Value: "page"})
	a.bindExchange("front", "top", "all.#")
	a.setup = len(a.script)
	if w.plan.toggle {
		w.clients = append(w.clients, &administrator{party: party{w: w, name: "toggler"}, toggles: true})
		w.addProducer(&producer{exchange: "dir", keys: []string{unroutableKey}})
	}
	w.castProducers()
	w.castConsumers()
	w.castMembers()
	w.castBank()
	w.castKeeper("t-disk", "t-page", "t-memory")
}

func (w *world) addProducer(p *producer) {
	p.party = party{w: w, name: fmt.Sprintf("p%d", len(w.clients))}
	p.pid = batch.NoProducer
	p.window = 1 + w.rng.IntN(w.plan.window)
	w.clients = append(w.clients, p)
}

func (w *world) castProducers() {
	anyLevel := func() ipc.Level { return ipc.Level(w.rng.IntN(4)) }
	if w.plan.focus == onPages {
		w.addProducer(&producer{topic: "t-page"})
		w.addProducer(&producer{topic: "t-memory", level: ipc.LevelPage})
		return
	}
	if w.plan.focus == onGroups {
		w.addProducer(&producer{topic: "t-page"})
		return
	}
	if w.plan.focus == onRefusals {
		w.addProducer(&producer{exchange: "dir", keys: []string{unroutableKey}})
		w.addProducer(&producer{exchange: "dir", keys: []string{unroutableKey}})
	}
	w.addProducer(&producer{topic: "t-disk", partition: 0, idempotent: true})
	w.addProducer(&producer{topic: "t-disk", partition: 1, level: anyLevel()})
	w.addProducer(&producer{topic: "t-page", idempotent: w.rng.IntN(2) == 0})
	w.addProducer(&producer{topic: "t-memory", idempotent: w.rng.IntN(3) == 0, level: anyLevel()})
	w.addProducer(&producer{exchange: "fan", keys: []string{"", "x"}, idempotent: w.rng.IntN(2) == 0})
	w.addProducer(&producer{exchange: "dir", keys: []string{"d", "d", "m", unroutableKey}, level: anyLevel()})
	w.addProducer(&producer{exchange: "top", keys: []string{"a.disk", "all.a.b", "all.disk", unroutableKey}})
	if w.rng.IntN(2) == 0 { // one key goes on to another exchange, one to the alternate
		w.addProducer(&producer{exchange: "front", keys: []string{"all.disk", "else"}})
	}
	if w.rng.IntN(2) == 0 {
		w.addProducer(&producer{exchange: "hdr", keys: []string{""}, headers: [][]ipc.Header{
			{{Key: "kind", Value: "page"}}, {{Key: "kind", Value: "page"}, {Key: "more", Value: "1"}},
		}})
	}
}

func (w *world) castConsumers() {
	if w.plan.focus == onGroups {
		return
	}
	for _, q := range []string{"q-disk", "q-disk", "q-page", "q-memory"} {
		c := &consumer{queue: q, lazy: []int{1, 3, 12}[w.rng.IntN(3)]}
		c.party = party{w: w, name: fmt.Sprintf("c%d", len(w.clients))}
		c.wants.AutoAck = q == "q-memory" && w.rng.IntN(3) == 0
		w.clients = append(w.clients, c)
	}
	for _, t := range topicSpec {
		for i := range int(t.partitions) {
			f := &fetcher{topic: t.name, partition: i}
			f.party = party{w: w, name: fmt.Sprintf("f%d", len(w.clients))}
			f.group = "group-" + f.name
			w.clients = append(w.clients, f)
		}
	}
}
