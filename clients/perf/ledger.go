package main

import "math/bits"

// ledger notes which messages one consumer has seen. Consumers have one each, without locks;
// merge brings them together at the end.
type ledger struct {
	texts    texts
	runs     map[sourceKey]*source
	current  *source
	key      sourceKey
	corrupt  int64
	shuffled int64 // came after a later one of the same source and partition
	messages int64
	bytes    int64
}

// sourceKey is a message's run and producer, as they stand in it.
type sourceKey [senderAt + senderLen - runAt]byte

// source is what is known of one producer in one run.
type source struct {
	seen    []uint64 // a bit for each number
	doubled int64
	last    map[uint32]uint64 // greatest number + 1 by partition
	part    uint32            // the partition that highest belongs to
	highest uint64
}

const noPartition = ^uint32(0)

// note checks a message of a partition and marks its number.
func (l *ledger) note(partition uint32, m []byte) {
	l.messages++
	l.bytes += int64(len(m))
	n, ok := l.texts.number(m)
	if !ok {
		l.corrupt++
		return
	}
	if key := sourceKey(m[runAt:]); l.current == nil || key != l.key {
		l.change(key)
	}
	s := l.current
	if partition != s.part {
		s.change(partition)
	}
	if n < s.highest {
		l.shuffled++
	} else {
		s.highest = n + 1
	}
	s.mark(n)
}

func (l *ledger) change(key sourceKey) {
	if l.runs == nil {
		l.runs = map[sourceKey]*source{}
	}
	s := l.runs[key]
	if s == nil {
		s = &source{last: map[uint32]uint64{}, part: noPartition}
		l.runs[key] = s
	}
	l.key, l.current = key, s
}

func (s *source) change(partition uint32) {
	if s.part != noPartition {
		s.last[s.part] = s.highest
	}
	s.part, s.highest = partition, s.last[partition]
}

func (s *source) mark(n uint64) {
	word := int(n / 64)
	for word >= len(s.seen) {
		s.seen = append(s.seen, make([]uint64, max(1024, len(s.seen), word+1-len(s.seen)))...)
	}
	if bit := uint64(1) << (n % 64); s.seen[word]&bit != 0 {
		s.doubled++
	} else {
		s.seen[word] |= bit
	}
}

// merge adds what another consumer has seen.
func (l *ledger) merge(o *ledger) {
	l.corrupt += o.corrupt
	l.shuffled += o.shuffled
	l.messages += o.messages
	l.bytes += o.bytes
	for key, from := range o.runs {
		l.change(key)
		to := l.current
		to.doubled += from.doubled
		if grow := len(from.seen) - len(to.seen); grow > 0 {
			to.seen = append(to.seen, make([]uint64, grow)...)
		}
		for i, w := range from.seen {
			to.doubled += int64(bits.OnesCount64(to.seen[i] & w))
			to.seen[i] |= w
		}
	}
}

// verdict is what a ledger says in the end.
type verdict struct {
	distinct int64
	doubled  int64
}

func (l *ledger) verdict() verdict {
	var v verdict
	for _, s := range l.runs {
		for _, w := range s.seen {
			v.distinct += int64(bits.OnesCount64(w))
		}
		v.doubled += s.doubled
	}
	return v
}
