package e2e

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

// sample is one command of the tutorial with what it prints there.
type sample struct {
	command string
	prints  []string
}

// tutorial reads the commands and what they print out of docs/tutorial.md.
func tutorial(t *testing.T, root string) (all []sample) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs", "tutorial.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, sample{command: command})
			} else {
				s := &all[len(all)-1]
				s.prints = append(s.prints, line)
			}
		}
	}
	return all
}

// running is a program whose output is kept line by line.
type running struct {
	t     *testing.T
	cmd   *exec.Cmd
	mu    sync.Mutex
	lines []string
	done  chan struct{}
}

// begin starts a command of the tutorial against a broker.
func begin(t *testing.T, b *broker.Broker, root, command string, env ...string) *running {
	t.Helper()
	args := strings.Fields(command)
	r := &running{t: t, cmd: exec.Command(filepath.Join(root, args[0]), args[1:]...), done: make(chan struct{})}
	r.cmd.Env = append(append(os.Environ(), "TRIMQ_ADDR="+b.Addr), env...)
	out, err := r.cmd.StdoutPipe()
	r.cmd.Stderr = r.cmd.Stdout
	if err == nil {
		err = r.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		for in := bufio.NewScanner(out); in.Scan(); {
			r.mu.Lock()
			r.lines = append(r.lines, in.Text())
			r.mu.Unlock()
		}
	}()
	t.Cleanup(func() { _ = r.cmd.Process.Kill() })
	return r
}

func (r *running) printed() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// end waits for the program to end by itself, or ends it with Ctrl-C, and for its exit code 0.
func (r *running) end(interrupt bool) {
	r.t.Helper()
	if interrupt {
		_ = r.cmd.Process.Signal(os.Interrupt)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatalf("%v does not end; it printed\n%s", r.cmd.Args, strings.Join(r.printed(), "\n"))
	}
	if err := r.cmd.Wait(); err != nil {
		r.t.Errorf("%v: %v; it printed\n%s", r.cmd.Args, err, strings.Join(r.printed(), "\n"))
	}
}

// TestTutorial runs every sample, in the order of the tutorial, and checks that it prints what stands
// there. Who waits for messages is ended with Ctrl-C once it has printed that.
func TestTutorial(t *testing.T) {
	b := started(t, nil)
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	ran := map[string]bool{}
	var sharing []*running
	for _, s := range tutorial(t, root) {
		name := filepath.Base(strings.Fields(s.command)[0])
		ran[name] = true
		switch {
		case strings.HasPrefix(name, "mq_normal_consumer"):
			r := begin(t, b, root, s.command)
			eventually(t, s.command, func() bool { return slices.Equal(r.printed(), s.prints[:1]) })
			sharing = append(sharing, r)
		case s.command == "bin/mq_normal_producer 4":
			exactly(t, b, root, s)
			shared(t, sharing)
		case name == "trimq":
			traced(t, b, root, s)
		case strings.HasPrefix(name, "mq_") && !strings.HasPrefix(s.command, "scripts/"):
			exactly(t, b, root, s)
		case strings.HasPrefix(s.command, "kill -9"):
			if err := b.Signal("9"); err != nil {
				t.Fatal(err)
			}
			if err := b.Start(); err != nil {
				t.Fatal(err)
			}
		case name == "multi_producer_start.sh":
			multi(t, b, root, s)
		case name == "make", strings.HasPrefix(s.command, "scripts/mq_server."):
		default:
			t.Errorf("nobody knows how to check %q", s.command)
		}
	}
	programs, err := filepath.Glob(filepath.Join(root, "clients/samples/mq_*"))
	if err != nil || len(programs) < 12 {
		t.Fatalf("%d samples, %v", len(programs), err)
	}
	for _, p := range programs {
		if name := filepath.Base(p); !ran[name] && !strings.HasPrefix(name, "mq_multi_") {
			t.Errorf("the tutorial does not run %s", name)
		}
	}
}

