package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/clients/trimq"
)

// One world: what is sent over one protocol is read over another, as docs/interop.md has it.

// shown is a record as either side shows it: null and empty are told apart, headers are in order.
func shown(key, value []byte, ms int64, headers ...string) string {
	word := func(b []byte) string {
		if b == nil {
			return "null"
		}
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%s=%s at %d %s", word(key), word(value), ms, headers)
}

func shownKafka(r *kgo.Record) string {
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, h.Key+":"+string(h.Value))
	}
	return shown(r.Key, r.Value, r.Timestamp.UnixMilli(), headers...)
}

func shownNative(r *trimq.Record) string {
	var headers []string
	for _, h := range r.Headers {
		headers = append(headers, h.Key+":"+string(h.Value))
	}
	return shown(r.Key, r.Value, r.TimeMS, headers...)
}

// sameRecords compares what was read with what was sent, in any order.
func sameRecords(t *testing.T, got []string, want ...string) {
	t.Helper()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("read\n  %s\nsent\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

// nativeRead reads n records of a topic with the native client.
func nativeRead(t *testing.T, c *trimq.Client, topic string, n int) (list []string) {
	t.Helper()
	ctx := testContext(t)
	k, err := c.NewConsumer(ctx, []string{topic})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close(ctx)
	for len(list) < n {
		f, err := k.Poll(ctx)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(list), n, err)
		}
		for i := range f.Records {
			list = append(list, shownNative(&f.Records[i]))
		}
		f.Release()
	}
	return list
}

// receive takes n messages of a queue and acknowledges them; each is given to f.
func receive(t *testing.T, q *trimq.QueueConsumer, n int, f func(*trimq.Deliveries, *trimq.Record)) {
	t.Helper()
	ctx := testContext(t)
	for n > 0 {
		d, err := q.Receive(ctx)
		if err != nil {
			t.Fatalf("%d are missing: %v", n, err)
		}
		for i := range d.Messages {
			f(d, &d.Messages[i])
			n--
		}
		if err := d.Ack(); err != nil {
			t.Fatal(err)
		}
		d.Release()
	}
	if err := q.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// both starts a broker with a client of each kind; what the Kafka client consumes begins at the front.
func both(t *testing.T, opts ...kgo.Opt) (*trimq.Client, *kgo.Client, string) {
	t.Helper()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2", "group_initial_delay_ms": "0", "group_heartbeat_ms": "300"})
	opts = append(opts, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AllowAutoTopicCreation())
	return dial(t, b), kafkaClient(t, addr, opts...), addr
}

// What native clients produce to a topic, Kafka's consumers read: keys, values, headers and times.
func TestInteropNativeToKafka(t *testing.T) {
	t.Parallel()
	c, k, _ := both(t, kgo.ConsumeTopics("topic"))
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "topic", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_123)
	var want []string
	for _, opts := range [][]trimq.ProducerOption{nil, {trimq.WithZstd()}} {
		p, err := c.NewProducer(opts...)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []trimq.Message{
			{Key: []byte("key"), Value: []byte("value"), Headers: []trimq.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}, {Key: "a", Value: []byte("2")}}},
			{Key: []byte("gone")}, // a tombstone
			{Value: []byte{}},
			{Key: []byte("large"), Value: []byte(strings.Repeat("x", 100_000))},
		} {
			m.Topic, m.Time = "topic", at
			if _, err := p.ProduceSync(ctx, &m); err != nil {
				t.Fatal(err)
			}
			r := trimq.Record{TimeMS: at.UnixMilli(), Key: m.Key, Value: m.Value, Headers: m.Headers}
			want = append(want, shownNative(&r))
		}
		if err := p.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range kafkaConsume(t, k, len(want)) {
		got = append(got, shownKafka(r))
	}
	sameRecords(t, got, want...)
}

// What Kafka's producers send, in any codec, native consumers read; keys lie in the partitions where
// native producers put them.
func TestInteropKafkaToNative(t *testing.T) {
	t.Parallel()
	c, _, addr := both(t)
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "topic", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	var want []string
	places := map[string]int32{}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		p := kafkaClient(t, addr, kgo.ProducerBatchCompression(codec), kgo.DefaultProduceTopic("topic"))
		for _, r := range []*kgo.Record{
			{Key: []byte(name), Value: []byte(strings.Repeat("value ", 50)), Headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte{}}, {Key: "null"}}},
			{Key: []byte(name)}, // a tombstone
			{Value: []byte(name)},
			{Value: []byte{}},
		} {
			r.Timestamp = time.UnixMilli(1_700_000_000_123)
			if err := p.ProduceSync(ctx, r).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if want = append(want, shownKafka(r)); r.Key != nil {
				places[name] = r.Partition
			}
		}
	}
	sameRecords(t, nativeRead(t, c, "topic", len(want)), want...)
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for key, partition := range places {
		if r, err := p.ProduceSync(ctx, &trimq.Message{Topic: "topic", Key: []byte(key)}); err != nil || int32(r.Partition) != partition {
			t.Errorf("key %s: partition %d, %v; Kafka's client has chosen %d", key, r.Partition, err, partition)
		}
	}
}

