//go:build failpoints

package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// evenFilter lets every other message pass. What a filter says is connsrv's matter, and connsrv a
// model: this one goes by the number of the message.
const evenFilter = "even"

// castTheme puts the clients of a history about features together.
func (w *world) castTheme() {
	a := &administrator{party: party{w: w, name: "admin"}}
	w.admin = a
	w.clients = append(w.clients, a)
	if w.theme.topic {
		a.topic(mainTopic, 2, ipc.LevelPage)
	}
	if w.theme.policies {
		v := vhostDefinition()
		a.add(admin.CmdDefine, v.Append(nil), nil)
	}
	a.exchangeAs(admin.CreateExchange{Name: "dlx", Type: admin.Fanout, Durable: true})
	a.exchangeAs(admin.CreateExchange{Name: "all", Type: admin.Fanout, Durable: true})
	for i := range w.theme.queues {
		q := &w.theme.queues[i]
		a.queueAs(q)
		if v, _ := admin.SplitVHost(q.Name); q.Topic == "" && q.Name != "grave" && v == admin.DefaultVHost {
			a.bind("all", q.Name, "")
		}
	}
	a.bind("dlx", "grave", "")
	if w.theme.back {
		a.bind("dlx", "q0", "")
	}
	if w.theme.topic {
		a.bind("all", mainTopic, "")
	}
	k := &curator{commander: commander{party: party{w: w, name: "curator"}}}
	if w.theme.exchanges {
		k.cast()
	}
	a.setup = len(a.script)
	w.castUsers(k)
}

func (w *world) castUsers(k *curator) {
	r := w.rng
	names := make([]string, 0, len(w.theme.queues))
	for _, q := range w.theme.queues {
		names = append(names, q.Name)
		for range consumersOf(r, w.theme, &q) {
			w.addConsumer(q.Name)
		}
	}
	w.addProducer(&producer{exchange: "all", keys: []string{"k", "q0"}, varied: true})
	w.addProducer(&producer{exchange: "", keys: []string{"q0", "q1", "grave"}, varied: true, idempotent: r.IntN(2) == 0})
	if w.theme.topic {
		w.addProducer(&producer{topic: mainTopic, partition: 0})
		w.addProducer(&producer{topic: mainTopic, partition: 1})
		w.castKeeper(mainTopic)
	}
	if w.theme.pulls {
		for i := range 1 + r.IntN(3) {
			p := &puller{queue: w.theme.alone, alone: true}
			if i > 0 {
				p = &puller{queue: names[r.IntN(len(names))]}
			}
			p.party = party{w: w, name: fmt.Sprintf("pull%d", len(w.clients))}
			w.clients = append(w.clients, p)
		}
	}
	if w.theme.txns {
		for range 1 + r.IntN(2) {
			x := &transactor{group: []string{"", "shop"}[r.IntN(2)], queue: names[r.IntN(len(names))]}
			x.party = party{w: w, name: fmt.Sprintf("txn%d", len(w.clients))}
			w.clients = append(w.clients, x)
		}
	}
	if w.theme.policies {
		w.clients = append(w.clients, &governor{commander{party: party{w: w, name: "governor"}}})
		w.addProducer(&producer{exchange: "", keys: []string{"q0", admin.InVHost(estate, "q7")}, varied: true})
	}
	if w.theme.hermit {
		w.clients = append(w.clients, &hermit{party: party{w: w, name: "hermit"}})
	}
	if w.theme.exchanges {
		w.clients = append(w.clients, k)
		for range 2 {
			w.addProducer(&producer{
				exchange: curated[r.IntN(len(curated))], keys: curatedKeys, curated: true, varied: true, idempotent: r.IntN(3) == 0,
				headers: [][]ipc.Header{nil, {{Key: "kind", Value: "odd"}}, {{Key: "kind", Value: "even"}, {Key: "more", Value: "1"}}},
			})
		}
	}
	w.clients = append(w.clients, &steward{commander: commander{party: party{w: w, name: "steward"}}})
}

// consumersOf is how many consumers a queue gets. One that expires may have none.
func consumersOf(r *rand.Rand, t *theme, q *admin.CreateQueue) int {
	switch {
	case q.Name == t.alone, q.ExpiresMS.Given && r.IntN(2) == 0:
		return 0
	case q.SingleActive:
		return 2
	}
	return 1 + r.IntN(2)
}

