package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trimq/trimq/clients/trimq"
)

// kafkaTxn sends values from … to-1 in one transaction, and ends it.
func kafkaTxn(t *testing.T, c *kgo.Client, topic string, from, to int, end kgo.TransactionEndTry) {
	t.Helper()
	if err := c.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	kafkaProduce(t, c, topic, from, to)
	if err := c.EndTransaction(testContext(t), end); err != nil {
		t.Fatal(err)
	}
}

// Committed readers see what was committed, others everything, and nobody a control record.
func TestKafkaTransactions(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "3"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.TransactionalID("shop"))
	const n = 100
	kafkaTxn(t, p, "sales", 0, n, kgo.TryCommit)
	kafkaTxn(t, p, "sales", n, 2*n, kgo.TryAbort)
	kafkaTxn(t, p, "sales", n, 2*n, kgo.TryCommit)
	all := kafkaClient(t, addr, kgo.ConsumeTopics("sales"))
	if list := kafkaConsume(t, all, 3*n); len(list) != 3*n {
		t.Errorf("%d records uncommitted, want %d", len(list), 3*n)
	}
	committed := kafkaClient(t, addr, kgo.ConsumeTopics("sales"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	everyValue(t, kafkaConsume(t, committed, 2*n), 2*n)

	if err := p.BeginTransaction(); err != nil { // what is open now is not read
		t.Fatal(err)
	}
	kafkaProduce(t, p, "sales", 2*n, 2*n+10)
	kafkaConsume(t, all, 10)
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	if list := committed.PollFetches(ctx).Records(); len(list) > 0 {
		t.Errorf("%d records of an open transaction were read", len(list))
	}
	cancel()
	next := kafkaClient(t, addr, kgo.TransactionalID("shop")) // fences p, and aborts what it has open
	kafkaTxn(t, next, "sales", 2*n, 2*n+10, kgo.TryCommit)
	if list := kafkaConsume(t, committed, 10); len(list) != 10 {
		t.Errorf("%d records behind the fence", len(list))
	}
	err := p.EndTransaction(testContext(t), kgo.TryCommit)
	if !errors.Is(err, kerr.ProducerFenced) && !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.InvalidProducerIDMapping) {
		t.Errorf("the commit of a fenced producer: %v", err)
	}
}

// Native consumers, of a partition and of a queue over the topic, see what was committed alone.
func TestKafkaTransactionsNatively(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "1"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.TransactionalID("shop"), kgo.ProducerBatchCompression(kgo.NoCompression()))
	const n = 60
	for i := range 3 {
		kafkaTxn(t, p, "sales", i*n/3, (i+1)*n/3, kgo.TryCommit)
		kafkaTxn(t, p, "sales", n+10*i, n+10*i+10, kgo.TryAbort)
	}
	c, ctx := dial(t, b), testContext(t)
	reads := func() {
		consumer, err := c.NewConsumer(ctx, []string{"sales"})
		if err != nil {
			t.Fatal(err)
		}
		defer consumer.Close(ctx)
		for next := 0; next < n; {
			f, err := consumer.Poll(ctx)
			if err != nil {
				t.Fatalf("at message %d of %d: %v", next, n, err)
			}
			for _, r := range f.Records {
				if string(r.Value) != string(value(next)) {
					t.Fatalf("offset %d holds %q, want %q", r.Offset, r.Value, value(next))
				}
				next++
			}
			f.Release()
		}
		short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		defer cancel()
		if f, err := consumer.Poll(short); err == nil {
			t.Fatalf("%d messages too many, the first %q", len(f.Records), f.Records[0].Value)
		}
	}
	reads()
	for _, tier := range []string{"logicsrv", "persistsrv", "connsrv"} {
		if err := b.Kill(tier); err != nil {
			t.Fatal(err)
		}
		reads()
	}
	q, err := c.Subscribe(ctx, trimq.Subscription{Name: "view", Topic: "sales"})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.BeginTransaction(); err != nil { // what is open comes with its commit
		t.Fatal(err)
	}
	kafkaProduce(t, p, "sales", n, n+5)
	for next := 0; next < n+5; {
		if next == n {
			if err := p.EndTransaction(ctx, kgo.TryCommit); err != nil {
				t.Fatal(err)
			}
		}
		d, err := q.Receive(ctx)
		if err != nil {
			t.Fatalf("at message %d: %v", next, err)
		}
		for _, m := range d.Messages {
			if string(m.Value) != string(value(next)) {
				t.Fatalf("%q is delivered, want %q", m.Value, value(next))
			}
			next++
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "a view that is done with", func() bool {
		queues, err := c.Queues(ctx, "view")
		return err == nil && len(queues) == 1 && queues[0].Ready+queues[0].Unacked == 0
	})
	// A filter skips control records too, and a pull gets none.
	kafkaTxn(t, p, "sales", n+5, n+10, kgo.TryAbort)
	kafkaTxn(t, p, "sales", n+5, n+10, kgo.TryCommit)
	if err := q.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for next := n + 5; next < n+10; {
		list, err := c.Pull(ctx, "view", 100, time.Second, trimq.WithPullAutoAck())
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			for _, m := range d.Messages {
				if string(m.Value) != string(value(next)) {
					t.Fatalf("%q is pulled, want %q", m.Value, value(next))
				}
				next++
			}
		}
	}
}

