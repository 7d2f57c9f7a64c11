package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// streamConsume consumes a stream from an offset on.
func streamConsume(t *testing.T, ch *amqp.Channel, queue string, prefetch int, from any) <-chan amqp.Delivery {
	t.Helper()
	if err := ch.Qos(prefetch, 0, false); err != nil {
		t.Fatal(err)
	}
	args := amqp.Table{}
	if from != nil {
		args["x-stream-offset"] = from
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, args)
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

// streamNext takes the next message of a stream, which must be that of an offset.
func streamNext(t *testing.T, deliveries <-chan amqp.Delivery, offset int) {
	t.Helper()
	d := amqpNext(t, deliveries)
	if d.Headers["x-stream-offset"] != int64(offset) || string(d.Body) != string(value(offset)) || d.Redelivered || d.RoutingKey != "s" {
		t.Fatalf("%q came with %v, redelivered: %v, key %q; it should be offset %d", d.Body, d.Headers, d.Redelivered, d.RoutingKey, offset)
	}
	if err := d.Ack(false); err != nil {
		t.Fatal(err)
	}
}

// Streams: each consumer reads all from where it wants, as far as its prefetch goes, through deaths too.
func TestAMQPStreams(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	c := amqpDial(t, url)
	pub := amqpChannel(t, c)
	amqpQueue(t, pub, "s", amqp.Table{"x-queue-type": "stream"})
	amqpPublish(t, pub, "s", 0, 10)
	time.Sleep(1100 * time.Millisecond) // timestamps are in seconds
	between := time.Now()
	amqpPublish(t, pub, "s", 10, 20)
	all := amqpChannel(t, c)
	first, next := streamConsume(t, all, "s", 3, "first"), streamConsume(t, amqpChannel(t, c), "s", 5, nil)
	for i := range 20 {
		streamNext(t, first, i)
	}
	for _, from := range []struct {
		offset any
		want   int
	}{{int64(7), 7}, {between, 10}, {"last", 19}} {
		ch := amqpChannel(t, c)
		streamNext(t, streamConsume(t, ch, "s", 1, from.offset), from.want)
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for _, tier := range []string{"logicsrv", "persistsrv"} {
		if err := b.Kill(tier); err != nil {
			t.Fatal(err)
		}
	}
	amqpPublish(t, pub, "s", 20, 25)
	for i := 20; i < 25; i++ {
		streamNext(t, first, i)
		streamNext(t, next, i)
	}
	if n := amqpCount(t, pub, "s"); n != 25 {
		t.Errorf("the stream has %d messages", n)
	}
	cancelled := all.NotifyCancel(make(chan string, 1))
	if _, err := pub.QueueDelete("s", false, false, false); err != nil {
		t.Fatal(err)
	}
	select {
	case <-cancelled:
	case <-time.After(10 * time.Second):
		t.Error("the consumer of a stream that is gone was not cancelled")
	}
}

func TestAMQPStreamErrors(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	amqpQueue(t, amqpChannel(t, amqpDial(t, url)), "sq", amqp.Table{"x-queue-type": "stream"})
	qos := func(ch *amqp.Channel) error { return ch.Qos(10, 0, false) }
	consume := func(autoAck bool, args amqp.Table) func(ch *amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.Consume("sq", "", autoAck, false, false, false, args)
			return err
		}
	}
	for _, p := range []probe{
		{"stream consume no prefetch", consume(false, nil), 406, "PRECONDITION_FAILED - consumer prefetch count is not set for 'queue 'sq' in vhost '/''"},
		{"stream consume auto-ack", then(qos, consume(true, nil)), 540, "NOT_IMPLEMENTED - automatic acknowledgement not supported by stream queues queue 'sq' in vhost '/'"},
		{"stream consume offset first", then(qos, consume(false, amqp.Table{"x-stream-offset": "first"})), 0, ""},
		{"stream bad offset", then(qos, consume(false, amqp.Table{"x-stream-offset": "zzz"})), 541, "INTERNAL_ERROR"},
		{"stream again", declareArgs("sq", amqp.Table{"x-queue-type": "stream"}), 0, ""},
		{"stream with a length", declareArgs("bounded", amqp.Table{"x-queue-type": "stream", "x-max-length-bytes": int64(1 << 30), "x-max-age": "1h"}), 0, ""},
		{"stream with the same age", declareArgs("bounded", amqp.Table{"x-queue-type": "stream", "x-max-age": "60m"}), 0, ""},
		{"stream with another length", declareArgs("bounded", amqp.Table{"x-queue-type": "stream", "x-max-length-bytes": int64(1 << 20)}), 406, "PRECONDITION_FAILED - inequivalent arg 'x-max-length-bytes' for queue 'bounded' in vhost '/': received the value '1048576' of type 'long' but current is the value '1073741824' of type 'long'"},
		{"stream with an age", declareArgs("sq", amqp.Table{"x-queue-type": "stream", "x-max-age": "1h"}), 406, "PRECONDITION_FAILED - inequivalent arg 'x-max-age' for queue 'sq' in vhost '/': received the value '1h' of type 'longstr' but current is none"},
		{"stream is no classic queue", declareArgs("sq", nil), 406, fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'sq' in vhost '/': received the value '%s' of type 'longstr' but current is the value '%s' of type 'longstr'", "classic", "stream")},
	} {
		t.Run(p.name, func(t *testing.T) { ask(t, url, p) })
	}
}

// A stream of a vhost is that vhost's alone: another one may have the name, and Kafka's clients do not see it.
func TestAMQPStreamOfAVHost(t *testing.T) {
	t.Parallel()
	b, url, kafka := interopBroker(t)
	manage(t, b, http.MethodPut, "/api/vhosts/v", "")
	var c *amqp.Connection
	eventually(t, "the vhost", func() (there bool) {
		var err error
		c, err = amqp.Dial(url + "v")
		return err == nil
	})
	defer c.Close()
	ch := amqpChannel(t, c)
	amqpQueue(t, ch, "s", amqp.Table{"x-queue-type": "stream"})
	amqpQueue(t, amqpChannel(t, amqpDial(t, url)), "s", nil)
	amqpPublish(t, ch, "s", 0, 5)
	deliveries := streamConsume(t, amqpChannel(t, c), "s", 10, "first")
	for i := range 5 {
		streamNext(t, deliveries, i)
	}
	if list := manage(t, b, http.MethodGet, "/api/queues/v?columns=name,type,vhost,messages", ""); list != `[{"messages":5,"name":"s","type":"stream","vhost":"v"}]`+"\n" {
		t.Errorf("the list of queues is %s", list)
	}
	all, err := kmsg.NewPtrMetadataRequest().RequestWith(testContext(t), kafkaClient(t, kafka))
	if err != nil || len(all.Topics) > 0 {
		t.Errorf("Kafka's clients see %+v, %v", all, err)
	}
}
