package admin

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// codec is one body with an example of it.
type codec struct {
	name, layout string
	body         []byte
	check        func(t *testing.T)
	redo         func(b []byte) ([]byte, error)
}

type appender[T any] interface {
	*T
	Append([]byte) []byte
}

func body[T any, P appender[T]](name, layout string, v T, decode func([]byte) (T, error)) codec {
	encoded := P(&v).Append(nil)
	return codec{
		name: name, layout: layout, body: encoded,
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

const (
	exchangeLayout = "name:s type:1 durable:1 autoDelete:1 internal:1 alternate:s hashHeader:s delayed:1 arguments:s "
	bindingLayout  = "exchange:s queue:s toExchange:1 routingKey:s matchAny:1 withX:1 headers:v key:s value:s present:v name:s arguments:s "
)

const settingsLayout = "durable:1 exclusive:1 autoDelete:1 singleActive:1 maxPriority:1 overflow:1 " +
	"maxMessages:1 n:8 maxBytes:1 n:8 messageTTL:1 n:8 expires:1 n:8 deliveryLimit:1 n:8 rewind:1 n:8 " +
	"deadLetter:1 exchange:s keepKey:1 key:s topic:s filterKind:1 filter:s type:1 arguments:s "

var settings = QueueSettings{
	Durable: true, SingleActive: true, MaxPriority: 9, Overflow: RejectDeadLetter, MaxMessages: Some(1000), MessageTTLMS: Some(0),
	DeliveryLimit: Some(5), DeadLetter: true, DeadLetterExchange: "dead", DeadLetterKey: "eu", Topic: "orders",
	FilterKind: FilterTags, Filter: "a || b", Type: QuorumQueue, Arguments: "\x00\x00\x00\x00",
}

func codecs() []codec {
	exchange := CreateExchange{"orders", ConsistentHash, true, false, true, "rest", "customer", true, "a"}
	binding := CreateBinding{"orders", "eu", true, "eu.#", true, false, []ipc.Header{{Key: "format", Value: "pdf"}}, []string{"pages"}, "b"}
	topic := TopicInfo{
		"logs", [16]byte{1, 2, 15: 16}, ipc.LevelPage, 1 << 30, 3_600_000, 1_700_000_000_123,
		[]PartitionInfo{{9, 1000, 990}, {10, 0, 0}}, []ipc.Header{{Key: "retention.ms", Value: "3600000"}},
	}
	const described = "kind:1 more:1 missing:v "
	return append(append(append(groupCodecs(), definitionCodecs()...), txnalCodecs()...), []codec{
		body("create_exchange", exchangeLayout, exchange, DecodeCreateExchange),
		body("create_queue", "name:s level:1 "+settingsLayout+"from:1 offsets:v offset:8",
			CreateQueue{"eu", ipc.LevelDisk, settings, FromOffsets, []uint64{5}}, DecodeCreateQueue),
		body("purge", "name:s", Purge{"eu"}, DecodePurge),
		body("seek", "name:s to:v index:8 offset:8", Seek{"eu", []SeekTo{{9, 100}}}, DecodeSeek),
		body("create_binding", bindingLayout, binding, DecodeCreateBinding),
		body("delete_binding", bindingLayout, DeleteBinding(binding), DecodeDeleteBinding),
		body("create_topic", "name:s partitions:4 level:1 retentionBytes:8 retentionMS:8 configs:v key:s value:s",
			CreateTopic{"logs", 12, ipc.LevelPage, 1 << 30, 3_600_000, []ipc.Header{{Key: "cleanup.policy", Value: "compact"}}}, DecodeCreateTopic),
		body("alter_topic", "name:s replace:1 changes:v op:1 key:s value:s",
			AlterTopic{"logs", true, []topicconf.Change{{Op: topicconf.Append, Key: "cleanup.policy", Value: "compact"}}}, DecodeAlterTopic),
		body("delete_records", "to:v index:8 offset:8", DeleteRecords{[]SeekTo{{9, 100}}}, DecodeDeleteRecords),
		body("add_partitions", "name:s total:4", AddPartitions{"logs", 24}, DecodeAddPartitions),
		body("delete", "name:s ifUnused:1 ifEmpty:1", Delete{"eu", true, false}, DecodeDelete),
		body("created", "index:8 existed:1 name:s messages:8", Created{9, true, "eu", 12}, DecodeCreated),
		body("describe", "kind:1 names:v name:s name:s after:s max:4",
			Describe{KindQueue, []string{"a", "b"}, "c", 100}, DecodeDescribe),
		body("description_topic", described+"name:s topics:v name:s uuid:16 level:1 retentionBytes:8 retentionMS:8 "+
			"createdMS:8 partitions:v index:8 next:8 visible:8 index:8 next:8 visible:8 configs:v key:s value:s",
			Description{Kind: KindTopic, More: true, Topics: []TopicInfo{topic}, Missing: []string{"x"}}, DecodeDescription),
		body("description_exchange", described+"exchanges:v "+exchangeLayout+"bindings:4 exchanges:4 policy:s published:8 reached:8",
			Description{Kind: KindExchange, Exchanges: []ExchangeInfo{{exchange, 3, 1, "p", 70, 90}}}, DecodeDescription),
		body("description_queue", described+"queues:v name:s queue:8 level:1 "+settingsLayout+settingsLayout+
			"policy:s operator:s ready:8 unacked:8 leased:8 dead:8 settled:8 consumers:4 pulls:4 indexes:v index:8 number:4 next:8 visible:8 floor:8 oldest:8",
			Description{Kind: KindQueue, Queues: []QueueInfo{{"eu", 9, ipc.LevelDisk, settings, settings, "p", "o", 5, 6, 7, 8, 89, 2, 1, []QueueIndex{{9, 3, 100, 99, 80, 81}}}}},
			DecodeDescription),
		body("description_consumer", described+"consumers:v queue:s conn:8 sub:8 autoAck:1 exclusive:1 puller:1 priority:4 ackTimeoutMS:8 tag:s active:1 credit:8 held:8 delivered:8",
			Description{Kind: KindConsumer, Consumers: []ConsumerInfo{{"eu", 256, 1, ipc.Consumer{Priority: 3, AckTimeoutMS: 10_000, Tag: "w"}, true, 40, 60, 100}}},
			DecodeDescription),
		body("description_txn", described+"txns:v txn:8 group:s key:s begun:8 batches:4 checks:4 checkMS:8",
			Description{Kind: KindTxn, Txns: []TxnInfo{{6, "payers", "order-7", 1_700_000_000_000, 3, 1, 1_700_000_060_000}}}, DecodeDescription),
		body("description_binding", described+"bindings:v "+bindingLayout,
			Description{Kind: KindBinding, Bindings: []BindingInfo{BindingInfo(binding)}}, DecodeDescription),
		body("description_group", described+"groups:v name:s offsets:v index:8 offset:8 metadata:s",
			Description{Kind: KindGroup, Groups: []GroupInfo{{"g", []ipc.OffsetCommit{{Index: 9, Offset: 7, Metadata: "m"}}}}},
			DecodeDescription),
	}...)
}

func TestBodiesRoundTrip(t *testing.T) {
	for _, c := range codecs() {
		t.Run(c.name, c.check)
	}
}

func TestGolden(t *testing.T) {
	for _, c := range codecs() {
		golden.Check(t, "admin_v3_"+c.name, c.layout, c.body)
		if again, err := c.redo(golden.Read(t, "admin_v3_"+c.name)); err != nil || !bytes.Equal(again, c.body) {
			t.Errorf("%s: the golden file reads as %x, %v", c.name, again, err)
		}
	}
	golden.Constants(t, "admin_v3_constants")
}

func TestBodiesRefuseOtherLengths(t *testing.T) {
	for _, c := range codecs() {
		for n := range c.body {
			if _, err := c.redo(c.body[:n]); err == nil {
				t.Errorf("%s of %d of %d bytes is accepted", c.name, n, len(c.body))
			}
		}
		if _, err := c.redo(append(c.body[:len(c.body):len(c.body)], 0)); err == nil {
			t.Errorf("%s with a byte behind it is accepted", c.name)
		}
	}
}

func TestBodiesRefuseBadValues(t *testing.T) {
	for _, x := range []struct {
		name string
		at   int
		v    byte
	}{
		{"create_exchange", 8, 2},      // durable
		{"create_exchange", 10, 2},     // internal
		{"create_queue", 3, 9},         // level
		{"create_binding", 10, 2},      // toExchange
		{"create_binding", 16, 2},      // matchAny
		{"create_binding", 17, 2},      // withX
		{"create_topic", 9, 9},         // level
		{"delete", 3, 2},               // ifUnused
		{"created", 8, 2},              // existed
		{"create_queue", 9, 3},         // overflow
		{"create_queue", 19, 2},        // maxBytes given
		{"create_queue", 20, 1},        // a number that is not given
		{"description_exchange", 0, 9}, // kind
		{"description_exchange", 0, 0}, // kind
		{"description_topic", 1, 2},    // more

		{"description_membership", 6, 4},    // type
		{"description_membership", 7, 5},    // state
		{"description_group_summary", 6, 4}, // type
	} {
		for _, c := range codecs() {
			if c.name != x.name {
				continue
			}
			c.body[x.at] = x.v
			if _, err := c.redo(c.body); err == nil {
				t.Errorf("%s with %d at byte %d is accepted", x.name, x.v, x.at)
			}
		}
	}
}

func TestText(t *testing.T) {
	text, err := os.ReadFile("../../docs/formats/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, cmd := range []Command{
		CmdCreateExchange, CmdCreateQueue, CmdCreateBinding, CmdCreateTopic, CmdDeleteTopic,
		CmdAddPartitions, CmdDeleteExchange, CmdDeleteQueue, CmdDeleteBinding, CmdDescribe, CmdPurge, CmdSeek,
		CmdDeleteGroup, CmdResetOffsets, CmdDeleteOffsets, CmdSetGroup, CmdAbortTxnal,
	} {
		name := Text(cmd)
		if seen[name] || strings.HasPrefix(name, "command-") {
			t.Errorf("%d is called %q", cmd, name)
		}
		seen[name] = true
		if row := fmt.Sprintf("\n| %s | %d |", name, cmd); !strings.Contains(string(text), row) {
			t.Errorf("the document has no row %q", row)
		}
	}
	if Text(99) != "command-99" {
		t.Error(Text(99))
	}
}

// FuzzDecode gives any bytes to the decoder of each body. Invariants: no panic; what is
// accepted encodes to the same bytes; allocation is bounded by the input's length.
func FuzzDecode(f *testing.F) {
	all := codecs()
	for i, c := range all {
		f.Add(byte(i), c.body)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		c := all[int(which)%len(all)]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		again, err := c.redo(b)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(64*len(b)+1<<18) {
			t.Errorf("%s: %d bytes allocated for %d", c.name, grown, len(b))
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%s: %x encodes as %x", c.name, b, again)
		}
	})
}
