package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/drill"
)

// howLong gives a drill's seed and duration: TRIMQ_TEST_NEMESIS_SECONDS makes it last longer,
// TRIMQ_TEST_NEMESIS_SEED repeats the configuration and the faults of a run, though not its timing.
func howLong(t *testing.T, usually time.Duration) (uint64, time.Duration) {
	t.Helper()
	number := func(name string, usual uint64) uint64 {
		text := os.Getenv(name)
		if text == "" {
			return usual
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return n
	}
	seconds := number("TRIMQ_TEST_NEMESIS_SECONDS", uint64(usually.Seconds()))
	return number("TRIMQ_TEST_NEMESIS_SEED", uint64(time.Now().UnixNano()%1_000_000)), time.Duration(seconds) * time.Second
}

// drilled does a drill and gives what is wrong.
func drilled(t *testing.T, o drill.Options, usually time.Duration) *drill.Result {
	t.Helper()
	o.Seed, o.Duration = howLong(t, usually)
	o.Dir, o.Log = t.TempDir(), func(s string) { t.Log(s) }
	t.Logf("seed %d, %v", o.Seed, o.Duration)
	r, err := drill.Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sound does a drill in which nothing may be wrong.
func sound(t *testing.T, o drill.Options, usually time.Duration) *drill.Result {
	t.Helper()
	r := drilled(t, o, usually)
	for _, v := range r.Wrong {
		t.Error(v)
	}
	return r
}

// TestNemesis: everything that clients do with topics and queues, while a seeded nemesis does
// everything to the broker.
func TestNemesis(t *testing.T) { sound(t, drill.Options{Load: drill.LoadTopics}, 8*time.Second) }

// TestQueueFeaturesUnderFaults: everything else that queues can do, and a nemesis.
func TestQueueFeaturesUnderFaults(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadQueues}, 10*time.Second)
}

// TestKafkaUnderFaults: Kafka's clients beside native ones, at the same partitions, and a nemesis.
func TestKafkaUnderFaults(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadKafka}, 10*time.Second)
}

// TestKafkaTransactionsUnderFaults: consume, process, produce in transactions, and a nemesis.
func TestKafkaTransactionsUnderFaults(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadKTxn}, 10*time.Second)
}

// TestCompactedTopicsUnderFaults: of each key the last record stays while topics are compacted, and a nemesis.
func TestCompactedTopicsUnderFaults(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadTables}, 10*time.Second)
}

// TestAMQPUnderFaults: AMQP's clients beside native ones, at the same queues, and a nemesis.
func TestAMQPUnderFaults(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadAMQP}, 10*time.Second)
}

// TestFailingDisk: syncs that fail and disks that are full, in turn.
func TestFailingDisk(t *testing.T) {
	can(t, "sync-error")
	r := sound(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"sync-error", "no-room", "kill"}}, 4*time.Second)
	if !fileContains(filepath.Join(r.Dir, "broker", "log", "persistsrv.log"), "input/output error") {
		t.Error("no sync failed: the test shows nothing")
	}
}

// TestPowerCut: what was acknowledged at level disk is there when the power comes back.
func TestPowerCut(t *testing.T) {
	can(t, "power")
	sound(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"power", "kill"}}, 5*time.Second)
}

// TestPowerCutFindsALie is the control of TestPowerCut: a disk that says it has synced and has
// not loses messages, and that is found.
func TestPowerCutFindsALie(t *testing.T) {
	can(t, "lie")
	r := drilled(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"lie"}}, 2*time.Second)
	if wrong := strings.Join(r.Wrong, "\n"); !strings.Contains(wrong, "LOST") {
		t.Errorf("nothing was synced, the power was cut, and nothing is missing:\n%s", wrong)
	}
}

// can skips where a kind of fault cannot be done.
func can(t *testing.T, kind string) {
	t.Helper()
	if why := drill.Cannot(kind); why != "" {
		t.Skip(why)
	}
}
