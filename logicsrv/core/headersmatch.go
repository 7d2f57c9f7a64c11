package core

import (
	"cmp"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// A binding of a headers exchange names headers, with values or without, and wants all of them in
// a message or any. To find the bindings of a message without looking at each: a binding can match
// only if the message has one of its headers, or if it wants none.
//
//	all a=1 b=2     listed under a=1            found by a=1, then b=2 is looked for
//	all a=1 c       listed under a=1            found by a=1, then any c is looked for
//	any a=1 c       listed under a=1 and c      found by either
//	all of none     listed in always            matches everything
//	any of none     listed nowhere              matches nothing
//
// As in RabbitMQ, headers of a binding whose names begin with x- count only where it says so; what
// is left of it may be none.

// headersRouter looks at the headers of a message.
type headersRouter struct {
	byKey  map[string]*headerTests
	always []*headersTest // want all of no headers
	round  uint64         // counts messages, so that each looks at a test once

	ordered []ipc.Header // of the present message, once it was needed; see holdsAll
}

// headersTest is a binding with what it wants, without what does not count.
type headersTest struct {
	b     *binding
	any   bool
	want  []wanted // those with a value first: they are found in fewer messages
	round uint64   // of the router, when it was last looked at
}

// wanted is one header that a binding wants: with this value, or with any.
type wanted struct {
	key, value string
	anyValue   bool
}

// headerTests are the tests that are listed under one header.
type headerTests struct {
	byValue  map[string][]*headersTest
	anyValue []*headersTest
}

// newHeadersRouter makes one without bindings.
func newHeadersRouter() *headersRouter {
	return &headersRouter{byKey: make(map[string]*headerTests)}
}

// newHeadersTest makes a binding's test.
func newHeadersTest(b *binding) *headersTest {
	t := &headersTest{b: b}
	if b.terms == nil {
		return t
	}
	t.any = b.terms.any
	counts := func(key string) bool { return b.terms.withX || !strings.HasPrefix(key, "x-") }
	for _, h := range b.terms.headers {
		if counts(h.Key) {
			t.want = append(t.want, wanted{key: h.Key, value: h.Value})
		}
	}
	for _, key := range b.terms.present {
		if counts(key) {
			t.want = append(t.want, wanted{key: key, anyValue: true})
		}
	}
	return t
}

// listed are the headers under which the test is listed.
func (t *headersTest) listed() []wanted {
	if t.any || len(t.want) == 0 {
		return t.want
	}
	return t.want[:1]
}

// bind lists a binding where its messages will look for it.
func (r *headersRouter) bind(b *binding) {
	t := newHeadersTest(b)
	if !t.any && len(t.want) == 0 {
		r.always = append(r.always, t)
	}
	for _, w := range t.listed() {
		under := r.byKey[w.key]
		if under == nil {
			under = &headerTests{byValue: make(map[string][]*headersTest)}
			r.byKey[w.key] = under
		}
		if w.anyValue {
			under.anyValue = append(under.anyValue, t)
		} else {
			under.byValue[w.value] = append(under.byValue[w.value], t)
		}
	}
}

// unbind takes it out of the same lists, and drops those that fall empty.
func (r *headersRouter) unbind(b *binding) {
	t := newHeadersTest(b)
	if !t.any && len(t.want) == 0 {
		r.always = withoutTest(r.always, b)
	}
	for _, w := range t.listed() {
		under := r.byKey[w.key]
		if w.anyValue {
			under.anyValue = withoutTest(under.anyValue, b)
		} else if rest := withoutTest(under.byValue[w.value], b); len(rest) > 0 {
			under.byValue[w.value] = rest
		} else {
			delete(under.byValue, w.value)
		}
		if len(under.anyValue)+len(under.byValue) == 0 {
			delete(r.byKey, w.key)
		}
	}
}

// withoutTest returns the list less the test of b.
func withoutTest(list []*headersTest, b *binding) []*headersTest {
	i := slices.IndexFunc(list, func(t *headersTest) bool { return t.b == b })
	return without(list, list[i])
}

// match looks at each of the message's headers. A header that stands there several times has all
// its values.
func (r *headersRouter) match(m *message, hit func(*destination)) {
	for _, t := range r.always {
		hit(t.b.dest)
	}
	r.round++
	r.ordered = r.ordered[:0]
	for i := range m.headers {
		h := &m.headers[i]
		if under := r.byKey[h.Key]; under != nil {
			r.look(under.byValue[h.Value], m, hit)
			r.look(under.anyValue, m, hit)
		}
	}
}

// look goes through tests that found one of the headers they want in the message.
func (r *headersRouter) look(tests []*headersTest, m *message, hit func(*destination)) {
	for _, t := range tests {
		if t.round == r.round {
			continue // the message has it again
		}
		t.round = r.round
		if t.any || r.holdsAll(m, t.want[1:]) {
			hit(t.b.dest)
		}
	}
}

// fewHeaders is how many headers of a message are searched one after the other. More are put in
// order first: who sends thousands to a binding that wants dozens shall not cost their product.
const fewHeaders = 8

// holdsAll tells whether every one of want is in the message.
func (r *headersRouter) holdsAll(m *message, want []wanted) bool {
	if len(want) > 0 && len(m.headers) > fewHeaders && len(r.ordered) == 0 {
		r.ordered = append(r.ordered, m.headers...)
		slices.SortFunc(r.ordered, admin.CompareHeaders)
	}
	for i := range want {
		w := &want[i]
		found := false
		if len(m.headers) > fewHeaders {
			at, _ := slices.BinarySearchFunc(r.ordered, w, compareWanted)
			found = at < len(r.ordered) && w.is(&r.ordered[at])
		} else {
			found = slices.ContainsFunc(m.headers, func(h ipc.Header) bool { return w.is(&h) })
		}
		if !found {
			return false
		}
	}
	return true
}

// is tells whether a header is the wanted one.
func (w *wanted) is(h *ipc.Header) bool {
	return h.Key == w.key && (w.anyValue || h.Value == w.value)
}

// compareWanted orders a header against a wanted one; with any value it stands before all of them.
func compareWanted(h ipc.Header, w *wanted) int {
	if w.anyValue {
		return cmp.Compare(h.Key, w.key)
	}
	return admin.CompareHeaders(h, ipc.Header{Key: w.key, Value: w.value})
}
