package ipc

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/golden"
)

// codec is one record type with an example of it.
type codec struct {
	name   string
	layout string // as docs/formats/ipc.md draws it
	record []byte
	check  func(t *testing.T)             // decode(record) is the example
	redo   func(b []byte) ([]byte, error) // encode(decode(b))
}

type appender[T any] interface {
	*T
	Append([]byte) []byte
}

func record[T any, P appender[T]](name, layout string, v T, decode func([]byte) (T, error)) codec {
	encoded := P(&v).Append(nil)
	return codec{
		name: name, layout: layout, record: encoded,
		check: func(t *testing.T) {
			got, err := decode(encoded)
			if err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("%v\nhave %+v\nwant %+v", err, got, v)
			}
		},
		redo: func(b []byte) ([]byte, error) {
			got, err := decode(b)
			if err != nil {
				return nil, err
			}
			return P(&got).Append(nil), nil
		},
	}
}

// withBatch is record for the two types that have a batch behind them.
func withBatch[T any, P appender[T]](
	name, layout string, v T, batch string, decode func([]byte) (T, int, error),
) codec {
	whole := append(P(&v).Append(nil), batch...)
	c := record[T, P](name, layout, v, func([]byte) (T, error) {
		got, off, err := decode(whole)
		if err == nil && string(whole[off:]) != batch {
			return got, errors.New("the batch is not where it should be")
		}
		return got, err
	})
	c.record = whole
	c.redo = func(b []byte) ([]byte, error) {
		got, off, err := decode(b)
		if err != nil {
			return nil, err
		}
		return append(P(&got).Append(nil), b[off:]...), nil
	}
	return c
}

const (
	headLayout  = "epoch:8 conn:8 req:8 "
	offsLayout  = "count:v index:8 offset:8 metadata:s leader:4 index:8 offset:8 metadata:s leader:4"
	metaLayout  = "batch.producer:8 batch.maxTimeMS:8 batch.count:4 batch.crc:4 batch.length:4 batch.baseSeq:4 "
	batchLayout = "batch:*"

	consumerLayout = "autoAck:1 exclusive:1 puller:1 priority:4 ackTimeoutMS:8 tag:s "
)

var (
	consumer = Consumer{true, false, false, -2, 10_000, "worker-1"}
	head     = Head{Epoch: 0x0102030405060708, Conn: 0x1112131415161718, Req: 0x2122232425262728}
	commits  = []OffsetCommit{{Index: 7, Offset: 1 << 40, Metadata: "m", Leader: 1}, {Index: 8}}
	meta     = BatchMeta{
		Count: 3, CRC: 0xCAFEF00D, MaxTimeMS: 1_700_000_000_123, ProducerID: 42,
		Epoch: 5, BaseSeq: 900, Length: 11,
	}
)

