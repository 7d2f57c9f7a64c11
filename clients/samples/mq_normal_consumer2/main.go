// Command mq_normal_consumer2 does what mq_normal_consumer1 does, but does not acknowledge: with
// automatic acknowledgement a message counts as done when it has been delivered. That is faster, and
// loses what a consumer has in hand when it dies.
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
	consumer, err := client.ConsumeQueue(ctx, "normal", trimq.WithPrefetch(1), trimq.WithAutoAck(), trimq.WithTag("consumer2"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("consumer2 waits for messages, Ctrl-C ends it")
	for {
		got, err := consumer.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		for _, m := range got.Messages {
			fmt.Printf("consumer2 got: %s\n", m.Value)
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
