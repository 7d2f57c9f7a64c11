package amqpconn

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/amqp"
)

// openAs is the opening of another user.
func openAs(user string) []byte {
	return bytes.Replace(opening(), []byte("\x00guest\x00guest"), []byte("\x00"+user+"\x00"+user), 1)
}

// limitedRig has an open channel of a user who may do little.
func limitedRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t)
	b := []byte(amqp.ProtocolHeader)
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionStartOk{Mechanism: []byte("PLAIN"), Response: []byte("\x00limited\x00limited")})
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionTuneOk{})
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionOpen{VirtualHost: []byte("/")})
	r.feed(amqp.AppendMethod(b, 1, &amqp.ChannelOpen{}))
	r.sent()
	return r
}

// A method that the user has no right to ends the channel with 403 and RabbitMQ's text; the others go on to logicsrv.
func TestRights(t *testing.T) {
	name := func(s string) []byte { return []byte(s) }
	for _, c := range []struct {
		m    amqp.Arguments
		text string // empty: it may
	}{
		{&amqp.QueueDeclare{Queue: name("mine.q")}, ""},
		{&amqp.QueueDeclare{Queue: name("other")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.QueueDeclare{Queue: name("other"), Passive: true}, ""},
		{&amqp.QueueDeclare{}, "access to queue 'amq.gen-' in vhost '/' refused for user 'limited'"},
		{
			&amqp.QueueDeclare{Queue: name("mine"), Arguments: amqp.Table(nil).Add("x-dead-letter-exchange", amqp.String("other"))},
			"access to exchange 'other' in vhost '/' refused for user 'limited'",
		},
		{&amqp.QueueDelete{Queue: name("other")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.QueuePurge{Queue: name("mine")}, ""},
		{&amqp.QueuePurge{Queue: name("other")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.QueueBind{Queue: name("mine"), Exchange: name("mine.x")}, ""},
		{&amqp.QueueBind{Queue: name("mine"), Exchange: name("other")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.QueueUnbind{Queue: name("other"), Exchange: name("mine")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.ExchangeDeclare{Exchange: name("mine"), Type: name("direct")}, ""},
		{&amqp.ExchangeDeclare{Exchange: name("other"), Type: name("direct")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.ExchangeDeclare{Exchange: name("other"), Passive: true}, ""},
		{
			&amqp.ExchangeDeclare{Exchange: name("mine"), Type: name("direct"), Arguments: amqp.Table(nil).Add("alternate-exchange", amqp.String("other"))},
			"access to exchange 'other' in vhost '/' refused for user 'limited'",
		},
		{&amqp.ExchangeDelete{Exchange: name("other")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.ExchangeBind{Source: name("mine"), Destination: name("other")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.ExchangeUnbind{Source: name("other"), Destination: name("mine")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.BasicGet{Queue: name("other")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.BasicConsume{Queue: name("other")}, "access to queue 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.BasicConsume{Queue: name(replyQueue), NoAck: true}, ""},
		{&amqp.BasicPublish{Exchange: name("other")}, "access to exchange 'other' in vhost '/' refused for user 'limited'"},
		{&amqp.BasicPublish{}, "access to exchange 'amq.default' in vhost '/' refused for user 'limited'"},
		{&amqp.BasicPublish{Exchange: name("amq.topic"), RoutingKey: name("eu.de")}, ""},
		{&amqp.BasicPublish{Exchange: name("amq.topic"), RoutingKey: name("us")}, "write access to topic 'us' in exchange 'amq.topic' in vhost '/' refused for user 'limited'"},
	} {
		r := limitedRig(t)
		r.feed(amqp.AppendMethod(nil, 1, c.m))
		var closed *amqp.ChannelClose
		for _, x := range r.sent() {
			if m, ok := x.(*amqp.ChannelClose); ok {
				closed = m
			}
		}
		switch {
		case c.text == "" && closed != nil:
			t.Errorf("%s is refused: %s", c.m.Method(), closed.ReplyText)
		case c.text != "" && (closed == nil || closed.ReplyCode != 403 || string(closed.ReplyText) != "ACCESS_REFUSED - "+c.text):
			t.Errorf("%s: %+v, want %s", c.m.Method(), closed, c.text)
		}
	}
}

// What may be published is looked at anew when the table is another.
func TestRightsThatChange(t *testing.T) {
	r := newRig(t)
	r.open()
	r.feed(publish(nil, &amqp.BasicPublish{Exchange: []byte("x")}, &amqp.Properties{}, nil))
	r.feed(publish(nil, &amqp.BasicPublish{Exchange: []byte("x")}, &amqp.Properties{}, nil))
	if list := r.sent(); len(list) != 0 {
		t.Fatalf("%v", list)
	}
	r.access.Store(access.NewTable(nil))
	r.feed(amqp.AppendMethod(nil, 1, &amqp.BasicPublish{Exchange: []byte("x")}))
	if m := one[*amqp.ChannelClose](r); m.ReplyCode != 403 {
		t.Errorf("%+v", m)
	}
}

// Who comes before it is known who there is waits for it.
func TestLoginsWait(t *testing.T) {
	r := newRig(t)
	table := r.access.Load()
	r.access.Store(nil)
	r.feed(openAs("guest"))
	if list := r.sent(); len(list) != 1 {
		t.Fatalf("%v", list)
	}
	r.conn.Deadline(r.link.NowMS())
	r.feed(nil)
	if list := r.sent(); len(list) != 0 {
		t.Fatalf("%v", list)
	}
	r.access.Store(table)
	r.conn.Deadline(r.link.NowMS())
	r.feed(nil)
	if list := r.sent(); len(list) != 3 {
		t.Fatalf("%v", list)
	}
}
