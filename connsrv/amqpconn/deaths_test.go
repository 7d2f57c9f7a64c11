package amqpconn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
)

// deathsOf are the rows of x-death, as "count reason queue keys".
func deathsOf(t amqp.Table) (rows []string) {
	v, _ := t.Get("x-death")
	for e := range v.Elements {
		row := amqp.Table(e.Raw)
		n, _ := row.Get("count")
		count, _ := n.Int()
		keys, _ := row.Get("routing-keys")
		var list []string
		for key := range keys.Elements {
			list = append(list, string(key.Raw))
		}
		rows = append(rows, fmt.Sprintf("%d %s %s %s", count, textOf(row, "reason"), textOf(row, "queue"), strings.Join(list, ",")))
	}
	return rows
}

// told is a table with deaths as somebody publishes them.
func told(rows ...amqp.Table) amqp.Table {
	var list []byte
	for _, row := range rows {
		list = amqp.AppendElement(list, amqp.Nested(row))
	}
	return amqp.Table(nil).Add("x-death", amqp.Array(list)).Add("x-first-death-queue", amqp.String("long ago"))
}

func row(count int64, reason, queue string) amqp.Table {
	return amqp.Table(nil).Add("reason", amqp.String(reason)).Add("count", amqp.Int64(count)).Add("queue", amqp.String(queue))
}

// Deaths that a publisher tells of stand behind the message's own, or count on with them.
func TestDeathsThatArePublished(t *testing.T) {
	note := &parsedNote{Note: ipc.Note{Key: "k", Deaths: []ipc.Death{
		{Queue: "b", Reason: ipc.ReasonExpired, Count: 1, Keys: []string{"k"}}, {Queue: "a", Reason: ipc.ReasonRejected, Count: 2, Keys: []string{"k"}},
	}}}
	own := []string{"1 expired b k", "2 rejected a k"}
	for name, c := range map[string]struct {
		headers amqp.Table
		want    []string
		first   string
	}{
		"none":         {nil, own, "a"},
		"others":       {told(row(5, "expired", "c")), append(own[:2:2], "5 expired c "), "long ago"},
		"the same":     {told(row(5, "expired", "b"), row(1, "maxlen", "b")), []string{"6 expired b ", own[1], "1 maxlen b "}, "long ago"},
		"no table":     {amqp.Table(nil).Add("x-death", amqp.String("me, often")), own, "a"},
		"no rows":      {amqp.Table(nil).Add("x-death", amqp.Array(amqp.AppendElement(nil, amqp.Int64(1)))), own, "a"},
		"odd elements": {told(amqp.Table(nil).Add("queue", amqp.Int64(1))), append(own[:2:2], "0   "), "long ago"},
	} {
		got := withDeaths(c.headers, note, &amqp.Properties{})
		if rows := deathsOf(got); fmt.Sprint(rows) != fmt.Sprint(c.want) || textOf(got, "x-first-death-queue") != c.first || textOf(got, "x-last-death-queue") != "b" {
			t.Errorf("%s: %q, first %q, last %q", name, rows, textOf(got, "x-first-death-queue"), textOf(got, "x-last-death-queue"))
		}
		if amqp.CheckTable(got) != nil {
			t.Errorf("%s: the table is none", name)
		}
	}
}

// Keys in CC are told with a death, until a dead-letter exchange gives the message a key of its own.
func TestDeathsWithCopies(t *testing.T) {
	headers := amqp.Table(nil).Add("CC", amqp.Array(amqp.AppendElement(nil, amqp.String("cc"))))
	for key, want := range map[string]string{"k": "[1 expired b k,cc]", "other": "[1 expired b k,cc]"} {
		note := &parsedNote{Note: ipc.Note{Key: key, Deaths: []ipc.Death{{Queue: "b", Reason: ipc.ReasonExpired, Count: 1, Keys: []string{"k"}}}}}
		got := withDeaths(headers, note, &amqp.Properties{})
		if _, there := got.Get("CC"); fmt.Sprint(deathsOf(got)) != want || there != (key == "k") {
			t.Errorf("key %s: %q, CC is there: %v", key, deathsOf(got), there)
		}
	}
}
