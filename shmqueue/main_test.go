package shmqueue

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Tests that need a second process start this test binary again; the environment variable
// says which part the child plays.
const roleVariable = "TRIMQ_RING_ROLE"

// roles are the parts; each gets the arguments behind its name and returns an exit code.
var roles = map[string]func(args []string) int{
	"bench-consumer": benchConsumer,
	"bench-echo":     benchEcho,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		play, ok := roles[role]
		if !ok {
			fmt.Fprintf(os.Stderr, "no role %q\n", role)
			os.Exit(2)
		}
		os.Exit(play(os.Args[1:]))
	}
	code := m.Run()
	if crashDir != "" {
		_ = os.RemoveAll(crashDir)
	}
	os.Exit(code)
}

// child is a process that plays a role.
type child struct {
	cmd   *exec.Cmd
	stdin *os.File
	out   *bufio.Scanner // its lines
}

// spawn starts a child from binary.
func spawn(t testing.TB, binary, role string, env []string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env = append(append(os.Environ(), roleVariable+"="+role), env...)
	cmd.Stderr = os.Stderr
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout = in, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		stdin.Close()
		stdout.Close()
	})
	return &child{cmd: cmd, stdin: stdin, out: bufio.NewScanner(stdout)}
}

// self is this test binary.
func self(t testing.TB) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// keys hands out keys that no other test of this process uses, from a random base.
var keys = struct {
	sync.Mutex
	next int
}{next: 0x10000000 + rand.IntN(1<<30)}

// freshKey returns a key without a segment, and removes what is there when the test ends.
func freshKey(t testing.TB) int {
	t.Helper()
	keys.Lock()
	keys.next++
	key := keys.next
	keys.Unlock()
	t.Cleanup(func() {
		if id, err := unix.SysvShmGet(key, 0, 0); err == nil {
			_, _ = unix.SysvShmCtl(id, ipcRmid, nil)
		}
	})
	return key
}

// sysvRing makes a ring in a segment of its own.
func sysvRing(t testing.TB, capacity uint64) (*Segment, *Ring) {
	t.Helper()
	s, err := Attach(freshKey(t), capacity, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Detach() })
	return s, s.Ring()
}

// joinRing attaches a child to a ring by the key in its argument.
func joinRing(arg string) (*Segment, error) {
	key, err := strconv.Atoi(arg)
	if err != nil {
		return nil, err
	}
	return Attach(key, 0, false)
}
