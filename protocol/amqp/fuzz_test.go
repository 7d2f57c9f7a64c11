package amqp

import (
	"bytes"
	"testing"
)

// A method that was read gives bytes that read the same. (Not the same bytes: bits that stand for
// nothing are lost.)
func FuzzMethod(f *testing.F) {
	for _, m := range methods() {
		fill(m)
		b := AppendMethod(nil, 1, m)
		f.Add(b[FrameHeaderSize : len(b)-1])
	}
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) < MethodHeaderSize {
			return
		}
		m := New(MethodAt(payload))
		if m == nil || m.Decode(payload[MethodHeaderSize:]) != nil {
			return
		}
		once := m.Append(nil)
		again := New(m.Method())
		if err := again.Decode(once); err != nil || !bytes.Equal(again.Append(nil), once) {
			t.Fatalf("%s: %x gives %x, %v", m.Method(), payload, once, err)
		}
	})
}

// A table that is sound can be walked to its end, with all that is in it.
func FuzzTable(f *testing.F) {
	f.Add([]byte(whole()))
	f.Add([]byte(Table(nil).Add("t", Nested(whole()))))
	f.Fuzz(func(t *testing.T, b []byte) {
		if CheckTable(b) != nil {
			return
		}
		var out Table
		for name, v := range Table(b).Each {
			out = out.Add(string(name), v)
			walk(t, v)
		}
		if !bytes.Equal(out, b) {
			t.Fatalf("%x comes back as %x", b, out)
		}
	})
}

func walk(t *testing.T, v Value) {
	switch v.Kind {
	case KindTable:
		for _, e := range Table(v.Raw).Each {
			walk(t, e)
		}
	case KindArray:
		var out []byte
		for e := range v.Elements {
			walk(t, e)
			out = AppendElement(out, e)
		}
		if !bytes.Equal(out, v.Raw) {
			t.Fatalf("an array %x comes back as %x", v.Raw, out)
		}
	default:
		_, whole := v.Int()
		_, broken := v.Float()
		_, time := v.Seconds()
		_, text := v.Text()
		_, truth := v.Bool()
		n := 0
		for _, is := range []bool{whole, broken, time, text, truth, v.Kind == KindDecimal, v.Kind == KindVoid} {
			if is {
				n++
			}
		}
		if n != 1 {
			t.Fatalf("%c %x is %d things", v.Kind, v.Raw, n)
		}
	}
}

// Properties that were read give the bytes they were read from.
func FuzzProperties(f *testing.F) {
	var p Properties
	fill(&p)
	p.Flags = 0xffff &^ unknownFlags
	f.Add(p.Append(nil))
	f.Add([]byte{0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Properties
		if p.Decode(b) == nil && !bytes.Equal(p.Append(nil), b) {
			t.Fatalf("%x comes back as %x", b, p.Append(nil))
		}
	})
}
