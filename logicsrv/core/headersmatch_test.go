package core

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// headersMatch is the rule of headers exchanges, looking at everything.
func headersMatch(b *admin.CreateBinding, have []ipc.Header) bool {
	wanted, held := 0, 0
	count := func(key string, is func(ipc.Header) bool) {
		if strings.HasPrefix(key, "x-") && !b.WithX {
			return
		}
		wanted++
		if slices.ContainsFunc(have, is) {
			held++
		}
	}
	for _, w := range b.Headers {
		count(w.Key, func(h ipc.Header) bool { return h == w })
	}
	for _, key := range b.Present {
		count(key, func(h ipc.Header) bool { return h.Key == key })
	}
	if b.MatchAny {
		return held > 0
	}
	return held == wanted
}

func drawHeaders(t *rapid.T, most int, label string) []ipc.Header {
	header := rapid.Custom(func(t *rapid.T) ipc.Header {
		return ipc.Header{Key: rapid.SampledFrom([]string{"a", "b", "c", "x-a"}).Draw(t, "k"), Value: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "v")}
	})
	return rapid.SliceOfN(header, 0, most).Draw(t, label)
}

// TestHeadersRouter compares the index with the rule, while bindings come and go.
func TestHeadersRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newHeadersRouter()
		var bound []*binding
		for i := range rapid.IntRange(1, 20).Draw(t, "steps") {
			if len(bound) > 0 && rapid.IntRange(0, 3).Draw(t, "unbind") == 0 {
				k := rapid.IntRange(0, len(bound)-1).Draw(t, "which")
				r.unbind(bound[k])
				bound = slices.Delete(bound, k, k+1)
			} else {
				m := admin.CreateBinding{
					Headers: drawHeaders(t, 3, "headers"), MatchAny: rapid.Bool().Draw(t, "any"), WithX: rapid.Bool().Draw(t, "x"),
					Present: rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "x-a"}), 0, 2).Draw(t, "present"),
				}
				m.Canonical()
				b := newBinding(&m, newExchange(1, admin.CreateExchange{Type: admin.Headers}), &destination{name: fmt.Sprint(i)})
				r.bind(b)
				bound = append(bound, b)
			}
			have := drawHeaders(t, 2*fewHeaders, "have")
			want := map[*destination]bool{}
			for _, b := range bound {
				if info := b.info(); headersMatch(&info, have) {
					want[b.dest] = true
				}
			}
			if got := collect(r, &message{headers: have}); !slices.Equal(got, names(want)) {
				t.Fatalf("%v reaches %q, want %q", have, got, names(want))
			}
		}
		for _, b := range bound {
			r.unbind(b)
		}
		if len(r.byKey)+len(r.always) > 0 {
			t.Fatal("something is listed when nothing is bound")
		}
	})
}

// TestHeadersRouterIsBounded: a message that repeats a header, and has many others, costs a look at
// each test that it finds, and each of those a search in what was put in order once.
func TestHeadersRouterIsBounded(t *testing.T) {
	r := newHeadersRouter()
	x := newExchange(1, admin.CreateExchange{Type: admin.Headers})
	m := admin.CreateBinding{Headers: []ipc.Header{{Key: "a", Value: "1"}}}
	for i := range maxHeaders - 1 {
		m.Present = append(m.Present, fmt.Sprintf("n%d", i))
	}
	m.Canonical()
	r.bind(newBinding(&m, x, &destination{}))
	msg := message{headers: slices.Repeat([]ipc.Header{{Key: "a", Value: "1"}}, ipc.MaxHeaders)}
	hits := 0
	r.match(&msg, func(*destination) { hits++ })
	if hits != 0 || len(r.ordered) != len(msg.headers) {
		t.Fatalf("%d hits, %d headers in order", hits, len(r.ordered))
	}
	for i := range maxHeaders - 1 {
		msg.headers[2*i].Key = fmt.Sprintf("n%d", i)
	}
	r.match(&msg, func(*destination) { hits++ })
	if hits != 1 {
		t.Fatalf("%d hits where the binding matches: it is looked at more than once", hits)
	}
	if n := testing.AllocsPerRun(10, func() { r.match(&msg, func(*destination) { hits++ }) }); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}
