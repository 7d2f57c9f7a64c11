package core

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// matches is the rule of topic patterns, word by word.
func matches(pattern, key []string) bool {
	switch {
	case len(pattern) == 0:
		return len(key) == 0
	case pattern[0] == "#":
		return matches(pattern[1:], key) || (len(key) > 0 && matches(pattern, key[1:]))
	case len(key) == 0:
		return false
	default:
		return (pattern[0] == "*" || pattern[0] == key[0]) && matches(pattern[1:], key[1:])
	}
}

func names(hits map[*destination]bool) (out []string) {
	for d := range hits {
		out = append(out, d.name)
	}
	slices.Sort(out)
	return out
}

func collect(r router, m *message) []string {
	hits := map[*destination]bool{}
	r.match(m, func(d *destination) { hits[d] = true })
	return names(hits)
}

// TestTopicRouter compares the trie with the rule, while bindings come and go.
func TestTopicRouter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newTopicRouter()
		var bound []*binding
		word := rapid.SampledFrom([]string{"a", "b", "", "*", "#"})
		plain := rapid.SampledFrom([]string{"a", "b", "", "c"})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			if len(bound) > 0 && rapid.IntRange(0, 3).Draw(t, "unbind") == 0 {
				i := rapid.IntRange(0, len(bound)-1).Draw(t, "which")
				r.unbind(bound[i])
				bound = slices.Delete(bound, i, i+1)
			} else {
				key := strings.Join(rapid.SliceOfN(word, 0, 5).Draw(t, "pattern"), ".")
				b := &binding{key: key, dest: &destination{name: key}}
				r.bind(b)
				bound = append(bound, b)
			}
			key := strings.Join(rapid.SliceOfN(plain, 0, 6).Draw(t, "key"), ".")
			want := map[*destination]bool{}
			for _, b := range bound {
				if matches(splitKey(b.key), splitKey(key)) {
					want[b.dest] = true
				}
			}
			if got := collect(r, &message{key: key}); !slices.Equal(got, names(want)) {
				t.Fatalf("key %q reaches %q, want %q", key, got, names(want))
			}
		}
		for _, b := range bound {
			r.unbind(b)
		}
		if root := r.root; len(root.words) > 0 || root.one != nil || root.any != nil || len(root.bound) > 0 {
			t.Fatal("the trie is not empty when nothing is bound")
		}
	})
}

// TestTopicRouterIsBounded: patterns of many # cost words × nodes, not their product's powers.
func TestTopicRouterIsBounded(t *testing.T) {
	r := newTopicRouter()
	r.bind(&binding{key: strings.Repeat("#.a.", 60) + "b", dest: &destination{}})
	hits := 0
	r.match(&message{key: strings.Repeat("a.", 127) + "a"}, func(*destination) { hits++ })
	if hits != 0 {
		t.Fatal("matched")
	}
	if r.step > 200 {
		t.Fatalf("%d steps for 128 words", r.step)
	}
}
