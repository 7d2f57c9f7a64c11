package core

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// routingHistory is a world and the model of it, which get the same commands.
type routingHistory struct {
	*rand.Rand
	*world
	model *routingModel
	seen  routingSeen
}

// routingSeen counts what histories are for.
type routingSeen struct{ published, reached, many, through, restarts int }

// playRouting plays a history of random commands and messages over few names, with restarts in
// between, and says where the core and the model first differ; empty: nowhere.
func playRouting(t testing.TB, seed uint64, steps int, seen *routingSeen) string {
	h := &routingHistory{Rand: rand.New(rand.NewPCG(seed, 9)), world: newWorld(t, Config{}), model: newRoutingModel(), seen: *seen}
	for step := range steps {
		if why := h.act(); why != "" {
			return fmt.Sprintf("seed %d step %d: %s", seed, step, why)
		}
	}
	*seen = h.seen
	return ""
}

// act does one thing in both.
func (h *routingHistory) act() string {
	switch n := h.IntN(40); {
	case n < 5:
		x := h.exchange()
		return h.command(admin.CmdCreateExchange, &x, h.model.createExchange(x))
	case n < 6:
		d := admin.Delete{Name: h.exchangeName(), IfUnused: h.IntN(2) == 0}
		return h.command(admin.CmdDeleteExchange, &d, h.model.deleteExchange(d))
	case n < 9:
		q := admin.CreateQueue{Name: h.queueName(), Level: ipc.LevelPage}
		q.Durable = durableInModel(q.Name)
		h.model.queues[q.Name] = true
		return h.command(admin.CmdCreateQueue, &q, errcode.OK)
	case n < 10:
		d := admin.Delete{Name: h.queueName()}
		return h.command(admin.CmdDeleteQueue, &d, h.model.deleteQueue(d.Name))
	case n < 21:
		b := h.binding()
		return h.command(admin.CmdCreateBinding, &b, h.model.bind(b))
	case n < 24:
		b := h.someBinding()
		return h.command(admin.CmdDeleteBinding, &b, h.model.unbind(b))
	case n < 25:
		return h.restart()
	}
	return h.publish()
}

func (h *routingHistory) pick(list ...string) string { return list[h.IntN(len(list))] }

func (h *routingHistory) queueName() string { return h.pick("q1", "q2", "q3", "x2", "q4", "q5") }

func (h *routingHistory) exchangeName() string {
	return h.pick("x1", "x2", "x3", "x4", "x5", "x6", "amq.topic")
}

func (h *routingHistory) key() string { return h.pick("a", "a.b", "a.b.c", "b", "", "1", "2") }

func (h *routingHistory) headers() (out []ipc.Header) {
	for range h.IntN(3) {
		out = append(out, ipc.Header{Key: h.pick("a", "b", "x-a"), Value: h.pick("1", "2")})
	}
	return out
}

func (h *routingHistory) exchange() admin.CreateExchange {
	x := admin.CreateExchange{Name: h.exchangeName(), Type: admin.ExchangeType(1 + h.IntN(5)), Durable: h.IntN(4) > 0, AutoDelete: h.IntN(3) == 0, Internal: h.IntN(8) == 0}
	if h.IntN(2) == 0 {
		x.Alternate = h.exchangeName()
	}
	if h.IntN(4) == 0 {
		x.HashHeader = "a"
	}
	return x
}

func (h *routingHistory) binding() admin.CreateBinding {
	b := admin.CreateBinding{Exchange: h.exchangeName(), Queue: h.queueName(), RoutingKey: h.pick("a", "a.*", "#", "*.b", "a.#.c", "", "1", "2", "3")}
	if h.IntN(3) == 0 {
		b.Queue, b.ToExchange = h.exchangeName(), true
	}
	b.Headers, b.MatchAny, b.WithX = h.headers(), h.IntN(2) == 0, h.IntN(3) == 0
	if h.IntN(4) == 0 {
		b.Present = []string{h.pick("a", "x-a")}
	}
	b.Canonical()
	return b
}

// someBinding is one that exists, mostly.
func (h *routingHistory) someBinding() admin.CreateBinding {
	if n := len(h.model.bindings); n > 0 && h.IntN(4) > 0 {
		return h.model.bindings[h.IntN(n)]
	}
	return h.binding()
}

