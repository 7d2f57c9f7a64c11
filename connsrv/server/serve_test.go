package server

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

func TestHelloTellsTheLimits(t *testing.T) {
	b := start(t, nil)
	m := b.dial().hello()
	if m.Version != native.Version || m.AuthRequired || m.WindowRequests != 256 || m.WindowBytes != 1<<20 ||
		m.MaxFrame != 512<<10 || m.Cluster != "test" || m.Conn == 0 || m.Server == "" {
		t.Errorf("%+v", m)
	}
}

func TestProduceSmallAndLarge(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	small, large := makeBatch(3, 100), makeBatch(1000, 250)
	if r := c.produce(1, small); r.Base != 0 {
		t.Errorf("first base %d", r.Base)
	}
	if r := c.produce(1, large); r.Base != 3 {
		t.Errorf("second base %d", r.Base)
	}
	if d, k := b.counter(shmqueue.ConnDirectBatches), b.counter(shmqueue.ConnCopiedBatches); d != 1 || k != 1 {
		t.Errorf("%d batches direct, %d copied", d, k)
	}
	c.refused(errcode.UnknownIndex, native.CmdProduce, produceBody(99, small))
}

// Many frames in flight, of all sizes, cut anywhere by the socket.
func TestProducePipelined(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	sizes := []int{1, 10, 200, 2000, 300, 1, 1500, 40}
	const rounds = 40
	go func() {
		for i := range rounds {
			m := makeBatch(sizes[i%len(sizes)], 200)
			c.conn.Write(native.AppendFrame(nil, native.CmdProduce, 0, uint64(1000+i), produceBody(1, m)))
		}
	}()
	next := uint64(0)
	for i := range rounds {
		f := c.read()
		if f.Flags&native.FlagError != 0 || f.Correlation != uint64(1000+i) {
			t.Fatalf("answer %d: %+v", i, f.Header)
		}
		r, err := native.DecodeProduceReply(f.Body)
		must(t, err)
		if r.Base != next {
			t.Fatalf("batch %d at %d, want %d", i, r.Base, next)
		}
		next += uint64(sizes[i%len(sizes)])
	}
}

func TestCorruptBatches(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	for _, n := range []int{2, 1000} {
		m := makeBatch(n, 100)
		m[len(m)-1] ^= 1
		c.refused(errcode.CorruptBatch, native.CmdProduce, produceBody(1, m))
		m = makeBatch(n, 100)
		m[batch.OffMagic] = 1
		c.refused(errcode.InvalidBatch, native.CmdProduce, produceBody(1, m))
	}
	c.refused(errcode.InvalidBatch, native.CmdProduce, produceBody(1, []byte("short")))
	c.refused(errcode.Malformed, native.CmdProduce, bytesBody("x"))
	if r := c.produce(1, makeBatch(1, 1)); r.Base != 0 {
		t.Errorf("something was stored: the next base is %d", r.Base)
	}
}

func TestPublish(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	p := native.Publish{TTLMS: ipc.NoTTL, Exchange: "logs", RoutingKey: "a.b", Headers: []ipc.Header{{Key: "k", Value: "v"}}}
	for _, n := range []int{5, 1000} {
		f := c.call(native.CmdPublish, bytesBody(append(p.Append(nil), makeBatch(n, 200)...)))
		if r, err := native.DecodePublishReply(f.Body); err != nil || r.Queues != 1 {
			t.Errorf("%+v %v", r, err)
		}
	}
	bad := makeBatch(5, 200)
	bad[100] ^= 4
	c.refused(errcode.CorruptBatch, native.CmdPublish, bytesBody(append(p.Append(nil), bad...)))
}

func TestControlCommands(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	create := admin.CreateTopic{Name: "x", Partitions: 3}
	if f := c.call(native.CmdCreateTopic, &create); !bytes.Equal(f.Body, create.Append(nil)) {
		t.Errorf("body %x", f.Body)
	}
	f := c.call(native.CmdInitProducer, &native.InitProducer{ProducerID: -1})
	if m, err := native.DecodeInitProducer(f.Body); err != nil || m.ProducerID != 7 || m.Epoch != 1 {
		t.Errorf("%+v %v", m, err)
	}
	c.call(native.CmdCommitOffsets, &native.CommitOffsets{Group: "g", Offsets: []ipc.OffsetCommit{{Index: 1, Offset: 5}}})
	f = c.call(native.CmdFetchOffsets, &native.FetchOffsets{Group: "g"})
	if m, err := native.DecodeOffsetsReply(f.Body); err != nil || len(m.Offsets) != 1 || m.Offsets[0].Metadata != "g" {
		t.Errorf("%+v %v", m, err)
	}
	f = c.call(native.CmdPing, &native.Ping{Token: 42})
	if m, err := native.DecodePing(f.Body); err != nil || m.Token != 42 {
		t.Errorf("%+v %v", m, err)
	}
	f = c.call(native.CmdInfo, nil)
	if m, err := native.DecodeInfoReply(f.Body); err != nil || m.Connections != 1 || len(m.Tiers) != 3 || m.Cluster != "test" {
		t.Errorf("%+v %v", m, err)
	}
	c.refused(errcode.UnsupportedCommand, native.Command(55), bytesBody("whatever"))
	c.refused(errcode.InvalidArgument, native.CmdHello, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	c.refused(errcode.Malformed, native.CmdPing, bytesBody("x"))
}

func TestNoReply(t *testing.T) {
	b := start(t, nil)
	c := b.connect()
	for range 600 { // more than the window: the connection is held up, nothing is refused
		c.write(native.AppendFrame(nil, native.CmdProduce, native.FlagNoReply, 0, produceBody(1, makeBatch(1, 10))))
	}
	c.write(native.AppendFrame(nil, native.Command(49), native.FlagNoReply, 0, nil))
	if r := c.produce(1, makeBatch(1, 10)); r.Base != 600 {
		t.Errorf("base %d", r.Base)
	}
}
