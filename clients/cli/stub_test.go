package main

import (
	"cmp"
	"net"
	"slices"
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
	verdicts []native.Ack
	defined  []admin.Definition
	commits  []ipc.OffsetCommit
	refusing *errcode.Error
	heard    []int32 // epochs of heartbeats
	looked   uint64  // how often memberships were asked for
	busy     uint64  // how many messages more each look at exchanges and consumers finds
	passed   uint64
	// queueIndex is that of q; 0: one that nobody can fetch.
	queueIndex uint64
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
		switch {
		case f.Command == native.CmdSubscribe:
			out = append(out, s.deliveries(0, queueSub)...)
		case f.Command == native.CmdPull && err == nil:
			out = append(s.deliveries(f.Correlation, s.puller()), out...)
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
	case native.CmdDefine, native.CmdUndefine:
		m, err := admin.DecodeDefinition(body)
		s.defined = append(s.defined, m)
		if m.Name == "nobody" {
			err = errcode.New(errcode.NotFound, "there is no %s %q", m.Kind, m.Name)
		}
		r := admin.Created{Existed: len(s.defined) > 20}
		return r.Append(nil), err
	case native.CmdPurge, native.CmdSeek:
		m := admin.Created{Name: "q", Messages: 12}
		return m.Append(nil), nil
	case native.CmdPull:
		return s.pull(body)
	case native.CmdEndTxn:
		m, err := native.DecodeEndTxn(body)
		r := native.EndTxnReply{Committed: m.Commit, Queues: 3}
		return r.Append(nil), err
	case native.CmdFetch:
		return s.fetch(body)
	case native.CmdListOffsets:
		m, err := native.DecodeListOffsets(body)
		r := native.ListOffsetsReply{Visible: s.next}
		if m.TimeMS == native.TimeLatest {
			r.Offset = s.next
		}
		return r.Append(nil), err
	case native.CmdAck:
		m, err := native.DecodeAck(body, nil)
		s.acked = append(s.acked, m.Ranges...)
		s.verdicts = append(s.verdicts, m)
		return nil, err
	case native.CmdCommitOffsets:
		m, err := native.DecodeCommitOffsets(body)
		s.commits = append(s.commits, m.Offsets...)
		return nil, err
	case native.CmdFetchOffsets:
		r := native.OffsetsReply{Offsets: s.commits}
		return r.Append(nil), nil
	}
	return s.ofGroups(cmd, body)
}

