//go:build failpoints

package sim

import (
	"cmp"
	"os"
	"strconv"
	"testing"

	"github.com/trimq/trimq/logicsrv/sim/model"
)

// histories is how many TestHistories plays: 10,000 in CI, by the variable.
func histories(t *testing.T) int {
	v := cmp.Or(os.Getenv("TRIMQ_TEST_HISTORIES"), os.Getenv("TRIMQ_SIM_HISTORIES"))
	if v == "" {
		return 2000
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		t.Fatalf("TRIMQ_TEST_HISTORIES=%q: want a number from 1", v)
	}
	return n
}

// TestHistories plays many histories of the real code; none may break a promise.
func TestHistories(t *testing.T) {
	var s Simulator
	var total Stats
	n := histories(t)
	for seed := uint64(1); seed <= uint64(n); seed++ {
		r := s.Run(Options{Seed: seed})
		total.Add(&r.Stats)
		if r.Violation != "" {
			t.Fatalf("%s\nreplay: go run -tags failpoints ./logicsrv/sim/cmd/sim -v -seed %d", r.Violation, seed)
		}
	}
	t.Logf("%d histories: %s", n, total.String())
	if n >= 200 && (total.Kills == 0 || total.PowerCuts == 0 || total.delivered == 0 || total.known == 0 || total.checkpoints == 0 || total.stored == 0 ||
		total.beats == 0 || total.expelled == 0 || total.takenOver == 0 ||
		total.controls == 0 || total.deals == 0 || total.fenced == 0 || total.audited == 0 || total.washed == 0) {
		t.Fatalf("the histories do not contain what they are for: %s", total.String())
	}
	for _, rule := range total.Unused() {
		// One takes a death between an entry and what is told of it, in a turn of a kind that is rare:
		// the core's script restart/recall_untold has it.
		if n >= 10_000 && rule != model.RuleRecallLate {
			t.Errorf("no history in which %v made a difference", rule)
		}
	}
}

// TestMutantsAreNoticed shows that the histories would find each of these mistakes.
func TestMutantsAreNoticed(t *testing.T) {
	if len(Mutants) < 12 {
		t.Fatalf("%d mutants", len(Mutants))
	}
	for _, m := range Mutants {
		t.Run(m.Name, func(t *testing.T) {
			played, why := Hunt(m.Name, 1, 2000)
			if why == "" {
				t.Fatalf("%d histories do not notice that %s", played, m.What)
			}
			t.Logf("noticed by history %d: %.300s", played, why)
		})
	}
}

// TestSeedIsHistory shows that a seed is played the same way every time.
func TestSeedIsHistory(t *testing.T) {
	var s Simulator
	for seed := uint64(1); seed <= 20; seed++ {
		a, b := s.Run(Options{Seed: seed}), s.Run(Options{Seed: seed})
		if a != b {
			t.Fatalf("seed %d: %+v, then %+v", seed, a, b)
		}
	}
}

// regressions are seeds that once failed, with what they found. Their histories change with
// every change of the simulator's choices; until then they show the mistake if it comes back.
var regressions = []struct {
	seed  uint64
	found string
}{
	{46, "after a boot the synced cursor stood at 0 until the first sync: what had been visible was not"},
	{54, "an entry stored into an index that the same entry deleted, and so made it anew"},
	{152, "an empty segment named the wrong first LSN: a reader that began there found nothing"},
	{922, "without an index checkpoint a lost entry passed for a removed segment"},
	{989, "a repeated request for the next epoch was answered, after a death, with the epoch of the owner that had come meanwhile"},
	{25812, "what a boot had cut off the log came back in front of new entries"},
}

func TestRegressions(t *testing.T) {
	var s Simulator
	for _, r := range regressions {
		if got := s.Run(Options{Seed: r.seed}); got.Violation != "" {
			t.Errorf("%s\nwhat it found once: %s", got.Violation, r.found)
		}
	}
}
