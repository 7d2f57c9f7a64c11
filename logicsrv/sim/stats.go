//go:build failpoints

package sim

import (
	"fmt"
	"strings"

	"github.com/trimq/trimq/logicsrv/sim/model"
)

// Stats counts what happened in a history.
type Stats struct {
	Steps, Kills, PowerCuts, Stalls, DiskFulls, SyncErrors int
	Restarts                                               [3]int

	acked, refused, delivered, commits, markers, clientDeaths int
	ringFull, diskFull, gaps                                  int
	oldEpoch, unknownReply, staleDelivery                     int
	known, checkpoints, stored                                int
	beats, expelled, takenOver                                int
	pulled, recalls, skipped, checks, refs                    int
	controls, deals, fenced, audited, washed                  int

	rules [model.Rules]int // how often each rule of the model made a difference
}

// Add sums counts of several histories.
func (s *Stats) Add(o *Stats) {
	s.Steps += o.Steps
	s.Kills += o.Kills
	s.PowerCuts += o.PowerCuts
	s.Stalls += o.Stalls
	s.DiskFulls += o.DiskFulls
	s.SyncErrors += o.SyncErrors
	for i := range s.Restarts {
		s.Restarts[i] += o.Restarts[i]
	}
	s.acked += o.acked
	s.refused += o.refused
	s.delivered += o.delivered
	s.commits += o.commits
	s.markers += o.markers
	s.clientDeaths += o.clientDeaths
	s.ringFull += o.ringFull
	s.diskFull += o.diskFull
	s.gaps += o.gaps
	s.oldEpoch += o.oldEpoch
	s.unknownReply += o.unknownReply
	s.staleDelivery += o.staleDelivery
	s.known += o.known
	s.checkpoints += o.checkpoints
	s.beats += o.beats
	s.expelled += o.expelled
	s.takenOver += o.takenOver
	s.stored += o.stored
	s.pulled += o.pulled
	s.recalls += o.recalls
	s.skipped += o.skipped
	s.checks += o.checks
	s.refs += o.refs
	s.controls += o.controls
	s.deals += o.deals
	s.fenced += o.fenced
	s.audited += o.audited
	s.washed += o.washed
	for i := range s.rules {
		s.rules[i] += o.rules[i]
	}
}

// Unused are the rules of the model that made no difference.
func (s *Stats) Unused() (rules []model.Rule) {
	for r, n := range s.rules {
		if n == 0 {
			rules = append(rules, model.Rule(r))
		}
	}
	return rules
}

// Coverage lists how often each rule of the model made a difference, one a line.
func (s *Stats) Coverage() string {
	var b strings.Builder
	for r, n := range s.rules {
		fmt.Fprintf(&b, "%9d %s\n", n, model.Rule(r))
	}
	return b.String()
}

func (s *Stats) String() string {
	return fmt.Sprintf("steps %d, kills %d, power cuts %d, stalls %d, full disks %d, failed syncs %d, restarts %v; "+
		"acknowledged %d, refused %d, delivered %d, commits %d, markers %d, dead clients %d; full ring %d, refused for the disk %d, "+
		"known inputs %d, checkpoints %d, log gaps %d, replies of old epochs %d, to nobody %d, stale deliveries %d; "+
		"answers to members %d, members expelled %d, partitions taken over from the silent %d; "+
		"pulled %d, recalls %d, skipped %d, checks %d, references %d; "+
		"control batches %d, transactions committed %d, requests of transactional producers refused %d, audited %d; compacted away %d",
		s.Steps, s.Kills, s.PowerCuts, s.Stalls, s.DiskFulls, s.SyncErrors, s.Restarts,
		s.acked, s.refused, s.delivered, s.commits, s.markers, s.clientDeaths, s.ringFull, s.diskFull,
		s.known, s.stored, s.gaps, s.oldEpoch, s.unknownReply, s.staleDelivery, s.beats, s.expelled, s.takenOver,
		s.pulled, s.recalls, s.skipped, s.checks, s.refs, s.controls, s.deals, s.fenced, s.audited, s.washed)
}
