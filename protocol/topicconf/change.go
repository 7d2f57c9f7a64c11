package topicconf

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/ipc"
)

// Op is what a change does to a key, numbered as Kafka does.
type Op uint8

// Ops.
const (
	Set      Op = 0 // it has this value
	Unset    Op = 1 // it has its default again
	Append   Op = 2 // elements are added to its list
	Subtract Op = 3 // elements are taken off its list
)

// Change is a change of one key.
type Change struct {
	Op    Op
	Key   string
	Value string
}

// Apply is a configuration after changes: of list or, where it is replaced, of the one in which all
// keys have their defaults. list stays as it is. The error says which change cannot be had.
func Apply(list []ipc.Header, replace bool, changes []Change) ([]ipc.Header, error) {
	var out []ipc.Header
	if !replace {
		out = slices.Clone(list)
	}
	seen := map[string]bool{}
	for i := range changes {
		g := &changes[i]
		if seen[g.Key] {
			return nil, fmt.Errorf("%s is changed twice", g.Key)
		}
		seen[g.Key] = true
		var err error
		if out, err = g.apply(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Sets are changes that give keys their values.
func Sets(list []ipc.Header) []Change {
	changes := make([]Change, len(list))
	for i, g := range list {
		changes[i] = Change{Set, g.Key, g.Value}
	}
	return changes
}

func (g *Change) apply(list []ipc.Header) ([]ipc.Header, error) {
	k := Find(g.Key)
	if k == nil {
		return nil, fmt.Errorf("%s is no key that is known here", g.Key)
	}
	at, set := slices.BinarySearchFunc(list, g.Key, func(h ipc.Header, key string) int { return strings.Compare(h.Key, key) })
	value := g.Value
	switch g.Op {
	case Set:
	case Unset:
		if set {
			list = slices.Delete(list, at, at+1)
		}
		return list, nil
	case Append, Subtract:
		if k.Kind != List {
			return nil, fmt.Errorf("%s is no list", g.Key)
		}
		was := k.Default
		if set {
			was = list[at].Value
		}
		value = merged(elements(was), elements(g.Value), g.Op)
	default:
		return nil, fmt.Errorf("%s: operation %d is none", g.Key, g.Op)
	}
	if err := k.Check(value); err != nil {
		return nil, err
	}
	if set {
		list[at].Value = value
		return list, nil
	}
	return slices.Insert(list, at, ipc.Header{Key: g.Key, Value: value}), nil
}

// merged adds elements to a list, each once, or takes them off it.
func merged(list, change []string, op Op) string {
	for _, e := range change {
		i := slices.Index(list, e)
		switch {
		case op == Append && i < 0:
			list = append(list, e)
		case op == Subtract && i >= 0:
			list = slices.Delete(list, i, i+1)
		}
	}
	return strings.Join(list, ",")
}
