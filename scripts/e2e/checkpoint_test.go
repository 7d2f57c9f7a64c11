package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"golang.org/x/sys/unix"
)

// metric reads one value of the broker's metrics.
func metric(t *testing.T, b *broker.Broker, name string) float64 {
	t.Helper()
	resp, err := http.Get("http://" + b.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return v
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// children are the processes that a process has started.
func children(pid int) (pids []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		b, _ := os.ReadFile(list) // gone with its thread
		for _, word := range strings.Fields(string(b)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

func pidOf(t *testing.T, b *broker.Broker, tier string) int {
	t.Helper()
	states, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	return states[tier].PID
}

// TestCheckpointsBesideTheLoop: under load logicsrv has checkpoints made in processes of their own.
// Some of these are killed, which nobody notices; they die with logicsrv; and an orderly stop leaves
// nothing to be replayed.
func TestCheckpointsBesideTheLoop(t *testing.T) {
	b := started(t, map[string]string{"checkpoint_events": "2000", "checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`, "log_level": `"debug"`})
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelPage)
	logic := pidOf(t, b, "logicsrv")
	sent, killed := 0, 0
	for deadline := time.Now().Add(patience); killed < 3 || metric(t, b, "trimq_logic_checkpoints_total") < 5; {
		if time.Now().After(deadline) {
			t.Fatalf("%d children were killed, %v checkpoints", killed, metric(t, b, "trimq_logic_checkpoints_total"))
		}
		send(t, c, "t", sent, sent+200)
		sent += 200
		for _, child := range children(logic) {
			if killed < 3 && unix.Kill(child, unix.SIGKILL) == nil {
				killed++
			}
		}
	}
	t.Logf("longest turn %.2f ms, the last checkpoint took %.0f ms; %d messages", 1e3*metric(t, b, "trimq_logic_longest_turn_seconds"),
		1e3*metric(t, b, "trimq_logic_checkpoint_seconds"), sent)
	if pid := pidOf(t, b, "logicsrv"); pid != logic {
		t.Fatalf("logicsrv has become process %d, it was %d", pid, logic)
	}
	expect(t, c, "t", sent)
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end of a dead logicsrv's children", func() bool { return len(children(logic)) == 0 })
	send(t, c, "t", sent, sent+200)
	sent += 200
	if err := b.Signal("15"); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(logOf(b, "logicsrv"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := ""
	for _, line := range lines {
		if strings.Contains(line, "recovered") {
			last = line
		}
	}
	if !strings.Contains(last, "entries=0 ") && !strings.Contains(last, `"entries":0,`) {
		t.Errorf("after an orderly stop entries were replayed: %s", last)
	}
	expect(t, dial(t, b), "t", sent)
}