// What is published to an exchange reaches the topics that are bound to it, and so Kafka's consumers:
// the routing key chooses the partition, a delay counts, priority and time to live do not.
func TestInteropExchangeToKafka(t *testing.T) {
	t.Parallel()
	c, k, _ := both(t, kgo.ConsumeTopics("orders"))
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "orders", Partitions: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateBinding(ctx, trimq.BindingSpec{Exchange: "amq.topic", Queue: "orders", RoutingKey: "order.#"}); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 10 {
		m := trimq.Message{Exchange: "amq.topic", RoutingKey: fmt.Sprint("order.", i%3), Value: value(i), Priority: uint8(i % 2), TTL: trimq.ExpireAfter(time.Millisecond)}
		m.Headers = []trimq.Header{{Key: "n", Value: fmt.Append(nil, i)}}
		if i == 9 {
			m.Exchange, m.RoutingKey, m.Delay = "", "orders", 300*time.Millisecond // the default exchange knows topics by name
		}
		if r, err := p.ProduceSync(ctx, &m); err != nil || r.Queues != 1 {
			t.Fatalf("%+v %v", r, err)
		}
		want = append(want, string(value(i)))
	}
	if _, err := p.ProduceSync(ctx, &trimq.Message{Exchange: "amq.topic", RoutingKey: "other", Value: []byte("x"), Mandatory: true}); err == nil {
		t.Error("what matches no binding reaches something")
	}
	var got []string
	at := map[string]map[int32]bool{}
	for _, r := range kafkaConsume(t, k, 10) {
		var n int
		if _, err := fmt.Sscan(string(r.Headers[0].Value), &n); err != nil || r.Headers[0].Key != "n" {
			t.Fatalf("headers %v", r.Headers)
		}
		if got = append(got, string(r.Value)); n < 9 {
			key := fmt.Sprint("order.", n%3)
			if at[key] == nil {
				at[key] = map[int32]bool{}
			}
			at[key][r.Partition] = true
		}
	}
	sameRecords(t, got, want...)
	// Who takes them from a queue over the topic is told how they were published.
	q, err := c.Subscribe(ctx, trimq.Subscription{Name: "orders-sub", Topic: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, q, 10, func(d *trimq.Deliveries, m *trimq.Record) {
		var n int
		if _, err := fmt.Sscan(string(m.Headers[0].Value), &n); err != nil {
			t.Fatal(err)
		}
		if n < 9 && (d.Exchange != "amq.topic" || d.RoutingKey != fmt.Sprint("order.", n%3) || int(d.Priority) != n%2) {
			t.Errorf("%s is told to be of %q, key %q, priority %d", m.Value, d.Exchange, d.RoutingKey, d.Priority)
		}
	})
	for key, partitions := range at {
		if len(partitions) != 1 {
			t.Errorf("messages of routing key %s lie in partitions %v", key, slices.Collect(maps.Keys(partitions)))
		}
	}
}

// A queue over a topic works off what Kafka's producers send, with a selector over record headers; who
// puts back gets it again; what is rejected goes to a dead-letter topic, which Kafka's consumers read.
func TestInteropKafkaToQueue(t *testing.T) {
	t.Parallel()
	c, k, addr := both(t, kgo.ConsumeTopics("dead"))
	ctx := testContext(t)
	for _, name := range []string{"topic", "dead"} {
		if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: name, Partitions: 2}); err != nil {
			t.Fatal(err)
		}
	}
	for _, codec := range []kgo.CompressionCodec{kgo.GzipCompression(), kgo.NoCompression()} {
		p := kafkaClient(t, addr, kgo.ProducerBatchCompression(codec))
		var records []*kgo.Record
		for i := range 20 {
			records = append(records, &kgo.Record{Topic: "topic", Value: value(i), Headers: []kgo.RecordHeader{{Key: "price", Value: fmt.Append(nil, i)}}})
		}
		if err := p.ProduceSync(ctx, records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	spec := trimq.QueueSpec{Name: "dear", QueueSettings: trimq.QueueSettings{
		Durable: true, Topic: "topic", FilterKind: trimq.FilterSelector, Filter: "price >= 15", DeadLetter: true, DeadLetterKey: "dead",
	}}
	q, err := c.DeclareAndConsume(ctx, spec)
	if err != nil {
		t.Fatal(err)
	}
	back, seen := map[string]bool{}, map[string]int{}
	for done := 0; done < 10; {
		d, err := q.Receive(ctx)
		if err != nil {
			t.Fatalf("after %v: %v", seen, err)
		}
		for i := range d.Messages {
			m := &d.Messages[i]
			key := fmt.Sprint(d.Index, "/", m.Offset)
			switch {
			case !back[key]:
				back[key] = true
				err = q.Nack(d.Index, m.Offset)
			case string(m.Value) == string(value(17)):
				done++
				err = q.Reject(d.Index, m.Offset)
			default:
				if done++; d.Attempts != 1 {
					t.Errorf("%s came back and has %d attempts", m.Value, d.Attempts)
				}
				seen[string(m.Value)]++
				err = q.Ack(d.Index, m.Offset)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		d.Release()
	}
	if len(seen) != 4 || seen[string(value(15))] != 2 {
		t.Errorf("seen %v", seen)
	}
	for _, r := range kafkaConsume(t, k, 2) {
		if string(r.Value) != string(value(17)) || string(r.Headers[0].Value) != "17" {
			t.Errorf("a dead letter: %s", shownKafka(r))
		}
	}
}

// Positions of a group are the same for both: where one has committed the other goes on.
func TestInteropGroups(t *testing.T) {
	t.Parallel()
	c, k, addr := both(t)
	ctx := testContext(t)
	kafkaProduce(t, k, "topic", 0, 50)
	g := kafkaClient(t, addr, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("topic"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	kafkaConsume(t, g, 50)
	if err := g.CommitUncommittedOffsets(ctx); err != nil {
		t.Fatal(err)
	}
	list, err := c.Memberships(ctx, "g")
	if err != nil || len(list) != 1 || len(list[0].Members) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	g.Close()
	kafkaProduce(t, k, "topic", 50, 60)
	n, err := c.NewConsumer(ctx, []string{"topic"}, trimq.WithGroup("g"), trimq.WithFrom(trimq.Earliest()))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 10 {
		f, err := n.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for i := range f.Records {
			got = append(got, string(f.Records[i].Value))
		}
		f.Release()
	}
	if err := n.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(ctx); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := 50; i < 60; i++ {
		want = append(want, string(value(i)))
	}
	sameRecords(t, got, want...)
	kafkaProduce(t, k, "topic", 60, 65)
	g = kafkaClient(t, addr, kgo.ConsumerGroup("g"), kgo.ConsumeTopics("topic"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for _, r := range kafkaConsume(t, g, 5) {
		if !slices.Contains([]string{string(value(60)), string(value(61)), string(value(62)), string(value(63)), string(value(64))}, string(r.Value)) {
			t.Errorf("%s has come again", r.Value)
		}
	}
}

// A native consumer works beside the members of a share group, on the group's own queue.
func TestInteropShareGroup(t *testing.T) {
	t.Parallel()
	c, k, addr := both(t)
	ctx := testContext(t)
	kafkaProduce(t, k, "topic", 0, 30)
	configureGroup(t, k, "g", "share.auto.offset.reset", "earliest")
	member := kafkaClient(t, addr, kgo.ShareGroup("g"), kgo.ConsumeTopics("topic"))
	seen := map[string]int{}
	for len(seen) < 30 {
		for _, r := range member.PollRecords(ctx, 10).Records() {
			seen[string(r.Value)]++
			r.Ack(kgo.AckAccept)
		}
	}
	if err := member.FlushAcks(ctx); err != nil {
		t.Fatal(err)
	}
	member.Close()
	kafkaProduce(t, k, "topic", 30, 40)
	q, err := c.ConsumeQueue(ctx, "share/g/topic")
	if err != nil {
		t.Fatal(err)
	}
	receive(t, q, 10, func(_ *trimq.Deliveries, m *trimq.Record) { seen[string(m.Value)]++ })
	for i := range 40 {
		if seen[string(value(i))] != 1 {
			t.Errorf("%s has come %d times", value(i), seen[string(value(i))])
		}
	}
	req := kmsg.NewPtrDescribeShareGroupOffsetsRequest()
	req.Groups = []kmsg.DescribeShareGroupOffsetsRequestGroup{{GroupID: "g"}}
	resp, err := req.RequestWith(ctx, k)
	if err != nil || len(resp.Groups[0].Topics) != 1 {
		t.Fatalf("%+v %v", resp, err)
	}
	for _, p := range resp.Groups[0].Topics[0].Partitions {
		if p.Lag != 0 {
			t.Errorf("partition %d: %d records are not done with", p.Partition, p.Lag)
		}
	}
}

// Messages of a native transaction are there for Kafka's consumers when it is committed, and not before;
// those of one that was rolled back never.
func TestInteropTransactions(t *testing.T) {
	t.Parallel()
	c, k, _ := both(t, kgo.ConsumeTopics("topic"), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	ctx := testContext(t)
	if _, err := c.CreateTopic(ctx, trimq.TopicSpec{Name: "topic", Partitions: 1}); err != nil {
		t.Fatal(err)
	}
	p, err := c.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for i, commit := range []bool{false, true} {
		x, err := p.BeginTxn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Produce(ctx, &trimq.Message{Topic: "topic", Value: fmt.Append(nil, "in transaction ", i)}, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.Flush(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := p.ProduceSync(ctx, &trimq.Message{Topic: "topic", Value: fmt.Append(nil, "beside ", i)}); err != nil {
			t.Fatal(err)
		}
		end := x.Rollback
		if commit {
			end = x.Commit
		}
		if err := end(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, r := range kafkaConsume(t, k, 3) {
		got = append(got, string(r.Value))
	}
	if want := []string{"beside 0", "beside 1", "in transaction 1"}; !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
}
