package tier

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain lets the test binary play a daemon that holds a lock until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("TRIMQ_TEST_HOLD"); path != "" {
		if _, err := TakeLock(path); err != nil {
			os.Exit(7)
		}
		// A holder that asks about itself must still be seen by others.
		if pid, err := LockHolder(path); pid != os.Getpid() || err != nil {
			os.Exit(8)
		}
		os.Stdout.WriteString("held\n")
		select {}
	}
	if dir := os.Getenv("PLAY_DAEMON"); dir != "" {
		os.Exit(playDaemon(dir))
	}
	os.Exit(m.Run())
}

func TestLockEndsWithItsProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "TRIMQ_TEST_HOLD="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer child.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatal(line, err)
	}
	if _, err := TakeLock(path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), path) {
		t.Fatalf("lock of a live process: %v", err)
	}
	if pid, err := LockHolder(path); pid != child.Process.Pid || err != nil {
		t.Fatalf("holder %d, %v; want %d", pid, err, child.Process.Pid)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	// The child is dead but not reaped: a zombie must not keep its successor out for long.
	// Its files are closed at exit, which the kernel does before the parent is told.
	_, _ = child.Process.Wait()
	f, err := TakeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if pid, err := LockHolder(path); pid != 0 || err != nil {
		t.Fatalf("free lock: holder %d, %v", pid, err)
	}
}

// A daemon that dies while it makes a child leaves its flock to that, until it runs its own program:
// the successor waits for it, but not for ever.
func TestLockThatAChildStillHas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.lock")
	left, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(left.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := TakeLock(path); !errors.Is(err, ErrInUse) {
		t.Fatalf("lock that stays: %v", err)
	}
	time.AfterFunc(20*lockPause, func() { left.Close() })
	lock, err := TakeLock(path)
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestOpenRefusesUselessDirectories(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c := Default()
	c.DataDir = filepath.Join(file, "data")
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open("persistsrv", c); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), file) {
		t.Errorf("data directory under a file: %v", err)
	}
}

func TestOpenReadyClose(t *testing.T) {
	c := Default()
	c.DataDir = t.TempDir()
	if err := c.finish(); err != nil {
		t.Fatal(err)
	}
	p, err := Open("logicsrv", c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open("logicsrv", c); !errors.Is(err, ErrInUse) {
		t.Errorf("second daemon: %v", err)
	}
	if err := p.Ready(); err != nil {
		t.Fatal(err)
	}
	paths := PathsOf(c, "logicsrv")
	if _, err := os.Stat(paths.Ready); err != nil {
		t.Error(err)
	}
	// A rotated log goes on in a new file after reopen.
	if err := os.Rename(paths.Log, paths.Log+".1"); err != nil {
		t.Fatal(err)
	}
	if err := p.logs.reopen(); err != nil {
		t.Fatal(err)
	}
	p.Log.Info("after")
	if b, err := os.ReadFile(paths.Log); err != nil || !strings.Contains(string(b), "after") {
		t.Errorf("reopened log: %q %v", b, err)
	}
	p.Close()
	for _, gone := range []string{paths.Ready, paths.PID} {
		if _, err := os.Stat(gone); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is left: %v", gone, err)
		}
	}
}
