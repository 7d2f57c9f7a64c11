package core

import "github.com/trimq/trimq/protocol/ipc"

// A binding of a headers exchange names headers with values, and wants all of them in a message
// or any. To find the bindings of a message without looking at each: a binding can match only
// if the message has one of its headers, or if it wants none.
//
//	all a:1 b:2     listed under a:1            found by a:1, then b:2 is looked for
//	any a:1 b:2     listed under a:1 and b:2    found by either
//	all of none     listed in always            matches everything
//	any of none     listed nowhere              matches nothing

// headersRouter looks at the headers of a message. A binding that wants any of its headers
// is listed under each of them, one that wants all under its first, so that only bindings
// with at least one header in common with the message are looked at.
type headersRouter struct {
	any    map[ipc.Header][]*binding
	all    map[ipc.Header][]*binding
	always []*binding // want all of no headers
}

// newHeadersRouter makes one without bindings.
func newHeadersRouter() *headersRouter {
	return &headersRouter{any: make(map[ipc.Header][]*binding), all: make(map[ipc.Header][]*binding)}
}

// lists yields the places where b is listed. A binding that wants any of none is in none.
func (r *headersRouter) lists(b *binding, edit func(m map[ipc.Header][]*binding, h ipc.Header)) {
	switch {
	case b.matchAny:
		for _, h := range b.headers {
			edit(r.any, h)
		}
	case len(b.headers) > 0:
		edit(r.all, b.headers[0])
	}
}

// bind lists a binding where its messages will look for it.
func (r *headersRouter) bind(b *binding) {
	if !b.matchAny && len(b.headers) == 0 {
		r.always = append(r.always, b)
	}
	r.lists(b, func(m map[ipc.Header][]*binding, h ipc.Header) { m[h] = append(m[h], b) })
}

// unbind takes it out of the same lists, and drops those that fall empty.
func (r *headersRouter) unbind(b *binding) {
	r.always = without(r.always, b)
	r.lists(b, func(m map[ipc.Header][]*binding, h ipc.Header) {
		if m[h] = without(m[h], b); len(m[h]) == 0 {
			delete(m, h)
		}
	})
}

// match looks at each of the message's headers once. A binding that wants all is found by its
// first header and then compared; one that wants any is hit by the header alone.
func (r *headersRouter) match(m *message, hit func(*destination)) {
	for _, b := range r.always {
		hit(b.dest)
	}
	for _, h := range m.headers {
		for _, b := range r.any[h] {
			hit(b.dest)
		}
		for _, b := range r.all[h] {
			if holdsAll(m.headers, b.headers[1:]) {
				hit(b.dest)
			}
		}
	}
}

// holdsAll tells whether every one of want is in have. Both are short.
func holdsAll(have, want []ipc.Header) bool {
	for _, w := range want {
		found := false
		for _, h := range have {
			if h == w {
				found = true
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}
