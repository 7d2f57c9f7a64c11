package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/trimq/trimq/scripts/broker"
)

// amqpBroker starts a broker that serves AMQP's clients, and returns the URL for them.
func amqpBroker(t *testing.T, settings map[string]string) (*broker.Broker, string) {
	t.Helper()
	addr, err := broker.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"amqp_listen": fmt.Sprintf("%q", addr)}
	for k, v := range settings {
		all[k] = v
	}
	return started(t, all), "amqp://guest:guest@" + addr + "/"
}

// amqpDial connects, and ends the connection with the test.
func amqpDial(t *testing.T, url string) *amqp.Connection {
	t.Helper()
	c, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func amqpChannel(t *testing.T, c *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := c.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// amqpQueue declares a durable queue.
func amqpQueue(t *testing.T, ch *amqp.Channel, name string, args amqp.Table) {
	t.Helper()
	if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		t.Fatal(err)
	}
}

// amqpPublish publishes persistent messages with bodies from … to-1 to a queue, and waits until all are confirmed.
func amqpPublish(t *testing.T, ch *amqp.Channel, queue string, from, to int) {
	t.Helper()
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	var last *amqp.DeferredConfirmation
	for i := from; i < to; i++ {
		var err error
		last, err = ch.PublishWithDeferredConfirm("", queue, false, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: value(i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Second)
	defer cancel()
	if ok, err := last.WaitContext(ctx); err != nil || !ok {
		t.Fatalf("message %d: confirmed %v, %v", to-1, ok, err)
	}
}

// amqpNext waits for the next delivery.
func amqpNext(t *testing.T, deliveries <-chan amqp.Delivery) amqp.Delivery {
	t.Helper()
	select {
	case d, ok := <-deliveries:
		if !ok {
			t.Fatal("the consumer has ended")
		}
		return d
	case <-time.After(20 * time.Second):
		t.Fatal("nothing is delivered")
	}
	return amqp.Delivery{}
}
