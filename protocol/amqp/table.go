package amqp

import (
	"encoding/binary"
	"fmt"
	"math"
	"unicode/utf8"
)

// A field table is a run of fields, an array a run of values:
//
//	field   | name shortstr | value |
//	value   | type u8 | what the type says |
//
//	t bool   b i8   B u8   s i16   u u16   I i32   i u32   l i64   L i64   f f32   d f64
//	D decimal (u8 scale, i32)   S longstr   x bytes, as longstr   T u64 seconds   F table   A array   V nothing

// Table is an encoded field table, without the length that precedes it on the wire.
type Table []byte

// Kind is the type of a value.
type Kind byte

// The kinds of values.
const (
	KindBool      Kind = 't'
	KindInt8      Kind = 'b'
	KindUint8     Kind = 'B'
	KindInt16     Kind = 's'
	KindUint16    Kind = 'u'
	KindInt32     Kind = 'I'
	KindUint32    Kind = 'i'
	KindInt64     Kind = 'l'
	KindLong      Kind = 'L' // as KindInt64, from other clients
	KindFloat     Kind = 'f'
	KindDouble    Kind = 'd'
	KindDecimal   Kind = 'D'
	KindString    Kind = 'S'
	KindBytes     Kind = 'x'
	KindTimestamp Kind = 'T'
	KindTable     Kind = 'F'
	KindArray     Kind = 'A'
	KindVoid      Kind = 'V'
)

// Value is one value of a table or array; Raw is what stands behind its type, without the length
// of strings, tables and arrays.
type Value struct {
	Kind Kind
	Raw  []byte
}

// maxNesting is how deep tables and arrays may lie in one another.
const maxNesting = 32

// fixedSize is the size of a value; -1: a length precedes it, -2: there is no such kind.
func (k Kind) fixedSize() int {
	switch k {
	case KindBool, KindInt8, KindUint8:
		return 1
	case KindInt16, KindUint16:
		return 2
	case KindInt32, KindUint32, KindFloat:
		return 4
	case KindInt64, KindLong, KindDouble, KindTimestamp:
		return 8
	case KindDecimal:
		return 5
	case KindVoid:
		return 0
	case KindString, KindBytes, KindTable, KindArray:
		return -1
	}
	return -2
}

// name is the kind as RabbitMQ's error texts have it.
var kindNames = map[Kind]string{
	KindBool: "bool", KindInt8: "byte", KindUint8: "unsignedbyte", KindInt16: "short", KindUint16: "unsignedshort",
	KindInt32: "signedint", KindUint32: "unsignedint", KindInt64: "long", KindLong: "long", KindFloat: "float",
	KindDouble: "double", KindDecimal: "decimal", KindString: "longstr", KindBytes: "binary",
	KindTimestamp: "timestamp", KindTable: "table", KindArray: "array", KindVoid: "void",
}

// String is the kind as RabbitMQ's error texts have it.
func (k Kind) String() string { return kindNames[k] }

// value reads one value.
func (r *reader) value() Value {
	v := Value{Kind: Kind(r.octet())}
	switch n := v.Kind.fixedSize(); n {
	case -2:
		r.bad = true
	case -1:
		v.Raw = r.longstr()
	default:
		v.Raw = r.take(n)
	}
	return v
}

// CheckTable tells whether a table is sound all through.
func CheckTable(t Table) error { return t.check(0) }

func (t Table) check(depth int) error {
	r := reader{b: t}
	for len(r.b) > 0 && !r.bad {
		r.shortstr()
		if v := r.value(); !r.bad && v.check(depth) != nil {
			r.bad = true
		}
	}
	if r.bad {
		return fmt.Errorf("%w: a field table", ErrMalformed)
	}
	return nil
}

func (v Value) check(depth int) error {
	if v.Kind != KindTable && v.Kind != KindArray {
		return nil
	}
	if depth++; depth > maxNesting {
		return fmt.Errorf("%w: tables nested in more than %d others", ErrMalformed, maxNesting)
	}
	if v.Kind == KindTable {
		return Table(v.Raw).check(depth)
	}
	r := reader{b: v.Raw}
	for len(r.b) > 0 && !r.bad {
		if e := r.value(); !r.bad && e.check(depth) != nil {
			r.bad = true
		}
	}
	if r.bad {
		return fmt.Errorf("%w: an array", ErrMalformed)
	}
	return nil
}

