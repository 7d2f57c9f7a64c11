package core

import (
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
)

// Three ends of an index, and the cursors that move them:
//
//	 floor (queue)      visible                next
//	   │ ……………………………………… │ ………………………………… │
//	                        readers may go      stored or on its way to be
//	                        up to here
//
// next moves when an Appended or Routed event is applied, in the entry with the LSN l. visible
// follows when the cursor of the index's own level has reached l: written for memory and page,
// synced for disk. So a consumer of a disk topic never sees a message that a power cut could
// take back, at whatever level its producer was content with the answer.
//
// Between the two stands one mark for each entry and index, in one FIFO for each cursor. It is
// derived state: a replay makes the same marks, a load makes one for each index at the LSN of
// the checkpoint, and Begin pops what the cursors have reached.

// mark says that, once the cursor has reached lsn, offsets of an index below end may be read.
type mark struct {
	lsn uint64
	ix  *index
	end uint64
}

// marks is a FIFO of marks, in order of LSN: one for each entry and index, so its length is
// bounded by what is on its way to the disk.
type marks struct {
	buf   []mark
	first int
	base  uint64 // number of buf[first]; marks are counted from 0
}

// note records that ix now ends at ix.next, as of lsn.
func (m *marks) note(lsn uint64, ix *index) {
	// A second batch of the same entry moves its mark. LSN 0 is of no entry: an index that has
	// not been marked yet.
	if ix.markLSN == lsn && ix.markAt >= m.base && lsn != 0 {
		m.buf[m.first+int(ix.markAt-m.base)].end = ix.next
		return
	}
	ix.markLSN, ix.markAt = lsn, m.base+uint64(len(m.buf)-m.first)
	// Marks are popped from the front: move the rest down once it is the smaller half.
	if m.first > 1024 && m.first >= len(m.buf)/2 {
		m.buf = m.buf[:copy(m.buf, m.buf[m.first:])]
		m.first = 0
	}
	m.buf = append(m.buf, mark{lsn, ix, ix.next})
}

// pop returns the first mark that cursor has reached.
func (m *marks) pop(cursor uint64) (mark, bool) {
	if m.first == len(m.buf) || m.buf[m.first].lsn > cursor {
		return mark{}, false
	}
	k := m.buf[m.first]
	m.buf[m.first].ix = nil // let a deleted index go
	m.first++
	m.base++
	if m.first == len(m.buf) {
		m.buf, m.first = m.buf[:0], 0
	}
	return k, true
}

// await returns the LSN that the first mark waits for; NoLSN if there is none.
func (m *marks) await() uint64 {
	if m.first == len(m.buf) {
		return NoLSN
	}
	return m.buf[m.first].lsn
}

// newest returns the LSN of the last mark; 0 if there is none.
func (m *marks) newest() uint64 {
	if m.first == len(m.buf) {
		return 0
	}
	return m.buf[len(m.buf)-1].lsn
}

// NoLSN is an LSN that no cursor reaches.
const NoLSN = ^uint64(0)

// Awaits tells at which LSNs the cursors have to arrive before anything can come of it here: messages
// become visible, or may be given to consumers. NoLSN: nothing waits for that cursor.
func (c *Core) Awaits() (written, synced uint64) {
	written, synced = c.toPage.await(), c.toDisk.await()
	if c.handing.epoch != 0 && c.synced < c.handingLSN {
		synced = min(synced, c.handingLSN)
	}
	return written, synced
}

// AwaitsUpTo is the highest LSN that Awaits will come to tell, if no turn comes before; 0: none.
func (c *Core) AwaitsUpTo() uint64 {
	last := max(c.toPage.newest(), c.toDisk.newest())
	if c.handing.epoch != 0 && c.synced < c.handingLSN {
		last = max(last, c.handingLSN)
	}
	return last
}

// marksOf is the FIFO of the cursor that makes messages of this level visible: memory and
// page are visible once written, since readers read the log.
func (c *Core) marksOf(level ipc.Level) *marks {
	if level >= ipc.LevelDisk {
		return &c.toDisk
	}
	return &c.toPage
}

// appended is what apply does after it has moved ix.next: the messages become visible when
// the cursor of their index's level has passed this entry. Derived state: not in checkpoints.
func (c *Core) appended(ix *index, lsn uint64) {
	c.marksOf(ix.level).note(lsn, ix)
}

// showUpTo makes visible what the cursors have reached.
func (c *Core) showUpTo(written, synced uint64) {
	// Cursors never fall; a restarted persistsrv may publish a lower one for a moment.
	c.written, c.synced = max(c.written, written), max(c.synced, synced)
	for k, ok := c.toPage.pop(c.written); ok; k, ok = c.toPage.pop(c.written) {
		c.show(k.ix, k.end)
	}
	for k, ok := c.toDisk.pop(c.synced); ok; k, ok = c.toDisk.pop(c.synced) {
		c.show(k.ix, k.end)
	}
}

// show moves the visible end of an index and wakes who waited for that: parked requests at once,
// consumers of a queue at the end of the turn.
func (c *Core) show(ix *index, end uint64) {
	if ix.gone || end <= ix.visible {
		return
	}
	if end > ix.next {
		invariant.Fail("index %d visible up to %d, ends at %d", ix.id, end, ix.next)
	}
	if ix.shownTurn != c.turnNumber {
		ix.shownTurn, ix.wasVisible = c.turnNumber, ix.visible
	}
	ix.visible = end
	if ix.cursor != nil {
		c.shown(ix.cursor)
	}
	if ix.txns == nil || ix.txns.settle(end) {
		for _, k := range ix.views {
			c.shown(k)
		}
	}
	if ix.waits != nil {
		c.wakeWaits(ix)
	}
}

// shown is told that more of a cursor's index is visible.
func (c *Core) shown(k *cursor) {
	k.idle = false
	if len(k.hidden) > 0 {
		c.late = append(c.late, k)
	}
	if k.dead.count() > 0 {
		c.toGraves(k)
	}
	c.touch(k.queue)
}
