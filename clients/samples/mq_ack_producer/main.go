// Command mq_ack_producer sends tasks and prints the broker's acknowledgement of each: from then on the
// task is on disk. mq_ack_consumer works them off.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	ctx := context.Background()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: "tasks", QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer(trimq.WithLevel(trimq.LevelDisk))
	if err != nil {
		log.Fatal(err)
	}
	// Produce does not wait. The function is called for each message once the broker has it.
	acknowledged := func(r trimq.Result, err error) {
		if err != nil {
			log.Fatalf("task %d was not taken: %v", r.Tag, err)
		}
		fmt.Printf("task %d is acknowledged, in %d queue\n", r.Tag, r.Queues)
	}
	for i := uint64(1); i <= 6; i++ {
		m := trimq.Message{RoutingKey: "tasks", Mandatory: true, Value: fmt.Appendf(nil, "task %d", i), Tag: i}
		if err := producer.Produce(ctx, &m, acknowledged); err != nil {
			log.Fatal(err)
		}
	}
	if err := producer.Flush(ctx); err != nil { // waits for all of them
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
