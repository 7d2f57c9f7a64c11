//go:build failpoints

package sim

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// ledger is what the clients know: what was acknowledged to them, what they hold, what they
// have passed a verdict on. Everything that the broker does is held against it.
type ledger struct {
	messages []*message // by id-1
	byCRC    map[uint32]*message
	// claims are acknowledgements and visible ends that the log must bear out.
	claims   []claim
	hand     map[spot]*subscription // held by a live consumer
	shared   map[spot]bool          // perhaps by two
	done     map[spot]certainty     // acknowledged or rejected by a consumer
	times    map[spot]int           // deliveries seen
	seen     map[spot]bool          // given to somebody, and not sought back since
	leases   map[spot]leaseClaim    // pulled, and nobody's until a time
	underWay underWay

	txns map[string]*transaction // by key: a producer group's are all its members'

	owners     map[share]*standing // members of groups, by what they own
	generation int32               // the last one that a member of the classic group was told of
	leader     string              // its leader
	lasting    bool                // it has a position that no power cut takes back
	cut        bool                // the power was cut once

	producers map[int64]*producer // by producer id
	serials   map[serial]string   // numbers of leases and transactions, and what has them
	cutIDs    map[int64]bool      // producer ids whose last messages were lost in a power cut
}

// spot is a message of a queue: those of a topic stand in several.
type spot struct {
	queue uint64
	place
}

// serial is the number of a lease within its queue; of a transaction, where queue is 0.
type serial struct{ queue, number uint64 }

func (s serial) String() string {
	if s.queue == 0 {
		return fmt.Sprintf("transaction %d", s.number)
	}
	return fmt.Sprintf("lease %d of queue %d", s.number, s.queue)
}

// certainty says how sure it is that a verdict counts.
type certainty uint8

const (
	offered   certainty = 1 // it may be in ring 12345
	taken     certainty = 2 // it is: it counts unless the power fails
	confirmed certainty = 3 // the answer came: at a disk queue it counts for ever
)

// claim is something that the broker has said, and the cursors at that moment.
type claim struct {
	m     *message // acknowledged, or
	index uint64   // visible up to end
	end   uint64

	written, synced uint64
	step            int
}

func newLedger() ledger {
	return ledger{
		byCRC: map[uint32]*message{}, txns: map[string]*transaction{}, hand: map[spot]*subscription{}, shared: map[spot]bool{}, underWay: newUnderWay(), done: map[spot]certainty{}, times: map[spot]int{}, seen: map[spot]bool{}, leases: map[spot]leaseClaim{},
		owners: map[share]*standing{}, producers: map[int64]*producer{}, serials: map[serial]string{}, cutIDs: map[int64]bool{},
	}
}

func (w *world) claimNow(c claim) {
	if w.rng.IntN(3) == 0 {
		w.follow() // what is claimed must be there at this very moment
		defer w.checkClaims()
	}
	c.written = w.ringC.Word(shmqueue.WordWritten).Load()
	c.synced = w.ringC.Word(shmqueue.WordSynced).Load()
	c.step = w.step
	w.claims = append(w.claims, c)
}

// acknowledged notes an answer to a producer.
func (w *world) acknowledged(m *message) {
	w.trace("%v acknowledged at base %d, queues %d", m, m.base, m.queues)
	w.stats.acked++
	m.acked = true
	w.claimNow(claim{m: m})
}

// observed notes that a client was told that offsets below end may be read.
func (w *world) observed(index, end uint64) {
	if end > 0 {
		w.claimNow(claim{index: index, end: end})
	}
}

// checkClaims holds claims against the log as it has been read.
func (w *world) checkClaims() {
	for _, c := range w.claims {
		if c.m != nil {
			w.checkAcknowledged(&c)
		} else {
			w.checkVisible(&c)
		}
	}
	w.claims = w.claims[:0]
}

