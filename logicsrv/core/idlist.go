package core

import "slices"

// Lists of indexes in order, as members of groups have them: small sets.

// inBoth lists what is in both.
func inBoth(a, b []uint64) (out []uint64) {
	for _, id := range a {
		if listed(b, id) {
			out = append(out, id)
		}
	}
	return out
}

// less lists what is in a and not in b.
func less(a, b []uint64) (out []uint64) {
	for _, id := range a {
		if !listed(b, id) {
			out = append(out, id)
		}
	}
	return out
}

// joined lists what is in one of two lists that have nothing in common.
func joined(a, b []uint64) []uint64 {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return out
}

// meet tells whether two lists have something in common.
func meet(a, b []uint64) bool {
	return slices.ContainsFunc(a, func(id uint64) bool { return listed(b, id) })
}

// listed tells whether an index is in a list.
func listed(list []uint64, id uint64) bool {
	_, ok := slices.BinarySearch(list, id)
	return ok
}

// rising tells whether a list is in order, and nothing twice in it.
func rising[T ~uint64 | ~string](list []T) bool {
	for i := 1; i < len(list); i++ {
		if list[i] <= list[i-1] {
			return false
		}
	}
	return true
}
