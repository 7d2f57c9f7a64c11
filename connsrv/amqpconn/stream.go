package amqpconn

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
)

// Streams are topics: a queue of type stream is one with a single partition, and the topics of other
// protocols can be consumed as streams.

// stream looks for a topic; nil: there is none.
func (ch *channel) stream(m amqp.Method, name string, then func(t *admin.TopicInfo)) {
	ch.describe(admin.KindTopic, []string{ch.conn.full(name)}, func(d *admin.Description, err *errcode.Error) {
		switch {
		case err != nil:
			ch.fail(m, failed(err))
		case len(d.Topics) == 0:
			then(nil)
		default:
			then(&d.Topics[0])
		}
	})
}

// streamDeclare makes a stream, unless it is there.
func (ch *channel) streamDeclare(m *amqp.QueueDeclare, name string) {
	c := ch.conn
	t := &admin.CreateTopic{Name: c.full(name), Partitions: 1}
	if v, ok := m.Arguments.Get("x-max-length-bytes"); ok {
		t.RetentionBytes, _ = v.Int()
	}
	if v, ok := m.Arguments.Get("x-max-age"); ok {
		t.RetentionMS, _ = maxAge(v)
	}
	ch.stream(m.Method(), name, func(is *admin.TopicInfo) {
		if is != nil {
			if f := c.streamDiffers(name, is, t, m.Arguments); f != nil {
				ch.fail(m.Method(), f)
				return
			}
			ch.declared(m, name, messagesIn(is), 0)
			return
		}
		ch.streamCreate(m, name, t)
	})
}

// streamDiffers says in which argument a stream is not what is wanted; nil: in none. What a client does not
// ask for may be as it is: topics of other protocols have limits that it knows nothing of.
func (c *Conn) streamDiffers(name string, is *admin.TopicInfo, wanted *admin.CreateTopic, args amqp.Table) *fault {
	for _, a := range []struct {
		arg        string
		is, wanted int64
		current    amqp.Value
	}{
		{"x-max-length-bytes", is.RetentionBytes, wanted.RetentionBytes, amqp.Int64(is.RetentionBytes)},
		{"x-max-age", is.RetentionMS, wanted.RetentionMS, amqp.String(fmt.Sprintf("%ds", is.RetentionMS/1000))},
	} {
		received, given := args.Get(a.arg)
		if !given || a.is == a.wanted {
			continue
		}
		if a.is == 0 {
			a.current = amqp.Value{}
		}
		return argDiffers(a.arg, c.of("queue", name), valueArg(received), valueArg(a.current))
	}
	return nil
}

func (ch *channel) streamCreate(m *amqp.QueueDeclare, name string, t *admin.CreateTopic) {
	c := ch.conn
	ch.find(m.Method(), name, func(q *admin.QueueInfo) {
		if q != nil {
			ch.fail(m.Method(), argDiffers("x-queue-type", c.of("queue", name), textArg(streamQueue), textArg(queueTypes[q.Settings.Type])))
			return
		}
		ch.create(admin.CmdCreateTopic, t, func(_ admin.Created, err *errcode.Error) {
			if err != nil {
				ch.fail(m.Method(), failed(err))
				return
			}
			ch.declared(m, name, 0, 0)
		})
	})
}

// messagesIn is how many messages a topic has taken.
func messagesIn(t *admin.TopicInfo) (n uint64) {
	for i := range t.Partitions {
		n += t.Partitions[i].Next
	}
	return n
}

// notForStreams ends the connection for what a stream cannot do, or the channel where there is none
// of that name.
func (ch *channel) notForStreams(m amqp.Method, name, what string) {
	ch.stream(m, name, func(t *admin.TopicInfo) {
		if t == nil {
			ch.fail(m, ch.conn.missing("queue", name))
			return
		}
		ch.fail(m, wrong(amqp.NotImplemented, "%s %s", what, ch.conn.of("queue", name)))
	})
}

// streamDelete deletes a stream. What is not there is deleted already.
func (ch *channel) streamDelete(m *amqp.QueueDelete, name string) {
	ch.create(admin.CmdDeleteTopic, &admin.Delete{Name: ch.conn.full(name)}, func(_ admin.Created, err *errcode.Error) {
		if err != nil && err.Code != errcode.NotFound {
			ch.fail(m.Method(), failed(err))
			return
		}
		ch.answer(m.NoWait, &amqp.QueueDeleteOk{})
	})
}
