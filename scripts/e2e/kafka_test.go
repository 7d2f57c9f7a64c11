package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/scripts/broker"
)

// kafkaBroker starts a broker that serves Kafka's clients, and returns their address.
func kafkaBroker(t *testing.T, settings map[string]string) (*broker.Broker, string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{"kafka_listen": fmt.Sprintf("%q", addr)}
	for k, v := range settings {
		all[k] = v
	}
	return started(t, all), addr
}

// kafkaClient is franz-go's client with its default settings.
func kafkaClient(t *testing.T, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addr)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// kafkaProduce sends values from … to-1 to a topic, and waits until all are acknowledged.
func kafkaProduce(t *testing.T, c *kgo.Client, topic string, from, to int) {
	t.Helper()
	ctx := testContext(t)
	failures := make(chan error, to-from)
	for i := from; i < to; i++ {
		c.Produce(ctx, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key %d", i), Value: value(i)}, func(_ *kgo.Record, err error) {
			failures <- err
		})
	}
	for range to - from {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
}

// kafkaConsume polls until n records have come.
func kafkaConsume(t *testing.T, c *kgo.Client, n int) (list []*kgo.Record) {
	t.Helper()
	ctx := testContext(t)
	for len(list) < n {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(list), n, err)
		}
		list = append(list, fetches.Records()...)
	}
	return list
}

// everyValue checks that records hold the values 0 … n-1, each once.
func everyValue(t *testing.T, list []*kgo.Record, n int) {
	t.Helper()
	seen := map[string]int{}
	for _, r := range list {
		seen[string(r.Value)]++
	}
	for i := range n {
		if seen[string(value(i))] != 1 {
			t.Fatalf("%q has come %d times", value(i), seen[string(value(i))])
		}
	}
	if len(list) != n {
		t.Fatalf("%d records, want %d", len(list), n)
	}
}

func TestKafkaProduceAndConsume(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "3"})
	codecs := map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	}
	const n = 500
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codec))
			kafkaProduce(t, p, "topic-"+name, 0, n)
			c := kafkaClient(t, addr, kgo.ConsumeTopics("topic-"+name))
			everyValue(t, kafkaConsume(t, c, n), n)
			kafkaProduce(t, p, "topic-"+name, 0, 1) // what comes while a fetch waits
			if list := kafkaConsume(t, c, 1); string(list[0].Value) != string(value(0)) || list[0].Offset < 1 {
				t.Errorf("%+v", list[0])
			}
		})
	}
}

func TestKafkaAcks(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, nil)
	for name, opts := range map[string][]kgo.Opt{
		"all":    {kgo.RequiredAcks(kgo.AllISRAcks())},
		"leader": {kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite()},
		"none":   {kgo.RequiredAcks(kgo.NoAck()), kgo.DisableIdempotentWrite()},
	} {
		t.Run(name, func(t *testing.T) {
			kafkaProduce(t, kafkaClient(t, addr, append(opts, kgo.AllowAutoTopicCreation())...), name, 0, 100)
			everyValue(t, kafkaConsume(t, kafkaClient(t, addr, kgo.ConsumeTopics(name)), 100), 100)
		})
	}
}

// Large batches go from the socket into the ring; a request holds several of them.
func TestKafkaLargeBatches(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "8"})
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.ProducerLinger(50*time.Millisecond), kgo.ConsumeTopics("large"))
	ctx := testContext(t)
	var records []*kgo.Record
	for i := range 200 {
		records = append(records, &kgo.Record{Topic: "large", Value: append(value(i), make([]byte, 100_000)...)})
	}
	if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
	list := kafkaConsume(t, c, 200)
	for _, r := range list {
		r.Value = r.Value[:len(r.Value)-100_000]
	}
	everyValue(t, list, 200)
}

