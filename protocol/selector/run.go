package selector

import "github.com/trimq/trimq/protocol/batch"

// Match tells whether a message is wanted: whether the filter is true of it, neither false
// nor unknown.
//
// REQUIRES: rec was given out by a batch.Reader, which has checked its headers.
func (f *Filter) Match(rec *batch.Record) bool {
	var v view // a literal would be made and then copied
	v.f, v.rec, v.headers = f, rec, rec.Headers()
	t := f.first
	for t.op > 0 {
		if v.holds(t) {
			t = t.yes
		} else {
			t = t.no
		}
	}
	return t == accept
}

// view is a message during an evaluation: a header is looked for when a test first needs it,
// and no further than up to it. It holds no slices, which would make it escape.
type view struct {
	f       *Filter
	rec     *batch.Record
	headers batch.Headers // not walked over yet
	found   uint32        // bit n: spans[n] is known
	spans   [maxNames]span
}

// span is where a value lies among the bytes of a record's headers; end 0: it is missing.
type span struct{ first, end uint32 }

// value gives a header; nil: it is missing or has no value.
func (v *view) value(slot uint8) []byte {
	if v.found&(1<<slot) == 0 {
		v.seek(slot)
	}
	if s := v.spans[slot%maxNames]; s.end > 0 {
		return v.headers.Bytes(int(s.first), int(s.end))
	}
	if int(slot) == v.f.key {
		return v.rec.Key
	}
	return nil
}

// seek walks over headers until it knows this one.
func (v *view) seek(slot uint8) {
	if int(slot) == v.f.key {
		return
	}
	for v.found&(1<<slot) == 0 {
		key, value, ok := v.headers.NextOf(v.f.lengths)
		if !ok {
			v.found = 1<<maxNames - 1
			return
		}
		v.note(key, value)
	}
}

// note keeps a header that the filter looks at, unless there was one of this name before.
func (v *view) note(key, value []byte) {
	for i, name := range v.f.names {
		if v.found&(1<<i) == 0 && string(key) == name && i != v.f.key {
			v.found |= 1 << i
			if end := v.headers.At(); value != nil {
				v.spans[i] = span{uint32(end - len(value)), uint32(end)}
			}
			return
		}
	}
}

// holds tells whether a test is true of the message.
func (v *view) holds(t *test) bool {
	switch t.op {
	case testString:
		value := v.value(t.slot)
		return value != nil && (string(value) == t.text) != t.unequal
	case testNumber:
		return t.rel.holds(readNumber(v.value(t.slot)), t.num)
	case testIn:
		value := v.value(t.slot)
		return value != nil && t.set.has(value) != t.unequal
	case testLike:
		value := v.value(t.slot)
		return value != nil && t.like.matches(value) != t.unequal
	case testTruth:
		truth, known := readBool(v.value(t.slot))
		return known && truth == t.truth
	case testNull:
		return (v.value(t.slot) == nil) != t.unequal
	case testHeaders:
		return compareValues(v.value(t.slot), t.rel, v.value(t.other))
	default:
		return t.rel.holds(v.compute(t.left), v.compute(t.right))
	}
}

// compareValues compares two headers: as numbers if both look like one, otherwise as
// strings, of which only is known whether they are equal.
func compareValues(a []byte, rel relation, b []byte) bool {
	if a == nil || b == nil {
		return false
	}
	if n, m := readNumber(a), readNumber(b); n.kind != unknown && m.kind != unknown {
		return rel.holds(n, m)
	}
	switch rel {
	case equal:
		return string(a) == string(b)
	case less | greater:
		return string(a) != string(b)
	}
	return false
}

// compute evaluates arithmetic. It goes as deep as the expression is nested.
func (v *view) compute(e *expr) number {
	switch e.kind {
	case exprNumber:
		return e.num
	case exprTime:
		return number{kind: exact, i: v.rec.TimeMS}
	case exprHeader:
		return readNumber(v.value(e.slot))
	case exprMinus:
		return v.compute(&e.kids[0]).negated()
	}
	sum := v.compute(&e.kids[0])
	for i, sign := range e.signs {
		if sum.kind == unknown {
			break
		}
		sum = sum.apply(sign, v.compute(&e.kids[i+1]))
	}
	return sum
}
