package trimq

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// fill stores n messages in a partition, in batches of the given size, without a client.
func (f *fake) fill(t testing.TB, index uint64, n, each int, codec batch.Codec) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	ix := f.indexes[index]
	var b batch.Builder
	for i := 0; i < n; i += each {
		b.Reset()
		for j := i; j < min(i+each, n); j++ {
			at := ix.next + uint64(j-i)
			b.Add(int64(1000+at), fmt.Appendf(nil, "k%d", at), fmt.Appendf(nil, "value %d", at), []Header{{Key: "n", Value: fmt.Append(nil, at)}})
		}
		ix.store(b.Seal(codec, batch.NoProducer, -1, -1), uint32(b.Count()), nil)
	}
	f.wake()
	f.pump()
}

// check looks whether a record is the one that fill puts at its offset.
func check(t testing.TB, r *Record) {
	t.Helper()
	if string(r.Value) != fmt.Sprintf("value %d", r.Offset) || string(r.Key) != fmt.Sprintf("k%d", r.Offset) ||
		r.TimeMS != int64(1000+r.Offset) || len(r.Headers) != 1 || string(r.Headers[0].Value) != fmt.Sprint(r.Offset) {
		t.Fatalf("record %d is %q %q %d %v", r.Offset, r.Key, r.Value, r.TimeMS, r.Headers)
	}
}

// pollAll polls until so many records have come, and checks their order.
func pollAll(t testing.TB, k *Consumer, n int, each func(*Fetch)) {
	t.Helper()
	ctx := testContext(t)
	next := map[uint32]uint64{}
	for _, p := range k.Positions() {
		next[p.Partition] = p.Offset
	}
	for n > 0 {
		fetch, err := k.Poll(ctx)
		if err != nil {
			t.Fatalf("with %d records to come: %v", n, err)
		}
		for i := range fetch.Records {
			r := &fetch.Records[i]
			if r.Offset != next[fetch.Partition] {
				t.Fatalf("partition %d: offset %d instead of %d", fetch.Partition, r.Offset, next[fetch.Partition])
			}
			check(t, r)
			next[fetch.Partition]++
		}
		n -= len(fetch.Records)
		if each != nil {
			each(fetch)
		}
		fetch.Release()
	}
	if n < 0 {
		t.Fatalf("%d records too many", -n)
	}
}

func TestConsume(t *testing.T) {
	for _, tc := range []struct {
		name  string
		codec batch.Codec
		opts  []ConsumerOption
	}{
		{"fetch", batch.None, nil},
		{"fetch zstd", batch.Zstd, nil},
		{"small fetches", batch.None, []ConsumerOption{WithFetchBytes(1 << 10), WithBuffer(1)}},
		{"push", batch.None, []ConsumerOption{WithPush()}},
		{"push zstd, little credit", batch.Zstd, []ConsumerOption{WithPush(), WithBuffer(500)}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 3)
			for i := range uint64(3) {
				f.fill(t, i+1, 1000, 7, tc.codec)
			}
			k := must[*Consumer](t)(c.NewConsumer(testContext(t), []string{"t"}, tc.opts...))
			pollAll(t, k, 3000, nil)
			f.fill(t, 2, 100, 10, tc.codec) // while somebody waits
			pollAll(t, k, 100, nil)
		})
	}
}

// TestConsumeThroughFaults breaks connections and refuses for now; nothing is missed or doubled.
func TestConsumeThroughFaults(t *testing.T) {
	for _, push := range []bool{false, true} {
		t.Run(fmt.Sprintf("push=%v", push), func(t *testing.T) {
			f := newFake(t)
			c := dialFake(t, f)
			newTopic(t, c, "t", 4)
			var seed atomic.Uint64
			f.setFault(func(_ *fakeConn, h native.Header, _ []byte) (bad fakeFault) {
				if h.Command == native.CmdFetch || h.Command == native.CmdCredit {
					switch rand.New(rand.NewPCG(3, seed.Add(1))).IntN(20) {
					case 0:
						bad.before = true
					case 1:
						bad.after = true
					case 2:
						bad.hold = 2 * time.Millisecond
					case 3:
						bad.refuse = errcode.Unavailable
					case 4:
						bad.refuse = errcode.ShuttingDown
					}
				}
				return bad
			})
			opts := []ConsumerOption{WithFetchBytes(2 << 10), WithBuffer(4 << 10), WithFetchWait(20 * time.Millisecond)}
			if push {
				opts = append(opts, WithPush())
			}
			k := must[*Consumer](t)(c.NewConsumer(testContext(t), []string{"t"}, opts...))
			for i := range uint64(4) {
				f.fill(t, i+1, 2000, 13, batch.None)
			}
			pollAll(t, k, 8000, nil)
			f.mu.Lock()
			defer f.mu.Unlock()
			if f.accepted < 4 {
				t.Fatal("no connection was broken: the test shows nothing")
			}
		})
	}
}

