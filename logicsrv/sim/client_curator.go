//go:build failpoints

package sim

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// curator makes, binds and deletes exchanges of all kinds, while others publish to them.
type curator struct {
	commander
	bound []admin.CreateBinding // that it has asked for, and not asked to end
}

// curated are the exchanges that it looks after, patterns what it binds by, and curatedKeys those
// that are published with.
var (
	curated     = []string{"x0", "x1", "x2"}
	patterns    = []string{"", "a", "a.b", "*.b", "a.#", "#"}
	curatedKeys = []string{"", "a", "a.b", "c"}
)

func (k *curator) tick() {
	r := k.w.rng
	if k.stopped || k.asking || !k.w.admin.done() || !k.ready(k) {
		return
	}
	name := curated[r.IntN(len(curated))]
	switch n := r.IntN(16); {
	case n < 5:
		m := k.w.drawExchange(name)
		k.ask(admin.CmdCreateExchange, m.Append(nil), nil)
	case n < 11:
		m := k.w.drawBinding(name)
		k.bound = append(k.bound, m)
		k.ask(admin.CmdCreateBinding, m.Append(nil), nil)
	case n < 15 && len(k.bound) > 0:
		i := r.IntN(len(k.bound))
		m := admin.DeleteBinding(k.bound[i])
		k.bound = slices.Delete(k.bound, i, i+1)
		k.ask(admin.CmdDeleteBinding, m.Append(nil), nil)
	default:
		d := admin.Delete{Name: name, IfUnused: r.IntN(2) == 0}
		k.ask(admin.CmdDeleteExchange, d.Append(nil), nil)
	}
}

// cast makes the first ones and their first bindings.
func (k *curator) cast() {
	a := k.w.admin
	for _, name := range curated {
		a.exchangeAs(k.w.drawExchange(name))
	}
	for _, name := range slices.Concat(curated, curated) {
		m := k.w.drawBinding(name)
		k.bound = append(k.bound, m)
		a.add(admin.CmdCreateBinding, m.Append(nil), nil)
	}
}

func (w *world) drawExchange(name string) admin.CreateExchange {
	r := w.rng
	m := admin.CreateExchange{
		Name: name, Type: []admin.ExchangeType{admin.Direct, admin.Fanout, admin.Topic, admin.Headers}[r.IntN(4)],
		Durable: r.IntN(4) > 0, AutoDelete: r.IntN(2) == 0, Internal: r.IntN(4) == 0, Delayed: w.theme.delays && r.IntN(2) == 0,
	}
	if r.IntN(3) == 0 {
		m.Alternate = append(slices.Clone(curated), "all")[r.IntN(len(curated)+1)]
	}
	return m
}

// drawBinding binds one of the exchanges to a queue, to the topic, or to another one of them: in
// circles, too.
func (w *world) drawBinding(name string) admin.CreateBinding {
	r := w.rng
	m := admin.CreateBinding{Exchange: name, RoutingKey: patterns[r.IntN(len(patterns))], MatchAny: r.IntN(2) == 0}
	if r.IntN(3) == 0 {
		m.Headers = []ipc.Header{{Key: "kind", Value: []string{"odd", "even"}[r.IntN(2)]}}
	}
	switch q := w.theme.queues[r.IntN(len(w.theme.queues))]; {
	case r.IntN(2) == 0:
		m.Queue, m.ToExchange = curated[r.IntN(len(curated))], true
	case q.Topic != "":
		m.Queue = q.Topic
	default:
		m.Queue = q.Name
	}
	return m
}
