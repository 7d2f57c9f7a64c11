// Command mq_multi_consumer shares the work of mq_multi_producer's queue with all others that run, until
// Ctrl-C, and prints each second how many messages it got.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	spec := trimq.QueueSpec{Name: "multi", QueueSettings: trimq.QueueSettings{Durable: true, MaxMessages: trimq.Some(1_000_000)}}
	if _, err := client.CreateQueue(ctx, spec); err != nil {
		log.Fatal(err)
	}
	consumer, err := client.ConsumeQueue(ctx, "multi", trimq.WithTag(fmt.Sprint("process ", os.Getpid())))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("consumer waits for messages, Ctrl-C ends it")
	got, begun := 0, time.Now()
	for {
		d, err := consumer.Receive(ctx)
		if ctx.Err() != nil {
			fmt.Println("consumer ends")
			return
		}
		if err != nil {
			log.Fatal(err)
		}
		got += len(d.Messages)
		if err := d.Ack(); err != nil {
			log.Fatal(err)
		}
		d.Release()
		if time.Since(begun) >= time.Second {
			fmt.Printf("consumer got %d messages\n", got)
			got, begun = 0, time.Now()
		}
	}
}

// addr is where the broker listens.
func addr() []string {
	if a := os.Getenv("TRIMQ_ADDR"); a != "" {
		return []string{a}
	}
	return []string{"127.0.0.1:7420"}
}
