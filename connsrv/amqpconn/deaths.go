package amqpconn

import (
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// What a message is told of its deaths, in the headers that RabbitMQ gives them.

// parsedNote is how a message came to where it is.
type parsedNote struct {
	ipc.Note
	raw []byte // what it was read from
	ok  bool
}

// parse reads a note, unless it is the one that was read last.
func (n *parsedNote) parse(raw []byte) *parsedNote {
	if n.ok && string(raw) == string(n.raw) {
		return n
	}
	n.raw = append(n.raw[:0], raw...)
	if len(raw) == 0 {
		n.Note, n.ok = ipc.Note{}, true
		return n
	}
	c := wire.Read(n.raw)
	n.Note = ipc.ReadNote(&c)
	if n.ok = c.Done("note") == nil; !n.ok {
		n.Note = ipc.Note{}
	}
	return n
}

// deathHeaders are those that a message has of its deaths alone.
var deathHeaders = map[string]bool{
	"x-death": true, "x-first-death-exchange": true, "x-first-death-queue": true, "x-first-death-reason": true,
	"x-last-death-exchange": true, "x-last-death-queue": true, "x-last-death-reason": true,
}

// withDeaths are a message's headers with those of its deaths.
func withDeaths(t amqp.Table, note *parsedNote, p *amqp.Properties) amqp.Table {
	var out amqp.Table
	for name, v := range t.Each {
		if !deathHeaders[string(name)] {
			out = out.Add(string(name), v)
		}
	}
	var rows []byte
	for i := range note.Deaths {
		rows = amqp.AppendElement(rows, amqp.Nested(deathTable(&note.Deaths[i], p)))
	}
	out = out.Add("x-death", amqp.Array(rows))
	first, last := &note.Deaths[len(note.Deaths)-1], &note.Deaths[0]
	out = out.Add("x-first-death-exchange", amqp.String(localName(first.Exchange)))
	out = out.Add("x-first-death-queue", amqp.String(localName(first.Queue)))
	out = out.Add("x-first-death-reason", amqp.String(first.Reason.String()))
	out = out.Add("x-last-death-exchange", amqp.String(localName(last.Exchange)))
	out = out.Add("x-last-death-queue", amqp.String(localName(last.Queue)))
	return out.Add("x-last-death-reason", amqp.String(last.Reason.String()))
}

// deathTable is one row of x-death. The time to live that a message had is told with its first death.
func deathTable(d *ipc.Death, p *amqp.Properties) amqp.Table {
	t := amqp.Table(nil).Add("count", amqp.Int64(int64(d.Count)))
	t = t.Add("reason", amqp.String(d.Reason.String())).Add("queue", amqp.String(localName(d.Queue)))
	t = t.Add("time", amqp.Timestamp(d.FirstMS/1000)).Add("exchange", amqp.String(localName(d.Exchange)))
	var keys []byte
	for _, key := range d.Keys {
		keys = amqp.AppendElement(keys, amqp.String(localName(key)))
	}
	t = t.Add("routing-keys", amqp.Array(keys))
	if p.Flags&amqp.HasExpiration != 0 && d.Reason == ipc.ReasonExpired {
		t = t.Add("original-expiration", amqp.String(string(p.Expiration)))
	}
	return t
}
