package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/journal"
)

// dropGone takes out of the entry what was stored in an index that the same turn deleted
// later: persistsrv carries out an entry's ops before its items, and would make it anew.
func (c *Core) dropGone() {
	t := c.turn
	if !slices.ContainsFunc(t.ops, func(op journal.IndexOp) bool { return op.Kind == journal.OpDelete }) {
		return
	}
	t.items = slices.DeleteFunc(t.items, func(it journal.IndexItem) bool {
		_, there := c.indexes.get(it.Index)
		return !there
	})
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
