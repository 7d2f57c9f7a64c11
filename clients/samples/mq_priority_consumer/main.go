// Command mq_priority_consumer takes the messages of mq_priority_producer, the most urgent ones first.
// Start it after the producer: what waits is what is put in order.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	spec := trimq.QueueSpec{Name: "priority", QueueSettings: trimq.QueueSettings{Durable: true, MaxPriority: 3}}
	if _, err := client.CreateQueue(ctx, spec); err != nil {
		log.Fatal(err)
	}
	// What has been delivered cannot be overtaken, so a small prefetch is what keeps the order.
	consumer, err := client.ConsumeQueue(ctx, "priority", trimq.WithPrefetch(1))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("waits for messages, Ctrl-C ends it")
	for {
		got, err := consumer.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range got.Messages {
			fmt.Printf("got: %s\n", m.Value)
		}
		if err := got.Ack(); err != nil {
			log.Fatal(err)
		}
		got.Release()
	}
}

// addr is where the broker listens.
func addr() []string {
	if a := os.Getenv("TRIMQ_ADDR"); a != "" {
		return []string{a}
	}
	return []string{"127.0.0.1:7420"}
}