// codecs lists every record of this package.
func codecs() []codec {
	return append(append(groupCodecs(), txnalCodecs()...), []codec{
		record("hello", headLayout+"loops:4", Hello{head, 4}, DecodeHello),
		withBatch("append", headLayout+"index:8 "+metaLayout+"batch.epoch:2 level:1 zero:5 txn:8 "+batchLayout,
			Append{head, 9, LevelDisk, 6, meta, TxnalNone}, "hello batch", DecodeAppend),
		withBatch("publish", headLayout+metaLayout+"batch.epoch:2 level:1 mandatory:1 bodyOff:4 txn:8 dueMS:8 ttlMS:8 weight:4 priority:1 flags:1 zero:2 "+
			"exchange:s routingKey:s headers:v key:s value:s key:s value:s pad:5 "+batchLayout,
			Publish{
				Head: head, Level: LevelPage, Mandatory: true, Priority: 7, Weight: 300, Txn: 6, DueMS: 1_700_000_000_000, TTLMS: 60_000,
				Batch: meta, Exchange: "orders", RoutingKey: "eu.de", Headers: []Header{{"format", "pdf"}, {"", ""}},
			}, "hello batch", DecodePublish),
		withBatch("publish_keys", headLayout+metaLayout+"batch.epoch:2 level:1 mandatory:1 bodyOff:4 txn:8 dueMS:8 ttlMS:8 weight:4 priority:1 flags:1 zero:2 "+
			"exchange:s routingKey:s headers:v keys:v key:s key:s pad:5 "+batchLayout,
			Publish{Head: head, Batch: meta, Exchange: "x", RoutingKey: "k", MoreKeys: []string{"a", "bc"}, DelayedOnly: true, Whole: true, NoHeaders: true, Keyless: true}, "hello batch", DecodePublish),
		record("init_producer", headLayout+"producer:8 epoch:2", InitProducer{head, -1, -1}, DecodeInitProducer),
		record("producer", headLayout+"producer:8 epoch:2", Producer{head, 77, 3}, DecodeProducer),
		record("admin", headLayout+"command:2 body:s", Admin{head, 17, []byte("body")}, DecodeAdmin),
		record("admin_reply", headLayout+"command:2 body:s", AdminReply{head, 17, []byte("reply")}, DecodeAdminReply),
		record("wait", headLayout+"index:8 beyond:8", Wait{head, 9, 1000}, DecodeWait),
		record("unwait", headLayout+"target:8", Unwait{head, 55}, DecodeUnwait),
		record("subscribe", headLayout+"sub:8 queue:8 limit:8 "+consumerLayout,
			Subscribe{head, 1, 9, 500, consumer}, DecodeSubscribe),
		record("subscribed", headLayout+"sub:8 filter.kind:1 text:s", Subscribed{head, 1, Filter{1, "price > 100"}}, DecodeSubscribed),
		record("unsubscribe", headLayout+"sub:8 keep:1", Unsubscribe{head, 1, true}, DecodeUnsubscribe),
		record("sub_closed", headLayout+"sub:8 code:2 text:s", SubClosed{head, 1, 13, "queue deleted"}, DecodeSubClosed),
		record("credit", headLayout+"sub:8 limit:8", Credit{head, 1, 600}, DecodeCredit),
		record("ack", headLayout+"sub:8 queue:8 index:8 lease:8 verdict:1 zero:1 recalls:2 ranges:4 first:8 count:4 first:8 count:4",
			Ack{head, 1, 9, 10, 77, VerdictRequeue, 3, []Range{{10, 5}, {20, 1}}}, DecodeAck),
		record("commit_offsets", headLayout+"group:s level:1 "+offsLayout,
			CommitOffsets{head, "g", LevelDisk, commits}, DecodeCommitOffsets),
		record("fetch_offsets", headLayout+"group:s count:v index:8 index:8",
			FetchOffsets{head, "g", []uint64{7, 8}}, DecodeFetchOffsets),
		record("offset_list", headLayout+offsLayout, OffsetList{head, commits}, DecodeOffsetList),
		record("conn_closed", headLayout, ConnClosed{head}, DecodeConnClosed),
		record("sub_state", headLayout+"term:8 ask:8 sub:8 queue:8 limit:8 delivered:8 "+consumerLayout+"inHand:v index:8 first:8 count:4",
			SubState{head, 3, 1, 1, 9, 500, 123, consumer, []Held{{9, Range{118, 5}}}}, DecodeSubState),
		record("pull", headLayout+"sub:8 queue:8 max:4 wait:1 autoAck:1 invisibleMS:8",
			Pull{head, 2, 9, 10, true, false, 30_000}, DecodePull),
		record("pull_from", headLayout+"sub:8 queue:8 max:4 wait:1 autoAck:1 invisibleMS:8 indexes:v index:8 index:8",
			PullFrom{Pull{head, 0, 9, 10, true, false, 30_000}, []uint64{10, 11}}, DecodePullFrom),
		record("pull_end", headLayout+"target:8", PullEnd{head, 55}, DecodePullEnd),
		record("pulled", headLayout+"queue:8 lease:8 untilMS:8 filter.kind:1 text:s runs:v index:8 first:8 count:4 attempts:2",
			Pulled{head, 9, 77, 1_700_000_000_000, Filter{2, "a || b"}, []PulledRun{{9, 118, 5, 1}}}, DecodePulled),
		record("extend", headLayout+"queue:8 index:8 offset:8 lease:8 invisibleMS:8", Extend{head, 9, 10, 118, 77, 5000}, DecodeExtend),
		record("recall", headLayout+"sub:8 index:8 ranges:v first:8 count:4", Recall{head, 1, 9, []Range{{118, 5}}}, DecodeRecall),
		record("begin_txn", headLayout+"group:s key:s checkMS:8", BeginTxn{head, "payers", "order-7", 60_000}, DecodeBeginTxn),
		record("txn_begun", headLayout+"txn:8", TxnBegun{head, 6}, DecodeTxnBegun),
		record("end_txn", headLayout+"txn:8 commit:1 unheld:1 verdicts:v sub:8 queue:8 index:8 verdict:1 first:8 count:4",
			EndTxn{head, 6, true, false, []TxnVerdict{{1, 9, 9, VerdictReject, Range{118, 5}}}}, DecodeEndTxn),
		record("txn_ended", headLayout+"committed:1 queues:4", TxnEnded{head, true, 3}, DecodeTxnEnded),
		record("txn_member", headLayout+"group:s join:1", TxnMember{head, "payers", true}, DecodeTxnMember),
		record("check_txn", headLayout+"txn:8 group:s key:s checks:4", CheckTxn{head, 6, "payers", "order-7", 2}, DecodeCheckTxn),
		record("handed", headLayout+"term:8 ask:8 list:v queue:8 index:8 next:8", Handed{head, 3, 1, []HandedUpTo{{9, 10, 118}}}, DecodeHanded),
		record("resync_end", headLayout+"term:8 ask:8 loop:4 loops:4", ResyncEnd{head, 3, 1, 0, 2}, DecodeResyncEnd),
		record("marker", "term:8 ask:8", Marker{3, 1}, DecodeMarker),
		record("error", headLayout+"code:2 text:s", Error{head, 12, "no topic x"}, DecodeError),
		record("appended", headLayout+"index:8 base:8 duplicate:1 zero:7", Appended{head, 9, 1000, true}, DecodeAppended),
		record("published", headLayout+"queues:4 full:4 duplicate:1 zero:7", Published{head, 20, 2, true}, DecodePublished),
		record("visible", headLayout+"index:8 end:8", Visible{head, 9, 1003}, DecodeVisible),
		record("deliver", headLayout+"sub:8 index:8 first:8 count:4 attempts:2 zero:2",
			Deliver{head, 1, 9, 118, 5, 2}, DecodeDeliver),
		record("done", headLayout, Done{head}, DecodeDone),
		record("defined", "count:8", Defined{9}, DecodeDefined),
		record("index_gone", "index:8", IndexGone{9}, DecodeIndexGone),
		record("topic_changed", "topic:s", TopicChanged{"logs"}, DecodeTopicChanged),
		record("checkpoint_part", "lsn:8 resultsFrom:8 part:4 parts:4 bytes:*",
			CheckpointPart{99, 90, 1, 2, []byte("state")}, DecodeCheckpointPart),
		record("configure", "term:8 part:4 parts:4 count:v index:8 retentionBytes:8 retentionMS:8",
			Configure{3, 0, 1, []IndexSettings{{9, 1 << 30, 3_600_000, Compaction{}}}}, DecodeConfigure),
		record("configure_compacted", "term:8 part:4 parts:4 count:v index:8 retentionBytes:8 retentionMS:8 compacted:1 "+
			"index:8 retentionBytes:8 retentionMS:8 compacted:1 dirtyPPM:8 minLagMS:8 maxLagMS:8 tombstoneMS:8 closingMS:8 closingBytes:8",
			ConfigureCompacted{3, 0, 1, []IndexSettings{{9, 1 << 30, 3_600_000, Compaction{}}, {10, 0, 0, Compaction{true, 500_000, 1, 2, 3, 4, 5}}}}, DecodeConfigureCompacted),
	}...)
}

