package e2e

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/scripts/broker"
)

// wornTopic is the topic of these tests.
const wornTopic = "worn"

// worn is a topic of which compaction has left little: between the records that are there are gaps of all kinds.
type worn struct {
	b     *broker.Broker
	kafka string         // the address
	amqp  string         // the URL
	sent  []*kgo.Record  // all that there were, by offset
	left  []*kgo.Record  // those that are there, in order
	at    map[int64]bool // their offsets
}

// wearDown makes one: in each round news of some of the keys, in batches of several records and of one. What is an hour
// old at the most is not removed by time.
func wearDown(t *testing.T) *worn {
	t.Helper()
	addr, err := broker.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	settings := maps.Clone(soonCompacted)
	settings["amqp_listen"] = fmt.Sprintf("%q", addr)
	w := &worn{amqp: "amqp://guest:guest@" + addr + "/", at: map[int64]bool{}}
	w.b, w.kafka = kafkaBroker(t, settings)
	p := kafkaClient(t, w.kafka, kgo.DefaultProduceTopic(wornTopic))
	configs := maps.Clone(compactedSoon)
	configs["cleanup.policy"] = "compact,delete"
	compactedTopic(t, p, wornTopic, 1, configs)
	began := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
	last := map[string]int64{}
	for round := range 12 {
		var together []*kgo.Record
		for key := range 20 {
			if (key*7+round)%3 == 0 || key < round && key%2 == 0 {
				continue // no news
			}
			last[fmt.Sprint(key)] = int64(len(w.sent))
			together = append(together, w.news(fmt.Sprint(key), began))
		}
		for n := 1 + round%3*4; len(together) > 0; together = together[min(n, len(together)):] {
			if err := p.ProduceSync(testContext(t), together[:min(n, len(together))]...).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	last["end"] = int64(len(w.sent)) // in a batch of its own: the last one stays as it is
	if err := p.ProduceSync(testContext(t), w.news("end", began)).FirstErr(); err != nil {
		t.Fatal(err)
	}
	want := slices.Sorted(maps.Values(last))
	eventually(t, "nothing but the last record of each key", func() bool {
		w.left = readTopic(t, w.kafka, wornTopic)
		return slices.EqualFunc(w.left, want, func(r *kgo.Record, offset int64) bool { return r.Offset == offset })
	})
	eventually(t, "no file that compaction has replaced", func() bool { return noneCovered(t, w.b) })
	time.Sleep(500 * time.Millisecond) // readers look for other files five times in a second
	for _, r := range w.left {
		w.at[r.Offset] = true
	}
	return w
}

// noneCovered tells whether no index has a file any more for which a compacted one stands: some may read it yet.
func noneCovered(t *testing.T, b *broker.Broker) bool {
	t.Helper()
	data := commitlog.DirFS(filepath.Join(b.Dir, "data"))
	ids, err := commitlog.ListIndexes(data)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		bases, err := commitlog.ListIndexFiles(data, id)
		for covered := uint64(0); len(bases) > 0 && err == nil; bases = bases[1:] {
			if bases[0] < covered {
				return false
			}
			var h commitlog.IndexHeader
			var entries []commitlog.Entry
			if h, entries, _, err = commitlog.ReadIndexFile(data, id, bases[0]); err == nil {
				covered, err = commitlog.CoveredTo(data, &h, entries)
			}
		}
		if err != nil {
			return false // it was replaced just now
		}
	}
	return true
}

// news is the next record, of a key.
func (w *worn) news(key string, began time.Time) *kgo.Record {
	r := kgo.KeySliceRecord([]byte(key), value(len(w.sent)))
	r.Timestamp = began.Add(time.Duration(len(w.sent)) * 10 * time.Second)
	w.sent = append(w.sent, r)
	return r
}

// from are the records that are there from an offset on.
func (w *worn) from(offset int64) []*kgo.Record {
	i, _ := slices.BinarySearchFunc(w.left, offset, func(r *kgo.Record, offset int64) int { return int(r.Offset - offset) })
	return w.left[i:]
}

// gap is an offset in a gap, with records before and behind it.
func (w *worn) gap(t *testing.T) int64 {
	t.Helper()
	for o := w.left[1].Offset + 1; o < w.left[len(w.left)-1].Offset; o++ {
		if !w.at[o] {
			return o
		}
	}
	t.Fatal("there is no gap")
	return 0
}

// TestReadersOfACompactedTopic: every kind of reader is given what is there, once and in order, and passes over what is
// gone.
func TestReadersOfACompactedTopic(t *testing.T) {
	t.Parallel()
	w := wearDown(t)
	for name, test := range map[string]func(t *testing.T, w *worn){
		"AMQP stream": streamOverGaps, "AMQP queue": amqpQueueOverGaps, "AMQP get": amqpGetOverGaps, "native queue": nativeQueueOverGaps, "native log": logOverGaps,
		"share group": shareGroupOverGaps, "offsets by time": timesOverGaps,
	} {
		t.Run(name, func(t *testing.T) { test(t, w) })
	}
	t.Run("deletion up to a gap", func(t *testing.T) { deleteIntoGap(t, w) })
	verifyLog(t, w.b)
}

func streamOverGaps(t *testing.T, w *worn) {
	c := amqpDial(t, w.amqp)
	gap := w.gap(t)
	// Times are told in seconds; records are ten seconds apart. A stream begins with the batch that has, or had, a record
	// of that time.
	between := w.sent[gap].Timestamp.Add(time.Second)
	for _, from := range []struct {
		offset any
		want   []*kgo.Record
	}{{"first", w.left}, {gap, w.from(gap)}, {between, w.from(gap + 1)}} {
		ch := amqpChannel(t, c)
		deliveries := streamConsume(t, ch, wornTopic, 7, from.offset)
		for _, want := range from.want {
			d := amqpNext(t, deliveries)
			for from.offset == between && d.Headers["x-stream-offset"].(int64) < gap {
				if err := d.Ack(false); err != nil {
					t.Fatal(err)
				}
				d = amqpNext(t, deliveries)
			}
			if d.Headers["x-stream-offset"] != want.Offset || string(d.Body) != string(want.Value) {
				t.Fatalf("from %v: %q came with %v, it should be offset %d", from.offset, d.Body, d.Headers, want.Offset)
			}
			if err := d.Ack(false); err != nil {
				t.Fatal(err)
			}
		}
		if err := ch.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// queueOver makes a queue over the topic.
func (w *worn) queueOver(t *testing.T, name string) *trimq.Client {
	t.Helper()
	c := dial(t, w.b)
	if _, err := c.CreateQueue(testContext(t), trimq.QueueSpec{Name: name, QueueSettings: trimq.QueueSettings{Durable: true, Topic: wornTopic}}); err != nil {
		t.Fatal(err)
	}
	return c
}

func amqpQueueOverGaps(t *testing.T, w *worn) {
	w.queueOver(t, "worn-amqp")
	ch := amqpChannel(t, amqpDial(t, w.amqp))
	if err := ch.Qos(5, 0, false); err != nil {
		t.Fatal(err)
	}
	deliveries, err := ch.Consume("worn-amqp", "", false, false, false, false, amqp.Table{})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range w.left {
		d := amqpNext(t, deliveries)
		if string(d.Body) != string(want.Value) {
			t.Fatalf("message %d is %q, want %q", i, d.Body, want.Value)
		}
		if err := d.Ack(false); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "an empty queue", func() bool { return amqpCount(t, ch, "worn-amqp") == 0 })
}

func amqpGetOverGaps(t *testing.T, w *worn) {
	w.queueOver(t, "worn-get")
	ch := amqpChannel(t, amqpDial(t, w.amqp))
	for i, want := range w.left {
		var d amqp.Delivery
		eventually(t, fmt.Sprintf("message %d", i), func() (ok bool) {
			var err error
			if d, ok, err = ch.Get("worn-get", true); err != nil {
				t.Fatal(err)
			}
			return ok
		})
		if string(d.Body) != string(want.Value) {
			t.Fatalf("message %d is %q, want %q", i, d.Body, want.Value)
		}
	}
	if _, ok, err := ch.Get("worn-get", true); ok || err != nil {
		t.Errorf("there is one more: %v %v", ok, err)
	}
}

func nativeQueueOverGaps(t *testing.T, w *worn) {
	c := w.queueOver(t, "worn-native")
	ctx := testContext(t)
	k, err := c.ConsumeQueue(ctx, "worn-native", trimq.WithPrefetch(4))
	if err != nil {
		t.Fatal(err)
	}
	for left := w.left; len(left) > 0; {
		p, err := k.Receive(ctx)
		if err != nil {
			t.Fatalf("with %d messages left: %v", len(left), err)
		}
		for _, m := range p.Messages {
			if int64(m.Offset) != left[0].Offset || string(m.Value) != string(left[0].Value) {
				t.Fatalf("offset %d holds %q, want %q at offset %d", m.Offset, m.Value, left[0].Value, left[0].Offset)
			}
			if err := k.Ack(p.Index, m.Offset); err != nil {
				t.Fatal(err)
			}
			left = left[1:]
		}
		p.Release()
	}
	if err := k.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a queue in which nothing waits", func() bool {
		q, err := c.Queues(ctx, "worn-native")
		if err != nil {
			t.Fatal(err)
		}
		return q[0].Ready == 0 && q[0].Unacked == 0
	})
}

func logOverGaps(t *testing.T, w *worn) {
	ctx := testContext(t)
	c := dial(t, w.b)
	gap := w.gap(t)
	for _, from := range []int64{0, gap} {
		k, err := c.NewConsumer(ctx, []string{wornTopic})
		if err == nil {
			err = k.Seek(ctx, wornTopic, 0, trimq.AtOffset(uint64(from)))
		}
		if err != nil {
			t.Fatal(err)
		}
		for left := w.from(from); len(left) > 0; {
			f, err := k.Poll(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range f.Records {
				if int64(r.Offset) != left[0].Offset || string(r.Value) != string(left[0].Value) {
					t.Fatalf("offset %d holds %q, want %q at offset %d", r.Offset, r.Value, left[0].Value, left[0].Offset)
				}
				left = left[1:]
			}
			f.Release()
		}
		if err := k.Close(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

func shareGroupOverGaps(t *testing.T, w *worn) {
	g := newShareGroup(t, w.kafka, "worn-share", wornTopic)
	g.join()
	g.join()
	eventually(t, "all that is there", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.accepted) >= len(w.left)
	})
	g.leave()
	for _, r := range w.left {
		if g.accepted[string(r.Value)] != 1 {
			t.Errorf("%q was accepted %d times", r.Value, g.accepted[string(r.Value)])
		}
	}
	if len(g.accepted) != len(w.left) {
		t.Errorf("%d values were accepted, %d are there", len(g.accepted), len(w.left))
	}
}

// offsetAt asks for the offset of a time, or of one of the times that stand for something else.
func (w *worn) offsetAt(t *testing.T, c *kgo.Client, ms int64) (offset, timeMS int64) {
	t.Helper()
	req := kmsg.NewPtrListOffsetsRequest()
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Timestamp = ms
	req.ReplicaID, req.Topics = -1, []kmsg.ListOffsetsRequestTopic{{Topic: wornTopic, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	p := &resp.Topics[0].Partitions[0]
	return p.Offset, p.Timestamp
}

// The times that stand for the latest time, and for the earliest offset.
const (
	atMaxTime  = -3
	atEarliest = -2
)

func timesOverGaps(t *testing.T, w *worn) {
	c := kafkaClient(t, w.kafka)
	for i, r := range w.sent {
		want := w.from(int64(i))[0]
		for _, ms := range []int64{r.Timestamp.UnixMilli(), r.Timestamp.UnixMilli() - 1} {
			if offset, at := w.offsetAt(t, c, ms); offset != want.Offset || at != want.Timestamp.UnixMilli() {
				t.Fatalf("the time of offset %d is that of offset %d at %d, want offset %d at %d", i, offset, at, want.Offset, want.Timestamp.UnixMilli())
			}
		}
	}
	last := w.left[len(w.left)-1]
	if offset, at := w.offsetAt(t, c, atMaxTime); offset != last.Offset || at != last.Timestamp.UnixMilli() {
		t.Errorf("the latest time is that of offset %d at %d, want offset %d at %d", offset, at, last.Offset, last.Timestamp.UnixMilli())
	}
	if offset, _ := w.offsetAt(t, c, last.Timestamp.UnixMilli()+1); offset != -1 {
		t.Errorf("behind all times there is offset %d", offset)
	}
}

func deleteIntoGap(t *testing.T, w *worn) {
	c := kafkaClient(t, w.kafka)
	gap := w.gap(t)
	req := kmsg.NewPtrDeleteRecordsRequest()
	req.TimeoutMillis = 10_000
	req.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: wornTopic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: gap}}}}
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	want := w.from(gap)
	eventually(t, "a later beginning", func() bool {
		start, _ := w.offsetAt(t, c, atEarliest)
		return start >= gap && start <= want[0].Offset
	})
	// A pass that was under way, or comes now, brings nothing back.
	for range 5 {
		got := readTopic(t, w.kafka, wornTopic)
		if !slices.EqualFunc(got, want, func(a, b *kgo.Record) bool { return a.Offset == b.Offset }) {
			t.Fatalf("%d records are there from offset %d on, want %d from %d on", len(got), got[0].Offset, len(want), want[0].Offset)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
