package amqpconn

import (
	"slices"

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

// deathHeaders are those that a message has of its deaths alone. Of the first one its publisher may tell, who has
// got it as a dead letter and publishes it again: that stays.
var (
	deathHeaders      = map[string]bool{"x-death": true, "x-last-death-exchange": true, "x-last-death-queue": true, "x-last-death-reason": true}
	firstDeathHeaders = []string{"x-first-death-exchange", "x-first-death-queue", "x-first-death-reason"}
)

// withDeaths are a message's headers with those of its deaths. A key that a dead-letter exchange has given it
// takes the place of those in CC.
func withDeaths(t amqp.Table, note *parsedNote, p *amqp.Properties) amqp.Table {
	first, last := &note.Deaths[len(note.Deaths)-1], &note.Deaths[0]
	renamed := len(first.Keys) > 0 && localName(first.Keys[0]) != localName(note.Key)
	var out amqp.Table
	for name, v := range t.Each {
		if !deathHeaders[string(name)] && !(renamed && string(name) == "CC") {
			out = out.Add(string(name), v)
		}
	}
	out = out.Add("x-death", amqp.Array(deathRows(t, note, p)))
	for i, of := range []string{localName(first.Exchange), localName(first.Queue), first.Reason.String()} {
		if _, told := t.Get(firstDeathHeaders[i]); !told {
			out = out.Add(firstDeathHeaders[i], amqp.String(of))
		}
	}
	out = out.Add("x-last-death-exchange", amqp.String(localName(last.Exchange)))
	out = out.Add("x-last-death-queue", amqp.String(localName(last.Queue)))
	return out.Add("x-last-death-reason", amqp.String(last.Reason.String()))
}

// deathRows are the rows of x-death, the latest death first: its own, then those that its publisher tells of.
// What has died of the same reason in the same queue before counts on.
func deathRows(t amqp.Table, note *parsedNote, p *amqp.Properties) (rows []byte) {
	told := toldDeaths(t)
	cc := copiesIn(t)
	first := &note.Deaths[len(note.Deaths)-1]
	for i := range note.Deaths {
		d := &note.Deaths[i]
		row := deathTable(d, p)
		if len(cc) > 0 && slices.Equal(d.Keys, first.Keys) {
			row = withKeys(row, d.Keys, cc)
		}
		j := slices.IndexFunc(told, func(r amqp.Table) bool {
			return textOf(r, "queue") == localName(d.Queue) && textOf(r, "reason") == d.Reason.String()
		})
		if j >= 0 {
			row = countOn(told[j], d.Count)
			told = slices.Delete(told, j, j+1)
		}
		rows = amqp.AppendElement(rows, amqp.Nested(row))
	}
	for _, r := range told {
		rows = amqp.AppendElement(rows, amqp.Nested(r))
	}
	return rows
}

// toldDeaths are the rows that a message was published with; what is no table of deaths is none.
func toldDeaths(t amqp.Table) (rows []amqp.Table) {
	v, _ := t.Get("x-death")
	if v.Kind != amqp.KindArray {
		return nil
	}
	for e := range v.Elements {
		if e.Kind == amqp.KindTable && len(rows) < ipc.MaxDeaths {
			rows = append(rows, amqp.Table(e.Raw))
		}
	}
	return rows
}

// textOf is a field that is a text.
func textOf(t amqp.Table, name string) string {
	v, _ := t.Get(name)
	if v.Kind != amqp.KindString {
		return ""
	}
	return string(v.Raw)
}

// countOn is a row with more deaths.
func countOn(row amqp.Table, more uint64) (out amqp.Table) {
	v, _ := row.Get("count")
	n, _ := v.Int()
	for name, v := range row.Each {
		if string(name) == "count" {
			v = amqp.Int64(n + int64(more))
		}
		out = out.Add(string(name), v)
	}
	return out
}

// copiesIn are the keys in CC.
func copiesIn(t amqp.Table) (keys []string) {
	v, _ := t.Get("CC")
	if v.Kind != amqp.KindArray {
		return nil
	}
	for e := range v.Elements {
		if e.Kind == amqp.KindString {
			keys = append(keys, string(e.Raw))
		}
	}
	return keys
}

// withKeys is a row whose message had keys in CC besides.
func withKeys(row amqp.Table, keys, cc []string) (out amqp.Table) {
	for name, v := range row.Each {
		if string(name) == "routing-keys" {
			v = keyArray(append(slices.Clone(keys), cc...))
		}
		out = out.Add(string(name), v)
	}
	return out
}

func keyArray(keys []string) amqp.Value {
	var list []byte
	for _, key := range keys {
		list = amqp.AppendElement(list, amqp.String(localName(key)))
	}
	return amqp.Array(list)
}

// deathTable is one row of x-death. The time to live that a message had is told with its first death.
func deathTable(d *ipc.Death, p *amqp.Properties) amqp.Table {
	t := amqp.Table(nil).Add("count", amqp.Int64(int64(d.Count)))
	t = t.Add("reason", amqp.String(d.Reason.String())).Add("queue", amqp.String(localName(d.Queue)))
	t = t.Add("time", amqp.Timestamp(d.FirstMS/1000)).Add("exchange", amqp.String(localName(d.Exchange)))
	t = t.Add("routing-keys", keyArray(d.Keys))
	if p.Flags&amqp.HasExpiration != 0 && d.Reason == ipc.ReasonExpired {
		t = t.Add("original-expiration", amqp.String(string(p.Expiration)))
	}
	return t
}