// transfer moves what it consumes from a topic to another, exactly once, until all n values are there.
func transfer(ctx context.Context, addr, id string, n int, failures chan<- error) {
	s, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(addr), kgo.TransactionalID(id), kgo.ConsumerGroup("movers"), kgo.ConsumeTopics("from"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.TransactionTimeout(10*time.Second), kgo.FetchMaxWait(200*time.Millisecond),
	)
	if err != nil {
		failures <- err
		return
	}
	defer s.Close()
	for ctx.Err() == nil {
		fetches := s.PollFetches(ctx)
		if ctx.Err() != nil {
			break
		}
		if err := s.Begin(); err != nil {
			failures <- fmt.Errorf("begin: %w", err)
			return
		}
		var failed kgo.FirstErrPromise
		fetches.EachRecord(func(r *kgo.Record) {
			s.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: "to", Key: r.Key, Value: r.Value}, failed.Promise())
		})
		end := kgo.TransactionEndTry(failed.Err() == nil)
		if _, err := s.End(context.WithoutCancel(ctx), end); err != nil {
			failures <- fmt.Errorf("end: %w", err)
			return
		}
	}
	failures <- nil
}

// What is consumed, processed and produced in transactions is there once, whatever dies meanwhile.
func TestKafkaExactlyOnce(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "4", "group_initial_delay_ms": "0"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	const n, movers = 3000, 2
	kafkaProduce(t, p, "from", 0, 1)
	kafkaProduce(t, p, "to", n, n+1)
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	failures := make(chan error, movers)
	for i := range movers {
		go transfer(ctx, addr, fmt.Sprintf("mover-%d", i), n, failures)
	}
	go func() {
		for i, tier := range []string{"logicsrv", "persistsrv", "logicsrv", "connsrv", "persistsrv", "logicsrv"} {
			time.Sleep(400 * time.Millisecond)
			if err := b.Kill(tier); err != nil && ctx.Err() == nil {
				t.Errorf("kill %d: %v", i, err)
			}
		}
	}()
	for from := 1; from < n; from += 100 {
		kafkaProduce(t, p, "from", from, min(from+100, n))
		time.Sleep(50 * time.Millisecond)
	}
	c := kafkaClient(t, addr, kgo.ConsumeTopics("to"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	everyValue(t, kafkaConsume(t, c, n+1), n+1)
	stop()
	for range movers {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	quiet, cancel := context.WithTimeout(testContext(t), 500*time.Millisecond)
	defer cancel()
	if list := c.PollFetches(quiet).Records(); len(list) > 0 {
		t.Errorf("%d records too many", len(list))
	}
}
