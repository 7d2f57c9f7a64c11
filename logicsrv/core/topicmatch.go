package core

import "strings"

// For example, bound with a.*, a.# and #.c:
//
//	root ─ a ─┬─ * ⇒ a.*            the key a.b.c drives these nodes:
//	     │    └─ # ⇒ a.#              before any word   root, # (it may stand for no word)
//	     └─ # ── c ⇒ #.c              after a           a, a.#, #
//	                                  after b           a.*, a.#, #
//	                                  after c           a.#, #, #.c   ⇒ a.# and #.c match

// topicRouter matches the words of a routing key, split at dots, against binding keys in
// which * stands for exactly one word and # for any number of words, none included.
//
// The binding keys form a trie, one word an edge. A message's words drive a set of active
// nodes through it, each node at most once a word, so the work is bounded by words × nodes
// whatever the patterns are: a#.#.#… cannot make it exponential. As in RabbitMQ the empty
// key has no words at all, and "a." has two, the second one empty.
type topicRouter struct {
	root   *topicNode
	active []*topicNode
	next   []*topicNode
	step   uint64
}

// topicNode is where the words on the way from the root lead.
type topicNode struct {
	parent *topicNode
	word   string // edge from the parent
	many   bool   // the edge is #: the node stays active for any word
	words  map[string]*topicNode
	one    *topicNode // *
	any    *topicNode // #
	bound  []*binding // whose key ends here
	step   uint64     // of the router, when the node last became active
}

// canonicalPattern gives patterns that mean the same one form: # # is #, and # * is * #.
func canonicalPattern(words []string) []string {
	out := make([]string, 0, len(words))
	for _, w := range words {
		last := len(out) - 1
		switch {
		case w == "#" && last >= 0 && out[last] == "#":
		case w == "*" && last >= 0 && out[last] == "#":
			out[last] = "*"
			out = append(out, "#")
		default:
			out = append(out, w)
		}
	}
	return out
}

// newTopicRouter makes one without bindings.
func newTopicRouter() *topicRouter { return &topicRouter{root: &topicNode{}} }

// splitKey lists the words of a key.
func splitKey(key string) []string {
	if key == "" {
		return nil
	}
	return strings.Split(key, ".")
}

// bind walks along the pattern, making what is missing of its path.
func (r *topicRouter) bind(b *binding) {
	n := r.root
	for _, w := range canonicalPattern(splitKey(b.key)) {
		n = n.child(w)
	}
	n.bound = append(n.bound, b)
}

// child returns the node behind the edge w, made where there is none.
func (n *topicNode) child(w string) *topicNode {
	at := &n.one
	switch w {
	case "*":
	case "#":
		at = &n.any
	default:
		if c := n.words[w]; c != nil {
			return c
		}
		if n.words == nil {
			n.words = make(map[string]*topicNode)
		}
		c := &topicNode{parent: n, word: strings.Clone(w)}
		n.words[c.word] = c
		return c
	}
	if *at == nil {
		*at = &topicNode{parent: n, word: w, many: w == "#"}
	}
	return *at
}

// unbind takes the binding from the end of its path, and then the path back to the first node that
// something else needs: a trie keeps nothing of bindings that are gone.
func (r *topicRouter) unbind(b *binding) {
	n := r.root
	for _, w := range canonicalPattern(splitKey(b.key)) {
		n = n.child(w) // there is one: b was bound along this path
	}
	n.bound = without(n.bound, b)
	for n.parent != nil && len(n.bound) == 0 && len(n.words) == 0 && n.one == nil && n.any == nil {
		parent := n.parent
		switch n {
		case parent.one:
			parent.one = nil
		case parent.any:
			parent.any = nil
		default:
			delete(parent.words, n.word)
		}
		n = parent
	}
}

// match follows all patterns at once.
func (r *topicRouter) match(m *message, hit func(*destination)) {
	r.active = r.active[:0]
	r.step++
	r.active = r.enter(r.active, r.root)
	rest, more := m.key, m.key != ""
	for more && len(r.active) > 0 {
		var w string
		w, rest, more = strings.Cut(rest, ".")
		r.step++
		r.next = r.next[:0]
		for _, n := range r.active {
			// A node behind # takes any word and stays; every node goes on to what is behind
			// this very word, and behind *.
			if n.many {
				r.next = r.enter(r.next, n)
			}
			r.next = r.enter(r.next, n.words[w])
			r.next = r.enter(r.next, n.one)
		}
		r.active, r.next = r.next, r.active
	}
	for _, n := range r.active {
		for _, b := range n.bound {
			hit(b.dest)
		}
	}
}

// enter makes n active, and what is behind a # of it, which may stand for no word.
func (r *topicRouter) enter(list []*topicNode, n *topicNode) []*topicNode {
	for ; n != nil && n.step != r.step; n = n.any {
		n.step = r.step
		list = append(list, n)
	}
	return list
}
