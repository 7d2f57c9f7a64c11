package amqpconn

import (
	"testing"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
)

// limit defines limits besides what the rig has.
func (r *rig) limit(kind admin.DefinitionKind, name string, values ...admin.Value) {
	all := append([]admin.Definition{{Kind: kind, Name: name, Values: values}}, r.access.Load().Definitions()...)
	r.access.Store(access.NewTable(all))
}

// refusal is the close of the connection that was sent last.
func (r *rig) refusal() (code uint16, text string) {
	r.tb.Helper()
	list := r.sent()
	m, ok := list[len(list)-1].(*amqp.ConnectionClose)
	if !ok {
		r.tb.Fatalf("%T was sent: %+v", list[len(list)-1], list[len(list)-1])
	}
	return m.ReplyCode, string(m.ReplyText)
}

func TestConnectionLimits(t *testing.T) {
	for _, c := range []struct {
		kind admin.DefinitionKind
		name string
		text string
	}{
		{admin.DefVHostLimit, "/", "NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (1) is reached"},
		{admin.DefUserLimit, "guest", "NOT_ALLOWED - Connection refused for user 'guest': user connection limit (1) is reached"},
	} {
		r := newRig(t)
		r.limit(c.kind, c.name, admin.Number("max-connections", 1))
		r.open()
		first := r.conn
		r.connect()
		r.feed(opening())
		if code, text := r.refusal(); code != amqp.NotAllowed || text != c.text {
			t.Errorf("%d %q", code, text)
		}
		first.Closed()
		first.Closed() // the reactor's word, after the room has ended by itself
		r.connect()
		r.open()
		r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{}))
		r.sent()
		r.connect()
		r.open()
	}
}

func TestChannelLimit(t *testing.T) {
	r := newRig(t)
	r.limit(admin.DefUserLimit, "guest", admin.Number("max-channels", 2))
	r.open()
	r.feed(amqp.AppendMethod(nil, 2, &amqp.ChannelOpen{}))
	one[*amqp.ChannelOpenOk](r)
	r.feed(amqp.AppendMethod(nil, 2, &amqp.ChannelClose{}))
	one[*amqp.ChannelCloseOk](r)
	r.feed(amqp.AppendMethod(nil, 3, &amqp.ChannelOpen{}))
	one[*amqp.ChannelOpenOk](r)
	r.feed(amqp.AppendMethod(nil, 2, &amqp.ChannelOpen{}))
	want := "NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed user limit of (2)"
	if code, text := r.refusal(); code != amqp.NotAllowed || text != want {
		t.Errorf("%d %q", code, text)
	}
	r.connect()
	r.open() // those of a connection that has ended count no more
}

// What is agreed on is how many channels there are; which numbers they have is the client's business.
func TestChannelMax(t *testing.T) {
	r := newRig(t)
	r.open()
	for _, number := range []uint16{65535, 100, 2, 3, 4, 5} {
		r.feed(amqp.AppendMethod(nil, number, &amqp.ChannelOpen{}))
		one[*amqp.ChannelOpenOk](r)
	}
	r.feed(amqp.AppendMethod(nil, 6, &amqp.ChannelOpen{}))
	want := "NOT_ALLOWED - number of channels opened (7) has reached the negotiated channel_max (7)"
	if code, text := r.refusal(); code != amqp.NotAllowed || text != want {
		t.Errorf("%d %q", code, text)
	}
}

// Libraries look at the product to find out whether they talk with RabbitMQ; platform says who it is.
func TestProperties(t *testing.T) {
	r := newRig(t)
	r.feed([]byte(amqp.ProtocolHeader))
	start := one[*amqp.ConnectionStart](r)
	for name, want := range map[string]string{"product": "RabbitMQ", "version": "3.13.7", "platform": "TriMQ 1.2.3"} {
		v, _ := start.ServerProperties.Get(name)
		if got, ok := v.Text(); !ok || string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
