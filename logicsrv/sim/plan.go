//go:build failpoints

package sim

import (
	"math/rand/v2"

	lshell "github.com/trimq/trimq/logicsrv/shell"
	pshell "github.com/trimq/trimq/persistsrv/shell"
)

// plan is what a seed decides before its history begins.
type plan struct {
	steps      int // with faults
	faultEvery int // steps between two faults, on average
	downtime   int // steps until a dead tier is started again, at most
	reach      int // crossings until a set fuse burns down, at most
	syncEvery  int // persistsrv's sync runs in one of so many of its turns
	syncShare  int // the sync, not only maintenance, runs in one of so many of those
	inline     bool
	calmStart  bool // the faults begin when everything is created

	capacityA, capacityB, capacityC uint64

	loops       int
	window      int
	clientDeath int // a client dies in one tick of so many
	maxBody     int
	eager       int  // clients that act in one of their turns
	churn       bool // things are created and deleted on the way
	toggle      bool // what is unroutable now may be routable in a moment

	groups         []string // that have members
	sessionMS      int64    // of those
	initialDelayMS int64    // of the classic group

	limits   lshell.Limits
	settings pshell.Settings

	weights [faultKinds]int
	focus   focus
}

// focus makes some histories about one thing, so that rare meetings become likely.
type focus int

const (
	onEverything focus = iota
	onPages            // little is synced, checkpoints are many, the power fails
	onSyncs            // syncs fail
	onRefusals         // what is refused now would be taken in a moment; logicsrv dies
	onDeliveries       // consumers hold a lot; connsrv and logicsrv die
	onGroups           // members of groups come and go; connsrv and logicsrv die
	foci
)

func makePlan(r *rand.Rand) plan {
	pick := func(v ...int) int { return v[r.IntN(len(v))] }
	p := plan{
		steps:      pick(300, 600, 900, 900, 3000),
		faultEvery: pick(15, 30, 60, 120, 400),
		downtime:   pick(1, 4, 12, 30),
		reach:      pick(3, 12, 60, 200),
		syncEvery:  pick(1, 2, 6),
		syncShare:  2,
		inline:     r.IntN(4) == 0,
		calmStart:  r.IntN(4) != 0,

		capacityA: uint64(pick(16, 32, 64)) << 10,
		capacityB: uint64(pick(16, 32)) << 10,
		capacityC: uint64(pick(16, 32)) << 10,

		loops:       1 + r.IntN(2),
		window:      1 + r.IntN(4),
		clientDeath: pick(60, 200, 1000, 1000000),
		churn:       r.IntN(3) == 0,
		toggle:      r.IntN(3) == 0,
	}
	p.eager = pick(1, 3, 6)
	p.maxBody = int(p.capacityA / 16)
	p.limits = lshell.Limits{
		TurnInputs:  pick(1, 3, 8, 64),
		TurnBytes:   pick(512, 4096, 1<<20),
		HeldOutputs: pick(4, 16, 1000),
		CheckpointLimits: lshell.CheckpointLimits{
			CheckpointBytes:  uint64(pick(2<<10, 8<<10, 1<<20)),
			CheckpointEvents: uint64(pick(10, 40, 1000)),
			CheckpointMS:     int64(pick(200, 2000)),
			CheckpointGapMS:  int64(pick(1, 1, 1000)),
			ReplayShare:      pick(10, 100, 100),
		},
	}
	p.settings = pshell.Settings{
		SegmentBytes:     int64(pick(4, 16, 64)) << 10,
		AheadBytes:       1 << 10,
		SegmentSeconds:   pick(2, 3600),
		IndexEntries:     pick(4, 16, 256),
		DiskReserveBytes: -1,
		PageFlushMS:      int64(pick(50, 500)),
		RetentionCheckMS: 200,
		FlushBytes:       int64(pick(4, 64)) << 10,
		RoundBytes:       int64(pick(2, 8, 64)) << 10,
	}
	p.weights = [faultKinds]int{
		killOne: 20, killPair: 4, killAll: 2, cutPower: pick(0, 1, 4), stall: 6,
		fillDisk: pick(0, 0, 2), breakSync: pick(0, 0, 4), hideLog: pick(0, 0, 0, 8),
	}
	p.groups = [][]string{nil, nil, {modernGroup}, {classicGroup}}[r.IntN(4)]
	p.sessionMS = int64(pick(600, 2000, 5000))
	p.initialDelayMS = int64(pick(-1, 50))
	p.focus = focus(r.IntN(int(foci)))
	p.concentrate(pick)
	return p
}

// concentrate turns the plan to its focus.
func (p *plan) concentrate(pick func(...int) int) {
	switch p.focus {
	case onPages:
		p.inline, p.groups = false, nil
		p.syncEvery, p.syncShare = pick(1, 3, 8), pick(2, 5, 20)
		p.limits.CheckpointEvents = uint64(pick(2, 6, 20))
		p.settings.PageFlushMS = 5000
		p.settings.FlushBytes = 1 << 20
		p.weights[cutPower] = 16
		p.weights[fillDisk], p.weights[breakSync] = 0, 0
	case onSyncs:
		p.weights[breakSync] = 25
		p.faultEvery = pick(15, 30, 60)
	case onRefusals:
		p.toggle, p.churn, p.calmStart = true, false, true
		p.limits.TurnInputs = pick(1, 1, 3, 8)
		p.reach = pick(3, 12, 30)
		p.steps, p.faultEvery, p.downtime = 1500, pick(15, 30), pick(1, 4)
		p.syncEvery, p.inline, p.eager = pick(4, 10), false, 6
		p.weights[killLogic] = 60
	case onGroups:
		p.groups = [][]string{{modernGroup}, {classicGroup}, {modernGroup, classicGroup}}[pick(0, 1, 2)]
		p.calmStart, p.churn, p.toggle = true, false, false
		p.clientDeath = pick(100, 400)
		p.faultEvery = pick(30, 60, 120)
		p.steps, p.eager = pick(900, 2000), 6
		p.weights[killLogic] = 40
		p.weights[killConn] = pick(0, 5, 20)
		p.weights[cutPower] = pick(0, 0, 4)
	case onDeliveries:
		p.calmStart = true
		p.clientDeath = pick(1000, 1000000)
		p.faultEvery = pick(30, 60, 120)
		p.steps = 900
		p.weights[killLogic] = 40
		p.weights[killConn] = pick(0, 5, 20)
		p.weights[cutPower] = 0
	}
}
