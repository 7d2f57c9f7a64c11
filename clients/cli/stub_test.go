package main

import (
	"net"
	"sync"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// stub is as much of a broker as the program's tests need: one topic "t" with two partitions
// of which partition 0 stores, one queue "q" that gets what is published through exchange "x".
type stub struct {
	ln net.Listener

	mu       sync.Mutex
	asked    map[native.Command][]byte // the latest body by command
	batches  [][]byte
	next     uint64
	queued   [][]byte
	routed   uint64
	acked    []ipc.Range
	commits  []ipc.OffsetCommit
	refusing *errcode.Error
}

func newStub(t *testing.T) *stub {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stub{ln: ln, asked: map[native.Command][]byte{}}
	var done sync.WaitGroup
	done.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			done.Go(func() { s.serve(nc) })
		}
	})
	t.Cleanup(func() { ln.Close(); done.Wait() })
	return s
}

func (s *stub) serve(nc net.Conn) {
	defer nc.Close()
	dec := native.NewDecoder(nc, 64<<10, native.DefaultMaxFrame)
	for {
		f, err := dec.Next()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.asked[f.Command] = append([]byte(nil), f.Body...)
		body, err := s.answer(f.Command, s.asked[f.Command])
		if s.refusing != nil && f.Command != native.CmdHello && f.Command != native.CmdPing {
			err = s.refusing
		}
		out := native.AppendHeader(nil, f.Command, native.FlagResponse, f.Correlation, len(body))
		out = append(out, body...)
		if err != nil {
			out = native.AppendError(nil, f.Command, f.Correlation, err)
		}
		if f.Flags&native.FlagNoReply != 0 {
			out = nil
		}
		if f.Command == native.CmdSubscribe {
			out = append(out, s.deliveries()...)
		}
		s.mu.Unlock()
		if _, err := nc.Write(out); err != nil {
			return
		}
	}
}

// answer is a response's body. REQUIRES: s.mu held.
func (s *stub) answer(cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdHello:
		m := native.HelloReply{Version: native.Version, WindowRequests: 16, WindowBytes: 1 << 20, MaxFrame: native.DefaultMaxFrame}
		return m.Append(nil), nil
	case native.CmdPing:
		return body, nil
	case native.CmdInfo:
		m := native.InfoReply{
			Server: "TriMQ test", UptimeMS: 61000, Topics: 1,
			Tiers: []native.Tier{{Name: "connsrv", State: native.TierRunning, PID: 42, Epoch: 3}},
			Pairs: []native.Pair{{Key: "trimq_a_total", Value: "7"}, {Key: "trimq_zero_total", Value: "0"}},
		}
		return m.Append(nil), nil
	case native.CmdInitProducer:
		m := native.InitProducer{ProducerID: 5}
		return m.Append(nil), nil
	case native.CmdCreateTopic, native.CmdCreateQueue, native.CmdCreateExchange, native.CmdCreateBinding:
		m := admin.Created{Existed: len(s.batches) > 0}
		return m.Append(nil), nil
	case native.CmdDescribe:
		return s.describe(body)
	case native.CmdProduce:
		b := append([]byte(nil), body[native.ProduceSize:]...)
		r := native.ProduceReply{Base: s.next}
		batch.PatchBase(b, s.next, 0)
		s.next += uint64(batch.Header(b).Count())
		s.batches = append(s.batches, b)
		return r.Append(nil), nil
	case native.CmdPublish:
		_, off, err := native.DecodePublish(body)
		s.queued = append(s.queued, append([]byte(nil), body[off:]...))
		r := native.PublishReply{Queues: 1}
		return r.Append(nil), err
	case native.CmdFetch:
		return s.fetch(body)
	case native.CmdListOffsets:
		r := native.ListOffsetsReply{Visible: s.next}
		return r.Append(nil), nil
	case native.CmdAck:
		m, err := native.DecodeAck(body, nil)
		s.acked = append(s.acked, m.Ranges...)
		return nil, err
	case native.CmdCommitOffsets:
		m, err := native.DecodeCommitOffsets(body)
		s.commits = append(s.commits, m.Offsets...)
		return nil, err
	case native.CmdFetchOffsets:
		r := native.OffsetsReply{Offsets: s.commits}
		return r.Append(nil), nil
	}
	return nil, nil
}

func (s *stub) describe(body []byte) ([]byte, error) {
	m, err := admin.DecodeDescribe(body)
	if err != nil {
		return nil, err
	}
	d := admin.Description{Kind: m.Kind}
	for _, n := range m.Names {
		if n != "t" && n != "q" && n != "x" && n != "g" {
			d.Missing = append(d.Missing, n)
		}
	}
	switch m.Kind {
	case admin.KindTopic:
		d.Topics = []admin.TopicInfo{{Name: "t", Level: ipc.LevelDisk, RetentionMS: 60000, Partitions: []admin.PartitionInfo{
			{Index: 1, Next: s.next, Visible: s.next}, {Index: 2},
		}}}
	case admin.KindQueue:
		d.Queues = []admin.QueueInfo{{Name: "q", Queue: 9, Ready: 12, Settings: admin.QueueSettings{Durable: true}}}
	case admin.KindExchange:
		d.Exchanges = []admin.ExchangeInfo{{
			CreateExchange: admin.CreateExchange{Name: "x", Type: admin.Fanout, AutoDelete: true, Alternate: "rest"}, Bindings: 1,
		}}
	case admin.KindBinding:
		d.Bindings = []admin.BindingInfo{
			{Exchange: "x", Queue: "q", RoutingKey: "a.*", Headers: []ipc.Header{{Key: "k", Value: "v"}}},
			{Exchange: "x", Queue: "y", ToExchange: true, MatchAny: true, WithX: true, Headers: []ipc.Header{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}}, Present: []string{"p"}},
		}
	case admin.KindGroup:
		d.Groups = []admin.GroupInfo{{Name: "g", Offsets: []ipc.OffsetCommit{{Index: 1, Offset: 1}}}}
	}
	return d.Append(nil), nil
}

func (s *stub) fetch(body []byte) ([]byte, error) {
	m, err := native.DecodeFetch(body)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, b := range s.batches {
		h := batch.Header(b)
		if m.Index == 1 && h.BaseOffset()+uint64(h.Count()) > m.Offset {
			out = append(out, b...)
		}
	}
	r := native.FetchReply{Index: m.Index, Visible: s.next, NBytes: uint32(len(out))}
	return append(r.Append(nil), out...), nil
}

func (s *stub) deliveries() []byte {
	var out []byte
	for _, b := range s.queued {
		n := uint32(batch.Header(b).Count())
		m := native.Deliver{Sub: 1, Index: 9, Base: s.routed, First: s.routed, Count: n}
		out = native.AppendHeader(out, native.CmdDeliver, 0, 0, native.DeliverSize+len(b))
		out = append(m.Append(out), b...)
		s.routed += uint64(n)
	}
	s.queued = nil
	return out
}
