package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
	"golang.org/x/sys/unix"
)

func TestStartIsIdempotentAndStopLeavesNothing(t *testing.T) {
	b := started(t, nil)
	before, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	if out, err := b.Program("mq_server", "start"); err != nil || !strings.Contains(out, "running already") {
		t.Fatalf("second start: %v\n%s", err, out)
	}
	after, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if before[name].PID != after[name].PID {
			t.Errorf("%s was started again", name)
		}
	}
	if err := b.Signal("TERM"); err != nil {
		t.Fatal(err)
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if err := b.Signal("15"); err == nil || !strings.Contains(err.Error(), "no daemon runs") {
		t.Errorf("stop of a stopped broker: %v", err)
	}
}

func TestMessagesSurviveEveryWayToStop(t *testing.T) {
	b := started(t, nil)
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelDisk)
	n := 0
	for _, stop := range []func() error{
		func() error { return b.Signal("15") },
		func() error { return b.Signal("2") },
		func() error { return b.Signal("9") },
		func() error { // as after a reboot: no process, no segment
			if err := b.Signal("KILL"); err != nil {
				return err
			}
			for k := b.KeyBase; k < b.KeyBase+4; k++ {
				if err := shmqueue.Remove(k); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		send(t, c, "t", n, n+1000)
		n += 1000
		if err := stop(); err != nil {
			t.Fatal(err)
		}
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, "t", n)
	}
}

func TestKilledTiersComeBackAndConnectionsStay(t *testing.T) {
	b := started(t, nil)
	lost := 0
	c := dial(t, b, trimq.WithLogger(countLost(&lost)))
	topicOf(t, c, "t", trimq.LevelDisk)
	n := 0
	for round := range 6 {
		victim := []string{"logicsrv", "persistsrv"}[round%2]
		send(t, c, "t", n, n+500)
		n += 500
		if err := b.Kill(victim); err != nil {
			t.Fatal(err)
		}
	}
	send(t, c, "t", n, n+500)
	expect(t, c, "t", n+500)
	if lost != 0 {
		t.Errorf("%d connections lost", lost)
	}
	if err := b.Kill("connsrv"); err != nil {
		t.Fatal(err)
	}
	send(t, c, "t", n+500, n+1000) // the client connects again by itself
	expect(t, c, "t", n+1000)
}

