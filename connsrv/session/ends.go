package session

// Ends remembers, for each index, the largest visible end that logicsrv has told: offsets
// below it may be read without asking. Ends only rise, so an old one is merely cautious.
type Ends map[uint64]uint64

// Raise takes a told end in and returns what is known now.
func (e Ends) Raise(index, end uint64) uint64 {
	if known, ok := e[index]; ok && known >= end {
		return known
	}
	e[index] = end
	return end
}
