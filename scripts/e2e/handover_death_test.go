package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue/tier"
)

// A death at each step of a hand-over is as any death of that daemon: what was acknowledged is there,
// and only that of connsrv costs connections.
func TestDeathInAHandOver(t *testing.T) {
	bin := failpointPrograms(t)
	all := []string{"handover.begin", "handover.kept", "handover.exec"}
	for name, places := range map[string][]string{
		"persistsrv": all, "logicsrv": all,
		"connsrv": append([]string{"handover.frozen", "handover.written", "handover.adopt", "handover.adopted"}, all...),
	} {
		for _, place := range places {
			t.Run(name+" at "+place, func(t *testing.T) { dieInHandOver(t, bin, name, place) })
		}
	}
}

func dieInHandOver(t *testing.T, bin, name, place string) {
	b := prepare(t, nil)
	b.Bin = bin
	startToDieAt(t, b, place)
	lost := 0
	c := dial(t, b, trimq.WithLogger(countLost(&lost)))
	topicOf(t, c, "t", trimq.LevelDisk)
	send(t, c, "t", 0, 300)
	if err := b.Signal("12", name); err == nil || !strings.Contains(err.Error(), "died in the hand-over") {
		t.Fatalf("it should have died: %v", err)
	}
	send(t, c, "t", 300, 600)
	expect(t, c, "t", 600)
	if lost != 0 && name != "connsrv" {
		t.Errorf("%d connections lost", lost)
	}
	eventually(t, "all serve", func() bool {
		states, err := b.States()
		ready := 0
		for _, s := range states {
			if s.State == "ready" {
				ready++
			}
		}
		return err == nil && ready == len(tier.Daemons) && states[name].Restarts == 1
	})
}

// startToDieAt starts a broker each of whose daemons dies at its first crossing of a place.
func startToDieAt(t *testing.T, b *broker.Broker, place string) {
	t.Helper()
	cmd := exec.Command(filepath.Join(b.Bin, "mq_server"), "start")
	cmd.Env = append(os.Environ(), "TRIMQ_CONFIG="+b.File, "TRIMQ_DIE_AT="+place+":1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
