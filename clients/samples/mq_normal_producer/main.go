// Command mq_normal_producer sends a few messages to a queue. The queue hands each of them to one of
// its consumers: start mq_normal_consumer1 and mq_normal_consumer2 and see how they share them.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"

	"github.com/trimq/trimq/clients/trimq"
)

func main() {
	count := 10
	if len(os.Args) > 1 {
		n, err := strconv.Atoi(os.Args[1])
		if err != nil || n < 1 {
			log.Fatalf("usage: %s [how many messages]", os.Args[0])
		}
		count = n
	}
	ctx := context.Background()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	// To create a queue that is there already is no error, if it is asked for in the same way.
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: "normal", QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		log.Fatal(err)
	}
	producer, err := client.NewProducer()
	if err != nil {
		log.Fatal(err)
	}
	for i := 1; i <= count; i++ {
		// The default exchange, whose name is empty, leads to the queue that the routing key names.
		m := trimq.Message{RoutingKey: "normal", Mandatory: true, Value: fmt.Appendf(nil, "message %d", i)}
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
