// Command mq_durable_consumer takes what mq_durable_producer has sent, and ends when the queue is empty.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	ctx := context.Background()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	consumer, err := client.ConsumeQueue(ctx, "durable")
	if errors.Is(err, trimq.ErrNotFound) {
		log.Fatal("there is no queue called durable: start mq_durable_producer first")
	}
	if err != nil {
		log.Fatal(err)
	}
	for {
		patience, cancel := context.WithTimeout(ctx, time.Second)
		got, err := consumer.Receive(patience)
		cancel()
		if errors.Is(err, context.DeadlineExceeded) {
			fmt.Println("nothing is left")
			break
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
	// Acknowledgements leave by themselves; who ends should know that they have arrived.
	if err := consumer.Close(ctx); err != nil {
		log.Fatal(err)
	}
}

// addr is where the broker listens.
func addr() []string {
	if a := os.Getenv("TRIMQ_ADDR"); a != "" {
		return []string{a}
	}
	return []string{"127.0.0.1:7420"}
}
