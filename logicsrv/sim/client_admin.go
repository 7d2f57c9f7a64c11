//go:build failpoints

package sim

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

const diskLevel = ipc.LevelDisk

// administrator creates what the others use, one command after the other, and repeats what
// was not answered. Later it makes and deletes things of its own.
type administrator struct {
	party
	script  []command
	next    int // the first that is not answered
	sent    int // the first that is not sent on this connection
	setup   int // how much of the script makes what the others use
	churned int
	stopped bool
	toggles bool               // it makes the unroutable routable and back, again and again
	report  *admin.Description // of the queues, at the end
}

// command is one administrative request and what to do with its answer.
type command struct {
	cmd   admin.Command
	body  []byte
	reply func(body []byte)
}

func (a *administrator) settled() bool { return a.next == len(a.script) }
func (a *administrator) done() bool    { return a.next >= a.setup }
func (a *administrator) dropped()      { a.conn, a.sent = nil, a.next }

func (a *administrator) tick() {
	if !a.ready(a) {
		return
	}
	switch {
	case a.next < len(a.script) || a.stopped:
	case a.toggles && a.w.admin.done():
		a.toggle()
	case !a.toggles && a.w.plan.churn && a.w.rng.IntN(6) == 0:
		a.churn()
	}
	window := 6
	if a.toggles {
		window = 1 // each state lasts for a while
	}
	if a.sent < len(a.script) && a.sent < a.next+window {
		a.send(a.script[a.sent])
		a.sent++
	}
}

func (a *administrator) send(c command) {
	a.w.trace("%s: %s", a.name, admin.Text(c.cmd))
	number := a.sent
	a.w.conn.ask(a.conn, ipc.TypeAdmin, func(h ipc.Head) []byte {
		m := ipc.Admin{Head: h, Command: uint16(c.cmd), Body: c.body}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		if number != a.next {
			a.w.fail("%s is answered before %s", admin.Text(c.cmd), admin.Text(a.script[a.next].cmd))
		}
		a.next++
		if typ == ipc.TypeError {
			code, text := a.refusal(b)
			// A command that is repeated may find that what followed it has been done.
			if code != errcode.NotFound && code != errcode.Inequivalent || number < a.setup && a.w.theme == nil {
				a.w.fail("%s refused: %v %s", admin.Text(c.cmd), code, text)
			}
			return
		}
		m, err := ipc.DecodeAdminReply(b)
		a.w.must(err, "decode an admin reply")
		if m.Command != uint16(c.cmd) {
			a.w.fail("%s is answered as command %d", admin.Text(c.cmd), m.Command)
		}
		if c.reply != nil {
			c.reply(m.Body)
		}
	})
}

func (a *administrator) add(cmd admin.Command, body []byte, reply func([]byte)) {
	a.script = append(a.script, command{cmd: cmd, body: body, reply: reply})
}

func (a *administrator) topic(name string, partitions uint32, level ipc.Level) {
	m := admin.CreateTopic{Name: name, Partitions: partitions, Level: level, Configs: a.w.laundry.configs()}
	a.add(admin.CmdCreateTopic, m.Append(nil), nil)
	d := admin.Describe{Kind: admin.KindTopic, Names: []string{name}}
	a.add(admin.CmdDescribe, d.Append(nil), func(b []byte) {
		r, err := admin.DecodeDescription(b)
		a.w.must(err, "decode a description")
		if len(r.Topics) != 1 || len(r.Topics[0].Partitions) < int(partitions) || r.Topics[0].Level != level {
			a.w.fail("topic %s is described as %+v", name, r)
		}
		var ids []uint64
		for _, p := range r.Topics[0].Partitions {
			ids = append(ids, p.Index)
		}
		a.w.names[name] = ids
	})
}

func (a *administrator) queue(name string, level ipc.Level) {
	a.queueAs(&admin.CreateQueue{Name: name, Level: level, QueueSettings: admin.QueueSettings{Durable: true}})
}

func (a *administrator) queueAs(m *admin.CreateQueue) {
	a.add(admin.CmdCreateQueue, m.Append(nil), func(b []byte) {
		r, err := admin.DecodeCreated(b)
		a.w.must(err, "decode an answer to create queue")
		if known := a.w.indexOf(m.Name, 0); r.Index == 0 || known != 0 && known != r.Index && a.w.theme == nil {
			a.w.fail("queue %s has index %d, it was %d", m.Name, r.Index, known)
		}
		a.w.names[m.Name] = []uint64{r.Index}
	})
}

