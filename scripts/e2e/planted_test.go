package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/drill"
)

// planted are rules that a broker can break on purpose (logicsrv/sim/mutants.go says what each does), with
// a drill that shows it, and what its checker must say.
var planted = []struct {
	rule, wrong string
	drill.Options
}{
	{"dead-letters-dropped", "LOST", drill.Options{Load: drill.LoadQueues, Faults: []string{"cut"}}},
	{"dead-letter-twice", "messages are left", drill.Options{Load: drill.LoadQueues, Faults: []string{"cut"}}},
	{"priorities-ignored", "came behind message", drill.Options{Load: drill.LoadQueues, Faults: []string{"cut"}}},
	{"disk-means-page", "LOST", drill.Options{Load: drill.LoadTopics, Faults: []string{"power"}}},
	{"lease-ends-early", "before its lease ended", drill.Options{Load: drill.LoadQueues, Faults: []string{"cut"}}},
}

// attempts bounds how many drills it may take until a broken rule shows.
const attempts = 6

// TestPlantedViolations: a broker that drops what it has acknowledged, stores it twice, changes an order,
// acknowledges before it has synced, or gives away what somebody holds, does not pass a drill.
func TestPlantedViolations(t *testing.T) {
	bin := t.TempDir()
	if err := broker.BuildFailpoints(bin, ""); err != nil {
		t.Fatal(err)
	}
	for _, p := range planted {
		t.Run(p.rule, func(t *testing.T) {
			for _, kind := range p.Faults {
				can(t, kind)
			}
			o := p.Options
			o.Bin, o.Env, o.Settle = bin, []string{drill.BreakVariable + "=" + p.rule}, 3*time.Second
			for n := range attempts {
				r := drilled(t, o, 3*time.Second)
				if wrong := strings.Join(r.Wrong, "\n"); strings.Contains(wrong, p.wrong) {
					t.Logf("drill %d: %s", n+1, r.Wrong[0])
					return
				}
			}
			t.Errorf("%d drills have not shown it", attempts)
		})
	}
}

// TestFailingFileLayer: a sync that fails, or a write that finds no room, at any call, loses nothing.
func TestFailingFileLayer(t *testing.T) {
	bin := t.TempDir()
	if err := broker.BuildFailpoints(bin, ""); err != nil {
		t.Fatal(err)
	}
	sound(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"io"}, Bin: bin}, 4*time.Second)
}
