package shell

import (
	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// levels is the number of lanes of a gate; the index is the ipc.Level.
const levels = int(ipc.LevelQuorum) + 1

// cursors are the LSNs that each level has reached.
type cursors [levels]uint64

func (c *cursors) reached(level ipc.Level, lsn uint64) bool {
	if failpoint.Broken("disk-means-page") {
		level = min(level, ipc.LevelPage)
	}
	if failpoint.Broken("early-reply") {
		level = ipc.LevelMemory
	}
	return c[level] >= lsn
}

// gate holds outputs back until their level has reached the LSN they were computed at.
//
// Invariant: within a lane, the LSNs never fall (an output behind one of a higher LSN waits
// for that, to keep the order); so only the first one of a lane is looked at.
type gate struct {
	lanes [levels]lane
	count int // outputs held
	bytes int // their bytes
}

// lane is the queue of one level. Records lie back to back in buf.
type lane struct {
	items []heldOutput
	first int
	buf   []byte
	start int // of the first held record in buf
}

// heldOutput is one record that waits for its lane's cursor, or for room in ring 54321.
type heldOutput struct {
	lsn    uint64
	turn   uint64 // number of the turn that it belongs to; 0: of none
	typ    ipc.Type
	length uint32
}

// hold appends a copy of an output to its lane.
func (g *gate) hold(level ipc.Level, item heldOutput, record []byte) {
	if level < ipc.LevelMemory || int(level) >= levels {
		invariant.Fail("output of type %d with level %d", item.typ, level)
	}
	l := &g.lanes[level]
	if n := len(l.items); n > l.first {
		item.lsn = max(item.lsn, l.items[n-1].lsn)
	}
	l.compact()
	item.length = uint32(len(record))
	l.items = append(l.items, item)
	l.buf = append(l.buf, record...)
	g.count++
	g.bytes += len(record)
}

// open tells whether a new output could go without being held.
func (g *gate) open(level ipc.Level, lsn uint64, c *cursors) bool {
	l := &g.lanes[level]
	return l.first == len(l.items) && c.reached(level, lsn)
}

// await returns the LSN that the first output of a lane waits for; core.NoLSN if there is none.
func (g *gate) await(level ipc.Level) uint64 {
	l := &g.lanes[level]
	if l.first == len(l.items) {
		return core.NoLSN
	}
	return l.items[l.first].lsn
}

// newest returns the LSN that the last output of a lane waits for; 0 if there is none.
func (g *gate) newest(level ipc.Level) uint64 {
	l := &g.lanes[level]
	if l.first == len(l.items) {
		return 0
	}
	return l.items[len(l.items)-1].lsn
}

// flush passes on what the cursors have opened, lane by lane, until put refuses.
func (g *gate) flush(c *cursors, put func(item heldOutput, record []byte) bool) (progress bool) {
	for level := range g.lanes {
		l := &g.lanes[level]
		for l.first < len(l.items) && c.reached(ipc.Level(level), l.items[l.first].lsn) {
			item := l.items[l.first]
			if !put(item, l.buf[l.start:l.start+int(item.length)]) {
				return progress
			}
			l.first++
			l.start += int(item.length)
			g.count--
			g.bytes -= int(item.length)
			progress = true
		}
	}
	return progress
}

// compact drops what has been passed on once it outweighs what has not.
func (l *lane) compact() {
	switch {
	case l.first == 0:
	case l.first == len(l.items):
		l.items, l.buf, l.first, l.start = l.items[:0], l.buf[:0], 0, 0
	case l.start >= len(l.buf)/2 && l.first >= len(l.items)/2:
		l.buf = append(l.buf[:0], l.buf[l.start:]...)
		l.items = append(l.items[:0], l.items[l.first:]...)
		l.first, l.start = 0, 0
	}
}

// turn is a run of inputs that were decided together, until ring 12345 may forget them.
type turn struct {
	pos     uint64    // ring 12345 may be released up to here
	lsn     uint64    // its entry; 0: it has none
	level   ipc.Level // what its entry has to reach
	outputs int       // not yet in ring 54321
	redone  bool      // has inputs that an entry of our predecessor is about
}

// turnQueue numbers turns from 1 in the order in which they were decided.
type turnQueue struct {
	items []turn
	first int
	base  uint64 // number of items[first] is base + 1
}

func (q *turnQueue) len() int { return len(q.items) - q.first }

// push appends a turn and returns its number.
func (q *turnQueue) push(t turn) uint64 {
	if n := len(q.items); n > q.first && q.items[n-1].pos > t.pos {
		invariant.Fail("turn ends at %d, the one before at %d", t.pos, q.items[n-1].pos)
	}
	if q.first > 64 && q.first >= len(q.items)/2 {
		q.items = append(q.items[:0], q.items[q.first:]...)
		q.first = 0
	}
	q.items = append(q.items, t)
	return q.base + uint64(q.len())
}

// at returns the turn of a number that has not been popped.
func (q *turnQueue) at(number uint64) *turn {
	if number <= q.base || number > q.base+uint64(q.len()) {
		invariant.Fail("turn %d of %d+%d", number, q.base, q.len())
	}
	return &q.items[q.first+int(number-q.base)-1]
}

// front returns the oldest turn, or nil.
func (q *turnQueue) front() *turn {
	if q.len() == 0 {
		return nil
	}
	return &q.items[q.first]
}

func (q *turnQueue) pop() {
	q.first++
	q.base++
}
