// Command mq_pull_consumer fetches messages of mq_normal_producer's queue when it wants some, instead of
// having them pushed. What it fetches is invisible to others for 2 s; what it has not deleted by then
// comes back. It forgets to delete the first message, to show that.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

const visibility = 2 * time.Second

func main() {
	ctx := context.Background()
	client, err := trimq.Dial(ctx, addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	if _, err := client.CreateQueue(ctx, trimq.QueueSpec{Name: "normal", QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		log.Fatal(err)
	}
	forgotten := false
	for {
		// Up to five at once; if there is none, the broker waits for the first one for 3 s.
		parcels, err := client.Pull(ctx, "normal", 5, 3*time.Second, trimq.WithVisibility(visibility))
		if err != nil {
			log.Fatal(err)
		}
		if len(parcels) == 0 {
			fmt.Println("nothing came for 3 s")
			return
		}
		for _, p := range parcels {
			for i, m := range p.Messages {
				if !forgotten {
					forgotten = true
					fmt.Printf("pulled and forgotten: %s\n", m.Value)
					continue
				}
				// The receipt handle is all that is needed to delete it, from any connection.
				if err := client.Delete(ctx, p.Handle(i)); err != nil {
					log.Fatal(err)
				}
				fmt.Printf("pulled and deleted: %s (attempt %d)\n", m.Value, p.Attempts+1)
			}
			p.Release()
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
