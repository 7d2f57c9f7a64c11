package amqp

import (
	"errors"
	"testing"
)

// whole is a table with a value of each kind.
func whole() Table {
	t := Table(nil).Add("text", String("x")).Add("truth", Bool(true)).Add("int", Int32(-5)).Add("long", Int64(1<<40))
	t = t.Add("time", Timestamp(99)).Add("table", Nested(Table(nil).Add("in", Int32(1))))
	t = t.Add("array", Array(AppendElement(AppendElement(nil, Int32(1)), String("y"))))
	for kind, raw := range map[Kind][]byte{
		KindInt8: {0xff}, KindUint8: {0xff}, KindInt16: {0xff, 0xfe}, KindUint16: {0xff, 0xfe}, KindUint32: {0xff, 0xff, 0xff, 0xff},
		KindLong: {0, 0, 0, 0, 0, 0, 0, 7}, KindFloat: {0x3f, 0xc0, 0, 0}, KindDouble: {0x3f, 0xf8, 0, 0, 0, 0, 0, 0},
		KindDecimal: {2, 0, 0, 0, 7}, KindBytes: {1, 2}, KindVoid: nil,
	} { // order: they are found by name
		t = t.Add(string(kind), Value{kind, raw})
	}
	return t
}

func TestTable(t *testing.T) {
	table := whole()
	if err := CheckTable(table); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int64{"int": -5, "long": 1 << 40, "b": -1, "B": 255, "s": -2, "u": 65534, "i": 1<<32 - 1, "L": 7} {
		v, found := table.Get(name)
		if n, ok := v.Int(); !found || !ok || n != want {
			t.Errorf("%s is %d, %v", name, n, ok)
		}
	}
	for _, name := range []string{"f", "d"} {
		v, _ := table.Get(name)
		if f, ok := v.Float(); !ok || f != 1.5 {
			t.Errorf("%s is %v, %v", name, f, ok)
		}
	}
	v, _ := table.Get("text")
	if s, ok := v.Text(); !ok || string(s) != "x" || v.Kind.String() != "longstr" {
		t.Errorf("text is %q", s)
	}
	if v, _ = table.Get("truth"); !is(v.Bool()) {
		t.Error("truth is false")
	}
	if v, _ = table.Get("time"); v.Kind != KindTimestamp {
		t.Error("time is none")
	}
	n := 0
	v, _ = table.Get("array")
	for range v.Elements {
		n++
	}
	if _, found := table.Get("nothing"); n != 2 || found {
		t.Errorf("%d elements; found: %v", n, found)
	}
}

func is(b, ok bool) bool { return b && ok }

// What is not sound is refused, wherever it stands; nesting has an end.
func TestTableThatIsNone(t *testing.T) {
	good := whole()
	for n := range good {
		cut := good[:n]
		if CheckTable(cut) == nil && len(cut) > 0 && !endsField(good, n) {
			t.Errorf("a table cut to %d bytes passes", n)
		}
	}
	deep := Table(nil)
	for i := range maxNesting + 1 {
		err := CheckTable(deep)
		if (i <= maxNesting) != (err == nil) {
			t.Errorf("nested %d times: %v", i, err)
		}
		deep = Table(nil).Add("t", Nested(deep))
	}
	if err := CheckTable(Table(nil).Add("t", Nested(deep))); !errors.Is(err, ErrMalformed) {
		t.Errorf("nested too deep: %v", err)
	}
	for _, bad := range []Value{{Kind: 'q'}, Nested(Table{1}), Array([]byte{'q'}), Array([]byte{'S', 0, 0, 0, 9})} {
		if err := CheckTable(Table(nil).Add("x", bad)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%c %x passes: %v", bad.Kind, bad.Raw, err)
		}
	}
}

// endsField tells whether a field of the table ends at n.
func endsField(t Table, n int) bool {
	r := reader{b: t}
	for len(r.b) > 0 && !r.bad {
		r.shortstr()
		r.value()
		if len(t)-len(r.b) == n {
			return true
		}
	}
	return false
}

func TestTextOfBytes(t *testing.T) {
	for _, c := range []struct {
		b    []byte
		kind Kind
	}{{[]byte("über"), KindString}, {[]byte{0xff}, KindBytes}, {nil, KindVoid}, {[]byte{}, KindString}} {
		if v := Text(c.b); v.Kind != c.kind {
			t.Errorf("%q becomes %c", c.b, v.Kind)
		}
	}
}
