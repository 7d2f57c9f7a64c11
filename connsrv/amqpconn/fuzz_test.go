package amqpconn

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/protocol/amqp"
)

// Whatever comes: no panic; and however it is cut, the same records and the same frames come out.
func FuzzInput(f *testing.F) {
	open := opening()
	f.Add([]byte{}, uint16(3))
	b := publish(nil, &amqp.BasicPublish{RoutingKey: []byte("q"), Mandatory: true}, &amqp.Properties{Flags: amqp.HasPriority, Priority: 3}, bytes.Repeat([]byte{1}, 20000))
	b = amqp.AppendMethod(b, 1, &amqp.BasicAck{DeliveryTag: 1})
	f.Add(b, uint16(100))
	for _, m := range []amqp.Arguments{
		&amqp.QueueDeclare{Queue: []byte("q"), Arguments: amqp.Table(nil).Add("x-message-ttl", amqp.Int32(5))}, &amqp.ExchangeDeclare{Exchange: []byte("e"), Type: []byte("topic")},
		&amqp.BasicConsume{Queue: []byte("q")}, &amqp.BasicGet{Queue: []byte("q")}, &amqp.TxSelect{}, &amqp.ConfirmSelect{}, &amqp.ChannelClose{}, &amqp.BasicQos{PrefetchCount: 3},
	} {
		f.Add(amqp.AppendMethod(nil, 1, m), uint16(5))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint16) {
		if len(in) > 1<<18 {
			return
		}
		whole, pieces := newRig(t), newRig(t)
		whole.feed(append(bytes.Clone(open), in...))
		for rest := append(bytes.Clone(open), in...); len(rest) > 0; {
			n := min(len(rest), int(cut)+1)
			pieces.feed(rest[:n])
			rest = rest[n:]
		}
		if a, b := bytes.Join(whole.link.Pieces, nil), bytes.Join(pieces.link.Pieces, nil); !bytes.Equal(a, b) {
			t.Fatalf("whole: %q\ncut:   %q", a, b)
		}
		if a, b := contents(whole), contents(pieces); a != b {
			t.Fatalf("%d messages whole, %d cut", a, b)
		}
	})
}

// contents counts the messages that were published.
func contents(r *rig) (n uint32) {
	list, _ := r.publishes()
	for _, m := range list {
		n += m.Batch.Count
	}
	return n
}
