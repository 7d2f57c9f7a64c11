package trimq_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

func Example() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "orders", Partitions: 4}); err != nil {
		log.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	r, err := p.ProduceSync(ctx, &trimq.Message{Topic: "orders", Key: []byte("customer 7"), Value: []byte("2 pears")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored in partition", r.Partition, "at offset", r.Offset)
}

// One function serves all messages: the tag tells which one it is.
func ExampleProducer_Produce() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	p, err := c.NewProducer(trimq.WithLevel(trimq.LevelPage), trimq.WithLinger(5*time.Millisecond), trimq.WithZstd())
	if err != nil {
		log.Fatal(err)
	}
	done := func(r trimq.Result, err error) {
		if err != nil {
			log.Printf("message %d: %v", r.Tag, err)
		}
	}
	m := trimq.Message{Topic: "ticks"}
	for i := range uint64(1_000_000) {
		m.Value, m.Tag = fmt.Appendf(m.Value[:0], "tick %d", i), i
		if err := p.Produce(ctx, &m, done); err != nil {
			log.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleProducer_Produce_exchange() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	p, err := c.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	_, err = p.ProduceSync(ctx, &trimq.Message{
		Exchange: "events", RoutingKey: "order.created", Mandatory: true, Value: []byte("order 7"),
	})
	if errors.Is(err, trimq.ErrUnroutable) {
		log.Print("nobody wants it")
	}
}

func ExampleConsumer_Poll() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	k, err := c.NewConsumer(ctx, []string{"orders"}, trimq.WithGroup("billing"), trimq.WithFrom(trimq.Earliest()))
	if err != nil {
		log.Fatal(err)
	}
	for {
		f, err := k.Poll(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		for i := range f.Records {
			fmt.Printf("%s %s\n", f.Records[i].Key, f.Records[i].Value)
		}
		f.Release()
		k.CommitAsync(func(err error) {
			if err != nil {
				log.Print(err)
			}
		})
	}
}

func ExampleQueueConsumer_Receive() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	q, err := c.ConsumeQueue(ctx, "invoices", trimq.WithPrefetch(100))
	if err != nil {
		log.Fatal(err)
	}
	defer q.Close(ctx) // flushes the acknowledgements
	for {
		d, err := q.Receive(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		for i := range d.Messages {
			fmt.Printf("%s\n", d.Messages[i].Value)
		}
		if err := d.Ack(); err != nil {
			log.Print(err)
		}
		d.Release()
	}
}
