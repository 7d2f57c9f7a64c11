// Command mq_priority_producer sends messages of different priorities to a queue that knows three of
// them. mq_priority_consumer gets the highest first, and equal ones in the order in which they were sent.
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
	// MaxPriority makes it a queue with priorities. What is above it counts as the highest.
	spec := trimq.QueueSpec{Name: "priority", QueueSettings: trimq.QueueSettings{Durable: true, MaxPriority: 3}}
	if _, err := client.CreateQueue(ctx, spec); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for i, priority := range []uint8{0, 1, 3, 0, 2, 3, 1, 200} {
		m := trimq.Message{RoutingKey: "priority", Mandatory: true, Priority: priority, Value: fmt.Appendf(nil, "message %d of priority %d", i+1, priority)}
		if _, err := producer.ProduceSync(ctx, &m); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("sent: %s\n", m.Value)
	}
}

// addr is where the broker listens.
func addr() []string {
	if a := os.Getenv("TRIMQ_ADDR"); a != "" {
		return []string{a}
	}
	return []string{"127.0.0.1:7420"}
}
