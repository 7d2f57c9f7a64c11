package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// amqpGet takes the next message of a queue, or waits for it.
func amqpGet(t *testing.T, ch *amqp.Channel, queue string) amqp.Delivery {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		d, ok, err := ch.Get(queue, true)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return d
		}
	}
	t.Fatalf("queue %s stays empty", queue)
	return amqp.Delivery{}
}

// amqpCount is how many messages of a queue are ready.
func amqpCount(t *testing.T, ch *amqp.Channel, queue string) int {
	t.Helper()
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return q.Messages
}

// queuesByKey makes queues a, b and c, which get what amq.direct has for key-a, key-b and key-c.
func queuesByKey(t *testing.T, ch *amqp.Channel) {
	t.Helper()
	for _, q := range []string{"a", "b", "c"} {
		amqpQueue(t, ch, q, nil)
		if err := ch.QueueBind(q, "key-"+q, "amq.direct", false, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Keys in CC and BCC: each queue once, BCC is hidden.
func TestAMQPSenderSelected(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	queuesByKey(t, ch)
	headers := amqp.Table{"CC": []any{"key-b", "key-a"}, "BCC": []any{"key-c"}, "kept": "x"}
	if err := ch.Publish("amq.direct", "key-a", true, false, amqp.Publishing{Headers: headers, Body: []byte("to three")}); err != nil {
		t.Fatal(err)
	}
	if err := ch.Publish("", "a", false, false, amqp.Publishing{Headers: amqp.Table{"BCC": []any{"c"}}, Body: []byte("to two")}); err != nil {
		t.Fatal(err)
	}
	for q, bodies := range map[string][]string{"a": {"to three", "to two"}, "b": {"to three"}, "c": {"to three", "to two"}} {
		for _, body := range bodies {
			d := amqpGet(t, ch, q)
			_, bcc := d.Headers["BCC"]
			if string(d.Body) != body || bcc {
				t.Errorf("queue %s has %q with headers %v", q, d.Body, d.Headers)
			}
		}
		if n := amqpCount(t, ch, q); n != 0 {
			t.Errorf("queue %s has %d more", q, n)
		}
	}
}

// Keys in CC and BCC count as well for what is routed later: when a transaction is committed, and where a
// dead-letter exchange goes by the message's own keys. Between publish and that, logicsrv dies.
func TestAMQPSenderSelectedLater(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	queuesByKey(t, ch)
	soon := amqp.Table{"x-message-ttl": int32(1000), "x-dead-letter-exchange": "amq.direct"}
	amqpQueue(t, ch, "soon", soon)
	amqpQueue(t, ch, "renamed", amqp.Table{"x-message-ttl": int32(1000), "x-dead-letter-exchange": "amq.direct", "x-dead-letter-routing-key": "key-c"})
	if err := ch.QueueBind("soon", "", "amq.fanout", false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Tx(); err != nil {
		t.Fatal(err)
	}
	to := func(exchange, key, body string) {
		t.Helper()
		m := amqp.Publishing{Headers: amqp.Table{"CC": []any{"key-b"}, "BCC": []any{"key-c"}}, DeliveryMode: amqp.Persistent, Body: []byte(body)}
		if err := ch.Publish(exchange, key, false, false, m); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(body string, queues ...string) {
		t.Helper()
		for _, q := range queues {
			d := amqpGet(t, ch, q)
			_, bcc := d.Headers["BCC"]
			if string(d.Body) != body || bcc {
				t.Errorf("queue %s has %q with headers %v, want %q", q, d.Body, d.Headers, body)
			}
		}
		for _, q := range []string{"a", "b", "c"} {
			if n := amqpCount(t, ch, q); n != 0 {
				t.Errorf("after %q: queue %s has %d more", body, q, n)
			}
		}
	}
	commit := func() {
		t.Helper()
		if err := b.Kill("logicsrv"); err != nil {
			t.Fatal(err)
		}
		if err := ch.TxCommit(); err != nil {
			t.Fatal(err)
		}
	}
	to("amq.direct", "key-a", "in a transaction")
	commit()
	expect("in a transaction", "a", "b", "c")
	to("amq.fanout", "key-a", "after its death")
	commit()
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	expect("after its death", "a", "b", "c")
	if err := ch.QueueUnbind("soon", "", "amq.fanout", nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.QueueBind("renamed", "", "amq.fanout", false, nil); err != nil {
		t.Fatal(err)
	}
	to("amq.fanout", "key-a", "by another key")
	commit()
	expect("by another key", "c")
}

// After basic.cancel what was delivered can still be settled, and nothing more comes.
func TestAMQPCancelKeepsWhatIsHeld(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	c := amqpDial(t, url)
	ch := amqpChannel(t, c)
	amqpQueue(t, ch, "q", nil)
	amqpPublish(t, ch, "q", 0, 5)
	if err := ch.Qos(2, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("q", "tag", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	first, second := amqpNext(t, deliveries), amqpNext(t, deliveries)
	if err := ch.Cancel("tag", false); err != nil {
		t.Fatal(err)
	}
	q, err := ch.QueueDeclarePassive("q", true, false, false, false, nil)
	if err != nil || q.Messages != 3 || q.Consumers != 0 {
		t.Fatalf("%d ready, %d consumers, %v", q.Messages, q.Consumers, err)
	}
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	if err := first.Ack(false); err != nil {
		t.Fatal(err)
	}
	if err := second.Nack(false, true); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"message 1", "message 2", "message 3", "message 4"} {
		if d := amqpGet(t, ch, "q"); string(d.Body) != want || d.Redelivered != (i == 0) {
			t.Errorf("%q came, redelivered: %v; it should be %q", d.Body, d.Redelivered, want)
		}
	}
}

// A queue that rejects what is too much takes exactly as many as it may hold, however they arrive.
func TestAMQPRejectPublishIsExact(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "q", amqp.Table{"x-max-length": int32(7), "x-overflow": "reject-publish"})
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirms := ch.NotifyPublish(make(chan amqp.Confirmation, 20))
	for i := range 20 {
		if err := ch.Publish("", "q", false, false, amqp.Publishing{Body: value(i)}); err != nil {
			t.Fatal(err)
		}
	}
	acks := 0
	for i := range 20 {
		c := <-confirms
		if c.DeliveryTag != uint64(i+1) {
			t.Fatalf("confirm %d is of publish %d", i+1, c.DeliveryTag)
		}
		if c.Ack {
			acks++
		}
	}
	if n := amqpCount(t, ch, "q"); acks != 7 || n != 7 {
		t.Errorf("%d were confirmed, %d are there", acks, n)
	}
}

// Headers exchanges, behind others too, see headers of messages that travel together.
func TestAMQPHeadersExchange(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	if err := ch.ExchangeDeclare("way", "fanout", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeBind("amq.headers", "", "way", false, nil); err != nil {
		t.Fatal(err)
	}
	for n, q := range []string{"even", "odd"} {
		amqpQueue(t, ch, q, nil)
		if err := ch.QueueBind(q, "", "amq.headers", false, amqp.Table{"x-match": "all", "parity": int32(n), "all": nil}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var last *amqp.DeferredConfirmation
	const n = 40
	for i := range n {
		var err error
		last, err = ch.PublishWithDeferredConfirm([]string{"way", "amq.headers"}[i/(n/2)], "", true, false, amqp.Publishing{
			Headers: amqp.Table{"parity": int64(i % 2), "all": true, "n": int32(i)}, Body: value(i),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if !last.Wait() {
		t.Fatal("refused")
	}
	for parity, q := range []string{"even", "odd"} {
		var got []int
		for range n / 2 {
			d := amqpGet(t, ch, q)
			got = append(got, int(d.Headers["n"].(int32)))
		}
		slices.Sort(got)
		for i, x := range got {
			if x != 2*i+parity {
				t.Fatalf("queue %s has %v", q, got)
			}
		}
	}
}

// A dead letter bears its deaths as RabbitMQ tells them.
func TestAMQPDeadLetters(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "grave", nil)
	amqpQueue(t, ch, "q", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "grave", "x-message-ttl": int64(60_000)})
	if err := ch.Publish("", "q", false, false, amqp.Publishing{Expiration: "20", Headers: amqp.Table{"own": "x"}, MessageId: "m", Body: []byte("late")}); err != nil {
		t.Fatal(err)
	}
	d := amqpGet(t, ch, "grave")
	rows, _ := d.Headers["x-death"].([]any)
	if len(rows) != 1 || d.Headers["own"] != "x" || d.MessageId != "m" || d.Expiration != "" || d.Exchange != "" || d.RoutingKey != "grave" {
		t.Fatalf("%+v", d)
	}
	row := rows[0].(amqp.Table)
	if row["reason"] != "expired" || row["queue"] != "q" || row["count"] != int64(1) || row["exchange"] != "" || fmt.Sprint(row["routing-keys"]) != "[q]" || row["original-expiration"] != "20" {
		t.Errorf("%v", row)
	}
	if d.Headers["x-first-death-queue"] != "q" || d.Headers["x-first-death-reason"] != "expired" || d.Headers["x-first-death-exchange"] != "" {
		t.Errorf("%v", d.Headers)
	}
}

// Dead letters find their way by their headers, though nothing on the way to their queue looked at them.
func TestAMQPDeadLettersByHeaders(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	if err := ch.ExchangeDeclare("dlx", amqp.ExchangeHeaders, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"red", "blue"} {
		amqpQueue(t, ch, name, nil)
		if err := ch.QueueBind(name, "", "dlx", false, amqp.Table{"x-match": "any", "from": name}); err != nil {
			t.Fatal(err)
		}
	}
	amqpQueue(t, ch, "q", amqp.Table{"x-dead-letter-exchange": "dlx"})
	for _, name := range []string{"red", "blue", "none", "red"} {
		if err := ch.Publish("", "q", false, false, amqp.Publishing{Expiration: "1", Headers: amqp.Table{"from": name}, Body: []byte(name)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"red", "red", "blue"} {
		if d := amqpGet(t, ch, name); string(d.Body) != name || d.Headers["from"] != name {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// A quorum queue tells how often a message was delivered before.
func TestAMQPDeliveryCount(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "q", amqp.Table{"x-queue-type": "quorum", "x-delivery-limit": int32(2)})
	amqpPublish(t, ch, "q", 0, 1)
	deliveries, err := ch.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		d := amqpNext(t, deliveries)
		if count, _ := d.Headers["x-delivery-count"].(int64); count != int64(i) || d.Redelivered != (i > 0) {
			t.Fatalf("delivery %d: redelivered %v, headers %v", i, d.Redelivered, d.Headers)
		}
		if err := d.Nack(false, true); err != nil {
			t.Fatal(err)
		}
	}
	if n := amqpCount(t, ch, "q"); n != 0 {
		t.Errorf("%d are there beyond the limit", n)
	}
}

// x-delay holds a message back where its exchange delays, and only there.
func TestAMQPDelayed(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	args := amqp.Table{"x-delayed-type": "direct"}
	if err := ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("later", "x-delayed-message", true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
	amqpQueue(t, ch, "q", nil)
	for _, x := range []string{"later", "amq.direct"} {
		if err := ch.QueueBind("q", "k", x, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	begun := time.Now()
	for _, x := range []string{"later", "amq.direct"} {
		if err := ch.Publish(x, "k", false, false, amqp.Publishing{Headers: amqp.Table{"x-delay": int32(300)}, Body: []byte(x)}); err != nil {
			t.Fatal(err)
		}
	}
	if d := amqpGet(t, ch, "q"); string(d.Body) != "amq.direct" {
		t.Errorf("%q came first", d.Body)
	}
	if d := amqpGet(t, ch, "q"); string(d.Body) != "later" || time.Since(begun) < 300*time.Millisecond {
		t.Errorf("%q came after %v", d.Body, time.Since(begun))
	}
}

// Direct reply-to: a request over one connection, its answer over another.
func TestAMQPDirectReply(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	client, server := amqpChannel(t, amqpDial(t, url)), amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, server, "rpc", nil)
	replies, err := client.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	requests, err := server.Consume("rpc", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := client.Publish("", "rpc", false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", CorrelationId: fmt.Sprint(i), Body: value(i)}); err != nil {
			t.Fatal(err)
		}
		q := amqpNext(t, requests)
		if err := server.Publish("", q.ReplyTo, true, false, amqp.Publishing{CorrelationId: q.CorrelationId, Body: append(q.Body, '!')}); err != nil {
			t.Fatal(err)
		}
		if a := amqpNext(t, replies); string(a.Body) != string(value(i))+"!" || a.CorrelationId != fmt.Sprint(i) || a.RoutingKey != q.ReplyTo {
			t.Errorf("%+v", a)
		}
	}
}

// A limit that all consumers of a channel share.
func TestAMQPSharedPrefetch(t *testing.T) {
	t.Parallel()
	_, url := amqpBroker(t, nil)
	ch := amqpChannel(t, amqpDial(t, url))
	amqpQueue(t, ch, "a", nil)
	amqpQueue(t, ch, "b", nil)
	amqpPublish(t, ch, "a", 0, 10)
	amqpPublish(t, ch, "b", 0, 10)
	if err := ch.Qos(3, 0, true); err != nil {
		t.Fatal(err)
	}
	all := make(chan amqp.Delivery, 20)
	for _, q := range []string{"a", "b"} {
		deliveries, err := ch.Consume(q, q, false, false, false, false, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for d := range deliveries {
				all <- d
			}
		}()
	}
	for got := 0; got < 20; {
		var held []amqp.Delivery
		for range min(3, 20-got) {
			held = append(held, amqpNext(t, all))
			got++
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		select {
		case d := <-all:
			t.Fatalf("more than 3 are unsettled: %q", d.Body)
		case <-ctx.Done():
		}
		cancel()
		for _, d := range held {
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		}
	}
}
