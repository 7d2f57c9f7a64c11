package trimq

import (
	"context"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
)

// What a consumer costs for each record, fake and socket included: one that reads everything beside
// a member of a group.

func benchConsume(b *testing.B, opts ...ConsumerOption) {
	f := newFake(b)
	c := dialFake(b, f)
	newTopic(b, c, "t", 1)
	const records = 100_000
	f.fill(b, 1, records, 1000, batch.None)
	ctx := context.Background()
	opts = append(opts, WithFetchWait(time.Millisecond)) // at the end, before it begins anew
	k, err := c.NewConsumer(ctx, []string{"t"}, opts...)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close(ctx)
	b.ReportAllocs()
	b.ResetTimer()
	for left, next := b.N, uint64(0); left > 0; {
		got, err := k.Poll(ctx)
		if err != nil {
			b.Fatal(err)
		}
		left -= len(got.Records)
		next += uint64(len(got.Records))
		got.Release()
		if next == records && left > 0 {
			next = 0
			if err := k.Seek(ctx, "t", 0, AtOffset(0)); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func BenchmarkConsume(b *testing.B) { benchConsume(b) }

func BenchmarkConsumePush(b *testing.B) { benchConsume(b, WithPush()) }

func BenchmarkConsumeMember(b *testing.B) { benchConsume(b, WithGroup("g")) }

func BenchmarkConsumeMemberPush(b *testing.B) { benchConsume(b, WithGroup("g"), WithPush()) }