func TestRecordsRoundTrip(t *testing.T) {
	for _, c := range codecs() {
		t.Run(c.name, c.check)
	}
}

func TestGolden(t *testing.T) {
	for _, c := range codecs() {
		golden.Check(t, "ipc_v3_"+c.name, c.layout, c.record)
		if again, err := c.redo(golden.Read(t, "ipc_v3_"+c.name)); err != nil || !bytes.Equal(again, c.record) {
			t.Errorf("%s: the golden file reads as %x, %v", c.name, again, err)
		}
	}
	golden.Constants(t, "ipc_v3_constants")
	golden.Documented(t, "../../docs/formats/ipc.md", "Type")
}

// No record is complete when a byte is missing, or one too many.
func TestRecordsRefuseOtherLengths(t *testing.T) {
	for _, c := range codecs() {
		for n := range c.record {
			if c.name == "checkpoint_part" && n >= CheckpointPartFixed {
				break // its bytes run to the end
			}
			if _, err := c.redo(c.record[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s of %d of %d bytes: %v", c.name, n, len(c.record), err)
			}
		}
		if _, err := c.redo(append(c.record[:len(c.record):len(c.record)], 0)); err == nil && c.name != "checkpoint_part" {
			t.Errorf("%s with a byte behind it is accepted", c.name)
		}
	}
}

func TestRecordsRefuseBadValues(t *testing.T) {
	set := func(at int, v byte) func([]byte) { return func(b []byte) { b[at] = v } }
	for _, c := range []struct {
		record, what string
		mutate       func([]byte)
	}{
		{"append", "level", set(66, 9)},
		{"append", "kind", set(67, 3)},
		{"append", "padding", set(71, 1)},
		{"append", "length", set(56, 12)},
		{"publish", "level", set(58, 9)},
		{"publish", "bool", set(59, 2)},
		{"publish", "bodyOff beyond the end", set(63, 1)},
		{"publish", "bodyOff that is no multiple of 8", set(60, 60)},
		{"publish", "bodyOff before the strings", set(60, 8)},
		{"publish", "string longer than the record", set(96, 0x7f)},
		{"publish", "padding", set(95, 1)},
		{"publish", "unknown flags", set(93, 0x20)},
		{"publish", "a flag for keys that are not there", set(93, 8)},
		{"publish", "due time", set(79, 0x80)},
		{"publish", "time to live", set(87, 0x80)},
		{"ack", "verdict 0", set(56, 0)},
		{"ack", "verdict 6", set(56, 6)},
		{"ack", "padding", set(57, 1)},
		{"ack", "ranges", set(63, 1)},
		{"end_txn", "verdict", set(59, 2)},
		{"end_txn", "bool", set(33, 2)},
		{"pull", "bool", set(44, 2)},
		{"appended", "bool", set(40, 2)},
		{"appended", "padding", set(47, 1)},
		{"published", "bool", set(32, 2)},
		{"deliver", "padding", set(54, 1)},
		{"subscribe", "bool", set(48, 2)},
		{"commit_offsets", "level", set(26, 9)},
		{"admin", "length in two bytes", func(b []byte) { b[26], b[27] = 0x83, 0 }},
		{"checkpoint_part", "part of more than there are", set(16, 2)},
		{"configure", "part of more than there are", set(8, 2)},
		{"configure", "count", set(16, 0x7f)},
		{"group_heartbeat", "bool", set(34, 2)},
		{"group_heartbeat", "optional list", set(67, 2)},
		{"group_assignment", "count", set(39, 0x7f)},
		{"group_commit", "level", set(34, 9)},
	} {
		b := find(t, c.record)
		c.mutate(b)
		if _, err := redo(t, c.record)(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a bad %s: %v", c.record, c.what, err)
		}
	}
}

func find(t testing.TB, name string) []byte {
	for _, c := range codecs() {
		if c.name == name {
			return bytes.Clone(c.record)
		}
	}
	t.Fatal(name)
	return nil
}

func redo(t testing.TB, name string) func([]byte) ([]byte, error) {
	for _, c := range codecs() {
		if c.name == name {
			return c.redo
		}
	}
	t.Fatal(name)
	return nil
}

func TestPublishSize(t *testing.T) {
	for _, n := range []int{0, 1, 5, 127, 128, 300} {
		m := Publish{Exchange: strings.Repeat("x", n), Headers: make([]Header, n)}
		if have := len(m.Append(nil)); have != m.Size() || have%8 != 0 {
			t.Errorf("%d: %d bytes, Size says %d", n, have, m.Size())
		}
	}
	if have := len((&Ack{Ranges: make([]Range, 3)}).Append(nil)); have != AckSize(3) {
		t.Errorf("ack of %d bytes, AckSize says %d", have, AckSize(3))
	}
}

func TestPeekHead(t *testing.T) {
	if h, ok := PeekHead(find(t, "deliver")); !ok || h != head {
		t.Errorf("%v %v", h, ok)
	}
	if _, ok := PeekHead(make([]byte, HeadSize-1)); ok {
		t.Error("a head of 23 bytes")
	}
}
