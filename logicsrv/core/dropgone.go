package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/journal"
)

// dropGone takes out of the entry what was stored in an index that the same turn deleted
// later: persistsrv carries out an entry's ops before its items and references, and would make it
// anew. A reference whose source goes is good: it is resolved before the ops are carried out, and
// nothing that came into an index in this turn is referred to in this turn, but for limbo, which stays.
func (c *Core) dropGone() {
	t := c.turn
	if !slices.ContainsFunc(t.ops, func(op journal.IndexOp) bool { return op.Kind == journal.OpDelete }) {
		return
	}
	kept := make([]uint32, len(t.items)+1) // how many of the first items are kept
	for i := range t.items {
		kept[i+1] = kept[i]
		if _, there := c.indexes.get(t.items[i].Index); there {
			t.items[kept[i]] = t.items[i]
			kept[i+1]++
		}
	}
	t.items = t.items[:kept[len(t.items)]]
	t.refs = slices.DeleteFunc(t.refs, func(r journal.Ref) bool {
		_, there := c.indexes.get(r.Index)
		return !there
	})
	for i := range t.refs {
		t.refs[i].Before = kept[t.refs[i].Before]
	}
	used := make([]bool, len(t.bodies))
	for i := range t.items {
		used[t.items[i].Body] = true
	}
	moved := make([]uint32, len(t.bodies))
	bodies := t.bodies[:0]
	for i, b := range t.bodies {
		moved[i] = uint32(len(bodies))
		if used[i] {
			bodies = append(bodies, b)
		}
	}
	t.bodies = bodies
	for i := range t.items {
		t.items[i].Body = moved[t.items[i].Body]
	}
}
