package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/drill"
	"github.com/trimq/trimq/shmqueue/tier"
)

// ownPrograms gives a broker a directory of programs of its own, in which a test may replace some.
func ownPrograms(t *testing.T, b *broker.Broker) {
	t.Helper()
	dir := filepath.Join(b.Dir, "bin")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"mq_server", "trimq"}, tier.Daemons...) {
		text, err := os.ReadFile(filepath.Join(b.Bin, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b.Bin = dir
}

// install puts another program in the place of a daemon's, as an operator does: the running one
// keeps its file.
func install(t *testing.T, b *broker.Broker, name string, text []byte) {
	t.Helper()
	path := filepath.Join(b.Bin, name)
	err := os.WriteFile(path+".new", text, 0o755)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A program on the disk that does not start is refused, and the old one goes on.
func TestHandOverToABrokenProgramIsRefused(t *testing.T) {
	b := prepare(t, nil)
	ownPrograms(t, b)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	lost := 0
	c := dial(t, b, trimq.WithLogger(countLost(&lost)))
	topicOf(t, c, "t", trimq.LevelDisk)
	before, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, name := range tier.Daemons {
		good, err := os.ReadFile(filepath.Join(b.Bin, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, broken := range [][]byte{[]byte("#!/bin/sh\nexit 1\n"), good[:len(good)/2], []byte("#!/bin/sh\necho persistsrv 1 2 0\n")} {
			install(t, b, name, broken)
			if err := b.Signal("12", name); err == nil || !strings.Contains(err.Error(), "refused") {
				t.Errorf("%s: hand-over to a broken program: %v", name, err)
			}
			send(t, c, "t", n, n+100)
			n += 100
		}
		install(t, b, name, good)
	}
	if err := b.Signal("12", "logicsrv"); err != nil {
		t.Errorf("with the good program back: %v", err)
	}
	expect(t, c, "t", n)
	after, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range before {
		if after[name].PID != s.PID || after[name].Restarts != 0 {
			t.Errorf("%s was process %d and is %+v", name, s.PID, after[name])
		}
	}
	if lost != 0 {
		t.Errorf("%d connections lost", lost)
	}
}

// What serves behind a hand-over is the program that was installed, as the status says.
func TestHandOverToAnotherVersion(t *testing.T) {
	b := prepare(t, nil)
	ownPrograms(t, b)
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	c := dial(t, b)
	next := filepath.Join(b.Bin, "next")
	args := []string{"build", "-buildvcs=false", "-ldflags", "-X github.com/trimq/trimq/shmqueue/tier.Version=v99", "-o", next + "/"}
	for _, name := range tier.Daemons {
		args = append(args, "./"+name)
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = "../.."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range tier.Daemons {
		if err := os.Rename(filepath.Join(next, name), filepath.Join(b.Bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Signal("12"); err != nil {
		t.Fatal(err)
	}
	out, err := b.Program("mq_server", "status")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out, "v99"); n != len(tier.Daemons) {
		t.Errorf("the status shows the new version %d times:\n%s", n, out)
	}
	if _, err := c.Ping(testContext(t)); err != nil {
		t.Error(err)
	}
}

// Requests that logicsrv cannot answer, as it stands still, are answered behind any number of
// hand-overs of connsrv; and two hand-overs at once are one, or two.
func TestHandOverWhileNobodyAnswers(t *testing.T) {
	b := started(t, nil)
	lost := 0
	c := dial(t, b, trimq.WithLogger(countLost(&lost)))
	topicOf(t, c, "t", trimq.LevelDisk)
	for _, name := range []string{"logicsrv", "persistsrv"} {
		if err := b.Signal("STOP", name); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		s := speak(t, b)
		go func() {
			_, err := c.CreateTopic(testContext(t), trimq.TopicSpec{Name: "made-beside-" + name, Partitions: 1})
			ended <- err
		}()
		for range 3 {
			if err := b.Signal("12", "connsrv"); err != nil {
				t.Error(err)
			}
		}
		s.call(native.CmdPing, &native.Ping{})
		if err := b.Signal("CONT", name); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.topic("second-" + name)
	}
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := b.Signal("12"); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	send(t, c, "t", 0, 300)
	expect(t, c, "t", 300)
	if lost != 0 {
		t.Errorf("%d connections lost", lost)
	}
	wantOneLife(t, b)
}

// Ten hand-overs of each daemon while producers and a consumer are at work: no connection is
// closed, nothing is lost or doubled.
func TestHandOverKeepsConnections(t *testing.T) {
	b := started(t, nil)
	lost := 0
	c := dial(t, b, trimq.WithLogger(countLost(&lost)))
	topicOf(t, c, "t", trimq.LevelDisk)
	n := 0
	for round := range 10 {
		name := tier.Daemons[round%3]
		send(t, c, "t", n, n+300)
		n += 300
		if err := b.Signal("12", name); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, c, "t", n)
	if lost != 0 {
		t.Errorf("%d connections lost", lost)
	}
}

// Everything that clients do, while daemons are upgraded over and over: the checkers of the drills look
// at it, and no connection may be lost.
func TestHandOverUnderLoad(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadTopics, Faults: []string{"hand-over"}}, 8*time.Second)
}

// The same with all that queues can do.
func TestHandOverOfQueueFeatures(t *testing.T) {
	sound(t, drill.Options{Load: drill.LoadQueues, Faults: []string{"hand-over"}}, 8*time.Second)
}
