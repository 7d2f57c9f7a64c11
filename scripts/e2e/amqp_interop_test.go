package e2e

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
)

// Messages over AMQP and over another protocol: docs/interop.md.

// interopBroker starts a broker that serves clients of all protocols.
func interopBroker(t *testing.T) (b *broker.Broker, url, kafka string) {
	t.Helper()
	kafka, err := broker.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	b, url = amqpBroker(t, map[string]string{"kafka_listen": fmt.Sprintf("%q", kafka)})
	return b, url, kafka
}

func TestInteropAMQPToKafka(t *testing.T) {
	t.Parallel()
	_, url, addr := interopBroker(t)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "events", amqp.Table{"x-queue-type": "stream"})
	if err := ch.QueueBind("events", "order.#", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	before := time.Now().Add(-time.Second)
	if err := ch.Publish("amq.topic", "order.17", true, false, amqp.Publishing{
		Headers: amqp.Table{"area": "hz", "price": int32(120), "hot": true}, ContentType: "text/plain", Body: []byte("body"),
	}); err != nil {
		t.Fatal(err)
	}
	c := kafkaClient(t, addr, kgo.ConsumeTopics("events"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	r := kafkaConsume(t, c, 1)[0]
	if string(r.Value) != "body" || string(r.Key) != "order.17" || r.Timestamp.Before(before) || r.Timestamp.After(time.Now().Add(time.Second)) {
		t.Errorf("value %q, key %q, time %v", r.Value, r.Key, r.Timestamp)
	}
	headers := map[string]string{}
	for _, h := range r.Headers {
		headers[h.Key] = string(h.Value)
	}
	if headers["area"] != "hz" || headers["price"] != "120" || headers["hot"] != "true" || len(headers) != 4 {
		t.Errorf("headers %v", headers)
	}
}

func TestInteropKafkaToAMQP(t *testing.T) {
	t.Parallel()
	_, url, addr := interopBroker(t)
	when := time.UnixMilli(1_700_000_000_123)
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	err := c.ProduceSync(testContext(t), &kgo.Record{
		Topic: "events", Key: []byte("key"), Value: []byte("body"), Timestamp: when,
		Headers: []kgo.RecordHeader{{Key: "area", Value: []byte("hz")}, {Key: "raw", Value: []byte{0xff}}},
	}).FirstErr()
	if err != nil {
		t.Fatal(err)
	}
	ch := amqpChannel(t, amqpDial(t, url))
	d := amqpNext(t, streamConsume(t, ch, "events", 10, "first"))
	if string(d.Body) != "body" || d.RoutingKey != "key" || d.Exchange != "" || d.Timestamp.Unix() != when.Unix() || d.DeliveryMode != amqp.Persistent {
		t.Errorf("%+v", d)
	}
	if raw, _ := d.Headers["raw"].([]byte); d.Headers["area"] != "hz" || string(raw) != "\xff" {
		t.Errorf("headers %v", d.Headers)
	}
}

func TestInteropNativeAndAMQP(t *testing.T) {
	t.Parallel()
	b, url, _ := interopBroker(t)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "q", amqp.Table{"x-max-priority": int32(5)})
	client := dial(t, b)
	p, err := client.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []trimq.Message{{Value: []byte("low"), Priority: 1}, {Value: []byte("high"), Priority: 4}} {
		m.RoutingKey, m.Headers = "q", []trimq.Header{{Key: "area", Value: []byte("hz")}}
		if _, err := p.ProduceSync(testContext(t), &m); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"high", "low"} {
		if d := amqpGet(t, ch, "q"); string(d.Body) != want || d.Headers["area"] != "hz" || d.RoutingKey != "q" || d.Exchange != "" {
			t.Errorf("%+v; it should be %q", d, want)
		}
	}
	if err := ch.Publish("", "q", true, false, amqp.Publishing{Priority: 3, Headers: amqp.Table{"n": int32(7)}, Body: []byte("from AMQP")}); err != nil {
		t.Fatal(err)
	}
	q, err := client.ConsumeQueue(testContext(t), "q")
	if err != nil {
		t.Fatal(err)
	}
	d, err := q.Receive(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	r := d.Messages[0]
	if string(r.Value) != "from AMQP" || d.Priority != 3 || d.RoutingKey != "q" || len(r.Headers) != 2 || r.Headers[1].Key != "n" || string(r.Headers[1].Value) != "7" {
		t.Errorf("%+v", d.Parcel)
	}
	if err := d.Ack(); err != nil {
		t.Fatal(err)
	}
}

// Consumers over AMQP see what transactions of Kafka's clients have committed, and nothing else: of a stream, and
// of a queue over the topic, whichever of them reads first.
func TestInteropKafkaTransactionsToAMQP(t *testing.T) {
	t.Parallel()
	b, url, addr := interopBroker(t)
	client := dial(t, b)
	topicOf(t, client, "sales", trimq.LevelDisk)
	if _, err := client.CreateQueue(testContext(t), trimq.QueueSpec{Name: "clerk", QueueSettings: trimq.QueueSettings{Topic: "sales", Durable: true}}); err != nil {
		t.Fatal(err)
	}
	c := amqpDial(t, url)
	stream := streamConsume(t, amqpChannel(t, c), "sales", 100, "first")
	queue, err := amqpChannel(t, c).Consume("clerk", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := kafkaClient(t, addr, kgo.TransactionalID("shop"))
	const n = 30
	for i := range 3 {
		kafkaTxn(t, p, "sales", i*n/3, (i+1)*n/3, kgo.TryCommit)
		kafkaTxn(t, p, "sales", n+10*i, n+10*i+10, kgo.TryAbort)
	}
	if err := p.BeginTransaction(); err != nil { // that stays open
		t.Fatal(err)
	}
	kafkaProduce(t, p, "sales", 1000, 1010)
	for name, deliveries := range map[string]<-chan amqp.Delivery{"stream": stream, "queue": queue} {
		for i := range n {
			if d := amqpNext(t, deliveries); string(d.Body) != string(value(i)) {
				t.Fatalf("%s: %q; it should be %q", name, d.Body, value(i))
			}
		}
		select {
		case d := <-deliveries:
			t.Errorf("%s: %q, of what is open or was aborted", name, d.Body)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// A compacted topic takes no message without a key, and no topic one that is too large: AMQP's publishers are told by a nack.
func TestInteropAMQPToATopicThatRefuses(t *testing.T) {
	t.Parallel()
	_, url, addr := interopBroker(t)
	c := kafkaClient(t, addr)
	compactedTopic(t, c, "latest", 1, map[string]string{"cleanup.policy": "compact", "max.message.bytes": "2000"})
	ch := amqpChannel(t, amqpDial(t, url))
	if err := ch.QueueBind("latest", "#", "amq.topic", false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for _, m := range []struct {
		exchange, key string
		bytes         int
		taken         bool
	}{{"amq.topic", "a", 10, true}, {"amq.topic", "", 10, false}, {"", "latest", 10, false}, {"amq.topic", "b", 3000, false}, {"amq.topic", "a", 20, true}} {
		done, err := ch.PublishWithDeferredConfirm(m.exchange, m.key, false, false, amqp.Publishing{Body: make([]byte, m.bytes)})
		if err != nil {
			t.Fatal(err)
		}
		if taken := done.Wait(); taken != m.taken {
			t.Errorf("%+v: taken %t", m, taken)
		}
	}
	list := readTopic(t, addr, "latest")
	if len(list) != 2 || len(list[1].Value) != 20 || string(list[1].Key) != "a" {
		t.Errorf("%v", list)
	}
}
