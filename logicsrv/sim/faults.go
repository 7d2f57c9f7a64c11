//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/shmqueue"
)

// The kinds of faults that a history may have.
const (
	killOne = iota
	killLogic
	killConn
	killPair
	killAll
	cutPower
	stall
	fillDisk
	breakSync
	hideLog
	faultKinds
)

// memory is what the rings lie in; it is used again by the next history.
type memory struct{ a, b, c []byte }

// newRings makes empty rings, as after a boot.
func (w *world) newRings() {
	nonces := [3]uint64{w.rng.Uint64(), w.rng.Uint64(), w.rng.Uint64()}
	if failpoint.Broken("no-nonce") {
		nonces = [3]uint64{1, 2, 3}
	}
	open := func(mem *[]byte, capacity, nonce uint64) *shmqueue.Ring {
		n := shmqueue.MemorySize(capacity)
		if cap(*mem) < n {
			*mem = make([]byte, n)
		}
		*mem = (*mem)[:n]
		w.must(shmqueue.Format(*mem, capacity, nonce), "make a ring")
		r, err := shmqueue.Open(*mem)
		w.must(err, "open a ring")
		return r
	}
	w.ringA = open(&w.mem.a, w.plan.capacityA, nonces[0])
	w.ringB = open(&w.mem.b, w.plan.capacityB, nonces[1])
	w.ringC = open(&w.mem.c, w.plan.capacityC, nonces[2])
}

// disturb lets chance bring a fault.
func (w *world) disturb() {
	if w.disk.full && w.rng.IntN(60) == 0 {
		w.trace("the disk has room again")
		w.disk.full = false
	}
	if w.disk.unreadable && w.rng.IntN(1000) == 0 {
		w.trace("the log can be read again")
		w.disk.unreadable = false
	}
	if w.cutIn > 0 {
		if w.cutIn--; w.cutIn == 0 {
			w.powerCut()
		}
	}
	if w.rng.IntN(w.plan.faultEvery) != 0 {
		return
	}
	sum := 0
	for _, n := range w.plan.weights {
		sum += n
	}
	n := w.rng.IntN(sum)
	kind := 0
	for n >= w.plan.weights[kind] {
		n -= w.plan.weights[kind]
		kind++
	}
	w.bring(kind)
}

func (w *world) bring(kind int) {
	switch kind {
	case killOne:
		w.light(tier(w.rng.IntN(int(tiers))))
	case killLogic:
		w.light(tierLogic)
	case killConn:
		w.light(tierConn)
	case killPair:
		spared := tier(w.rng.IntN(int(tiers)))
		for t := range tiers {
			if t != spared {
				w.light(t)
			}
		}
	case killAll:
		for t := range tiers {
			w.light(t)
		}
	case cutPower:
		w.powerCut()
	case stall:
		t := tier(w.rng.IntN(int(tiers)))
		w.stalled[t] = w.rng.IntN(80)
		w.stats.Stalls++
		w.trace("%v stalls for %d steps", t, w.stalled[t])
	case fillDisk:
		w.trace("the disk is full")
		w.stats.DiskFulls++
		w.disk.full = true
	case hideLog:
		w.trace("the log cannot be read for checkpoints")
		w.disk.unreadable = true
	case breakSync:
		w.disk.failSyncs = 1 + w.rng.IntN(2)
		if w.rng.IntN(2) == 0 {
			w.cutIn = 1 + w.rng.IntN(100) // before the pages would have been written anyway
		}
	}
}

// light sets a fuse: the tier dies at one of the failpoints that it crosses next, or at one
// that it has crossed before, so that rare places get their share. A tier that is down dies
// in its start.
func (w *world) light(t tier) {
	if w.plan.focus == onRefusals && t == tierLogic && w.rng.IntN(4) > 0 {
		// Between the answer to one input and its release.
		w.fuseAt[t] = "logic.release.before"
		w.fuse[t] = 1 + w.rng.IntN(3)
		return
	}
	if n := len(w.crossed[t]); n > 0 && w.rng.IntN(2) == 0 {
		w.fuseAt[t] = w.crossed[t][w.rng.IntN(n)]
		w.fuse[t] = 1 + w.rng.IntN(3)
		return
	}
	w.fuseAt[t] = ""
	w.fuse[t] = 1 + w.rng.IntN(w.plan.reach)
}

// powerCut ends all processes, rings and connections at once, and tears what was not synced.
func (w *world) powerCut() {
	w.follow()
	synced := w.ringC.Word(shmqueue.WordSynced).Load()
	w.trace("POWER CUT at synced=%d, last read lsn=%d", synced, w.log.last)
	w.stats.PowerCuts++
	w.cut = true
	w.powerCutPromise(synced)
	for t := range tiers {
		w.drop(t)
		w.stalled[t] = 0
	}
	w.disk.crash(w.rng)
	w.newRings()
	w.noted = 0
	for _, c := range w.clients {
		switch c := c.(type) {
		case *fetcher:
			c.powerCut()
		case *transactor:
			c.powerCut()
		case *auditor:
			c.powerCut()
		}
	}
	clear(w.leases) // who has one may find that it is lost
	for p := range w.seen {
		if w.shadow(p.index).level < diskLevel {
			delete(w.seen, p) // there may be another one in its place
		}
	}
	for p, c := range w.done {
		if c != confirmed || w.shadow(p.index).level < diskLevel {
			delete(w.done, p)
		}
	}
}