func (s *stub) describe(body []byte) ([]byte, error) {
	m, err := admin.DecodeDescribe(body)
	if err != nil {
		return nil, err
	}
	s.passed += s.busy
	d := admin.Description{Kind: m.Kind}
	for _, n := range m.Names {
		if !slices.Contains([]string{"t", "q", "x", "g", "old", "pay-1", "pay-2"}, n) {
			d.Missing = append(d.Missing, n)
		}
	}
	switch m.Kind {
	case admin.KindTopic:
		d.Topics = []admin.TopicInfo{{Name: "t", Level: ipc.LevelDisk, RetentionMS: 60000, Configs: []ipc.Header{{Key: "cleanup.policy", Value: "compact"}, {Key: "retention.ms", Value: "60000"}}, Partitions: []admin.PartitionInfo{
			{Index: 1, Next: s.next, Visible: s.next}, {Index: 2},
		}}}
	case admin.KindQueue:
		d.Queues = []admin.QueueInfo{{
			Name: "q", Queue: 9, Ready: 12, Leased: 2, Indexes: []admin.QueueIndex{{Index: cmp.Or(s.queueIndex, 9), Next: 14, Visible: 14}},
			Settings: admin.QueueSettings{Durable: true, MaxPriority: 4, MaxMessages: admin.Some(50), Overflow: admin.RejectPublish, MessageTTLMS: admin.Some(1500), DeadLetter: true, KeepKey: true},
		}}
	case admin.KindConsumer:
		d.Consumers = []admin.ConsumerInfo{
			{Queue: "q", Conn: 257, Sub: 1, Active: true, Credit: 100, Held: 7, Delivered: 42 + s.passed, Consumer: ipc.Consumer{Tag: "billing", Priority: -3, AckTimeoutMS: 10_000}},
			{Queue: "q", Conn: 258, Sub: 1, Consumer: ipc.Consumer{AutoAck: true, Exclusive: true}},
		}
	case admin.KindTxn:
		d.Txns = []admin.TxnInfo{
			{Txn: 9, Group: "orders", Key: "order 7", Begun: 1_700_000_000_000, Batches: 2, Checks: 1, CheckMS: 1_700_000_060_000},
			{Txn: 10, Begun: 1_700_000_001_000},
		}
	case admin.KindTxnal:
		d.Txnals = []admin.TxnalInfo{
			{ID: "pay-1", ProducerID: 7, Epoch: 3, TimeoutMS: 60_000, BegunMS: 1_700_000_000_000, Phase: admin.TxnalOpen, Parts: []admin.TxnalPart{{Topic: "t", Number: 0}, {Topic: "t", Number: 1}}},
			{ID: "pay-2", ProducerID: 8, TimeoutMS: 1500, Phase: admin.TxnalCommitted},
		}
	case admin.KindExchange:
		d.Exchanges = []admin.ExchangeInfo{{
			CreateExchange: admin.CreateExchange{Name: "x", Type: admin.Fanout, AutoDelete: true, Alternate: "rest"}, Bindings: 1, Published: s.passed, Reached: 2 * s.passed,
		}}
	case admin.KindBinding:
		d.Bindings = []admin.BindingInfo{
			{Exchange: "x", Queue: "q", RoutingKey: "a.*", Headers: []ipc.Header{{Key: "k", Value: "v"}}},
			{Exchange: "x", Queue: "y", ToExchange: true, MatchAny: true, WithX: true, Headers: []ipc.Header{{Key: "k", Value: "1"}, {Key: "k", Value: "2"}}, Present: []string{"p"}},
		}
	case admin.KindGroup:
		d.Groups = []admin.GroupInfo{{Name: "g", Offsets: []ipc.OffsetCommit{{Index: 1, Offset: 1, Metadata: "note"}}}}
	case admin.KindDefinition:
		d.Definitions = []admin.Definition{
			{Kind: admin.DefVHost, Name: "/", Values: []admin.Value{admin.TextValue("description", "native")}},
			{Kind: admin.DefUser, Name: "ann", Values: []admin.Value{admin.TextValue("tags", "monitoring")}},
			{Kind: admin.DefPermission, VHost: "/", Name: "ann", Values: []admin.Value{admin.TextValue("read", "^a")}},
			{Kind: admin.DefPolicy, VHost: "/", Name: "p", Values: []admin.Value{admin.TextValue("apply-to", "all"), admin.Number("definition.max-length", 5), admin.TextValue("pattern", "x")}},
		}
	case admin.KindMembership:
		d.Memberships = s.memberships(m.Names)
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

const queueSub = 1

// pull answers with all that is there. REQUIRES: s.mu held.
func (s *stub) pull(body []byte) ([]byte, error) {
	m, err := native.DecodePull(body)
	r := native.PullReply{}
	for _, b := range s.queued {
		r.Count += uint32(batch.Header(b).Count())
	}
	if m.InvisibleMS > 0 && r.Count > 0 {
		r.Lease, r.UntilMS = 77, 1_700_000_000_000
	}
	return r.Append(nil), err
}

// puller is the number by which the latest pull gets messages.
func (s *stub) puller() uint64 {
	if m, _ := native.DecodePull(s.asked[native.CmdPull]); m.InvisibleMS > 0 {
		return 0
	}
	return native.PullerBit | 1
}

// deliveries gives all that is in the queue, once.
func (s *stub) deliveries(corr, sub uint64) []byte {
	var out []byte
	note := ipc.Note{Exchange: "x", Key: "r.k", Priority: 4, Deaths: []ipc.Death{{Queue: "old", Reason: ipc.ReasonExpired, Count: 2, FirstMS: 1000, Keys: []string{"k"}}}}
	n := note.Append(nil)
	for _, b := range s.queued {
		count := uint32(batch.Header(b).Count())
		m := native.Deliver{Sub: sub, Index: 9, Base: s.routed, First: s.routed, Count: count, NoteBytes: uint32(len(n))}
		out = native.AppendHeader(out, native.CmdDeliver, 0, corr, native.DeliverSize+len(n)+len(b))
		out = append(append(m.Append(out), n...), b...)
		s.routed += uint64(count)
	}
	s.queued = nil
	return out
}
