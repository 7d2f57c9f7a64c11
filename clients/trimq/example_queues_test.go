package trimq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// dial is what all examples begin with.
func dial(ctx context.Context) *trimq.Client {
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// A queue with priorities and a limit, and messages that are delayed or expire.
func ExampleMessage() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	_, err := c.CreateQueue(ctx, trimq.QueueSpec{Name: "invoices", QueueSettings: trimq.QueueSettings{
		Durable: true, MaxPriority: 9, MaxMessages: trimq.Some(100_000), Overflow: trimq.RejectPublish,
		DeadLetter: true, DeadLetterExchange: "dead", KeepKey: true, DeliveryLimit: trimq.Some(5),
	}})
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range []trimq.Message{
		{RoutingKey: "invoices", Priority: 9, Value: []byte("urgent")},
		{RoutingKey: "invoices", TTL: trimq.ExpireAfter(time.Hour), Value: []byte("of no use tomorrow")},
		{RoutingKey: "invoices", Delay: 10 * time.Minute, Value: []byte("a reminder")},
	} {
		r, err := p.ProduceSync(ctx, &m)
		if errors.Is(err, trimq.ErrQueueFull) {
			log.Printf("%d queues took it, %d are full", r.Queues, r.Full)
		} else if err != nil {
			log.Fatal(err)
		}
	}
}

// Several messages at a time, those of one key in order.
func ExampleQueueConsumer_Serve() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	q, err := c.ConsumeQueue(ctx, "invoices", trimq.WithAckTimeout(time.Minute), trimq.WithTag("billing"))
	if err != nil {
		log.Fatal(err)
	}
	err = q.Serve(ctx, 8, func(ctx context.Context, d *trimq.Deliveries, m *trimq.Record) error {
		if len(m.Value) == 0 {
			return fmt.Errorf("an empty invoice: %w", trimq.ErrReject)
		}
		fmt.Printf("%s, for the %dth time\n", m.Value, d.Attempts+1)
		return nil
	})
	log.Print(err)
}

// A lease outlives the process: the handle is all that is needed to end it.
func ExampleClient_Pull() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	got, err := c.Pull(ctx, "invoices", 10, 20*time.Second, trimq.WithVisibility(time.Minute))
	if err != nil {
		log.Fatal(err)
	}
	for _, d := range got {
		for i := range d.Messages {
			handle := d.Handle(i).String() // may be handed to another process
			fmt.Printf("%s has %s\n", handle, d.Messages[i].Value)
			h, err := trimq.ParseHandle(handle)
			if err != nil {
				log.Fatal(err)
			}
			if err := c.Delete(ctx, h); errors.Is(err, trimq.ErrLeaseExpired) {
				log.Print("somebody else has it by now")
			}
		}
		d.Release()
	}
}

// A queue over a topic: its own progress, its own filter, and nothing is stored twice.
func ExampleClient_Subscribe() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	q, err := c.Subscribe(ctx, trimq.Subscription{
		Name: "large-orders", Topic: "orders", Selector: "price > 1000 AND area = 'hz'", From: trimq.Latest(),
	})
	if err != nil {
		log.Fatal(err)
	}
	d, err := q.Receive(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of them\n", len(d.Messages))
	if err := d.Ack(); err != nil {
		log.Print(err)
	}
	if err := c.Rewind(ctx, "large-orders", time.Now().Add(-time.Hour)); err != nil { // once more
		log.Print(err)
	}
}

// What is consumed, and what is produced of it, in one transaction.
func ExampleTxn() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	q, err := c.ConsumeQueue(ctx, "orders")
	if err != nil {
		log.Fatal(err)
	}
	p, err := q.NewProducer() // on the consumer's connection
	if err != nil {
		log.Fatal(err)
	}
	for {
		d, err := q.Receive(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		err = p.InTxn(ctx, func(ctx context.Context, x *trimq.Txn) error {
			for i := range d.Messages {
				m := trimq.Message{Exchange: "invoices", Value: d.Messages[i].Value}
				if err := x.Produce(ctx, &m, nil); err != nil {
					return err
				}
			}
			return x.Ack(d)
		})
		if err != nil {
			log.Print(err) // the messages are in hand still, unless the connection broke
			d.Nack()
		}
		d.Release()
	}
}

// The message of a local transaction: if this process dies before it has decided, the broker asks
// any that answers for the group.
func ExampleClient_TxnChecker() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	isPaid := func(order string) bool { return order != "" } // asks the database
	pay := func(context.Context) error { return nil }        // writes to it
	_, err := c.TxnChecker(ctx, "payments", func(_ context.Context, check trimq.Check) trimq.Decision {
		if isPaid(check.Key) {
			return trimq.TxnCommit
		}
		return trimq.TxnUnknown // asked again, until the broker gives up
	})
	if err != nil {
		log.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	err = p.InTxn(ctx, func(ctx context.Context, x *trimq.Txn) error {
		if _, err := x.ProduceSync(ctx, &trimq.Message{Topic: "paid", Value: []byte("order 7")}); err != nil {
			return err
		}
		return pay(ctx)
	}, trimq.WithTxnGroup("payments", "order 7"), trimq.WithCheckAfter(10*time.Second))
	if err != nil {
		log.Print(err)
	}
}

// A queue that nobody else can use, and that goes with its connection.
func ExampleClient_DeclareAndConsume() {
	ctx := context.Background()
	c := dial(ctx)
	defer c.Close(ctx)
	q, err := c.DeclareAndConsume(ctx, trimq.QueueSpec{QueueSettings: trimq.QueueSettings{Exclusive: true}})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := c.CreateBinding(ctx, trimq.BindingSpec{Exchange: "events", Queue: q.Name(), RoutingKey: "order.#"}); err != nil {
		log.Fatal(err)
	}
	for {
		d, err := q.Receive(ctx)
		if errors.Is(err, trimq.ErrNotFound) {
			log.Print("the connection broke: declare and bind again")
			return
		}
		if err != nil {
			log.Print(err)
			return
		}
		fmt.Printf("%s: %s\n", d.RoutingKey, d.Messages[0].Value)
		d.Ack()
		d.Release()
	}
}
