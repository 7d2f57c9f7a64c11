package shmqueue

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/failpoint"
)

// The exhaustive crash tests. A child is stopped dead behind its n-th store to shared memory,
// for every n until one comes through; a successor takes over under the same lock file; then
// everything that was published must be there, once, in order.
//
// Each n is played twice: the child kills itself; and the child stops, the successor already
// waits for the lock, and the parent kills the child without reaping it.

// crashDir is where crashBinary built; "" : nowhere.
var crashDir string

// crashBinary is this test binary with failpoints: itself, or built once.
var crashBinary = sync.OnceValues(func() (string, error) {
	if failpoint.Enabled {
		return os.Executable()
	}
	var err error
	if crashDir, err = os.MkdirTemp("", "ring-crash"); err != nil {
		return "", err
	}
	binary := filepath.Join(crashDir, "shmqueue.test")
	out, err := exec.Command("go", "test", "-c", "-tags", "failpoints", "-o", binary, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go test -c: %w: %s", err, out)
	}
	return binary, nil
})

// armed returns the binary for crash children.
func armed(t *testing.T) string {
	t.Helper()
	binary, err := crashBinary()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// manner is how a child is made to die.
type manner string

const (
	killsItself    manner = "kills itself"
	killedUnreaped manner = "killed by its parent, not reaped"
)

// crash runs a child until it is dead behind its n-th store. It returns what it said, whether
// it came through to its end instead, and the successor, which is at work by then.
func crash(t *testing.T, n int, how manner, role string, env []string, args, successorArgs []string) (said []string, through bool, successor *child) {
	t.Helper()
	binary := armed(t)
	variable := "TRIMQ_DIE_AT=*:" + strconv.Itoa(n)
	if how == killedUnreaped {
		variable = parkVariable + "=" + strconv.Itoa(n)
	}
	c := spawn(t, binary, role, append([]string{variable}, env...), args...)
	start := func() *child { return spawn(t, binary, role, env, successorArgs...) }
	for c.out.Scan() {
		switch line := c.out.Text(); line {
		case "end":
			through = true
		case "parked":
			successor = start() // it waits for the lock
			if err := c.cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		default:
			said = append(said, line)
		}
	}
	// The pipe is closed: the child is dead or ended, and still a zombie.
	if successor == nil {
		successor = start()
	}
	return said, through, successor
}

// finish reads what a child says until it ends, and checks that it ended well.
func (c *child) finish(t *testing.T) []string {
	t.Helper()
	var said []string
	for c.out.Scan() {
		said = append(said, c.out.Text())
	}
	if len(said) == 0 || said[len(said)-1] != "end" {
		t.Fatalf("child did not come to its end: %q", said)
	}
	return said[:len(said)-1]
}

// numbers picks the numbers of the lines that begin with word.
func numbers(t *testing.T, said []string, word string) []uint64 {
	t.Helper()
	var found []uint64
	for _, line := range said {
		if rest, ok := strings.CutPrefix(line, word+" "); ok {
			n, err := strconv.ParseUint(rest, 10, 64)
			if err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			found = append(found, n)
		}
	}
	return found
}

// visible reads what a consumer would see now, without releasing any of it.
func visible(r *Ring) ([]uint64, error) {
	c, err := r.Consumer()
	if err != nil {
		return nil, err
	}
	var seqs []uint64
	for {
		rec, ok := c.Next()
		if !ok {
			return seqs, c.Err()
		}
		seq, err := testSeq(rec.Payload)
		if err != nil {
			return seqs, err
		}
		seqs = append(seqs, seq)
	}
}

// inOrder checks that seqs is 0, 1, 2 …
func inOrder(seqs []uint64) error {
	for i, seq := range seqs {
		if seq != uint64(i) {
			return fmt.Errorf("record %d stands where %d belongs: %d", seq, i, seqs)
		}
	}
	return nil
}

// patience is how long a test waits for what must come; a mutant is known to be stuck sooner.
const patience = 20 * time.Second

// everyN plays f for n = 1, 2 … until one child comes through, several at a time. There must
// be at least so many.
func everyN(t *testing.T, atLeast int, f func(t *testing.T, n int) (through bool)) {
	t.Helper()
	const atOnce = 4
	last := 0
	for first := 1; last == 0; first += atOnce {
		var came [atOnce]bool
		t.Run(fmt.Sprintf("%d-%d", first, first+atOnce-1), func(t *testing.T) {
			for i := range atOnce {
				t.Run(strconv.Itoa(first+i), func(t *testing.T) {
					t.Parallel()
					came[i] = f(t, first+i)
				})
			}
		})
		if t.Failed() {
			return
		}
		for i, through := range came {
			if through {
				last = first + i
				break
			}
		}
	}
	t.Logf("%d stores, each survived", last-1)
	if last-1 < atLeast {
		t.Errorf("only %d stores, not %d: the child does not do what this test is for", last-1, atLeast)
	}
}
