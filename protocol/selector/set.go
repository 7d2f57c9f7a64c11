package selector

import "slices"

// set holds the strings of an IN, or tags.
type set struct {
	sorted []string // without doubles
	index  map[string]struct{}
}

// fewStrings is up to where comparing with each string is faster than hashing.
const fewStrings = 4

func newSet(texts []string) *set {
	s := &set{sorted: slices.Clone(texts)}
	slices.Sort(s.sorted)
	s.sorted = slices.Compact(s.sorted)
	if len(s.sorted) > fewStrings {
		s.index = make(map[string]struct{}, len(s.sorted))
		for _, text := range s.sorted {
			s.index[text] = struct{}{}
		}
	}
	return s
}

func (s *set) has(value []byte) bool {
	if s.index != nil {
		_, ok := s.index[string(value)]
		return ok
	}
	for _, text := range s.sorted {
		if string(value) == text {
			return true
		}
	}
	return false
}
