package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/drill"
)

// planted are rules that a broker can break on purpose (logicsrv/sim/mutants.go says what each does), with
// a drill that shows it, and what its checker must say.
var planted = []struct{ load, rule, fault, wrong string }{
	{drill.LoadTopics, "appends-dropped", "cut", "LOST"},
	{drill.LoadTopics, "disk-means-page", "power", "LOST"},
	{drill.LoadTopics, "persist-no-sync", "power", "the commit log cannot be replayed"}, // all of it is gone
	{drill.LoadTopics, "no-known-results", "logicsrv", "DOUBLE"},
	{drill.LoadTopics, "sequences-ignored", "cut", "DOUBLE"},
	{drill.LoadTopics, "sequences-ignored", "no-room", "behind its successor"},
	{drill.LoadTopics, "in-hand-not-retold", "logicsrv", "had it since"},
	{drill.LoadTopics, "attempts-not-counted", "cut", "without being flagged"},
	{drill.LoadTopics, "commits-forgotten", "cut", "was confirmed"},
	{drill.LoadKafka, "appends-dropped", "cut", "LOST"},
	{drill.LoadKafka, "sequences-ignored", "cut", "DOUBLE"},
	{drill.LoadKafka, "commits-forgotten", "cut", "was confirmed"},
	{drill.LoadAMQP, "appends-dropped", "cut", "LOST"},
	{drill.LoadAMQP, "in-hand-not-retold", "logicsrv", "held it"},
	{drill.LoadAMQP, "attempts-not-counted", "cut", "without being flagged"},
	{drill.LoadQueues, "appends-dropped", "cut", "LOST"},
	{drill.LoadQueues, "dead-letters-dropped", "cut", "LOST"},
	{drill.LoadQueues, "disk-means-page", "power", "LOST"},
	{drill.LoadQueues, "sequences-ignored", "cut", "DOUBLE"},
	{drill.LoadQueues, "dead-letter-twice", "cut", "messages are left"},
	{drill.LoadQueues, "priorities-ignored", "cut", "came behind message"},
	{drill.LoadQueues, "in-hand-not-retold", "logicsrv", "held it"},
	{drill.LoadQueues, "attempts-not-counted", "cut", "without being flagged"},
	{drill.LoadQueues, "lost-ignored", "pairs", "without being flagged"},
	{drill.LoadQueues, "lease-ends-early", "cut", "before its lease ended"},
	{drill.LoadQueues, "ack-timeout-early", "cut", "held it"},
	{drill.LoadKTxn, "aborts-forgotten", "cut", "was rolled back, but"},
	{drill.LoadKTxn, "open-is-stable", "cut", "where nothing is in the end"},
	{drill.LoadKTxn, "commits-hidden", "cut", "LOST"},
	{drill.LoadKTxn, "aborted-positions", "cut", "LOST: nothing was made of"},
	{drill.LoadKTxn, "finish-half", "logicsrv", "do not come to the ends"},
	{drill.LoadKTxn, "restart-halves", "logicsrv", "was rolled back, but"},
	{drill.LoadTables, "compact-drops-last", "cut", "LOST"},
	{drill.LoadTables, "compact-drops-tombstones", "cut", "LOST"},
	{drill.LoadTables, "compact-keeps-aborted", "cut", "LOST"},
	{drill.LoadTables, "compact-past-open", "cut", "LOST"},
}

// attempts bounds how many drills it may take until a broken rule shows: most take one or two, and on a machine
// that has no processor to spare some take many.
const attempts = 24

// plantedDays is how many days it takes to try all that is planted. TRIMQ_TEST_PLANTED=all tries all at once.
const plantedDays = 3

// today tells whether the n-th of what is planted is tried today.
func today(n int) bool {
	return os.Getenv("TRIMQ_TEST_PLANTED") == "all" || n%plantedDays == time.Now().YearDay()%plantedDays
}

// TestPlantedViolations: a broker that drops what it has acknowledged, stores it twice, changes an order,
// acknowledges before it has synced, or gives away what somebody holds, does not pass a drill.
func TestPlantedViolations(t *testing.T) {
	bin := failpointPrograms(t)
	for n, p := range planted {
		t.Run(p.load+"/"+p.rule+"/"+p.fault, func(t *testing.T) {
			if !today(n) {
				t.Skip("tried on another day; make drill-planted tries all")
			}
			t.Parallel()
			can(t, p.fault)
			o := drill.Options{
				Load: p.load, Faults: []string{p.fault}, Bin: bin, Env: []string{drill.BreakVariable + "=" + p.rule}, Settle: 3 * time.Second,
			}
			for k := range attempts {
				r := drilled(t, o, 3*time.Second)
				if wrong := strings.Join(r.Wrong, "\n"); strings.Contains(wrong, p.wrong) {
					t.Logf("shown by drill %d", k+1)
					return
				}
			}
			t.Errorf("%d drills have not shown it", attempts)
		})
	}
}

// TestFailingFileLayer: a sync that fails, or a write that finds no room, at any call, loses nothing.
func TestFailingFileLayer(t *testing.T) {
	bin := failpointPrograms(t)
	sound(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"io"}, Bin: bin}, 4*time.Second)
}
