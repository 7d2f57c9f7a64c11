package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trimq/trimq/clients/trimq"
)

// Kafka's clients: franz-go, which works at the same partitions as native clients do. What is noted and how
// it is judged is the same; what a group reads is in kafka_group.go.

// kafkaLoad is a run in which Kafka's clients work beside native ones, at what the load topics has.
type kafkaLoad struct{ *world }

// kafkaSettings let groups of half a minute have a life, and serve Kafka's clients at an address.
func kafkaSettings(addr string) map[string]string {
	return map[string]string{
		"kafka_listen": fmt.Sprintf("%q", addr), "group_initial_delay_ms": "0", "group_heartbeat_ms": "300", "group_session_timeout_ms": "6000",
	}
}

// employ starts the clients.
func (w kafkaLoad) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	for i, s := range []kafkaStyle{
		{acks: kgo.AllISRAcks(), next: toTopic("disk", 3)}, {acks: kgo.AllISRAcks(), next: toTopic("disk", 3)},
		{acks: kgo.AllISRAcks(), next: toTopic("page", 2)}, {acks: kgo.AllISRAcks(), next: toKeyed, keyed: true},
		{acks: kgo.LeaderAck(), next: toTopic("page", 2), plain: true}, {acks: kgo.AllISRAcks(), next: toTopic("disk", 3), plain: true},
	} {
		run(func(r *rand.Rand) { w.produceKafka(fmt.Sprintf("kafka-%d", i), s, r, time.Hour) })
	}
	run(func(r *rand.Rand) { // producers that come and go
		for i := 0; w.ctx.Err() == nil; i++ {
			s := kafkaStyle{acks: kgo.AllISRAcks(), next: toTopic("disk", 3)}
			w.produceKafka(fmt.Sprintf("kafka-fly-%d", i), s, r, time.Duration(200+r.IntN(3000))*time.Millisecond)
		}
	})
	for name, partitions := range map[string]uint32{"mirror": 1, "keyed": 3, "disk": 3, lineTopics[0]: 1, lineTopics[1]: 1} {
		run(func(r *rand.Rand) { w.readKafka("kafka-reader-"+name, name, partitions, r) })
	}
	for _, g := range kafkaGroups {
		for i := range 3 {
			run(func(r *rand.Rand) { w.joinKafka(fmt.Sprintf("%s-%d", g.name, i), g, r) })
		}
	}
	run(func(r *rand.Rand) { w.produce("native", r, true, time.Hour, toTopic("disk", 3)) })
	run(func(r *rand.Rand) { w.produce("keyed", r, true, time.Hour, toKeyed) })
	run(func(r *rand.Rand) { w.produce("exchange", r, true, time.Hour, toExchange) })
	for i, topic := range []string{"disk", "page"} {
		run(func(r *rand.Rand) { w.follow(fmt.Sprintf("group-%d", i), topic, r, i == 1) })
	}
	run(func(r *rand.Rand) { w.work("worker", "all", r) })
	for _, topic := range lineTopics {
		run(func(r *rand.Rand) { w.extend("append-"+topic, topic, r) })
		run(func(r *rand.Rand) { w.extendKafka("kafka-append-"+topic, topic, r) })
		run(func(r *rand.Rand) { w.look("look-"+topic, topic, r) })
	}
	return all
}

// kafkaStyle is how a producer works.
type kafkaStyle struct {
	acks  kgo.Acks
	plain bool // not idempotent
	keyed bool // the client chooses the partition, by the key
	burst int  // how many messages it sends at once, at most; 0: 40
	next  func(*rand.Rand) (sentMessage, trimq.Message)
}

// codecs are those of Kafka.
var codecs = []func() kgo.CompressionCodec{kgo.NoCompression, kgo.GzipCompression, kgo.SnappyCompression, kgo.Lz4Compression, kgo.ZstdCompression}