func TestOneTierIsStoppedAndStarted(t *testing.T) {
	b := started(t, nil)
	if err := b.Signal("15", "connsrv"); err != nil {
		t.Fatal(err)
	}
	s, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	if s["connsrv"].State != "stopped" || s["logicsrv"].State != "ready" {
		t.Errorf("states %+v", s)
	}
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t, b).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestOtherSignals(t *testing.T) {
	b := started(t, nil)
	if err := b.Signal("3"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"connsrv", "logicsrv", "persistsrv"} {
		eventually(t, name+" writes its stacks", func() bool { return fileContains(logOf(b, name), "goroutine ") })
	}
	text, err := os.ReadFile(b.File)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { configure(t, b, string(text)) }) // before the broker's own clean-up, which reads it
	configure(t, b, string(text)+"log_level = \"debug\"\n")
	if err := b.Signal("HUP"); err != nil {
		t.Fatal(err)
	}
	allLog(t, b, "configuration reloaded")
	states, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	configure(t, b, string(text)+"log_levle = \"debug\"\n")
	if err := b.Signal("1"); err == nil || !strings.Contains(err.Error(), "did you mean") {
		t.Errorf("reload of a bad file: %v", err)
	}
	for _, s := range states { // and a daemon that is told all the same keeps what it has
		if err := unix.Kill(s.PID, unix.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	allLog(t, b, "did you mean")
	configure(t, b, string(text))
	if err := os.Rename(logOf(b, "connsrv"), logOf(b, "connsrv")+".1"); err != nil {
		t.Fatal(err)
	}
	if err := b.Signal("10"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "log reopened", func() bool { return fileContains(logOf(b, "connsrv"), "log reopened") })
	if _, err := dial(t, b).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// allLog waits until every daemon has logged a text.
func allLog(t *testing.T, b *broker.Broker, text string) {
	t.Helper()
	for _, name := range tier.Daemons {
		eventually(t, name+" logs "+text, func() bool { return fileContains(logOf(b, name), text) })
	}
}

// configure replaces the configuration file at once.
func configure(t *testing.T, b *broker.Broker, text string) {
	t.Helper()
	if err := os.WriteFile(b.File+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(b.File+".new", b.File); err != nil {
		t.Fatal(err)
	}
}

// startFails starts a broker that must not start, and wants the words in what it says.
func startFails(t *testing.T, b *broker.Broker, words ...string) {
	t.Helper()
	err := b.Start()
	if err == nil {
		t.Fatal("it started")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error lacks %q:\n%v", w, err)
		}
	}
}

func TestTypoInTheConfiguration(t *testing.T) {
	b := prepare(t, nil)
	text, err := os.ReadFile(b.File)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.File, append(text, "segment_byte = 5\n"...), 0o600); err != nil {
		t.Fatal(err)
	}
	startFails(t, b, `unknown key "segment_byte"`, `did you mean "segment_bytes"`, b.File)
	if err := os.WriteFile(b.File, text, 0o600); err != nil { // for the clean-up
		t.Fatal(err)
	}
}

func TestSecondBrokerOnTheSameKeys(t *testing.T) {
	first := started(t, nil)
	c := dial(t, first)
	topicOf(t, c, "t", trimq.LevelDisk)
	send(t, c, "t", 0, 10)
	second, err := broker.New(t.TempDir(), map[string]string{"shm_key_base": fmt.Sprint(first.KeyBase)})
	if err != nil {
		t.Fatal(err)
	}
	startFails(t, second, "another broker", "shm_key_base")
	_ = second.Signal("9") // its supervisor; the segments belong to the first
	send(t, c, "t", 10, 20)
	expect(t, c, "t", 20)
}

func TestSecondBrokerOnTheSameData(t *testing.T) {
	first := started(t, nil)
	second := prepare(t, map[string]string{"data_dir": fmt.Sprintf("%q", first.Config.DataDir)})
	startFails(t, second, first.Config.DataDir)
	if _, err := dial(t, first).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

func TestForeignSegmentAtOurKey(t *testing.T) {
	b := prepare(t, nil)
	id, err := unix.SysvShmGet(b.KeyBase, 1<<20, unix.IPC_CREAT|unix.IPC_EXCL|0o600)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.SysvShmDetach(mem)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(id, unix.IPC_RMID, nil) })
	copy(mem, "somebody else's bytes")
	startFails(t, b, fmt.Sprint(b.KeyBase))
	if string(mem[:21]) != "somebody else's bytes" {
		t.Error("the foreign segment was written to")
	}
}

func TestUselessDataDirectory(t *testing.T) {
	t.Run("a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b := prepare(t, map[string]string{"data_dir": fmt.Sprintf("%q", file)})
		startFails(t, b, file)
	})
	t.Run("read-only", func(t *testing.T) {
		dir := mountTmpfs(t, "size=64m")
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
			t.Fatal(err)
		}
		b := prepare(t, map[string]string{"data_dir": fmt.Sprintf("%q", dir)})
		startFails(t, b, "read-only")
	})
}

// mountTmpfs gives a file system of its own to the test; it needs root.
func mountTmpfs(t *testing.T, options string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skipf("no tmpfs can be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// The supervisor may die: the daemons go on, and the next one adopts them.
func TestSupervisorDies(t *testing.T) {
	b := started(t, nil)
	before, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := tier.LockHolder(tier.PathsOf(b.Config, "supervisor").Lock)
	if err != nil || pid == 0 {
		t.Fatal(pid, err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelDisk)
	send(t, c, "t", 0, 100)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	after, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	for name := range before {
		if before[name].PID != after[name].PID {
			t.Errorf("%s was started again", name)
		}
	}
	if err := b.Kill("logicsrv"); err != nil { // adopted, and watched
		t.Fatal(err)
	}
	send(t, c, "t", 100, 200)
	expect(t, c, "t", 200)
	if err := b.Signal("15"); err != nil {
		t.Fatal(err)
	}
	if left := b.Left(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
