package tier

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// playDaemon is a daemon that hands over when it is told to, and is told to by nobody but itself:
// each program writes a line of what it has found, and the third one ends.
func playDaemon(dir string) int {
	return Main("logicsrv", func(ctx context.Context, p *Process) error {
		out, err := os.OpenFile(filepath.Join(dir, "story"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		text := "-"
		if fd := p.Legacy(); fd >= 0 {
			b, err := io.ReadAll(os.NewFile(uintptr(fd), "state"))
			if err != nil {
				return err
			}
			text = string(b)
		}
		stray := p.CloseStray()
		holder, err := LockHolder(p.paths.Lock)
		if err != nil {
			return err
		}
		fmt.Fprintln(out, os.Getpid(), holder, text, stray, os.Getenv(handOverVariable))
		if err := p.Ready(); err != nil {
			return err
		}
		switch text {
		case "-":
			return leaveWith(p, "ab")
		case "ab": // is stopped while it leaves
			p.stopping.Store(true)
			return leaveWith(p, "abc")
		}
		<-ctx.Done() // which the predecessor's stop ends
		return nil
	})
}

// leaveWith replaces the program, with a state and one descriptor that nobody takes over.
func leaveWith(p *Process, text string) error {
	fd, err := unix.MemfdCreate("state", unix.MFD_CLOEXEC)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "state")
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	stray, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return p.Replace(fd, []int{stray})
}

func playCommand(dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], "-data-dir", dir)
	cmd.Env = append(os.Environ(), "PLAY_DAEMON="+dir)
	return cmd
}

// A program that replaces itself keeps pid and lock, finds what was left to it and nothing else, and
// a stop that came to the predecessor ends it.
func TestReplace(t *testing.T) {
	dir := t.TempDir()
	cmd := playCommand(dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	story, err := os.ReadFile(filepath.Join(dir, "story"))
	if err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	want := fmt.Sprintf("%d %d - 0 \n%d %d ab 1 \n%d %d abc 1 \n", pid, pid, pid, pid, pid, pid)
	if string(story) != want {
		t.Errorf("the story is\n%swant\n%s", story, want)
	}
	text, err := os.ReadFile(filepath.Join(dir, "run", "logicsrv.handover"))
	if err != nil || !strings.HasPrefix(string(text), "done: "+Version) {
		t.Errorf("outcome %q %v", text, err)
	}
	if lock, err := TakeLock(filepath.Join(dir, "run", "logicsrv.lock")); err != nil {
		t.Error(err)
	} else {
		lock.Close()
	}
}

// An inherited descriptor that is not that of the lock file counts for nothing.
func TestInheritLockOfAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	other, err := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := inheritLock(path, other)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if pid, err := LockHolder(path); pid != os.Getpid() || err != nil {
		t.Errorf("holder %d %v", pid, err)
	}
}

func TestTakeLegacy(t *testing.T) {
	none := legacy{lock: -1, state: -1}
	for text, want := range map[string]legacy{
		"":            none,
		"5":           none,
		"1 2 0":       none, // no lock has such a number
		"x y z":       none,
		"5 -1 0":      {5, -1, false},
		"5 7 1":       {5, 7, true},
		"-1 -1 0":     none,
		"99999999999": none,
	} {
		t.Setenv(handOverVariable, text)
		if got := takeLegacy(); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
		if _, left := os.LookupEnv(handOverVariable); left {
			t.Fatal("children would see it")
		}
		if want.there() {
			t.Setenv(handOverVariable, want.String())
			if got := takeLegacy(); got != want {
				t.Errorf("%+v comes back as %+v", want, got)
			}
		}
	}
}

// Programs that do not start, hang, or are something else are refused, and nothing has changed.
func TestHandOverRefused(t *testing.T) {
	for name, c := range map[string]struct{ program, want string }{
		"broken":  {"#!/bin/bash\necho out of order >&2\nexit 1\n", "out of order"},
		"garbage": {"\x7fELFnot really", "does not start"},
		"another": {"#!/bin/bash\necho persistsrv 2 abc 1\n", "another one"},
		"older":   {"#!/bin/bash\necho logicsrv 2 abc 0\n", "another one"},
		"none":    {"", "does not start"},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := Default()
			c2.DataDir = t.TempDir()
			if err := c2.finish(); err != nil {
				t.Fatal(err)
			}
			p, err := Open("logicsrv", c2)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			p.Log = slog.New(slog.DiscardHandler)
			p.program = filepath.Join(c2.DataDir, "program")
			if c.program != "" {
				if err := os.WriteFile(p.program, []byte(c.program), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			p.HandOver()
			wantOutcome(t, p, "not as far yet")
			p.OnHandOver(func() { t.Error("it is taken for good") })
			p.HandOver()
			wantOutcome(t, p, c.want)
			if p.handing.Load() {
				t.Error("another try is not allowed")
			}
		})
	}
}

func wantOutcome(t *testing.T, p *Process, text string) {
	t.Helper()
	b, err := os.ReadFile(p.paths.Outcome)
	if err != nil || !strings.HasPrefix(string(b), "refused: ") || !strings.Contains(string(b), text) {
		t.Errorf("outcome %q %v, want %q", b, err, text)
	}
}

// Two at once: the second one is ignored, and the first goes on.
func TestTwoHandOversAtOnce(t *testing.T) {
	c := Default()
	c.DataDir = t.TempDir()
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	p, err := Open("logicsrv", c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.program = filepath.Join(c.DataDir, "program")
	text := fmt.Sprintf("#!/bin/bash\necho logicsrv v c %d\n", HandOverVersion)
	if err := os.WriteFile(p.program, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	calls := 0
	p.OnHandOver(func() { calls++ })
	p.HandOver()
	p.HandOver()
	if calls != 1 {
		t.Errorf("begun %d times", calls)
	}
	p.Refuse(errors.New("not now"))
	p.HandOver()
	if calls != 2 {
		t.Errorf("begun %d times after a refusal", calls)
	}
}

// What exec refuses leaves everything as it was.
func TestReplaceFails(t *testing.T) {
	c := Default()
	c.DataDir = t.TempDir()
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	p, err := Open("logicsrv", c)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	p.program = filepath.Join(c.DataDir, "none")
	var before, after unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	if err := p.Replace(-1, nil); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &after); err != nil || after != before {
		t.Errorf("limit of open files %+v, was %+v (%v)", after, before, err)
	}
	flags, err := unix.FcntlInt(p.lock.f.Fd(), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the lock would stay open in a child: %d %v", flags, err)
	}
	if pid, err := LockHolder(p.paths.Lock); pid != os.Getpid() || err != nil {
		t.Errorf("holder %d %v", pid, err)
	}
}
