package native_test

import (
	"bytes"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// bodyCase is one body: its layout as docs/formats/native.md draws it, a value, and the
// way through its decoder and back.
type bodyCase struct {
	name   string
	layout string
	body   native.Body
	open   bool // a batch may follow, so bytes behind are no error
	redo   func(b []byte) ([]byte, error)
}

// redo makes a decoder and its encoder one function, so that a table can hold them.
func redo[T any, P interface {
	*T
	native.Body
}](decode func([]byte) (T, error)) func([]byte) ([]byte, error) {
	return func(b []byte) ([]byte, error) {
		m, err := decode(b)
		if err != nil {
			return nil, err
		}
		return P(&m).Append(nil), nil
	}
}

var offsets = []ipc.OffsetCommit{{Index: 1, Offset: 2, Metadata: "m"}, {Index: 1 << 40, Offset: 1 << 50}}

const offsetsLayout = " offsets=2:v index:8 offset:8 metadata:s index:8 offset:8 metadata:s"

var bodyCases = []bodyCase{
	{
		name: "error", layout: "code=12:2 text:s",
		body: &native.ErrorBody{Code: errcode.NotFound, Text: "no topic \"x\""},
		redo: redo(native.DecodeErrorBody),
	},
	{
		name: "hello", layout: "magic:8 minVersion:2 maxVersion:2 windowRequests:4 windowBytes:4 client:s",
		body: &native.Hello{MinVersion: 1, MaxVersion: 3, WindowRequests: 256, WindowBytes: 16 << 20, Client: "mq_perf"},
		redo: redo(native.DecodeHello),
	},
	{
		name:   "hello_reply",
		layout: "version:2 authRequired:1 zero:1 windowRequests:4 windowBytes:4 maxFrame:4 idleTimeoutMS:4 conn:8 challenge:s server:s cluster:s node:s",
		body: &native.HelloReply{
			Version: 1, AuthRequired: true, WindowRequests: 256, WindowBytes: 16 << 20, MaxFrame: 8 << 20, IdleTimeoutMS: 60000,
			Conn: 0x0102, Challenge: []byte("0123456789abcdef"), Server: "TriMQ 0.1", Cluster: "c", Node: "n",
		},
		redo: redo(native.DecodeHelloReply),
	},
	{
		name: "auth", layout: "mechanism:s user:s proof:s",
		body: &native.Auth{Mechanism: native.AuthSecret, User: "u", Proof: []byte("secret")},
		redo: redo(native.DecodeAuth),
	},
	{
		name: "ping", layout: "token:8", body: &native.Ping{Token: 0x1122334455667788}, redo: redo(native.DecodePing),
	},
	{
		name: "goodbye", layout: "code:2 drainMS:4 text:s",
		body: &native.Goodbye{Code: errcode.ShuttingDown, DrainMS: 5000, Text: "stopping"}, redo: redo(native.DecodeGoodbye),
	},
	{
		name: "info_reply",
		layout: "uptimeMS:8 connections:4 topics:4 partitions:4 exchanges:4 queues:4 groups:4 server:s cluster:s node:s" +
			" tiers=2:v name:s state:1 pid:4 epoch:8 uptimeMS:8 name:s state:1 pid:4 epoch:8 uptimeMS:8 pairs=2:v key:s value:s key:s value:s",
		body: &native.InfoReply{
			UptimeMS: 1, Connections: 2, Topics: 3, Partitions: 4, Exchanges: 5, Queues: 6, Groups: 7, Server: "s", Cluster: "c", Node: "n",
			Tiers: []native.Tier{{Name: "connsrv", State: native.TierRunning, PID: 8, Epoch: 9, UptimeMS: 10}, {Name: "logicsrv", State: native.TierRestarting}},
			Pairs: []native.Pair{{Key: "a", Value: "1"}, {Key: "b"}},
		},
		redo: redo(native.DecodeInfoReply),
	},
	{
		name: "produce", layout: "index:8 level:1 zero:7 txn:8", open: true,
		body: &native.Produce{Index: 0x0102030405060708, Level: ipc.LevelPage, Txn: 6}, redo: redo(native.DecodeProduce),
	},
	{
		name: "produce_reply", layout: "base:8 duplicate:1 zero:7",
		body: &native.ProduceReply{Base: 0x0102030405060708, Duplicate: true}, redo: redo(native.DecodeProduceReply),
	},
	{
		name: "publish", layout: "level:1 mandatory:1 priority:1 zero:1 weight:4 txn:8 delayMS:8 ttlMS:8 exchange:s routingKey:s headers=2:v key:s value:s key:s value:s zero:6", open: true,
		body: &native.Publish{
			Level: ipc.LevelDisk, Mandatory: true, Priority: 3, Weight: 100, Txn: 6, DelayMS: 5000, TTLMS: ipc.NoTTL, Exchange: "logs", RoutingKey: "a.b",
			Headers: []ipc.Header{{Key: "k", Value: "v"}, {Key: "k2"}},
		},
		redo: func(b []byte) ([]byte, error) {
			m, off, err := native.DecodePublish(b)
			if err != nil {
				return nil, err
			}
			return append(m.Append(nil), b[off:]...), nil
		},
	},
	{
		name: "publish_reply", layout: "queues:4 full:4 duplicate:1 zero:7",
		body: &native.PublishReply{Queues: 3, Full: 1, Duplicate: true}, redo: redo(native.DecodePublishReply),
	},
	{
		name: "init_producer", layout: "producerID:8 epoch:2 zero:6",
		body: &native.InitProducer{ProducerID: -1, Epoch: 7}, redo: redo(native.DecodeInitProducer),
	},
	{
		name: "fetch", layout: "index:8 offset:8 maxBytes:4 minBytes:4 maxWaitMS:4 zero:4",
		body: &native.Fetch{Index: 1, Offset: 2, MaxBytes: 3, MinBytes: 4, MaxWaitMS: 5}, redo: redo(native.DecodeFetch),
	},
	{
		name: "fetch_reply", layout: "index:8 start:8 visible:8 nbytes:4 zero:4",
		body: &native.FetchReply{Index: 1, Start: 2, Visible: 3},
		redo: func(b []byte) ([]byte, error) {
			m, batches, err := native.DecodeFetchReply(b)
			if err != nil {
				return nil, err
			}
			return append(m.Append(nil), batches...), nil
		},
	},
	{
		name: "list_offsets", layout: "index:8 time:8",
		body: &native.ListOffsets{Index: 1, TimeMS: native.TimeEarliest}, redo: redo(native.DecodeListOffsets),
	},
	{
		name: "list_offsets_reply", layout: "index:8 offset:8 time:8 start:8 visible:8",
		body: &native.ListOffsetsReply{Index: 1, Offset: 2, TimeMS: -1, Start: 3, Visible: 4}, redo: redo(native.DecodeListOffsetsReply),
	},
	{
		name: "commit_offsets", layout: "level:1 group:s" + offsetsLayout,
		body: &native.CommitOffsets{Level: ipc.LevelDisk, Group: "g", Offsets: offsets}, redo: redo(native.DecodeCommitOffsets),
	},
	{
		name: "fetch_offsets", layout: "group:s indexes=2:v index:8 index:8",
		body: &native.FetchOffsets{Group: "g", Indexes: []uint64{1, 1 << 40}}, redo: redo(native.DecodeFetchOffsets),
	},
	{
		name: "offsets_reply", layout: offsetsLayout,
		body: &native.OffsetsReply{Offsets: offsets}, redo: redo(native.DecodeOffsetsReply),
	},
	{
		name: "subscribe", layout: "sub:8 index:8 offset:8 limit:8 kind:1 autoAck:1 exclusive:1 zero:1 priority:4 ackTimeoutMS:8 tag:s",
		body: &native.Subscribe{Sub: 1, Index: 2, Offset: 3, Limit: 4, Kind: native.SubTopic, AutoAck: true, Priority: -1, AckTimeoutMS: 10_000, Tag: "worker 1"}, redo: redo(native.DecodeSubscribe),
	},
	{
		name: "unsubscribe", layout: "sub:8", body: &native.Unsubscribe{Sub: 9}, redo: redo(native.DecodeUnsubscribe),
	},
	{
		name: "credit", layout: "sub:8 limit:8", body: &native.Credit{Sub: 1, Limit: 1 << 40}, redo: redo(native.DecodeCredit),
	},
	{
		name: "ack", layout: "sub:8 queue:8 index:8 lease:8 verdict:1 ranges=2:v first:8 count:4 first:8 count:4",
		body: &native.Ack{Sub: 1, Queue: 7, Index: 2, Verdict: ipc.VerdictRequeue, Ranges: []ipc.Range{{First: 3, Count: 4}, {First: 9, Count: 1}}},
		redo: redo(func(b []byte) (native.Ack, error) { return native.DecodeAck(b, nil) }),
	},
	{
		name: "deliver", layout: "sub:8 index:8 base:8 first:8 count:4 attempts:2 zero:2 noteBytes:4 zero:4", open: true,
		body: &native.Deliver{Sub: 1, Index: 2, Base: 3, First: 4, Count: 5, Attempts: 6},
		redo: func(b []byte) ([]byte, error) {
			m, note, batches, err := native.DecodeDeliver(b)
			if err != nil {
				return nil, err
			}
			return append(append(m.Append(nil), note...), batches...), nil
		},
	},
	{
		name: "note", layout: "exchange:s key:s headers=1:v key:s value:s priority:1 deaths=1:v queue:s reason:1 count:8 firstMS:8 exchange:s keys=1:v key:s",
		body: &ipc.Note{
			Exchange: "orders", Key: "eu", Headers: []ipc.Header{{Key: "k", Value: "v"}}, Priority: 3,
			Deaths: []ipc.Death{{Queue: "q", Reason: ipc.ReasonRejected, Count: 2, FirstMS: 1_700_000_000_000, Exchange: "first", Keys: []string{"k"}}},
		},
		redo: redo(native.DecodeNote),
	},
	{
		name: "recall", layout: "sub:8 index:8 ranges=1:v first:8 count:4",
		body: &native.Recall{Sub: 1, Index: 2, Ranges: []ipc.Range{{First: 3, Count: 4}}}, redo: redo(native.DecodeRecall),
	},
	{
		name: "ack_lease", layout: "sub:8 queue:8 index:8 lease:8 verdict:1 ranges=1:v first:8 count:4",
		body: &native.Ack{Queue: 7, Index: 2, Lease: 5, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 3, Count: 4}}},
		redo: redo(func(b []byte) (native.Ack, error) { return native.DecodeAck(b, nil) }),
	},
	{
		name: "pull", layout: "queue:8 max:4 autoAck:1 zero:3 waitMS:8 invisibleMS:8",
		body: &native.Pull{Queue: 7, Max: 100, WaitMS: 30_000, InvisibleMS: 60_000}, redo: redo(native.DecodePull),
	},
	{
		name: "pull_reply", layout: "lease:8 untilMS:8 count:4 zero:4",
		body: &native.PullReply{Lease: 5, UntilMS: 1_700_000_060_000, Count: 3}, redo: redo(native.DecodePullReply),
	},
	{
		name: "extend", layout: "queue:8 index:8 offset:8 lease:8 invisibleMS:8",
		body: &native.Extend{Queue: 7, Index: 2, Offset: 3, Lease: 5, InvisibleMS: 60_000}, redo: redo(native.DecodeExtend),
	},
	{
		name: "begin_txn", layout: "group:s key:s checkMS:8",
		body: &native.BeginTxn{Group: "payers", Key: "order-7", CheckMS: 60_000}, redo: redo(native.DecodeBeginTxn),
	},
	{
		name: "begin_txn_reply", layout: "txn:8", body: &native.BeginTxnReply{Txn: 6}, redo: redo(native.DecodeBeginTxnReply),
	},
	{
		name: "end_txn", layout: "txn:8 commit:1 verdicts=1:v sub:8 queue:8 index:8 verdict:1 first:8 count:4",
		body: &native.EndTxn{Txn: 6, Commit: true, Verdicts: []ipc.TxnVerdict{{Sub: 1, Queue: 7, Index: 2, Verdict: ipc.VerdictAck, Range: ipc.Range{First: 3, Count: 4}}}},
		redo: redo(native.DecodeEndTxn),
	},
	{
		name: "end_txn_reply", layout: "committed:1 zero:3 queues:4", body: &native.EndTxnReply{Committed: true, Queues: 3}, redo: redo(native.DecodeEndTxnReply),
	},
	{
		name: "txn_member", layout: "group:s join:1", body: &native.TxnMember{Group: "payers", Join: true}, redo: redo(native.DecodeTxnMember),
	},
	{
		name: "check_txn", layout: "txn:8 group:s key:s checks:4",
		body: &native.CheckTxn{Txn: 6, Group: "payers", Key: "order-7", Checks: 2}, redo: redo(native.DecodeCheckTxn),
	},
	{
		name:   "group_heartbeat",
		layout: "group:s member:s epoch:4 instance:s takeOver:1 sessionMS:4 rebalanceMS:4 assignor:s hasTopics:1 topics=1:v topic:s hasOwned:1 owned=2:v index:8 index:8",
		body: &native.GroupHeartbeat{
			Group: "g", Member: "m-1", Epoch: 7, Instance: "i", TakeOver: true, SessionMS: 45_000, RebalanceMS: 60_000, Assignor: "sticky",
			HasTopics: true, Topics: []string{"t"}, HasOwned: true, Owned: []uint64{9, 10},
		},
		redo: redo(native.DecodeGroupHeartbeat),
	},
	{
		name: "group_heartbeat_short", layout: "group:s member:s epoch:4 instance:s takeOver:1 sessionMS:4 rebalanceMS:4 assignor:s hasTopics:1 hasOwned:1",
		body: &native.GroupHeartbeat{Group: "g", Member: "m-1", Epoch: ipc.EpochLeave}, redo: redo(native.DecodeGroupHeartbeat),
	},
	{
		name:   "group_assignment",
		layout: "member:s epoch:4 heartbeatMS:4 sessionMS:4 hasTopics:1 topics=1:v topic:s uuid:16 partitions=1:v partition:4 index:8",
		body: &native.GroupAssignment{
			Member: "m-1", Epoch: 8, HeartbeatMS: 5000, SessionMS: 45_000, HasTopics: true,
			Topics: []ipc.AssignedTopic{{Topic: "t", UUID: [16]byte{1}, Partitions: []ipc.AssignedPartition{{Partition: 3, Index: 9}}}},
		},
		redo: redo(native.DecodeGroupAssignment),
	},
	{
		name: "group_commit", layout: "group:s member:s instance:s epoch:4 level:1" + offsetsLayout,
		body: &native.GroupCommit{Group: "g", Member: "m-1", Epoch: 7, Level: ipc.LevelDisk, Offsets: offsets}, redo: redo(native.DecodeGroupCommit),
	},
	{
		name: "sub_closed", layout: "sub:8 code:2 text:s",
		body: &native.SubClosed{Sub: 1, Code: errcode.NotFound, Text: "gone"}, redo: redo(native.DecodeSubClosed),
	},
}

func encoded(c *bodyCase) []byte { return c.body.Append(nil) }

// sameFront tells whether b begins as again does, where a batch may follow, or is again.
func sameFront(c *bodyCase, b, again []byte) bool {
	if c.open && len(b) > len(again) {
		b = b[:len(again)]
	}
	return bytes.Equal(b, again)
}