func (w *world) addConsumer(queue string) {
	r := w.rng
	c := &consumer{queue: queue, lazy: []int{1, 3, 12}[r.IntN(3)], harsh: r.IntN(3) == 0}
	c.party = party{w: w, name: fmt.Sprintf("c%d", len(w.clients))}
	c.wants = ipc.Consumer{Tag: c.name, Priority: int32(r.IntN(3) - 1), AutoAck: r.IntN(8) == 0, Exclusive: r.IntN(12) == 0}
	if r.IntN(3) == 0 {
		c.wants.AckTimeoutMS = uint64(50 + r.IntN(400))
	}
	w.clients = append(w.clients, c)
}

// settings are the properties of a queue of the theme; nil: it is none of those.
func (w *world) settings(name string) *admin.CreateQueue {
	if w.theme == nil {
		return nil
	}
	for i := range w.theme.queues {
		if w.theme.queues[i].Name == name {
			return &w.theme.queues[i]
		}
	}
	return nil
}

// queueOf is the id of a queue; 0: it is not known, or not there.
func (w *world) queueOf(name string) uint64 { return w.indexOf(name, 0) }

// nameOf is the name of a queue with an id; empty: it is gone.
func (w *world) nameOf(queue uint64) string {
	if w.theme != nil {
		for _, q := range w.theme.queues {
			if w.queueOf(q.Name) == queue {
				return q.Name
			}
		}
	}
	return ""
}

// forgetQueue is told that a queue is gone.
func (w *world) forgetQueue(queue uint64) {
	if name := w.nameOf(queue); name != "" {
		delete(w.names, name)
	}
}

// filterOf is the filter of a queue over a topic.
func (w *world) filterOf(name string) string {
	if s := w.settings(name); s != nil {
		return s.Filter
	}
	return ""
}

// matches tells whether a filter lets a message pass, if it is there.
func (w *world) matches(filter string, index, offset uint64) bool {
	if w.laundry.knows(place{index, offset}) {
		return false
	}
	if filter == "" {
		return true
	}
	m := w.messageAt(index, offset)
	return m == nil || m.id%2 == 0
}

// messageAt is the message that stands at an offset of an index, as the log has it.
func (w *world) messageAt(index, offset uint64) *message {
	b := w.shadow(index).find(offset)
	if b == nil {
		w.follow()
		b = w.shadow(index).find(offset)
	}
	if b == nil {
		return nil
	}
	return b.m
}

// mayRefuse looks at the refusal of a request about a queue. Queues of a theme may be gone, or
// another's; the model knows when. The others are always there.
func (w *world) mayRefuse(client, name string, queue uint64, code errcode.Code, text string) {
	w.trace("%s is refused: %v %s", client, code, text)
	if w.theme == nil {
		w.fail("%s is refused: %v %s", client, code, text)
	}
	switch code {
	case errcode.UnknownIndex, errcode.NotFound:
		// A verdict may also name an index that the queue had, under this id, before a power cut.
		if !strings.Contains(text, "has no index") {
			w.forgetQueue(queue)
		}
	case errcode.Locked, errcode.InUse, errcode.LeaseExpired, errcode.Unavailable, errcode.OffsetOutOfRange:
	default:
		w.fail("%s is refused: %v %s", client, code, text)
	}
}

// mayClose looks at the end of a consumer: it has asked for it, or its queue is gone, or another
// one has it for itself.
func (w *world) mayClose(client string, queue uint64, code errcode.Code) {
	if code != errcode.OK && (w.theme == nil || code != errcode.NotFound && code != errcode.InUse) {
		w.fail("%s is told that it is no consumer of queue %d any longer: %v", client, queue, code)
	}
	if code == errcode.NotFound {
		w.forgetQueue(queue)
	}
}

// mayBeSeen holds a message that is given out against what its publisher has said.
func (w *world) mayBeSeen(at spot) {
	if w.theme == nil || !w.theme.txns && !w.theme.delays {
		return
	}
	m := w.messageAt(at.index, at.base)
	switch {
	case m == nil:
	case w.now < m.dueMS:
		w.fail("%v is given out at %d, it is due at %d", m, w.now, m.dueMS)
	case m.txn != nil && !m.txn.mayCommit:
		w.fail("%v is given out, its transaction is not committed", m)
	case m.txn != nil && m.txn.rolledBack:
		w.fail("%v is given out, its transaction was rolled back", m)
	}
}