func (a *administrator) exchange(name string, typ admin.ExchangeType) {
	a.exchangeAs(admin.CreateExchange{Name: name, Type: typ, Durable: true})
}

func (a *administrator) exchangeAs(m admin.CreateExchange) {
	a.add(admin.CmdCreateExchange, m.Append(nil), nil)
}

func (a *administrator) bindExchange(exchange, to, key string) {
	m := admin.CreateBinding{Exchange: exchange, Queue: to, ToExchange: true, RoutingKey: key}
	a.add(admin.CmdCreateBinding, m.Append(nil), nil)
}

func (a *administrator) bind(exchange, queue, key string, headers ...ipc.Header) {
	m := admin.CreateBinding{Exchange: exchange, Queue: queue, RoutingKey: key, Headers: headers}
	a.add(admin.CmdCreateBinding, m.Append(nil), nil)
}

// churn makes something, uses it in bindings, changes it and deletes it again.
func (a *administrator) churn() {
	a.churned++
	queue, topic := fmt.Sprintf("temp-queue-%d", a.churned), fmt.Sprintf("temp-topic-%d", a.churned)
	exchange := fmt.Sprintf("temp-exchange-%d", a.churned)
	switch a.w.rng.IntN(4) {
	case 0:
		m := admin.CreateQueue{Name: queue, Level: ipc.LevelDisk, QueueSettings: admin.QueueSettings{Durable: true}}
		a.add(admin.CmdCreateQueue, m.Append(nil), nil)
		a.bind("fan", queue, "")
		a.gone(admin.CmdDeleteQueue, queue)
	case 1:
		m := admin.CreateTopic{Name: topic, Partitions: 1, Level: ipc.LevelPage}
		a.add(admin.CmdCreateTopic, m.Append(nil), nil)
		p := admin.AddPartitions{Name: topic, Total: 2}
		a.add(admin.CmdAddPartitions, p.Append(nil), nil)
		a.gone(admin.CmdDeleteTopic, topic)
	case 2:
		a.exchange(exchange, admin.Direct)
		a.bind(exchange, "q-disk", "k")
		u := admin.DeleteBinding{Exchange: exchange, Queue: "q-disk", RoutingKey: "k"}
		a.add(admin.CmdDeleteBinding, u.Append(nil), nil)
		a.gone(admin.CmdDeleteExchange, exchange)
	case 3:
		// The exchange goes with the queue, and its end finds nothing left to do.
		m := admin.CreateQueue{Name: queue, Level: ipc.LevelDisk, QueueSettings: admin.QueueSettings{Durable: true}}
		a.add(admin.CmdCreateQueue, m.Append(nil), nil)
		a.exchangeAs(admin.CreateExchange{Name: exchange, Type: admin.Fanout, AutoDelete: true})
		a.bindExchange("fan", exchange, "")
		a.bind(exchange, queue, "")
		a.gone(admin.CmdDeleteQueue, queue)
		a.gone(admin.CmdDeleteExchange, exchange)
	}
}

// toggle binds what is bound nowhere, and takes it back.
func (a *administrator) toggle() {
	a.bind("dir", "q-disk", unroutableKey)
	u := admin.DeleteBinding{Exchange: "dir", Queue: "q-disk", RoutingKey: unroutableKey}
	a.add(admin.CmdDeleteBinding, u.Append(nil), nil)
}

func (a *administrator) gone(cmd admin.Command, name string) {
	m := admin.Delete{Name: name}
	a.add(cmd, m.Append(nil), nil)
}

// describeQueues asks how the queues stand, for the final check.
func (a *administrator) describeQueues() {
	d := admin.Describe{Kind: admin.KindQueue}
	a.add(admin.CmdDescribe, d.Append(nil), func(b []byte) {
		r, err := admin.DecodeDescription(b)
		a.w.must(err, "decode a description")
		a.report = &r
		for i := range r.Queues {
			a.w.names[r.Queues[i].Name] = []uint64{r.Queues[i].Queue}
		}
	})
}