// Each yields the fields in order. REQUIRES: the table is sound.
func (t Table) Each(yield func(name []byte, v Value) bool) {
	r := reader{b: t}
	for len(r.b) > 0 && !r.bad {
		name := r.shortstr()
		if v := r.value(); r.bad || !yield(name, v) {
			return
		}
	}
}

// Get finds a field; false: there is none.
func (t Table) Get(name string) (v Value, found bool) {
	for key, value := range t.Each {
		if string(key) == name {
			return value, true
		}
	}
	return Value{}, false
}

// Elements yields the values of an array. REQUIRES: it is one, and sound.
func (v Value) Elements(yield func(Value) bool) {
	r := reader{b: v.Raw}
	for len(r.b) > 0 && !r.bad {
		if e := r.value(); r.bad || !yield(e) {
			return
		}
	}
}

// Int is a whole number; false: it is none, or larger than an int64.
func (v Value) Int() (n int64, ok bool) {
	if len(v.Raw) < v.Kind.fixedSize() {
		return 0, false
	}
	switch v.Kind {
	case KindInt8:
		return int64(int8(v.Raw[0])), true
	case KindUint8:
		return int64(v.Raw[0]), true
	case KindInt16:
		return int64(int16(binary.BigEndian.Uint16(v.Raw))), true
	case KindUint16:
		return int64(binary.BigEndian.Uint16(v.Raw)), true
	case KindInt32:
		return int64(int32(binary.BigEndian.Uint32(v.Raw))), true
	case KindUint32:
		return int64(binary.BigEndian.Uint32(v.Raw)), true
	case KindInt64, KindLong:
		return int64(binary.BigEndian.Uint64(v.Raw)), true
	}
	return 0, false
}

// Float is a number with a fraction; false: it is none.
func (v Value) Float() (f float64, ok bool) {
	switch {
	case v.Kind == KindFloat && len(v.Raw) == 4:
		return float64(math.Float32frombits(binary.BigEndian.Uint32(v.Raw))), true
	case v.Kind == KindDouble && len(v.Raw) == 8:
		return math.Float64frombits(binary.BigEndian.Uint64(v.Raw)), true
	}
	return 0, false
}

// Seconds is a timestamp, in Unix seconds; false: it is none.
func (v Value) Seconds() (s int64, ok bool) {
	if v.Kind != KindTimestamp || len(v.Raw) != 8 {
		return 0, false
	}
	return int64(binary.BigEndian.Uint64(v.Raw)), true
}

// Text is a string or bytes; false: it is none.
func (v Value) Text() (s []byte, ok bool) {
	return v.Raw, v.Kind == KindString || v.Kind == KindBytes
}

// Bool is a truth value; false: it is none.
func (v Value) Bool() (b, ok bool) {
	if v.Kind != KindBool || len(v.Raw) != 1 {
		return false, false
	}
	return v.Raw[0] != 0, true
}

// Add appends a field.
func (t Table) Add(name string, v Value) Table {
	return Table(v.append(appendShortstr(t, []byte(name))))
}

// append appends a value with its type.
func (v Value) append(b []byte) []byte {
	b = append(b, byte(v.Kind))
	if v.Kind.fixedSize() < 0 {
		b = appendLong(b, uint32(len(v.Raw)))
	}
	return append(b, v.Raw...)
}

// AppendElement appends a value to the raw bytes of an array.
func AppendElement(array []byte, v Value) []byte { return v.append(array) }

// String makes a value of a text.
func String(s string) Value { return Value{KindString, []byte(s)} }

// Text makes a value of bytes: a string where they are valid UTF-8, else bytes. nil is nothing.
func Text(b []byte) Value {
	switch {
	case b == nil:
		return Value{Kind: KindVoid}
	case utf8.Valid(b):
		return Value{KindString, b}
	}
	return Value{KindBytes, b}
}

// Bool makes a value of a truth.
func Bool(b bool) Value { return Value{KindBool, appendBits(nil, b)} }

// Int32 makes a value of a number.
func Int32(n int32) Value { return Value{KindInt32, appendLong(nil, uint32(n))} }

// Int64 makes a value of a number.
func Int64(n int64) Value { return Value{KindInt64, appendLonglong(nil, uint64(n))} }

// Timestamp makes a value of a time in Unix seconds.
func Timestamp(seconds int64) Value {
	return Value{KindTimestamp, appendLonglong(nil, uint64(seconds))}
}

// Nested makes a value of a table.
func Nested(t Table) Value { return Value{KindTable, t} }

// Array makes a value of encoded elements.
func Array(elements []byte) Value { return Value{KindArray, elements} }
