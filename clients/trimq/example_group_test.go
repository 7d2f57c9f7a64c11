package trimq_test

import (
	"context"
	"fmt"
	"log"

	"github.com/trimq/trimq/clients/trimq"
)

// A member of a group that sums up records, and stores a partition's sum before it gives the
// partition up: who has it next goes on from there.
func ExampleWithGroup() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	store := func(ctx context.Context, k *trimq.Consumer, at []trimq.Position) {
		fmt.Println("storing the sums of", at)
		if err := k.CommitPositions(ctx, at...); err != nil {
			log.Print(err)
		}
	}
	drop := func(_ context.Context, _ *trimq.Consumer, at []trimq.Position) {
		fmt.Println("others may have these already:", at)
	}
	k, err := c.NewConsumer(ctx, []string{"orders", "refunds"}, trimq.WithGroup("billing"), trimq.OnRevoked(store), trimq.OnLost(drop))
	if err != nil {
		log.Fatal(err)
	}
	defer k.Close(ctx) // gives up its partitions, and leaves
	for {
		f, err := k.Poll(ctx)
		if err != nil {
			log.Print(err)
			return
		}
		for i := range f.Records {
			fmt.Printf("%s/%d: %s\n", f.Topic, f.Partition, f.Records[i].Value)
		}
		f.Release()
	}
}

// An operator lets a group work on a day again.
func ExampleClient_ResetOffsets() {
	ctx := context.Background()
	c, err := trimq.Dial(ctx, []string{"127.0.0.1:7420"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close(ctx)
	groups, err := c.Memberships(ctx, "billing")
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range groups[0].Members {
		fmt.Println("stop first:", m.ID, m.ClientHost)
	}
	at, err := c.ResetOffsets(ctx, "billing", trimq.OffsetReset{Topics: []string{"orders"}, Shift: -1000})
	if err != nil {
		log.Fatal(err) // trimq.ErrInUse as long as there are members
	}
	fmt.Println("goes on at", at)
}
