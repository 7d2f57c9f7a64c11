package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/scripts/broker"
)

// soonCompacted are settings of a broker and a topic under which all is compacted at once.
var (
	soonCompacted = map[string]string{"compact_ms": "100", "retention_check_ms": "100"}
	compactedSoon = map[string]string{
		"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "segment.ms": "1", "segment.bytes": "14", "delete.retention.ms": "60000",
	}
)

// compactedTopic makes a topic with a configuration.
func compactedTopic(t *testing.T, c *kgo.Client, name string, partitions int32, configs map[string]string) {
	t.Helper()
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
	for _, key := range slices.Sorted(maps.Keys(configs)) {
		value := configs[key]
		topic.Configs = append(topic.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: &value})
	}
	req.Topics = append(req.Topics, topic)
	resp, err := req.RequestWith(testContext(t), c)
	if err == nil {
		err = kerr.ErrorForCode(resp.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// readTopic reads a partition from its start to the end that it has now, with a client of its own.
func readTopic(t *testing.T, addr, topic string, opts ...kgo.Opt) (list []*kgo.Record) {
	t.Helper()
	c := kafkaClient(t, addr, append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}}), kgo.KeepControlRecords(),
	}, opts...)...)
	end := endOfTopic(t, c, topic)
	ctx := testContext(t)
	for next := int64(0); next < end; {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("at %d of %d: %v", next, end, err)
		}
		for _, r := range fetches.Records() {
			if r.Offset < next {
				t.Fatalf("offset %d follows %d", r.Offset, next-1)
			}
			if next = r.Offset + 1; !r.Attrs.IsControl() {
				list = append(list, r)
			}
		}
	}
	return list
}

// endOfTopic is the end of a topic's partition 0.
func endOfTopic(t *testing.T, c *kgo.Client, topic string) int64 {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	req.ReplicaID = -1
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp = -1
	req.Topics = append(req.Topics, kmsg.ListOffsetsRequestTopic{Topic: topic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}})
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].Partitions[0].Offset
}

// compactedDown waits until a topic has no more records than so many.
func compactedDown(t *testing.T, addr, topic string, most int) []*kgo.Record {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		list := readTopic(t, addr, topic)
		if len(list) <= most {
			return list
		}
		if time.Now().After(until) {
			t.Fatalf("%d records are still there, want %d at most", len(list), most)
		}
	}
}

// lastOf is what each key was set to last.
type lastOf map[string]string

// holds checks that of each key the last value is there, as a reader who goes through all finds it.
func (m lastOf) holds(t *testing.T, list []*kgo.Record) {
	t.Helper()
	got := lastOf{}
	for _, r := range list {
		if got[string(r.Key)] = string(r.Value); r.Value == nil {
			delete(got, string(r.Key))
		}
	}
	if !maps.Equal(got, m) {
		for k, v := range m {
			if got[k] != v {
				t.Errorf("%s = %q, want %q", k, got[k], v)
			}
		}
		t.Fatalf("%d keys are there, want %d", len(got), len(m))
	}
}

// update sends values of random keys, some of them deletions, and keeps what they are.
func (m lastOf) update(t *testing.T, c *kgo.Client, topic string, n int, dice *rand.Rand) {
	t.Helper()
	ctx := testContext(t)
	failures := make(chan error, n)
	for i := range n {
		key, value := fmt.Sprint("key ", dice.IntN(40)), fmt.Sprintf("value %d %d", i, dice.IntN(1000))
		r := &kgo.Record{Topic: topic, Key: []byte(key), Value: []byte(value)}
		if m[key] = value; dice.IntN(10) == 0 {
			r.Value = nil
			delete(m, key)
		}
		c.Produce(ctx, r, func(_ *kgo.Record, err error) { failures <- err })
	}
	for range n {
		if err := <-failures; err != nil {
			t.Fatal(err)
		}
	}
}

func TestKafkaCompaction(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, soonCompacted)
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		t.Run(name, func(t *testing.T) {
			topic, dice, last := "compacted-"+name, rand.New(rand.NewPCG(1, 2)), lastOf{}
			p := kafkaClient(t, addr, kgo.ProducerBatchCompression(codec), kgo.MaxBufferedRecords(50))
			compactedTopic(t, p, topic, 1, compactedSoon)
			for range 5 {
				last.update(t, p, topic, 300, dice)
				last.holds(t, readTopic(t, addr, topic))
			}
			last.holds(t, compactedDown(t, addr, topic, 150))
			last.update(t, p, topic, 10, dice) // the idempotent producer goes on
			last.holds(t, readTopic(t, addr, topic))
		})
	}
	if err := b.Kill("persistsrv"); err != nil {
		t.Fatal(err)
	}
	verifyLog(t, b)
}