func (w *world) checkAcknowledged(c *claim) {
	m := c.m
	level := m.level
	if level == ipc.LevelUnset {
		level = w.levelOf(m)
	}
	switch {
	case m.lost || level == ipc.LevelMemory || m.index == 0 && m.queues == 0 && m.txn == nil:
	case m.lsn == 0 && w.dropped(m):
	case m.lsn == 0:
		w.fail("%v was acknowledged at level %d and is not in the log", m, level)
	case m.lsn > c.written:
		w.fail("%v was acknowledged at level %d when written was %d", m, level, c.written)
	case level == ipc.LevelDisk && m.lsn > c.synced:
		w.fail("%v was acknowledged at level disk when synced was %d", m, c.synced)
	}
	if m.lsn != 0 {
		w.checkPlaces(m)
	}
}

// checkPlaces compares where a message is stored with what its producer was told.
func (w *world) checkPlaces(m *message) {
	if m.apart || w.theme != nil && m.index == 0 {
		return // the model knows where it goes
	}
	if m.index != 0 {
		if len(m.places) != 1 || m.places[0] != (place{m.index, m.base}) {
			w.fail("%v was acknowledged at offset %d and is stored at %v", m, m.base, m.places)
		}
		return
	}
	if n := len(m.places); n > int(m.queues) || n+m.deletes < int(m.queues) {
		w.fail("%v was acknowledged for %d queues and is stored at %v", m, m.queues, m.places)
	}
}

// levelOf is the highest level of the indexes that hold a message; disk where it is unknown.
func (w *world) levelOf(m *message) ipc.Level {
	if m.txn != nil {
		return ipc.LevelDisk
	}
	level := ipc.LevelMemory
	for _, p := range m.places {
		level = max(level, w.shadow(p.index).level)
	}
	if len(m.places) == 0 {
		if m.index == 0 {
			return ipc.LevelMemory
		}
		level = w.shadow(m.index).level
	}
	return level
}

func (w *world) checkVisible(c *claim) {
	x := w.shadow(c.index)
	if x.deleted != 0 {
		return
	}
	b := x.find(c.end - 1)
	switch {
	case b == nil:
		w.fail("index %d was visible up to %d, the log ends it at %d", c.index, c.end, x.next)
	case b.lsn > c.written:
		w.fail("index %d was visible up to %d (lsn %d) when written was %d", c.index, c.end, b.lsn, c.written)
	case x.level == ipc.LevelDisk && b.lsn > c.synced:
		w.fail("index %d of level disk was visible up to %d (lsn %d) when synced was %d", c.index, c.end, b.lsn, c.synced)
	}
}

// delivered holds a delivery against what consumers hold and have done.
func (w *world) delivered(s *subscription, d *ipc.Deliver) {
	w.trace("delivery to sub %d of %s: index %d [%d, +%d) attempts %d", s.sub, s.owner.side().name, d.Index, d.First, d.Count, d.Attempts)
	if d.Count == 0 {
		w.fail("%s of queue %d is handed no messages of index %d", s.owner.side().name, s.queue, d.Index)
	}
	again := w.underWay.arrived(s.queue, d)
	for o := d.First; o < d.First+uint64(d.Count); o++ {
		w.handed(s, place{d.Index, o}, d.Attempts)
		if at := (spot{s.queue, place{d.Index, o}}); o >= again {
			w.shared[at] = true
			delete(w.seen, at)
		}
	}
	if s.delivered > s.limit {
		w.fail("%s has been handed %d messages with credit for %d", s.owner.side().name, s.delivered, s.limit)
	}
	w.stats.delivered += int(d.Count)
	w.observed(d.Index, d.First+uint64(d.Count))
}

// handed puts a message into a hand, in which it may be.
func (w *world) handed(s *subscription, p place, attempts uint16) {
	at := spot{s.queue, p}
	w.free(at, s.owner.side().name)
	w.unseen(at, s.owner.side().name, attempts)
	key := givenKey{s.queue, p.index}
	w.conn.given[key] = max(w.conn.given[key], p.base+1)
	delete(w.done, at)
	w.times[at]++
	s.delivered++
	w.hand[at] = s
	s.hold(p)
}

// unseen fails if a message is told to be a new one and was given to somebody before.
func (w *world) unseen(at spot, name string, attempts uint16) {
	if w.seen[at] && attempts == 0 {
		w.fail("offset %d of index %d is given to %s as one that nobody has seen", at.base, at.index, name)
	}
	w.seen[at] = true
}

