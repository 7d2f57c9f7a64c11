// Command mq_ack_consumer works off the tasks of mq_ack_producer and acknowledges each when it is done.
// Every third one fails the first time: it is put back to its place, and delivered again, with the
// number of earlier attempts.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"

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
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: "tasks", QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		log.Fatal(err)
	}
	consumer, err := client.ConsumeQueue(ctx, "tasks", trimq.WithPrefetch(1))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("waits for tasks, Ctrl-C ends it")
	for {
		got, err := consumer.Receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		task := string(got.Messages[0].Value) // with a prefetch of 1 it is never more than one
		if strings.HasSuffix(task, "3") || strings.HasSuffix(task, "6") {
			if got.Attempts == 0 {
				fmt.Printf("%s: failed, put back\n", task)
				err = got.Nack()
				got.Release()
				if err != nil {
					log.Fatal(err)
				}
				continue
			}
		}
		fmt.Printf("%s: done at attempt %d\n", task, got.Attempts+1)
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
