package core

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// hashExchange is a consistent-hash router with these weights, by name of the queue.
func hashExchange(names []string, weights map[string]int) *hashRouter {
	r := &hashRouter{}
	x := newExchange(1, admin.CreateExchange{Type: admin.ConsistentHash})
	for _, name := range names {
		m := admin.CreateBinding{Queue: name, RoutingKey: fmt.Sprint(weights[name])}
		r.bind(newBinding(&m, x, &destination{name: name}))
	}
	return r
}

// chosen is where a key goes.
func (r *hashRouter) chosen(t *testing.T, m message) string {
	t.Helper()
	var name []string
	r.match(&m, func(d *destination) { name = append(name, d.name) })
	if len(name) != 1 {
		t.Fatalf("%q reaches %q", m.key, name)
	}
	return name[0]
}

// even makes n names of equal weight.
func even(n int) (names []string, weights map[string]int) {
	weights = map[string]int{}
	for i := range n {
		names = append(names, fmt.Sprintf("q%d", i))
		weights[names[i]] = 1
	}
	return names, weights
}

// TestHashShares: keys are shared out as the weights say, within what so many keys in so many slots
// may differ by chance: five standard deviations.
func TestHashShares(t *testing.T) {
	const keys = 50_000
	fifty, ones := even(50)
	for _, c := range []struct {
		names   []string
		weights map[string]int
	}{
		{[]string{"a", "b", "c", "d"}, map[string]int{"a": 1, "b": 1, "c": 2, "d": 2}},
		{[]string{"a", "b", "c"}, map[string]int{"a": 10, "b": 1_000, "c": 100}},
		{[]string{"only"}, map[string]int{"only": 7}},
		{fifty, ones},
	} {
		r := hashExchange(c.names, c.weights)
		got, total := map[string]int{}, 0
		for i := range keys {
			got[r.chosen(t, message{key: fmt.Sprintf("customer-%d", i)})]++
		}
		for _, w := range c.weights {
			total += w
		}
		for _, name := range c.names {
			p := float64(c.weights[name]) / float64(total)
			by := 5 * math.Sqrt(p*(1-p)*(1./keys+1./(1<<hashSlotBits))) * keys
			if want := p * keys; math.Abs(float64(got[name])-want) > by+1 {
				t.Errorf("%v: %s got %d keys, want %.0f ± %.0f", c.weights, name, got[name], want, by)
			}
		}
	}
}

// TestHashMoves: keys move only to a destination that has come, or whose weight has grown, and only
// from one that has gone; with few bindings and with so many that there is a table.
func TestHashMoves(t *testing.T) {
	for _, n := range []int{3, hashTableFrom - 1, hashTableFrom + 20} {
		names, weights := even(n)
		r := hashExchange(names, weights)
		before := make([]string, 3000)
		for i := range before {
			before[i] = r.chosen(t, message{key: fmt.Sprint(i)})
		}
		x := newExchange(1, admin.CreateExchange{Type: admin.ConsistentHash})
		m := admin.CreateBinding{Queue: "new", RoutingKey: "2"}
		added := newBinding(&m, x, &destination{name: "new"})
		r.bind(added)
		moved := 0
		for i, was := range before {
			if now := r.chosen(t, message{key: fmt.Sprint(i)}); now != was {
				moved++
				if now != "new" {
					t.Fatalf("of %d, key %d moves from %s to %s", n, i, was, now)
				}
			}
		}
		if share := len(before) * 2 / (n + 2); moved < share/2 || moved > share*2 {
			t.Errorf("of %d, %d keys move, want about %d", n, moved, share)
		}
		r.unbind(added)
		for i, was := range before {
			if now := r.chosen(t, message{key: fmt.Sprint(i)}); now != was {
				t.Fatalf("of %d, key %d does not come back to %s but to %s", n, i, was, now)
			}
		}
	}
}

// TestHashOrder: the order of binding does not matter, nor do bindings that were there meanwhile.
func TestHashOrder(t *testing.T) {
	for _, n := range []int{5, hashTableFrom, 2 * hashTableFrom} {
		names, weights := even(n)
		for i, name := range names {
			weights[name] = 1 + i%3
		}
		one := hashExchange(names, weights)
		rand.New(rand.NewPCG(1, uint64(n))).Shuffle(n, func(i, j int) { names[i], names[j] = names[j], names[i] })
		other := hashExchange(names, weights)
		for i := range 2000 {
			m := message{key: fmt.Sprint(i)}
			if a, b := one.chosen(t, m), other.chosen(t, m); a != b {
				t.Fatalf("of %d, key %d goes to %s or %s", n, i, a, b)
			}
			if i%500 == 0 {
				gone := one.shares[i%n].b
				one.unbind(gone)
				one.bind(gone)
			}
		}
	}
}

// TestHashHeaviestCounts: a destination that is bound twice has the greater of its weights, and a
// queue and an exchange of one name draw apart.
func TestHashHeaviestCounts(t *testing.T) {
	x := newExchange(1, admin.CreateExchange{Type: admin.ConsistentHash})
	bind := func(r *hashRouter, d *destination, key string) *binding {
		m := admin.CreateBinding{Queue: d.name, RoutingKey: key}
		b := newBinding(&m, x, d)
		r.bind(b)
		return b
	}
	a, b := &destination{name: "a"}, &destination{name: "b"}
	once, twice := &hashRouter{}, &hashRouter{}
	bind(once, a, "5")
	bind(once, b, "5")
	bind(twice, a, "2")
	bind(twice, b, "5")
	lighter := bind(twice, a, "5")
	same := func() (n int) {
		for i := range 1000 {
			if m := (message{key: fmt.Sprint(i)}); once.chosen(t, m) == twice.chosen(t, m) {
				n++
			}
		}
		return n
	}
	if n := same(); n != 1000 {
		t.Errorf("%d of 1000 keys go where they went with one binding", n)
	}
	twice.unbind(lighter)
	if n := same(); n == 1000 {
		t.Error("with the lighter binding alone nothing moves")
	}
	y := newExchange(2, admin.CreateExchange{Name: "a", Type: admin.Fanout})
	both := &hashRouter{}
	bind(both, a, "1")
	bind(both, &y.dest, "1")
	to := map[*destination]int{}
	for i := range 1000 {
		both.match(&message{key: fmt.Sprint(i)}, func(d *destination) { to[d]++ })
	}
	if len(to) != 2 || to[a] < 400 || to[&y.dest] < 400 {
		t.Errorf("a queue and an exchange called a share as %d to %d", to[a], to[&y.dest])
	}
}

// TestHashedPart: what of a message is hashed.
func TestHashedPart(t *testing.T) {
	m := message{key: "k", headers: []ipc.Header{{Key: "h", Value: "first"}, {Key: "h", Value: "second"}}}
	for header, want := range map[string]string{"": "k", "h": "first", "other": ""} {
		if got := (&hashRouter{header: header}).hashed(&m); got != want {
			t.Errorf("by header %q: %q, want %q", header, got, want)
		}
	}
}

func TestParseWeight(t *testing.T) {
	var good []uint32
	for _, key := range []string{"1", "10", "1000000", "007", "0", "", "-1", "+1", "1.5", "1e3", "1000001", "99999999999999999999", "two", " 1"} {
		if w, ok := parseWeight(key); ok {
			good = append(good, w)
		}
	}
	if !slices.Equal(good, []uint32{1, 10, 1000000, 7}) {
		t.Errorf("weights: %v", good)
	}
}
