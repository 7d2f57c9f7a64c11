// Command mq_durable_producer sends messages that survive whatever happens to the broker: they lie on the
// disk when they are acknowledged. Kill the broker, start it again, and start mq_durable_consumer.
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
	// Durable is what lets the queue itself outlive the broker; the level is that of its messages.
	spec := trimq.QueueSpec{Name: "durable", Level: trimq.LevelDisk, QueueSettings: trimq.QueueSettings{Durable: true}}
	if _, err := client.CreateQueue(ctx, spec); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer(trimq.WithLevel(trimq.LevelDisk))
	if err != nil {
		log.Fatal(err)
	}
	for i := 1; i <= 5; i++ {
		m := trimq.Message{RoutingKey: "durable", Mandatory: true, Value: fmt.Appendf(nil, "message %d", i)}
		if _, err := producer.ProduceSync(ctx, &m); err != nil {
			log.Fatal(err)
		}
		fmt.Printf("on disk: %s\n", m.Value)
	}
}

// addr is where the broker listens.
func addr() []string {
	if a := os.Getenv("TRIMQ_ADDR"); a != "" {
		return []string{a}
	}
	return []string{"127.0.0.1:7420"}
}