// exactly wants the output of the tutorial, line by line.
func exactly(t *testing.T, b *broker.Broker, root string, s sample) {
	t.Helper()
	r := begin(t, b, root, s.command)
	eventually(t, s.command, func() bool { return len(r.printed()) >= len(s.prints) })
	waits := slices.ContainsFunc(s.prints, func(line string) bool { return strings.Contains(line, "Ctrl-C ends it") })
	r.end(waits)
	if got := r.printed(); !slices.Equal(got, s.prints) {
		t.Errorf("%s prints\n%s\nand not\n%s", s.command, strings.Join(got, "\n"), strings.Join(s.prints, "\n"))
	}
}

// shared wants the consumers to have got each message once, between them, and nobody nothing.
func shared(t *testing.T, consumers []*running) {
	t.Helper()
	var got []string
	eventually(t, "the consumers get all", func() bool {
		got = got[:0]
		for _, r := range consumers {
			for _, line := range r.printed()[1:] {
				_, message, _ := strings.Cut(line, " got: ")
				got = append(got, message)
			}
		}
		return len(got) >= 4
	})
	for _, r := range consumers {
		r.end(true)
		if len(r.printed()) < 2 {
			t.Errorf("%v got nothing", r.cmd.Args)
		}
	}
	slices.Sort(got)
	if want := []string{"message 1", "message 2", "message 3", "message 4"}; !slices.Equal(got, want) {
		t.Errorf("the consumers got %q", got)
	}
}

// traced wants the same story of a message; times and numbers differ.
func traced(t *testing.T, b *broker.Broker, root string, s sample) {
	t.Helper()
	r := begin(t, b, root, s.command, "TRIMQ_ADDR="+b.Addr)
	r.end(false)
	digits := regexp.MustCompile(`[0-9.:-]+`)
	plain := func(lines []string) (out []string) {
		for _, line := range lines {
			out = append(out, strings.Join(strings.Fields(digits.ReplaceAllString(line, "N")), " "))
		}
		return out
	}
	if got := r.printed(); !slices.Equal(plain(got), plain(s.prints)) {
		t.Errorf("%s prints\n%s\nand not\n%s", s.command, strings.Join(got, "\n"), strings.Join(s.prints, "\n"))
	}
}

// multi wants producers and consumers to be at work, until the other script ends them.
func multi(t *testing.T, b *broker.Broker, root string, s sample) {
	t.Helper()
	pidfile := "TRIMQ_MULTI_PIDFILE=" + filepath.Join(t.TempDir(), "multi.pid")
	if out := begin(t, b, root, "scripts/multi_producer_start.sh 1 x"); true {
		<-out.done
		if err := out.cmd.Wait(); err == nil || !strings.Contains(strings.Join(out.printed(), ""), "x is no number") {
			t.Errorf("a length of x: %v, %q", err, out.printed())
		}
	}
	r := begin(t, b, root, s.command, pidfile)
	count := func(what string) int {
		return len(slices.DeleteFunc(r.printed(), func(line string) bool { return !regexp.MustCompile(what).MatchString(line) }))
	}
	eventually(t, "all are at work", func() bool {
		return count(`^producer sent [0-9]+ messages of 10 bytes$`) > 0 && count(`^consumer got [0-9]+ messages$`) > 1
	})
	if got := r.printed(); !slices.Contains(got, s.prints[0]) || count("^consumer waits for messages") != 2 {
		t.Errorf("%s prints\n%s", s.command, strings.Join(got, "\n"))
	}
	again := begin(t, b, root, s.command, pidfile)
	<-again.done
	if err := again.cmd.Wait(); err == nil || !strings.Contains(strings.Join(again.printed(), ""), "it runs already") {
		t.Errorf("a second one: %v, %q", err, again.printed())
	}
	stop := begin(t, b, root, "scripts/multi_producer_stop.sh", pidfile)
	stop.end(false)
	r.end(false)
	if count("^consumer ends$") != 2 || count("^producer ends$") != 1 {
		t.Errorf("they printed\n%s", strings.Join(r.printed(), "\n"))
	}
	if err := syscall.Kill(r.cmd.Process.Pid, 0); err == nil {
		t.Error("the script runs on")
	}
}