// Nothing that was acknowledged is lost, nothing is doubled, and no connection is closed.
func TestKafkaSurvivesKills(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2"})
	dials := 0
	dialer := func(ctx context.Context, network, host string) (net.Conn, error) {
		dials++ // one client, whose dials the client itself serialises enough for a count
		return (&net.Dialer{}).DialContext(ctx, network, host)
	}
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("kills"), kgo.Dialer(dialer), kgo.ProducerLinger(0))
	kafkaProduce(t, c, "kills", 0, 1)
	kafkaConsume(t, c, 1)
	before := dials
	ctx, cancel := context.WithCancel(testContext(t))
	failures, sent := make(chan error, 1), 1
	go func() {
		var err error
		for ctx.Err() == nil && err == nil {
			err = c.ProduceSync(context.WithoutCancel(ctx), &kgo.Record{Topic: "kills", Value: value(sent)}).FirstErr()
			sent++
		}
		failures <- err
	}()
	for range 3 {
		for _, tier := range []string{"logicsrv", "persistsrv"} {
			time.Sleep(300 * time.Millisecond)
			if err := b.Kill(tier); err != nil {
				t.Fatal(err)
			}
		}
	}
	time.Sleep(500 * time.Millisecond)
	cancel()
	if err := <-failures; err != nil {
		t.Fatal(err)
	}
	list := kafkaConsume(t, c, sent-1)
	seen := map[string]int{}
	for _, r := range list {
		seen[string(r.Value)]++
	}
	for i := 1; i < sent; i++ {
		if seen[string(value(i))] != 1 {
			t.Fatalf("%q has come %d times, of %d", value(i), seen[string(value(i))], sent)
		}
	}
	if dials != before {
		t.Errorf("%d connections were made anew", dials-before)
	}
}

// When connsrv dies its connections do; clients come again, and what they send again is not doubled.
func TestKafkaConnsrvDies(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, nil)
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("deaths"))
	sent := 0
	for round := range 4 {
		acks := make(chan error, 300)
		for range cap(acks) {
			c.Produce(testContext(t), &kgo.Record{Topic: "deaths", Value: value(sent)}, func(_ *kgo.Record, err error) { acks <- err })
			sent++
		}
		if round > 0 {
			if err := b.Kill("connsrv"); err != nil {
				t.Fatal(err)
			}
		}
		for range cap(acks) {
			if err := <-acks; err != nil {
				t.Fatal(err)
			}
		}
	}
	everyValue(t, kafkaConsume(t, c, sent), sent)
}

func TestKafkaListOffsets(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, nil)
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	ctx := testContext(t)
	at := time.UnixMilli(1_700_000_000_000)
	for batch := range 3 {
		var records []*kgo.Record
		for i := range 10 {
			records = append(records, &kgo.Record{Topic: "times", Value: value(i), Timestamp: at.Add(time.Duration(batch*10+i) * time.Second)})
		}
		if err := c.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range []struct{ time, offset int64 }{
		{-1, 30}, {-2, 0}, {at.UnixMilli(), 0}, {at.UnixMilli() + 1, 1}, {at.UnixMilli() + 15_000, 15}, {at.UnixMilli() + 29_000, 29}, {at.UnixMilli() + 29_001, -1},
	} {
		req := kmsg.NewPtrListOffsetsRequest()
		topic, p := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		req.ReplicaID, topic.Topic, p.Timestamp = -1, "times", row.time
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Topics[0].Partitions[0]; got.Offset != row.offset || got.ErrorCode != 0 {
			t.Errorf("time %d: %+v, want offset %d", row.time, got, row.offset)
		}
	}
}

// Who was told that a message is stored, at less than the topic's level, is told no end below it.
func TestKafkaEndBehindAcks(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, nil)
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.RequiredAcks(kgo.LeaderAck()), kgo.DisableIdempotentWrite(), kgo.DefaultProduceTopic("t"))
	other := kafkaClient(t, addr)
	ctx := testContext(t)
	for n := range int64(100) {
		if err := p.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if n == 50 {
			if err := b.Kill("logicsrv"); err != nil {
				t.Fatal(err)
			}
		}
		req := kmsg.NewPtrListOffsetsRequest()
		topic, part := kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		req.ReplicaID, req.IsolationLevel, topic.Topic, part.Timestamp = -1, int8(n%2), "t", -1
		topic.Partitions = append(topic.Partitions, part)
		req.Topics = append(req.Topics, topic)
		resp, err := req.RequestWith(ctx, other)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Topics[0].Partitions[0]; got.Offset != n+1 || got.ErrorCode != 0 {
			t.Fatalf("%d messages are stored: %+v", n+1, got)
		}
	}
}

// Who fetches from beyond the end starts again where it is told to.
func TestKafkaOffsetOutOfRange(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, nil)
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	kafkaProduce(t, p, "range", 0, 10)
	c := kafkaClient(t, addr, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"range": {0: kgo.NewOffset().At(1000)}}), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	everyValue(t, kafkaConsume(t, c, 10), 10)
	if err := p.ProduceSync(testContext(t), &kgo.Record{Topic: "no/such"}).FirstErr(); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a name that no topic can have: %v", err)
	}
}
