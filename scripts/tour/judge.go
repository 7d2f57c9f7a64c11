package tour

import "fmt"

// sight is a message that was seen: where, and what.
type sight struct {
	index  uint64 // of a queue, or the partition
	offset uint64
	value  string
}

// spot is the place of a message.
type spot struct{ index, offset uint64 }

// judgeStream holds what a partition has in the end against what was sent to it, in this order and all
// acknowledged, at these offsets.
func judgeStream(where string, sent []string, offsets []uint64, found []sight) (wrong []string) {
	if len(found) != len(sent) {
		wrong = append(wrong, fmt.Sprintf("%s: %d messages were acknowledged, %d are there", where, len(sent), len(found)))
	}
	for i, s := range found {
		switch {
		case i >= len(sent):
			wrong = append(wrong, fmt.Sprintf("%s offset %d: %.40q is one too many", where, s.offset, s.value))
		case s.offset != uint64(i):
			wrong = append(wrong, fmt.Sprintf("%s: offset %d at place %d", where, s.offset, i))
		case s.value != sent[i]:
			wrong = append(wrong, fmt.Sprintf("%s offset %d holds %.40q, not %.40q", where, s.offset, s.value, sent[i]))
		}
	}
	for i, o := range offsets {
		if o != uint64(i) {
			wrong = append(wrong, fmt.Sprintf("%s: message %d was acknowledged at offset %d", where, i, o))
		}
	}
	return wrong
}

// box is what a consumer got of a queue.
type box struct {
	where   string
	places  map[spot]string
	values  map[string]spot
	settled map[spot]bool // and confirmed
	wrong   []string
}

func newBox(where string) *box {
	return &box{where: where, places: map[spot]string{}, values: map[string]spot{}, settled: map[spot]bool{}}
}

// saw notes a delivery. A message may come again until its verdict is confirmed; it stays where it is.
func (b *box) saw(s sight) {
	at := spot{s.index, s.offset}
	if was, known := b.places[at]; known && was != s.value {
		b.fault("%s %v was %.40q, and then %.40q", b.where, at, was, s.value)
	}
	if was, known := b.values[s.value]; known && was != at {
		b.fault("%s: %.40q is there twice, at %v and %v", b.where, s.value, was, at)
	}
	if b.settled[at] {
		b.fault("%s: %.40q came again after its verdict was confirmed", b.where, s.value)
	}
	b.places[at], b.values[s.value] = s.value, at
}

func (b *box) fault(format string, args ...any) {
	b.wrong = append(b.wrong, fmt.Sprintf(format, args...))
}

// judge says what is wrong: want is what has to be there, may what can be, as its fate is not known.
func (b *box) judge(want, may []string) []string {
	known := map[string]bool{}
	for _, v := range want {
		known[v] = true
		if _, seen := b.values[v]; !seen {
			b.fault("%s: %.40q was acknowledged, and never came", b.where, v)
		}
	}
	for _, v := range may {
		known[v] = true
	}
	for _, v := range b.places {
		if !known[v] {
			b.fault("%s: %.40q came, and should not", b.where, v)
		}
	}
	return b.wrong
}

// has counts how many of these values were seen.
func (b *box) has(values []string) (n int) {
	for _, v := range values {
		if _, seen := b.values[v]; seen {
			n++
		}
	}
	return n
}
