package trimq

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

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
			body = &admin.Description{Kind: admin.KindTopic, Topics: []admin.TopicInfo{{Name: "t", Partitions: []admin.PartitionInfo{{Index: 1}}}}}
		case native.CmdProduce:
			body = &native.ProduceReply{Base: base}
			base += uint64(batch.Header(f.Body[native.ProduceSize:]).Count())
		}
		out = native.AppendFrame(out[:0], f.Command, native.FlagResponse, f.Correlation, body)
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

func benchProduce(b *testing.B, size int, opts ...ProducerOption) {
	c, err := Dial(context.Background(), []string{sink(b)})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close(context.Background())
	p, err := c.NewProducer(opts...)
	if err != nil {
		b.Fatal(err)
	}
	value := make([]byte, size)
	for i := range value {
		value[i] = byte(i*7 + i>>3)
	}
	var acked atomic.Int64
	done := func(_ Result, err error) {
		if err == nil {
			acked.Add(1)
		}
	}
	m := Message{Topic: "t", Value: value}
	ctx := context.Background()
	b.SetBytes(int64(size))
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

func BenchmarkProduce250(b *testing.B)     { benchProduce(b, 250) }
func BenchmarkProduce250_1M(b *testing.B)  { benchProduce(b, 250, WithBatchBytes(1<<20)) }
func BenchmarkProduce250Zstd(b *testing.B) { benchProduce(b, 250, WithZstd()) }
func BenchmarkProduce1000(b *testing.B)    { benchProduce(b, 1000) }

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