// command gives the core a command, which the model has answered.
func (h *routingHistory) command(cmd admin.Command, body interface{ Append([]byte) []byte }, want errcode.Code) string {
	out := h.turn(ipc.TypeAdmin, adminRecord(cmd, body))
	if got := answered(out); got != want {
		return fmt.Sprintf("%s %+v is answered %s, want %s", admin.Text(cmd), body, got, want)
	}
	return h.compare()
}

// answered is the code of the answer among outputs.
func answered(out []Output) errcode.Code {
	for _, o := range out {
		if o.Type == ipc.TypeError {
			m, _ := ipc.DecodeError(o.Record)
			return errcode.Code(m.Code)
		}
	}
	return errcode.OK
}

// compare compares what there is.
func (h *routingHistory) compare() string {
	have := slices.DeleteFunc(slices.Clone(h.c.exchanges.keys()), func(name string) bool { return name == "" })
	if want := slices.Sorted(maps.Keys(h.model.exchanges)); !slices.Equal(have, want) {
		return fmt.Sprintf("the exchanges are %q, want %q", have, want)
	}
	var want []string
	for _, b := range h.model.bindings {
		want = append(want, b.Identity())
	}
	if slices.Sort(want); !slices.Equal(h.c.bindings.keys(), want) {
		return fmt.Sprintf("the bindings are %q, want %q", h.c.bindings.keys(), want)
	}
	return ""
}

// restart kills the core, which compares digests; sometimes the rings are made anew.
func (h *routingHistory) restart() string {
	h.seen.restarts++
	h.settle()
	if h.IntN(2) == 0 {
		h.checkpoint()
	}
	if h.IntN(2) == 0 {
		h.newRings()
		h.model.dropTransient()
		h.settle()
	} else {
		h.kill(h.pos, 0)
	}
	return h.compare()
}

// publish sends a message, and compares where it goes.
func (h *routingHistory) publish() string {
	m := ipc.Publish{
		Head: ipc.Head{Epoch: 1, Conn: 256, Req: 1}, Mandatory: h.IntN(2) == 0,
		Exchange: h.exchangeName(), RoutingKey: h.key(), Headers: h.headers(), Batch: batch(1),
	}
	want, code := h.model.publish(&m)
	h.seen.published++
	if len(want) > 0 {
		h.seen.reached++
	}
	if len(want) > 1 {
		h.seen.many++
	}
	out := h.turn(ipc.TypePublish, publishRecord(&m))
	if got := answered(out); got != code {
		return fmt.Sprintf("%+v is answered %s, want %s", m, got, code)
	}
	if got := h.targetsOf(h.log[len(h.log)-1]); code == errcode.OK && !slices.Equal(got, want) {
		return fmt.Sprintf("%+v reaches %q, want %q", m, got, want)
	}
	if len(h.c.walk) > 1 && len(want) > 0 {
		h.seen.through++
	}
	return ""
}

// targetsOf are the names of the queues that the event of an entry names.
func (h *routingHistory) targetsOf(e *journal.Entry) (names []string) {
	r := journal.Events(e.Events)
	for ev, ok := r.Next(); ok; ev, ok = r.Next() {
		if ev.Type != journal.EvRouted {
			continue
		}
		routed, err := journal.DecodeRouted(ev)
		if err != nil {
			h.tb.Fatal(err)
		}
		for _, target := range routed.Targets {
			ix, _ := h.c.indexes.get(target.Index)
			names = append(names, ix.owner().name)
		}
	}
	slices.Sort(names)
	return names
}

// TestRoutingHistories compares the core with a model that knows no index, no order and no mark:
// all types of exchanges, bound to each other in any way, with alternates, through restarts.
func TestRoutingHistories(t *testing.T) {
	var seen routingSeen
	for seed := range uint64(150) {
		if why := playRouting(t, seed, 300, &seen); why != "" {
			t.Fatal(why)
		}
	}
	t.Logf("%+v", seen)
	if seen.reached < seen.published/10 || seen.many < seen.published/100 || seen.through < seen.published/50 || seen.restarts == 0 {
		t.Fatalf("the histories do not contain what they are for: %+v", seen)
	}
}
