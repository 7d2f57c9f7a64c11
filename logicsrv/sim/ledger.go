//go:build failpoints

package sim

import (
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// ledger is what the clients know: what was acknowledged to them, what they hold, what they
// have passed a verdict on. Everything that the broker does is held against it.
type ledger struct {
	messages []*message // by id-1
	// claims are acknowledgements and visible ends that the log must bear out.
	claims []claim
	hand   map[place]*subscription // held by a live consumer, or its verdict is under way
	done   map[place]certainty     // acknowledged or rejected by a consumer
	times  map[place]int           // deliveries seen

	owners     map[share]*standing // members of groups, by what they own
	generation int32               // the last one that a member of the classic group was told of
	leader     string              // its leader
	lasting    bool                // it has a position that no power cut takes back
	cut        bool                // the power was cut once

	producers map[int64]*producer // by producer id
	cutIDs    map[int64]bool      // producer ids whose last messages were lost in a power cut
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
		hand: map[place]*subscription{}, done: map[place]certainty{}, times: map[place]int{},
		owners: map[share]*standing{}, producers: map[int64]*producer{}, cutIDs: map[int64]bool{},
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
	case m.lost || level == ipc.LevelMemory || m.index == 0 && m.queues == 0:
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
	w.trace("delivery to sub %d of %s: index %d [%d, +%d) attempts %d", s.sub, s.owner.name, d.Index, d.First, d.Count, d.Attempts)
	if d.Index != s.index || d.Count == 0 {
		w.fail("%s of index %d is handed %d messages of index %d", s.owner.name, s.index, d.Count, d.Index)
	}
	for o := d.First; o < d.First+uint64(d.Count); o++ {
		p := place{d.Index, o}
		if holder := w.hand[p]; holder != nil {
			w.fail("offset %d of index %d is delivered to %s while %s has it in hand", o, d.Index, s.owner.name, holder.owner.name)
		}
		if w.done[p] >= taken {
			w.fail("offset %d of index %d is delivered to %s after its ack", o, d.Index, s.owner.name)
		}
		delete(w.done, p)
		w.times[p]++
		s.delivered++
		w.hand[p] = s
		at, _ := slices.BinarySearch(s.inHand, o)
		s.inHand = slices.Insert(s.inHand, at, o)
	}
	if s.delivered > s.limit {
		w.fail("%s has been handed %d messages with credit for %d", s.owner.name, s.delivered, s.limit)
	}
	w.stats.delivered += int(d.Count)
	w.observed(d.Index, d.First+uint64(d.Count))
}

// giveBack ends a subscription's hold.
func (w *world) giveBack(s *subscription) {
	for _, o := range s.inHand {
		delete(w.hand, place{s.index, o})
	}
	for p, holder := range w.hand {
		if holder == s { // verdicts that were under way
			delete(w.hand, p)
		}
	}
	s.inHand = nil
}

func (w *world) verdictOffered(index uint64, offsets []uint64, v ipc.Verdict) {
	for _, o := range offsets {
		p := place{index, o}
		delete(w.hand, p)
		if v != ipc.VerdictRequeue {
			w.done[p] = max(w.done[p], offered)
		}
	}
}

func (w *world) verdictTaken(index uint64, offsets []uint64, v ipc.Verdict) {
	if v == ipc.VerdictRequeue {
		return
	}
	for _, o := range offsets {
		p := place{index, o}
		w.done[p] = max(w.done[p], taken)
	}
}

func (w *world) verdictConfirmed(index uint64, offsets []uint64) {
	for _, o := range offsets {
		w.done[place{index, o}] = confirmed
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

// forgot says whether the broker may have lost what it knew of a producer.
func (w *world) forgot(id int64) bool { return w.cutIDs[id] }
