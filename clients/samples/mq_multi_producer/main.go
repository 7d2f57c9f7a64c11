// Command mq_multi_producer sends messages of a given length to a queue, in a loop, until Ctrl-C, and
// prints each second how many. scripts/multi_producer_start.sh starts several, and consumers.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	length := 10
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 0 || n > 1<<20 {
			log.Fatalf("usage: %s [bytes of a message, at most %d]", os.Args[0], 1<<20)
		}
		length = n
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(context.Background())
	// The queue is bounded: where the consumers do not keep up, the oldest messages go.
	spec := trimq.QueueSpec{Name: "multi", QueueSettings: trimq.QueueSettings{Durable: true, MaxMessages: trimq.Some(1_000_000)}}
	if _, err := client.CreateQueue(ctx, spec); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	m := trimq.Message{RoutingKey: "multi", Value: bytes.Repeat([]byte("x"), length)}
	sent := 0
	for second := time.NewTicker(time.Second); ; {
		// A batch a time: 10,000 messages a second are enough for a sample.
		for range 100 {
			if err := producer.Produce(ctx, &m, nil); err != nil {
				fmt.Println("producer ends")
				return
			}
			sent++
		}
		select {
		case <-second.C:
			fmt.Printf("producer sent %d messages of %d bytes\n", sent, length)
			sent = 0
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
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