// free fails if a message must not be given to anybody. Of one that was given out twice, for its queue was set
// back, a verdict may count for both until it is confirmed.
func (w *world) free(at spot, name string) {
	if holder := w.hand[at]; holder != nil && !w.shared[at] {
		w.fail("offset %d of index %d is given to %s while %s has it in hand", at.base, at.index, name, holder.owner.side().name)
	}
	if d := w.done[at]; d == confirmed || d == taken && !w.shared[at] {
		w.fail("offset %d of index %d is given to %s after its ack", at.base, at.index, name)
	}
	if l, ok := w.leases[at]; ok && w.now < l.untilMS {
		w.fail("offset %d of index %d is given to %s at %d, %s has it with lease %d until %d", at.base, at.index, name, w.now, l.owner, l.number, l.untilMS)
	}
	delete(w.leases, at)
	w.mayBeSeen(at)
}

// giveBack ends a subscription's hold.
func (w *world) giveBack(s *subscription) {
	for _, p := range s.inHand {
		delete(w.hand, spot{s.queue, p})
	}
	for at, holder := range w.hand {
		if holder == s { // verdicts that were under way
			delete(w.hand, at)
		}
	}
	s.inHand = nil
}

// recalled takes a message out of the hand of a consumer that has held it for too long.
func (w *world) recalled(s *subscription, index, offset uint64) {
	at := spot{s.queue, place{index, offset}}
	w.trace("recall from sub %d of %s: index %d offset %d", s.sub, s.owner.side().name, index, offset)
	w.stats.recalls++
	if w.hand[at] == s {
		delete(w.hand, at)
	}
	if w.done[at] < confirmed {
		delete(w.done, at) // a verdict that is on its way may come too late
	}
}

// verdictOffered notes that a verdict may enter ring 12345. One on what was recalled meanwhile may
// come too late.
func (w *world) verdictOffered(s *subscription, queue, index uint64, offsets []uint64, v ipc.Verdict) {
	for _, o := range offsets {
		at := spot{queue, place{index, o}}
		if w.hand[at] != s {
			continue
		}
		delete(w.hand, at)
		if v != ipc.VerdictRequeue {
			w.done[at] = max(w.done[at], offered)
		}
	}
}

func (w *world) verdictTaken(queue, index uint64, offsets []uint64) {
	for _, o := range offsets {
		if at := (spot{queue, place{index, o}}); w.done[at] == offered {
			w.done[at] = taken
		}
	}
}

// timesOf is how often messages have been delivered so far, by offset.
func (w *world) timesOf(queue, index uint64, offsets []uint64) map[uint64]int {
	times := map[uint64]int{}
	for _, o := range offsets {
		times[o] = w.times[spot{queue, place{index, o}}]
	}
	return times
}

func (w *world) verdictConfirmed(queue, index uint64, offsets []uint64) {
	for _, o := range offsets {
		if at := (spot{queue, place{index, o}}); w.done[at] > 0 { // else it was sought back meanwhile
			w.done[at] = confirmed
		}
	}
}

// newProducerID notes an id; one that was handed out before must not come again.
func (w *world) newProducerID(p *producer, id int64, epoch int16) {
	w.trace("%s is producer %d epoch %d", p.name, id, epoch)
	if other := w.producers[id]; other != nil {
		w.fail("producer id %d is given to %s and was given to %s", id, p.name, other.name)
	}
	if id < 0 || epoch < 0 {
		w.fail("producer id %d epoch %d", id, epoch)
	}
	w.producers[id] = p
}

// newSerial notes the number that something was told to have. Nothing else may ever have it, for who
// was told may use it whatever has become of the thing: in a power cut as well.
func (w *world) newSerial(s serial, of string) {
	if was, told := w.serials[s]; told && was != of {
		w.fail("%s has %v, which was told to be that of %s", of, s, was)
	}
	w.serials[s] = of
}

// forgot says whether the broker may have lost what it knew of a producer.
func (w *world) forgot(id int64) bool { return w.cutIDs[id] }
