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

const bindingLayout = "exchange:s queue:s routingKey:s matchAny:1 headers:v key:s value:s "

func codecs() []codec {
	binding := CreateBinding{"orders", "eu", "eu.#", true, []ipc.Header{{Key: "format", Value: "pdf"}}}
	topic := TopicInfo{
		"logs", [16]byte{1, 2, 15: 16}, ipc.LevelPage, 1 << 30, 3_600_000, 1_700_000_000_123,
		[]PartitionInfo{{9, 1000, 990}, {10, 0, 0}},
	}
	const described = "kind:1 more:1 missing:v "
	return append(groupCodecs(), []codec{
		body("create_exchange", "name:s type:1 durable:1", CreateExchange{"orders", Topic, true}, DecodeCreateExchange),
		body("create_queue", "name:s level:1 durable:1", CreateQueue{"eu", ipc.LevelDisk, true}, DecodeCreateQueue),
		body("create_binding", bindingLayout, binding, DecodeCreateBinding),
		body("delete_binding", bindingLayout, DeleteBinding(binding), DecodeDeleteBinding),
		body("create_topic", "name:s partitions:4 level:1 retentionBytes:8 retentionMS:8",
			CreateTopic{"logs", 12, ipc.LevelPage, 1 << 30, 3_600_000}, DecodeCreateTopic),
		body("add_partitions", "name:s total:4", AddPartitions{"logs", 24}, DecodeAddPartitions),
		body("delete", "name:s ifUnused:1 ifEmpty:1", Delete{"eu", true, false}, DecodeDelete),
		body("created", "index:8 existed:1", Created{9, true}, DecodeCreated),
		body("describe", "kind:1 names:v name:s name:s after:s max:4",
			Describe{KindQueue, []string{"a", "b"}, "c", 100}, DecodeDescribe),
		body("description_topic", described+"name:s topics:v name:s uuid:16 level:1 retentionBytes:8 retentionMS:8 "+
			"createdMS:8 partitions:v index:8 next:8 visible:8 index:8 next:8 visible:8",
			Description{Kind: KindTopic, More: true, Topics: []TopicInfo{topic}, Missing: []string{"x"}}, DecodeDescription),
		body("description_exchange", described+"exchanges:v name:s type:1 durable:1 bindings:4",
			Description{Kind: KindExchange, Exchanges: []ExchangeInfo{{"orders", Headers, true, 3}}}, DecodeDescription),
		body("description_queue", described+"queues:v name:s index:8 level:1 durable:1 ready:8 unacked:8 next:8 floor:8 consumers:4",
			Description{Kind: KindQueue, Queues: []QueueInfo{{"eu", 9, ipc.LevelDisk, true, 5, 6, 100, 89, 2}}}, DecodeDescription),
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
		golden.Check(t, "admin_v1_"+c.name, c.layout, c.body)
		if again, err := c.redo(golden.Read(t, "admin_v1_"+c.name)); err != nil || !bytes.Equal(again, c.body) {
			t.Errorf("%s: the golden file reads as %x, %v", c.name, again, err)
		}
	}
	golden.Constants(t, "admin_v1_constants")
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
		{"create_queue", 3, 9},         // level
		{"create_binding", 15, 2},      // matchAny
		{"create_topic", 9, 9},         // level
		{"delete", 3, 2},               // ifUnused
		{"created", 8, 2},              // existed
		{"description_exchange", 0, 9}, // kind
		{"description_exchange", 0, 0}, // kind
		{"description_topic", 1, 2},    // more

		{"description_membership", 6, 3},    // type
		{"description_membership", 7, 5},    // state
		{"description_group_summary", 6, 3}, // type
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
		CmdAddPartitions, CmdDeleteExchange, CmdDeleteQueue, CmdDeleteBinding, CmdDescribe,
		CmdDeleteGroup, CmdResetOffsets, CmdDeleteOffsets,
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
