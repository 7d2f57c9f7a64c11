package e2e

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/scripts/broker"
)

// TestInspectionAtFullLoad looks into the rings of a broker under load, with everything that looks,
// again and again. Nothing of the traffic breaks, and what is looked at is found to be sound. How
// much of the traffic it costs is logged: that depends on what else the machine does.
func TestInspectionAtFullLoad(t *testing.T) {
	b := started(t, map[string]string{"max_frame_bytes": `"256Ki"`, "ring_request_bytes": `"4Mi"`})
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelPage)
	starts := metric(t, b, "trimq_logic_starts_total")
	sent, _ := pour(t, c, 0, func(time.Duration) {}) // until everything is warm
	sent, alone := pour(t, c, sent, func(time.Duration) {})
	looks := 0
	sent, watched := pour(t, c, sent, func(d time.Duration) {
		ctx, cancel := context.WithTimeout(testContext(t), d)
		defer cancel()
		for ctx.Err() == nil {
			looks += lookAround(ctx, t, b)
		}
	})
	t.Logf("%.0f messages/s, %.0f while it was looked into %d times: %.2f of it", alone, watched, looks, watched/alone)
	if looks == 0 {
		t.Error("nothing was looked at")
	}
	expect(t, c, "t", sent)
	if again := metric(t, b, "trimq_logic_starts_total"); again != starts {
		t.Errorf("logicsrv was started %v times, then %v", starts, again)
	}
}

// pour produces as fast as it goes for as long as beside runs, and for a second at least. It
// returns how many messages there are now, and how many a second that were.
func pour(t *testing.T, c *trimq.Client, from int, beside func(time.Duration)) (next int, rate float64) {
	t.Helper()
	const long = time.Second
	began := time.Now()
	var over atomic.Bool
	go func() {
		defer over.Store(true)
		beside(long)
		time.Sleep(time.Until(began.Add(long)))
	}()
	next = from
	for !over.Load() {
		send(t, c, "t", next, next+2000)
		next += 2000
	}
	return next, float64(next-from) / time.Since(began).Seconds()
}

// lookAround looks with each command once.
func lookAround(ctx context.Context, t *testing.T, b *broker.Broker) (looks int) {
	for _, args := range []string{
		"ls --json", "show", "show requests --records 0", "show responses", "show log --json", "verify",
		"tail requests --count 200", "tail log --count 50 --most 10", "watch --interval 20ms --count 1",
	} {
		args := append(append([]string{"shm"}, strings.Fields(args)...), "--shm-key-base", fmt.Sprint(b.KeyBase))
		out, err := exec.CommandContext(ctx, filepath.Join(b.Bin, "trimq"), args...).CombinedOutput()
		if ctx.Err() != nil {
			return looks
		}
		var exit *exec.ExitError
		if errors.As(err, &exit) || strings.Contains(string(out), "BAD") || strings.Contains(string(out), "ERROR") {
			t.Errorf("%s: %v\n%.2000s", strings.Join(args, " "), err, out)
		}
		looks++
	}
	return looks
}

// TestStatesOfABrokerAtWork checks the checkpoints of a broker that makes new ones all the while: each
// with the log behind it gives the next; and what a message has changed is seen in the states.
func TestStatesOfABrokerAtWork(t *testing.T) {
	b := started(t, map[string]string{"checkpoint_events": "100", "checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`, "segment_bytes": `"64Ki"`})
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelPage)
	dir, sent := b.Config.DataDir, 0
	for deadline := time.Now().Add(patience); metric(t, b, "trimq_logic_checkpoints_total") < 6; {
		if time.Now().After(deadline) {
			t.Fatal("too few checkpoints")
		}
		send(t, c, "t", sent, sent+500)
		sent += 500
		out, err := b.Run("state", "verify", dir)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	out, err := b.Run("state", "dump", dir)
	if err != nil || !strings.HasPrefix(out, "state lsn=") || !strings.Contains(out, `topic "t" partition 0 index=`) {
		t.Errorf("dump: %v\n%s", err, out)
	}
	if err := b.Signal("15"); err != nil {
		t.Fatal(err)
	}
	if out, err := b.Run("state", "verify", dir); err != nil || strings.Count(out, " give checkpoint ") != 1 {
		t.Errorf("verify of a stopped one: %v\n%s", err, out)
	}
	newest, first := uint64(0), uint64(0)
	lsns, err := commitlog.ListCheckpoints(commitlog.DirFS(dir))
	if err == nil && len(lsns) > 1 {
		first, newest = lsns[0], lsns[len(lsns)-1]
	}
	if out, err := b.Run("state", "diff", dir, fmt.Sprint(newest)); err != nil || out != "" {
		t.Errorf("after an orderly stop the log holds more than the newest checkpoint: %v\n%s", err, out)
	}
	next := fmt.Sprintf("next=%d\n", sent)
	if out, err := b.Run("state", "diff", dir, fmt.Sprint(first), fmt.Sprint(newest)); err == nil || !strings.Contains(out, "+ topic \"t\" partition 0 index=") || !strings.Contains(out, next) {
		t.Errorf("diff: %v\n%s", err, out)
	}
}
