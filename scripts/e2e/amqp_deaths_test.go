package e2e

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// kill -9 of logicsrv and persistsrv, under a publisher and a consumer: their connection stays, all
// that was published is confirmed and comes once, and what is held unacknowledged meanwhile does not
// come a second time.
func TestAMQPConnectionsOutliveDeaths(t *testing.T) {
	t.Parallel()
	b, url := amqpBroker(t, nil)
	const n, prefetch = 3000, 50
	c := amqpDial(t, url)
	lost := c.NotifyClose(make(chan *amqp.Error, 1))
	pub, sub := amqpChannel(t, c), amqpChannel(t, c)
	amqpQueue(t, pub, "q", nil)
	if err := sub.Qos(prefetch, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := sub.Consume("q", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		amqpPublish(t, pub, "q", 0, n)
	}()
	seen := map[string]bool{}
	var held []amqp.Delivery
	for i := range n {
		d := amqpNext(t, deliveries)
		if seen[string(d.Body)] || d.Redelivered {
			t.Fatalf("%q came again, flagged: %v", d.Body, d.Redelivered)
		}
		seen[string(d.Body)] = true
		if held = append(held, d); len(held) == prefetch || i == n-1 {
			if err := d.Ack(true); err != nil {
				t.Fatal(err)
			}
			held = nil
		}
		if tier := map[int]string{500: "logicsrv", 1000: "persistsrv", 1500: "logicsrv", 2000: "logicsrv"}[i]; tier != "" {
			if err := b.Kill(tier); err != nil {
				t.Fatal(err)
			}
			if i == 2000 {
				if err := b.Kill("persistsrv"); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	<-done
	select {
	case err := <-lost:
		t.Fatalf("the connection was lost: %v", err)
	case d := <-deliveries:
		t.Fatalf("%q came once more", d.Body)
	case <-time.After(500 * time.Millisecond):
	}
	if q, err := pub.QueueDeclarePassive("q", true, false, false, false, nil); err != nil || q.Messages != 0 {
		t.Fatalf("%d messages are left, %v", q.Messages, err)
	}
}