func TestConsumeFrom(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	f.fill(t, 1, 100, 10, batch.None)
	f.mu.Lock()
	f.indexes[1].start = 20
	f.mu.Unlock()
	ctx := testContext(t)
	for _, tc := range []struct {
		from From
		want uint64
	}{
		{Earliest(), 20}, {AtOffset(33), 33}, {AtTime(time.UnixMilli(1050)), 50}, {Latest(), 100},
	} {
		k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithFrom(tc.from)))
		if at := k.Positions()[0].Offset; at != tc.want {
			t.Fatalf("%+v begins at %d, not %d", tc.from, at, tc.want)
		}
		if tc.want < 100 {
			pollAll(t, k, 100-int(tc.want), nil)
		}
		if err := k.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.NewConsumer(ctx, []string{"none"}); !errors.Is(err, ErrNotFound) {
		t.Fatalf("unknown topic: %v", err)
	}
	if _, err := c.NewConsumer(ctx, []string{"t"}, WithPartitions(1)); !errors.Is(err, ErrNoPartition) {
		t.Fatalf("unknown partition: %v", err)
	}
}

func TestSeekAndOutOfRange(t *testing.T) {
	for _, push := range []bool{false, true} {
		t.Run(fmt.Sprintf("push=%v", push), func(t *testing.T) {
			f := newFake(t)
			if push {
				// The fake serves pushed topics from any offset; refuse as a broker does.
				f.setFault(func(_ *fakeConn, h native.Header, body []byte) (bad fakeFault) {
					if m, err := native.DecodeSubscribe(body); h.Command == native.CmdSubscribe && err == nil && m.Offset > 100 {
						bad.refuse = errcode.OffsetOutOfRange
					}
					return bad
				})
			}
			c := dialFake(t, f)
			newTopic(t, c, "t", 1)
			f.fill(t, 1, 100, 10, batch.None)
			ctx := testContext(t)
			opts := []ConsumerOption{WithFrom(AtOffset(500))}
			if push {
				opts = append(opts, WithPush())
			}
			k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, opts...))
			_, err := k.Poll(ctx)
			var pe *PartitionError
			if !errors.Is(err, ErrOffsetOutOfRange) || !errors.As(err, &pe) || pe.Offset != 500 || pe.Topic != "t" {
				t.Fatalf("offset 500 of 100: %v", err)
			}
			for _, at := range []uint64{95, 0, 42} {
				if err := k.Seek(ctx, "t", 0, AtOffset(at)); err != nil {
					t.Fatal(err)
				}
				pollAll(t, k, 100-int(at), nil)
			}
			r := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, append(opts, WithReset(Earliest()))...))
			next := uint64(0)
			for next < 100 {
				fetch := must[*Fetch](t)(r.Poll(ctx))
				if fetch.Records[0].Offset != next {
					t.Fatalf("after a reset offset %d instead of %d", fetch.Records[0].Offset, next)
				}
				next += uint64(len(fetch.Records))
			}
			if err := k.Seek(ctx, "t", 7, Earliest()); !errors.Is(err, ErrNoPartition) {
				t.Fatalf("Seek in partition 7: %v", err)
			}
		})
	}
}

