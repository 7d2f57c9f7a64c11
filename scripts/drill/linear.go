package drill

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// A partition is a log: an append takes effect at one instant between its being sent and its being
// answered, whatever dies meanwhile, and who asks how long the log is gets what it was at one instant
// between question and answer. That is linearizability, and is looked for by a search; so there are
// partitions of their own for it, to which little is sent.

// lineTopics have one partition each.
var lineTopics = []string{"line-disk", "line-page"}

// appended is the input of an append, with the offset that it got. lookedAt is the one of a question for
// the length, least of a read, which shows that the log has reached a length.
type (
	appended struct{ offset uint64 }
	lookedAt struct{ next uint64 }
	least    struct{ next uint64 }
)

// logModel is the log; its state is its length.
var logModel = porcupine.Model{
	Init: func() any { return uint64(0) },
	Step: func(state, input, _ any) (bool, any) {
		n := state.(uint64)
		switch in := input.(type) {
		case appended:
			return in.offset == n, n + 1
		case lookedAt:
			return in.next == n, n
		case least:
			return in.next <= n, n
		}
		return false, n
	},
}

// searchFor bounds a search.
const searchFor = 30 * time.Second

// judgeLines holds the partitions of lineTopics against the model, as requests see them (next) and as
// consumers do (visible). REQUIRES: h.mu held.
func (h *history) judgeLines() {
	for _, topic := range lineTopics {
		where := place(topic, 0)
		appends := h.appends(where)
		if len(appends) == 0 {
			continue
		}
		next, visible := slices.Clone(appends), slices.Clone(appends)
		for _, l := range h.looks[where] {
			if !h.run.power() { // it may take back what was not acknowledged
				next = append(next, h.operation(lookedAt{l.next}, l.asked, l.told))
			}
			visible = append(visible, h.operation(lookedAt{l.visible}, l.asked, l.told))
		}
		for _, l := range h.reads[where] {
			visible = append(visible, h.operation(least{l.next}, l.asked, l.told))
		}
		h.search(where, "next offset", next)
		h.search(where, "visible end", visible)
	}
}

func (o *opBegan) power() bool {
	text := strings.Join(o.Faults, " ")
	return strings.Contains(text, "power") || strings.Contains(text, "lie")
}

func (h *history) operation(input any, asked, told time.Time) porcupine.Operation {
	return porcupine.Operation{Input: input, Call: int64(h.since(asked)), Return: int64(h.since(told))}
}

// appends are those of a partition: all that were acknowledged, and what is there in the end though nobody
// knows when it came. REQUIRES: h.mu held.
func (h *history) appends(where string) (list []porcupine.Operation) {
	for _, r := range h.final[where] {
		_, _, m := h.lookup(r.Value)
		if m == nil {
			continue // which another judge has found
		}
		op := h.operation(appended{r.Offset}, m.at, m.end)
		if m.fate != acked {
			op.Return = math.MaxInt64
		}
		list = append(list, op)
	}
	return list
}

// search looks for an order that explains a history. REQUIRES: h.mu held.
func (h *history) search(where, what string, list []porcupine.Operation) {
	switch porcupine.CheckOperationsTimeout(logModel, list, searchFor) {
	case porcupine.Illegal:
		h.violation("%s is not linearizable by its %s: %s", where, what, contradiction(list))
	case porcupine.Unknown:
		h.violation("%s: whether it is linearizable by its %s was not found out in %v", where, what, searchFor)
	}
}

// length is how long the log is at least when an operation is over, and at most when it begins.
func length(input any) (atLeast, atMost uint64) {
	switch in := input.(type) {
	case appended:
		return in.offset + 1, in.offset
	case lookedAt:
		return in.next, in.next
	case least:
		return in.next, math.MaxUint64
	}
	return 0, math.MaxUint64
}

// contradiction names two operations of which the second began when the first was over, and cannot have
// come behind it.
func contradiction(list []porcupine.Operation) string {
	for _, first := range list {
		atLeast, _ := length(first.Input)
		for _, second := range list {
			if _, atMost := length(second.Input); first.Return < second.Call && atMost < atLeast {
				return fmt.Sprintf("%T%+v was over at %v, and %T%+v began at %v", first.Input, first.Input, time.Duration(first.Return),
					second.Input, second.Input, time.Duration(second.Call))
			}
		}
	}
	return "no two operations contradict each other by themselves"
}
