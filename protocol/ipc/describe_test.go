package ipc

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/trimq/trimq/protocol/wire"
)

// TestDescribeKnowsAll: each Type constant has its line in kinds, under the name of a record.
func TestDescribeKnowsAll(t *testing.T) {
	rows := 0
	for name, value := range types(t) {
		rows++
		if _, ok := kinds[value]; !ok {
			t.Errorf("%s (%d) cannot be described", name, value)
		}
		if one := []bool{value.FromConn(), value.FromLogic(), value.ToPersist()}; strings.Count(fmt.Sprint(one), "true") != 1 {
			t.Errorf("%s travels on %v", name, one)
		}
	}
	if rows != len(kinds) {
		t.Errorf("%d types, %d kinds", rows, len(kinds))
	}
}

// types reads the numbers of all types from the golden list of constants.
func types(t *testing.T) map[string]Type {
	text, err := os.ReadFile("testdata/golden/ipc_v3_constants.txt")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]Type{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		if strings.HasPrefix(name, "Type") {
			n, err := strconv.ParseUint(value, 10, 16)
			if err != nil {
				t.Fatal(line, err)
			}
			all[name] = Type(n)
		}
	}
	return all
}

func TestDescribe(t *testing.T) {
	for _, c := range []struct {
		typ    Type
		record string
		want   string
	}{
		{TypeAppend, "append", "Append true Index:9 Level:3 Txn:6 Batch:{Count:3 CRC:3405705229 MaxTimeMS:1700000000123 ProducerID:42 Epoch:5 BaseSeq:900 Length:11} Txnal:0"},
		{TypeAck, "ack", "Ack true Sub:1 Queue:9 Index:10 Lease:77 Verdict:2 Recalls:3 Ranges:[{First:10 Count:5} {First:20 Count:1}]"},
		{TypeMarker, "marker", "Marker false Term:3 Ask:1"},
		{TypeAdmin, "admin", "Admin true Command:17 Bytes:4"},
		{TypeConnClosed, "conn_closed", "ConnClosed true "},
		{TypeCheckpoint, "checkpoint_part", "CheckpointPart false LSN:99 ResultsFrom:90 Part:1 Parts:2 Bytes:5"},
	} {
		d, err := Describe(c.typ, find(t, c.record))
		if got := fmt.Sprintf("%s %v %s", d.Name, d.Headed, d.Fields); err != nil || got != c.want {
			t.Errorf("%s: %v\nhave %s\nwant %s", c.record, err, got, c.want)
		}
		if d.Headed && d.Head != head {
			t.Errorf("%s: head %v", c.record, d.Head)
		}
	}
	if d, err := Describe(999, nil); !errors.Is(err, ErrMalformed) || d.Name != "type 999" {
		t.Errorf("%+v %v", d, err)
	}
	if d, err := Describe(TypeAck, find(t, "ack")[:30]); !errors.Is(err, ErrMalformed) || d.Name != "Ack" || d.Head != head {
		t.Errorf("half an Ack: %+v %v", d, err)
	}
}

// TestDescribeIsHarmless: what clients send cannot steer a terminal, nor fill it.
func TestDescribeIsHarmless(t *testing.T) {
	m := Error{head, 1, "\x1b[2J\u202e" + strings.Repeat("x", 2000)}
	d, err := Describe(TypeError, m.Append(nil))
	if err != nil || strings.ContainsFunc(d.Fields, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("%q %v", d.Fields, err)
	}
	if !strings.Contains(d.Fields, `\x1b[2J`) || len(d.Fields) > maxFields+8 {
		t.Errorf("%d bytes: %q", len(d.Fields), d.Fields)
	}
	if got := Printable("a\xffb\x00", 10); got != `a\xffb\x00` {
		t.Error(got)
	}
}

// FuzzDescribe shows any bytes as any type. Invariants: no panic; the text is short and harmless;
// what is known is described or refused as malformed.
func FuzzDescribe(f *testing.F) {
	for typ := range kinds {
		for _, c := range codecs() {
			if strings.EqualFold(strings.ReplaceAll(c.name, "_", ""), typ.String()) {
				f.Add(uint16(typ), c.record)
			}
		}
	}
	f.Add(uint16(999), wire.AppendString(nil, "nothing"))
	f.Fuzz(func(t *testing.T, typ uint16, b []byte) {
		d, err := Describe(Type(typ), b)
		if err != nil && !errors.Is(err, ErrMalformed) {
			t.Errorf("%v", err)
		}
		if d.Name == "" || len(d.Fields) > maxFields+16 || strings.ContainsFunc(d.Fields, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q: %q", d.Name, d.Fields)
		}
	})
}