// verifyLog checks everything below a broker's data directory, while it works.
func verifyLog(t *testing.T, b *broker.Broker) {
	t.Helper()
	sum, err := commitlog.Verify(commitlog.DirFS(filepath.Join(b.Dir, "data")), func(f commitlog.Finding) {
		if f.Severity == commitlog.Error {
			t.Errorf("%+v", f)
		}
	})
	if err != nil || sum.Packs == 0 {
		t.Fatalf("%+v %v", sum, err)
	}
}

func TestKafkaCompactionWhileDaemonsDie(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, soonCompacted)
	const topic = "compacted"
	dice, last := rand.New(rand.NewPCG(3, 4)), lastOf{}
	p := kafkaClient(t, addr, kgo.MaxBufferedRecords(50))
	compactedTopic(t, p, topic, 1, compactedSoon)
	var done atomic.Bool
	readers := make(chan error, 1)
	go func() { // reads all the time, from the start, over and over
		defer close(readers)
		for !done.Load() {
			readTopic(t, addr, topic)
		}
	}()
	for i := range 6 {
		last.update(t, p, topic, 400, dice)
		if err := b.Kill([]string{"persistsrv", "logicsrv", "persistsrv"}[i%3]); err != nil {
			t.Fatal(err)
		}
	}
	last.update(t, p, topic, 100, dice)
	done.Store(true)
	<-readers
	last.holds(t, compactedDown(t, addr, topic, 200))
	verifyLog(t, b)
}

func TestKafkaCompactionOfTransactions(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, soonCompacted)
	const topic = "compacted"
	compactedTopic(t, kafkaClient(t, addr), topic, 1, compactedSoon)
	p := kafkaClient(t, addr, kgo.TransactionalID("t"), kgo.DefaultProduceTopic(topic))
	ctx, last := testContext(t), lastOf{}
	for i := range 40 {
		if err := p.BeginTransaction(); err != nil {
			t.Fatal(err)
		}
		key, value, commit := fmt.Sprint("key ", i%5), fmt.Sprint("value ", i), i%3 != 2
		if err := p.ProduceSync(ctx, kgo.KeyStringRecord(key, value)).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := p.EndTransaction(ctx, kgo.TransactionEndTry(commit)); err != nil {
			t.Fatal(err)
		}
		if commit {
			last[key] = value
		}
	}
	compactedDown(t, addr, topic, 8) // among them what was aborted last, perhaps
	last.holds(t, readTopic(t, addr, topic, kgo.FetchIsolationLevel(kgo.ReadCommitted())))
	verifyLog(t, b)
}

func TestKafkaRefusesRecordsWithoutKey(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, soonCompacted)
	p := kafkaClient(t, addr, kgo.DefaultProduceTopic("compacted"), kgo.RecordRetries(1))
	compactedTopic(t, p, "compacted", 1, compactedSoon)
	err := p.ProduceSync(testContext(t), kgo.StringRecord("no key")).FirstErr()
	if !errors.Is(err, kerr.InvalidRecord) {
		t.Fatalf("a record without a key: %v", err)
	}
	if err := p.ProduceSync(testContext(t), kgo.KeyStringRecord("k", "v")).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// Records whose times lie too far off are refused, from the moment on at which the topic says so.
func TestKafkaRefusesTimes(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, nil)
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("timed"), kgo.RecordRetries(1))
	ctx := testContext(t)
	at := func(ago time.Duration) error {
		return p.ProduceSync(ctx, &kgo.Record{Value: []byte("v"), Timestamp: time.Now().Add(-ago)}).FirstErr()
	}
	if err := at(48 * time.Hour); err != nil {
		t.Fatal(err)
	}
	kafkaAlter(t, p, "timed", "message.timestamp.before.max.ms", "3600000", "message.timestamp.after.max.ms", "60000")
	for _, ago := range []time.Duration{48 * time.Hour, -time.Hour} {
		if err := at(ago); !errors.Is(err, kerr.InvalidTimestamp) {
			t.Errorf("a record of %v ago: %v", ago, err)
		}
	}
	if err := at(0); err != nil {
		t.Fatal(err)
	}
}