// options are the client's.
func (s *kafkaStyle) options(w *world, r *rand.Rand) []kgo.Opt {
	opts := []kgo.Opt{
		kgo.ProducerBatchCompression(codecs[r.IntN(len(codecs))]()), kgo.ProducerBatchMaxBytes(1 << (13 + r.IntN(3))),
		kgo.ProducerLinger(time.Duration(r.IntN(5)) * time.Millisecond), kgo.MaxBufferedRecords(2000), kgo.StopProducerOnDataLossDetected(),
	}
	if !s.keyed {
		opts = append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	if !s.plain {
		return opts
	}
	if w.power { // what only the page cache has may be lost then
		s.acks = kgo.AllISRAcks()
	}
	return append(opts, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(s.acks))
}

// kafkaClient is one of Kafka's clients.
type kafkaClient struct {
	*link
	w *world
	c *kgo.Client
}

// newKafka makes a client; it connects when it has something to do.
func (w *world) newKafka(name string, opts ...kgo.Opt) (*kafkaClient, error) {
	x, err := w.newGuest(name)
	if err != nil {
		return nil, err
	}
	if x.c, err = kgo.NewClient(x.options(opts)...); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return x, nil
}

// newGuest makes one known that has no client yet.
func (w *world) newGuest(name string) (*kafkaClient, error) {
	l, err := w.newLink(name, w.guests)
	return &kafkaClient{link: l, w: w}, err
}

// options are opts and what all have.
func (x *kafkaClient) options(opts []kgo.Opt) []kgo.Opt {
	return append(opts, kgo.SeedBrokers(x.w.guests), kgo.WithContext(x.life), kgo.ClientID(x.name), kgo.Dialer(x.dialWatched),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }), kgo.MetadataMinAge(50*time.Millisecond), kgo.DisableClientMetrics(),
		kgo.RequestTimeoutOverhead(patience), kgo.RequestRetries(1000), kgo.RetryTimeout(patience))
}

// disconnected tells whether an error says that there was no connection, and nothing else.
func disconnected(err error) bool {
	var op *net.OpError
	var eof *kgo.ErrFirstReadEOF
	return errors.As(err, &op) || errors.As(err, &eof) || errors.Is(err, io.EOF)
}

// leave ends a client: in an orderly way, or as one that is killed.
func (x *kafkaClient) leave(killed bool) {
	if killed {
		x.cut()
		over, cancel := context.WithCancel(x.life)
		cancel()
		_ = x.c.LeaveGroupContext(over) // its group learns of it when its session is over
	}
	x.c.CloseAllowingRebalance()
}

// kafkaProducing is one producer at work.
type kafkaProducing struct {
	*kafkaClient
	style  kafkaStyle
	killed atomic.Bool
	given  atomic.Bool // it was reported that messages were given up
}

// newKafkaProducer is a producer that is made known.
func (w *world) newKafkaProducer(name string, s kafkaStyle, r *rand.Rand) (*kafkaProducing, error) {
	c, err := w.newKafka(name, s.options(w, r)...)
	if err == nil {
		w.h.note(&opSender{Name: name, Idempotent: !s.plain})
	}
	return &kafkaProducing{kafkaClient: c, style: s}, err
}

// send sends one message; told is called when its fate is known.
func (x *kafkaProducing) send(r *rand.Rand, size int, told func()) {
	note, _ := x.style.next(r)
	n := x.h.send(x.name, note)
	rec := kafkaRecord(&note, x.name, n, size)
	x.c.Produce(x.life, rec, func(rec *kgo.Record, err error) {
		x.settled(n, rec, err)
		told()
	})
}

// kafkaRecord is a message as it is sent.
func kafkaRecord(m *sentMessage, name string, n, size int) *kgo.Record {
	rec := &kgo.Record{Topic: m.topic, Partition: int32(m.partition), Value: valueFor(name, n, size)}
	if key := m.key + m.subject; key != "" {
		rec.Key = []byte(key)
	}
	if m.deletes {
		rec.Headers, rec.Value = []kgo.RecordHeader{{Key: nameHeader, Value: valueFor(name, n, 0)}}, nil
	}
	return rec
}

// nameOfKafka is nameOf for a record, which may have no value.
func nameOfKafka(r *kgo.Record) string {
	if r.Value == nil && len(r.Headers) == 1 {
		return nameOf(r.Headers[0].Value)
	}
	return nameOf(r.Value)
}

