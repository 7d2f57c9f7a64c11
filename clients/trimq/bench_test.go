package trimq

import (
	"context"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/native"
)

// sink answers everything at once and stores nothing: what is measured is the client.
func sink(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			go sinkConn(nc)
		}
	}()
	return ln.Addr().String()
}

func sinkConn(nc net.Conn) {
	defer nc.Close()
	dec := native.NewDecoder(nc, 1<<20, native.DefaultMaxFrame)
	var out []byte
	var base uint64
	for {
		f, err := dec.Next()
		if err != nil {
			return
		}
		var body native.Body
		switch f.Command {
		case native.CmdHello:
			body = &native.HelloReply{Version: native.Version, WindowRequests: 256, WindowBytes: 16 << 20, MaxFrame: 8 << 20}
		case native.CmdPing:
			m, _ := native.DecodePing(f.Body)
			body = &m
		case native.CmdInitProducer:
			body = &native.InitProducer{ProducerID: 1}
		case native.CmdDescribe:
			body = sinkThings(f.Body)
		case native.CmdProduce:
			body = &native.ProduceReply{Base: base}
			base += uint64(batch.Header(f.Body[native.ProduceSize:]).Count())
		case native.CmdPublish:
			body = &native.PublishReply{Queues: 1}
		}
		out = native.AppendFrame(out[:0], f.Command, native.FlagResponse, f.Correlation, body)
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// sinkThings describes topic t and exchange x.
func sinkThings(body []byte) *admin.Description {
	if m, _ := admin.DecodeDescribe(body); m.Kind == admin.KindExchange {
		return &admin.Description{Kind: admin.KindExchange, Exchanges: []admin.ExchangeInfo{{CreateExchange: admin.CreateExchange{Name: "x", Type: admin.Direct}}}}
	}
	return &admin.Description{Kind: admin.KindTopic, Topics: []admin.TopicInfo{{Name: "t", Partitions: []admin.PartitionInfo{{Index: 1}}}}}
}

func benchProduce(b *testing.B, m Message, opts ...ProducerOption) {
	c, err := Dial(context.Background(), []string{sink(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	p, err := c.NewProducer(opts...)
	if err != nil {
		b.Fatal(err)
	}
	var acked atomic.Int64
	done := func(_ Result, err error) {
		if err == nil {
			acked.Add(1)
		}
	}
	ctx := context.Background()
	b.SetBytes(int64(len(m.Value)))
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := p.Produce(ctx, &m, done); err != nil {
			b.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		b.Fatal(err)
	}
	if acked.Load() != int64(b.N) {
		b.Fatalf("%d of %d acknowledged", acked.Load(), b.N)
	}
}

// value is so many bytes that do not compress well.
func value(size int) []byte {
	v := make([]byte, size)
	for i := range v {
		v[i] = byte(i*7 + i>>3)
	}
	return v
}

func benchTopic(b *testing.B, size int, opts ...ProducerOption) {
	benchProduce(b, Message{Topic: "t", Value: value(size)}, opts...)
}

func BenchmarkProduce250(b *testing.B)     { benchTopic(b, 250) }
func BenchmarkProduce250_1M(b *testing.B)  { benchTopic(b, 250, WithBatchBytes(1<<20)) }
func BenchmarkProduce250Zstd(b *testing.B) { benchTopic(b, 250, WithZstd()) }
func BenchmarkProduce1000(b *testing.B)    { benchTopic(b, 1000) }

// BenchmarkPublish250 is the same through an exchange.
func BenchmarkPublish250(b *testing.B) {
	benchProduce(b, Message{Exchange: "x", RoutingKey: "a.routing.key", Value: value(250)})
}

// BenchmarkDecode unpacks a fetched run of batches, as a worker does.
func BenchmarkDecode(b *testing.B) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			var build batch.Builder
			for i := range 1000 {
				build.Add(int64(i), nil, make([]byte, 250), nil)
			}
			run := build.Seal(codec, 1, 0, 0)
			b.SetBytes(250)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i += 1000 {
				ch := chunk{p: &part{}, batches: run, s: newSlab(1 << 14)}
				f, err := ch.decode()
				if err != nil || len(f.Records) != 1000 {
					b.Fatal(err)
				}
				f.Release()
			}
		})
	}
}

// BenchmarkReceive is a queue consumer's way of a message, from the frame to the
// acknowledgement, without a socket: deliveries of 100 messages.
func BenchmarkReceive(b *testing.B) {
	const each = 100
	var build batch.Builder
	for i := range each {
		build.Add(int64(i), nil, value(250), nil)
	}
	run := build.Seal(batch.None, 1, 0, 0)
	q := benchConsumer(b)
	ctx := context.Background()
	var o outbox
	m := native.Deliver{Sub: queueSub, Index: 1, Count: each}
	body := append(m.Append(nil), run...)
	s := newSlab(1 << 14)
	b.SetBytes(250)
	b.ReportAllocs()
	b.ResetTimer()
	for i := 0; i < b.N; i += each {
		m.Base, m.First = uint64(i), uint64(i)
		m.Put(body)
		if err := q.deliver(body, s); err != nil {
			b.Fatal(err)
		}
		d, err := q.Receive(ctx)
		if err != nil || len(d.Messages) != each {
			b.Fatal(err)
		}
		if err := d.Ack(); err != nil {
			b.Fatal(err)
		}
		d.Release()
		if o.reset(); i%1000 == 0 {
			q.gather(&conn{hello: native.HelloReply{WindowRequests: 64}}, &o)
			if err := q.response(native.Header{Command: native.CmdAck, Flags: native.FlagResponse, Correlation: q.corr}, nil); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// benchConsumer is a consumer of queue 1 whose link is never started.
func benchConsumer(testing.TB) *QueueConsumer {
	c := &Client{addrs: []string{""}, opt: newOptions(nil)}
	q := &QueueConsumer{
		c: c, name: "q", queue: 1, opt: newQueueOptions(nil), notify: make(chan struct{}, 1), hands: map[uint64]*hand{},
		acks: map[uint64]*ackRequest{}, corr: subCorrelation, begun: true, subbed: true, confirmed: true,
	}
	q.link = newLink(c, queueSlab, native.DefaultMaxFrame)
	return q
}

// benchAdd is the way of a message into its batch, without a socket.
func benchAdd(b *testing.B, m Message) {
	c := &Client{addrs: []string{""}, opt: newOptions(nil)}
	p := c.newProducer(nil)
	p.win = newWindow(64 << 20)
	p.link = newLink(c, producerSlab, 0)
	t := &topicLanes{name: "t"}
	p.mu.Lock()
	t.streams = append(t.streams, p.newPartition("t", 0, 1))
	x := p.newExchange("x", false)
	p.mu.Unlock()
	p.last.Store(t)
	p.lastEx.Store(x)
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		if err := p.Produce(ctx, &m, nil); err != nil {
			b.Fatal(err)
		}
		if i%1000 == 999 {
			reportAll(p, t.streams[0])
			reportAll(p, x)
		}
	}
}

// reportAll closes what is open in a stream, and reports it as stored.
func reportAll(p *Producer, s *stream) {
	s.closeOpen()
	p.mu.Lock()
	closed := slices.Clone(s.unanswered.all())
	s.unanswered.reset()
	p.queue.reset()
	p.mu.Unlock()
	for _, b := range closed {
		p.report(b, Result{}, nil)
	}
}

func BenchmarkAddTopic(b *testing.B) { benchAdd(b, Message{Topic: "t", Value: value(250)}) }
func BenchmarkAddExchange(b *testing.B) {
	benchAdd(b, Message{Exchange: "x", RoutingKey: "a.routing.key", Value: value(250)})
}
func BenchmarkAddShaped(b *testing.B) {
	benchAdd(b, Message{Exchange: "x", RoutingKey: "a.routing.key", Priority: 7, TTL: ExpireAfter(time.Hour), Delay: time.Second, Value: value(250)})
}
