//go:build failpoints

package sim

import (
	"math/rand/v2"
	"strconv"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// laundry is what a history has in which topics are compacted. What is gone is found by reading the files,
// and has to have a reason in the log as the shadow has it: of each key the last record that counts stays,
// and what was never said to be gone. Its dice are a stream of its own.
type laundry struct {
	dice        *rand.Rand
	tombstoneMS int64
	compactMS   int64
	keys        int            // that one pass remembers
	bustle      int            // steps of others while a pass is under way, at most
	busy        int            // … that are left
	gone        map[place]bool // records that compaction has removed
	passing     bool           // a pass is under way
}

// washKeys is how many keys producers have between them.
const washKeys = 5

// makeLaundry draws whether a history has one; nil: it has none.
func makeLaundry(seed uint64) *laundry {
	r := rand.New(rand.NewPCG(seed, 0x6c61756e647279))
	if r.IntN(2) == 0 {
		return nil
	}
	return &laundry{
		dice: r, tombstoneMS: []int64{0, 300, 3000}[r.IntN(3)], compactMS: []int64{1, 30, 300}[r.IntN(3)], keys: []int{1, 3, 1000}[r.IntN(3)],
		bustle: []int{1, 20, 100}[r.IntN(3)], gone: map[place]bool{},
	}
}

// configs are those of a topic that is compacted as soon as there is something to it; nil: it is not.
func (l *laundry) configs() []ipc.Header {
	if l == nil {
		return nil
	}
	return []ipc.Header{ // in order
		{Key: topicconf.CleanupPolicy, Value: topicconf.Compact},
		{Key: topicconf.DeleteRetentionMS, Value: strconv.FormatInt(l.tombstoneMS, 10)},
		{Key: topicconf.DirtyRatio, Value: "0"},
	}
}

// alter draws a change of what makes a topic compacted.
func (l *laundry) alter() (changes []topicconf.Change) {
	if l == nil {
		return nil
	}
	policy := topicconf.Compact
	if l.dice.IntN(4) == 0 {
		policy = topicconf.Delete
	}
	return []topicconf.Change{
		{Key: topicconf.CleanupPolicy, Value: policy},
		{Key: topicconf.DeleteRetentionMS, Value: strconv.FormatInt(l.tombstoneMS, 10)},
		{Key: topicconf.DirtyRatio, Value: "0"},
	}
}

// key draws the key of a record, and whether it stands for a deletion. The first record of a batch has to
// bear the number of its message. nil: it has no key, and stays.
func (l *laundry) key(number int) (key []byte, deletion bool) {
	if l == nil || l.dice.IntN(12) == 0 {
		return nil, false
	}
	return []byte{'k', byte('0' + l.dice.IntN(washKeys))}, number > 0 && l.dice.IntN(4) == 0
}

// stepCompact is persistsrv's goroutine that compacts. A pass takes long: whatever it reads or writes, the
// others go on meanwhile.
func (w *world) stepCompact() {
	l := w.laundry
	if l == nil || w.persist == nil || w.stalled[tierPersist] > 0 || w.plan.inline || l.dice.IntN(3) > 0 || !w.persist.CompactDue() {
		return
	}
	l.passing, l.busy = true, l.dice.IntN(l.bustle)
	_, err := w.run(tierPersist, w.persist.Compact)
	l.passing = false
	w.tolerate(tierPersist, err)
	w.checkWashed()
}

// meanwhile lets the other goroutines and tiers run while persistsrv is in the midst of a pass. If it dies of that,
// the pass does too.
func (w *world) meanwhile(int) bool {
	l := w.laundry
	if l == nil || !l.passing {
		return true
	}
	now := w.persist
	for ; l.busy > 0 && w.persist == now && l.dice.IntN(3) > 0; l.busy-- {
		switch t := tier(l.dice.IntN(int(tiers) + 1)); t {
		case tiers:
			w.stepSync()
		case tierConn:
			w.stepTier(t)
			if w.conn != nil {
				w.clients[l.dice.IntN(len(w.clients))].tick()
			}
		default:
			w.stepTier(t)
		}
	}
	if w.persist != now {
		panic(death{"a pass, with its process"})
	}
	return true
}

// washed are the indexes of the topics that are compacted, in order.
func (w *world) washed() (indexes []uint64) {
	if w.laundry == nil {
		return nil
	}
	for _, name := range []string{"t-disk", "t-page", "t-memory", "bank", "till", mainTopic} {
		indexes = append(indexes, w.names[name]...)
	}
	return indexes
}

// checkWashed holds what is there of compacted partitions against what they had.
func (w *world) checkWashed() {
	if w.laundry == nil || w.log.pending {
		return
	}
	w.follow()
	w.lookWashed()
}

// lookWashed is checkWashed as far as the log has been read.
func (w *world) lookWashed() {
	was := w.running
	w.running = observer
	defer func() { w.running = was }()
	r := commitlog.NewBatchReader(w.disk.read())
	defer r.Close()
	for _, index := range w.washed() {
		if c := w.readWashed(r, index); c != nil {
			c.check()
		}
	}
}

// knows tells whether a record is known to be gone.
func (l *laundry) knows(p place) bool { return l != nil && l.gone[p] }

// isGone tells whether compaction has removed a record by now.
func (w *world) isGone(index, offset uint64) bool {
	at := place{index, offset}
	if l := w.laundry; l != nil && !l.gone[at] && !w.log.pending {
		w.lookWashed()
	}
	return w.laundry.knows(at)
}