// settled notes what became of a message.
func (x *kafkaProducing) settled(n int, rec *kgo.Record, err error) {
	o := &opSettled{Who: x.name, N: n, Fate: acked}
	switch {
	case err != nil:
		o.Fate = unknown
		// It gives up what it cannot send, for want of a connection over which to become known.
		if !x.killed.Load() && !disconnected(err) && x.given.CompareAndSwap(false, true) { // once is enough
			x.h.report("message %d of %s: %v", n, x.name, err)
		}
	default:
		if rec.Offset >= 0 {
			o.Offset = new(uint64(rec.Offset))
		}
		x.w.acked.Add(1)
	}
	x.h.note(o)
}

// produceKafka sends until the world stops or the producer's life ends.
func (w *world) produceKafka(name string, s kafkaStyle, r *rand.Rand, life time.Duration) {
	x, err := w.newKafkaProducer(name, s, r)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	ctx, cancel := context.WithTimeout(w.ctx, life)
	defer cancel()
	for ctx.Err() == nil {
		for range 1 + r.IntN(cmp.Or(s.burst, 40)) {
			size := r.IntN(600)
			if r.IntN(200) == 0 {
				size = r.IntN(6000)
			}
			x.send(r, size, func() {})
		}
		time.Sleep(time.Duration(r.IntN(12)) * time.Millisecond)
	}
	if x.killed.Store(w.ctx.Err() == nil && r.IntN(2) == 0); !x.killed.Load() {
		if err := x.c.Flush(w.life); err != nil {
			w.h.report("%s: flush: %v", name, err)
		}
	}
	x.leave(x.killed.Load())
}

// extendKafka appends to one of the partitions that linear.go looks at, one message at a time.
func (w *world) extendKafka(name, topic string, r *rand.Rand) {
	x, err := w.newKafkaProducer(name, kafkaStyle{acks: kgo.AllISRAcks(), next: toTopic(topic, 1)}, r)
	if err != nil {
		w.h.report("%v", err)
		return
	}
	defer x.leave(false)
	for w.ctx.Err() == nil {
		told := make(chan struct{})
		x.send(r, r.IntN(50), func() { close(told) })
		<-told
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
	}
}

// readKafka reads a topic without a group, in incarnations that go on where the one before has stood.
func (w *world) readKafka(name, topic string, partitions uint32, r *rand.Rand, more ...kgo.Opt) {
	at := map[string]uint64{}
	for i, good := 0, true; good && w.ctx.Err() == nil; i++ {
		good = w.readKafkaFrom(fmt.Sprintf("%s-%d", name, i), topic, partitions, at, r, more...)
	}
}

// readKafkaFrom is one incarnation of such a reader, which goes on from where at says, and keeps that up to date.
// false: it could not begin.
func (w *world) readKafkaFrom(name, topic string, partitions uint32, at map[string]uint64, r *rand.Rand, more ...kgo.Opt) bool {
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[int32(p)] = kgo.NewOffset().At(int64(at[place(topic, p)]))
	}
	x, err := w.newKafka(name, append(slices.Clip(more), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.FetchMaxBytes(1<<(16+r.Int32N(6))), kgo.DisableFetchSessions())...)
	if err != nil {
		w.h.report("%v", err)
		return false
	}
	defer x.leave(false)
	ctx, cancel := context.WithTimeout(w.ctx, time.Duration(1+r.IntN(5))*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		x.poll(ctx, 0, func(where string, asked time.Time, seen []sight) {
			w.h.note(&opRead{Where: where, Asked: w.h.since(asked), Next: at[where], Records: seen})
			at[where] = seen[len(seen)-1].Offset + 1
		})
	}
	return true
}

// poll waits for records, most of them at most (0: all that there are), and shows those of each partition.
func (x *kafkaClient) poll(ctx context.Context, most int, see func(where string, asked time.Time, seen []sight)) {
	asked := time.Now()
	fetches := x.c.PollRecords(ctx, most)
	fetches.EachError(func(topic string, p int32, err error) {
		if ctx.Err() == nil && !disconnected(err) { // which a member of a group tells its user
			x.w.complain(err, "%s: fetch of %s/%d", x.name, topic, p)
		}
	})
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		seen := make([]sight, 0, len(p.Records))
		for _, m := range p.Records {
			seen = append(seen, sight{uint64(m.Offset), nameOfKafka(m)})
		}
		if len(seen) > 0 {
			see(place(p.Topic, uint32(p.Partition)), asked, seen)
		}
	})
}