// TestCorruptBatch: what is sound before a damaged batch is given, then the error.
func TestCorruptBatch(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 50, 10, batch.None)
	f.fill(t, 2, 50, 10, batch.None)
	f.mu.Lock()
	f.indexes[1].runs[3].b[70] ^= 1
	f.mu.Unlock()
	ctx := testContext(t)
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}))
	var got [2]int
	var err error
	for got != [2]int{30, 50} || err == nil {
		fetch, e := k.Poll(ctx)
		if e != nil && (err != nil || got[0] != 30) {
			t.Fatalf("after %v records: %v", got, e)
		}
		if e != nil {
			err = e
			continue
		}
		got[fetch.Partition] += len(fetch.Records)
	}
	var pe *PartitionError
	if !errors.Is(err, ErrCorrupt) || !errors.As(err, &pe) || pe.Offset != 30 || pe.Partition != 0 {
		t.Fatalf("a damaged batch at offset 30: %v", err)
	}
	if err := k.Seek(ctx, "t", 0, AtOffset(40)); err != nil {
		t.Fatal(err)
	}
	if fetch := must[*Fetch](t)(k.Poll(ctx)); fetch.Records[0].Offset != 40 {
		t.Fatalf("behind it: %d", fetch.Records[0].Offset)
	}
}

func TestCommit(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 2)
	f.fill(t, 1, 100, 10, batch.None)
	f.fill(t, 2, 100, 10, batch.None)
	ctx := testContext(t)
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithPositions("g"), WithFetchBytes(1<<10)))
	var calls sync.WaitGroup
	half := 0
	for half < 100 {
		fetch := must[*Fetch](t)(k.Poll(ctx))
		half += len(fetch.Records)
		calls.Add(1)
		k.CommitAsync(func(err error) {
			defer calls.Done()
			if err != nil {
				t.Error(err)
			}
		})
		fetch.Release()
	}
	calls.Wait()
	if err := k.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	at := must[[]Position](t)(k.Committed(ctx))
	if len(at) != 2 || int(at[0].Offset+at[1].Offset) != half {
		t.Fatalf("after %d records committed at %v", half, at)
	}
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	k = must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithPositions("g"), WithFrom(Latest())))
	pollAll(t, k, 200-half, nil)
	if err := k.CommitPositions(ctx, Position{Topic: "t", Partition: 1, Offset: 5, Metadata: "five"}); err != nil {
		t.Fatal(err)
	}
	at = must[[]Position](t)(k.Committed(ctx))
	if at[1].Offset != 5 || at[1].Metadata != "five" {
		t.Fatalf("committed %v", at)
	}
	if err := k.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if at = must[[]Position](t)(k.Committed(ctx)); at[1].Offset != 100 {
		t.Fatalf("Commit after CommitPositions left %v", at)
	}
	none := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}))
	if err := none.Commit(ctx); err == nil {
		t.Fatal("a commit without a group")
	}
}

func TestPollEnds(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}))
	short, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() {
		_, err := k.Poll(short)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatalf("Poll: %v", err)
	}
	go func() {
		_, err := k.Poll(ctx)
		ended <- err
	}()
	if err := k.Close(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, ErrClosed) {
		t.Fatalf("Poll of a closed consumer: %v", err)
	}
	if err := c.DeleteTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
}

func TestConsumerFollowsTopic(t *testing.T) {
	f := newFake(t)
	c := dialFake(t, f)
	newTopic(t, c, "t", 1)
	ctx := testContext(t)
	k := must[*Consumer](t)(c.NewConsumer(ctx, []string{"t"}, WithFrom(Latest()), WithFetchWait(5*time.Millisecond)))
	f.mu.Lock()
	f.grow(f.topics["t"], 2)
	f.mu.Unlock()
	f.fill(t, 2, 10, 10, batch.None)
	c.topics.refresh(ctx)
	if fetch := must[*Fetch](t)(k.Poll(ctx)); fetch.Partition != 1 || fetch.Records[0].Offset != 0 {
		t.Fatalf("an added partition: %d", fetch.Partition)
	}
	if err := c.DeleteTopic(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Poll(ctx); !errors.Is(err, ErrUnknownIndex) {
		t.Fatalf("a deleted topic: %v", err)
	}
}
