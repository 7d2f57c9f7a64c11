// Command mq_normal_consumer1 takes messages from the queue of mq_normal_producer, until Ctrl-C.
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
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: "normal", QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		log.Fatal(err)
	}
	// One message in hand at a time: so each consumer gets as much as it gets done.
	consumer, err := client.ConsumeQueue(ctx, "normal", trimq.WithPrefetch(1), trimq.WithTag("consumer1"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("consumer1 waits for messages, Ctrl-C ends it")
	for {
		got, err := consumer.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range got.Messages {
			fmt.Printf("consumer1 got: %s\n", m.Value)
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
