//go:build failpoints

package sim

import (
	"fmt"
	"io"
	"math/rand/v2"

	"github.com/trimq/trimq/protocol/ipc"
)

// Options names a history.
type Options struct {
	Seed   uint64
	Mutant string    // a rule to break, of Mutants; empty: none
	Trace  io.Writer // nil: none
}

// Result is how a history ended.
type Result struct {
	Violation string // empty: none
	Step      int
	Stats     Stats
}

// Simulator plays histories one after the other.
type Simulator struct{ mem memory }

// epochMS is when every history begins.
const epochMS = 1_700_000_000_000

// Run plays one history.
func (s *Simulator) Run(o Options) (result Result) {
	r := rand.New(rand.NewPCG(o.Seed, 0x7472696d71))
	w := &world{
		ledger: newLedger(), rng: r, plan: makePlan(r), theme: makeTheme(o.Seed), laundry: makeLaundry(o.Seed), out: o.Trace, now: epochMS, mem: &s.mem, salts: rand.NewPCG(o.Seed, 0x73616c74),
		names: map[string][]uint64{}, topicLevel: map[uint64]ipc.Level{}, queueLevel: map[uint64]ipc.Level{}, digests: map[uint64]uint64{},
	}
	w.bank = makeBank(o.Seed, w.theme != nil)
	w.log.indexes, w.log.deletes = map[uint64]*shadowIndex{}, map[uint64]bool{}
	w.model = w.newModel()
	w.install(o.Mutant)
	defer uninstall()
	defer func() {
		w.stats.rules = w.model.Seen
		result.Step, result.Stats = w.step, w.stats
		switch v := recover().(type) {
		case nil:
		case violation:
			result.Violation = fmt.Sprintf("seed %d step %d: %s", o.Seed, w.step, v.text)
		default:
			panic(v)
		}
	}()
	w.trace("plan %+v", w.plan)
	w.trace("theme %+v", w.theme)
	w.disk = newDisk(w)
	w.newRings()
	w.cast()
	w.prepare()
	w.play()
	w.settle()
	w.judge()
	return result
}

// play is the part of the history with faults.
func (w *world) play() {
	for end := w.step + w.plan.steps; w.step < end; {
		w.step++
		w.stats.Steps++
		w.now += int64(w.rng.IntN(12))
		w.disturb()
		switch n := w.rng.IntN(18); {
		case n < 3:
			w.stepTier(tierConn)
		case n < 7:
			w.stepTier(tierLogic)
		case n < 10:
			w.stepTier(tierPersist)
		case n < 11:
			if w.rng.IntN(w.plan.syncEvery) == 0 {
				w.stepSync()
			}
			w.stepCompact()
			w.stepNotes()
		case n < 13:
			w.stepReplay()
		default:
			for range w.plan.eager {
				if w.conn != nil && w.stalled[tierConn] == 0 {
					w.clients[w.rng.IntN(len(w.clients))].tick()
				}
			}
		}
		if w.step%64 == 0 {
			w.follow()
			if !w.log.pending {
				w.checkClaims()
			}
		}
	}
}
