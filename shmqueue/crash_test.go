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

// crashBinary is this test binary with failpoints: itself, or built once.
var crashBinary = sync.OnceValues(func() (string, error) {
	if failpoint.Enabled {
		return os.Executable()
	}
	dir, err := os.MkdirTemp("", "ring-crash")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "shmqueue.test")
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

// removeCrashBinary removes what crashBinary built.
func removeCrashBinary() {
	if binary, err := crashBinary(); err == nil && !failpoint.Enabled {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
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

const (
	crashCapacity = 4096
	crashRecords  = 16
)

// producerStage makes a ring in which the records will go round the end of the area, full of
// old bytes, and which a dead producer has left with a claim that it never published and a
// published record behind that, just where the end of the successor's first record will be.
func producerStage(t *testing.T) (*Segment, string) {
	t.Helper()
	s, r := sysvRing(t, crashCapacity)
	p, c := ends(t, r)
	for range crashCapacity/256 + 4 {
		if _, err := p.Put(1, 0, testPayload(^uint64(0), 240)); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.Next(); !ok {
			t.Fatal(c.Err())
		}
		c.Release(c.Read())
	}
	for r.Tail()%crashCapacity < crashCapacity-3*256 {
		if _, err := p.Put(1, 0, testPayload(^uint64(0), 240)); err != nil {
			t.Fatal(err)
		}
		c.Next()
		c.Release(c.Read())
	}
	for seq := range uint64(3) {
		if _, err := p.Put(1, 0, testRecord(seq)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Claim(len(testRecord(3)), 1, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Put(1, 0, testPayload(77, 300)); err != nil { // behind the gap
		t.Fatal(err)
	}
	r.Bell().Arm()
	return s, filepath.Join(t.TempDir(), "lock")
}

// producerCrash plays one n. It returns what is wrong, if anything.
func producerCrash(t *testing.T, n int, how manner, mutant string) (through bool, wrong error) {
	s, lock := producerStage(t)
	r := s.Ring()
	args := []string{strconv.Itoa(s.Key()), lock, strconv.Itoa(crashRecords)}
	env := []string{"TRIMQ_RING_MUTANT=" + mutant}
	successorArgs := args
	if how == killsItself { // look at what it left before the successor touches it
		successorArgs = []string{args[0], lock, "0"}
	}
	said, through, successor := crash(t, n, how, "crash-producer", env, args, successorArgs)
	if how == killsItself {
		from := numbers(t, successor.finish(t), "from")
		seqs, err := visible(r)
		if err == nil {
			err = inOrder(seqs)
		}
		if err == nil && from[0] != uint64(len(seqs)) {
			err = fmt.Errorf("successor goes on at %d, visible are %d", from, len(seqs))
		}
		if err != nil {
			return through, err
		}
		successor = spawn(t, armed(t), "crash-producer", env, args...)
	}
	from := numbers(t, successor.finish(t), "from")
	if put := numbers(t, said, "put"); len(put) > 0 && from[0] <= put[len(put)-1] {
		return through, fmt.Errorf("published and lost: successor goes on at %d, put were %d", from, put)
	}
	return through, drained(r)
}

// drained reads and releases everything, and checks that it is what was put and that the ring
// is empty and usable after it.
func drained(r *Ring) error {
	c, err := r.Consumer()
	if err != nil {
		return err
	}
	var seqs []uint64
	for {
		rec, ok := c.Next()
		if !ok {
			break
		}
		seq, err := testSeq(rec.Payload)
		if err != nil {
			return err
		}
		seqs = append(seqs, seq)
		c.Release(rec.End)
	}
	c.Release(c.Read())
	switch {
	case c.Err() != nil:
		return c.Err()
	case inOrder(seqs) != nil:
		return inOrder(seqs)
	case len(seqs) != crashRecords:
		return fmt.Errorf("%d of %d records came through", len(seqs), crashRecords)
	case r.Head() != r.Tail():
		return fmt.Errorf("stuck: head %d, tail %d", r.Head(), r.Tail())
	}
	return nil
}

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

func TestProducerCrashEverywhere(t *testing.T) {
	for _, how := range []manner{killsItself, killedUnreaped} {
		t.Run(string(how), func(t *testing.T) {
			everyN(t, 60, func(t *testing.T, n int) bool {
				through, err := producerCrash(t, n, how, "")
				if err != nil {
					t.Errorf("died behind store %d: %v", n, err)
				}
				return through
			})
		})
	}
}

// TestProducerMutants shows that the test above would notice.
func TestProducerMutants(t *testing.T) {
	for _, mutant := range []string{"no-repair", "no-scrub", "early-stamp"} {
		t.Run(mutant, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				through, err := producerCrash(t, n, killsItself, mutant)
				if err != nil {
					t.Logf("caught behind store %d: %v", n, err)
					return
				}
				if through {
					t.Fatal("came through all stores unnoticed")
				}
			}
		})
	}
}

// consumerCrash plays one n: the parent produces through a ring that is too small for all, and
// sleeps whenever it is full.
func consumerCrash(t *testing.T, n int, how manner, mutant string) (through bool, wrong error) {
	const count = 40
	s, r := sysvRing(t, 1024)
	own, _ := sysvRing(t, 1024)
	p, err := r.Producer()
	if err != nil {
		t.Fatal(err)
	}
	produced := make(chan error, 1)
	stop := make(chan struct{})
	go func() { produced <- produceAll(r, p, own.Ring().Bell(), count, stop) }()
	defer func() { // it may be asleep for good, where a mutant leaves it so
		close(stop)
		for len(produced) == 0 {
			own.Ring().Bell().Ring()
			time.Sleep(time.Millisecond)
		}
	}()

	args := []string{strconv.Itoa(s.Key()), strconv.Itoa(own.Key()), filepath.Join(t.TempDir(), "lock"), strconv.Itoa(count)}
	said, through, successor := crash(t, n, how, "crash-consumer", []string{"TRIMQ_RING_MUTANT=" + mutant}, args, args)
	if through { // nothing is left for a successor
		return true, inOrder(numbers(t, said, "got"))
	}
	second := make(chan []string, 1)
	go func() { second <- successor.lines() }()
	// It may have died with nothing left to do; then its successor has nothing to end by.
	for until := time.Now().Add(patience); ; {
		select {
		case lines := <-second:
			return false, readTwice(t, said, lines, count)
		case <-time.After(time.Millisecond):
		}
		if got := numbers(t, said, "got"); len(got) == count && r.Head() == r.Tail() {
			return false, inOrder(got)
		}
		if time.Now().After(until) {
			return false, fmt.Errorf("stuck: head %d, tail %d", r.Head(), r.Tail())
		}
	}
}

// lines reads what a child says to its end.
func (c *child) lines() []string {
	var said []string
	for c.out.Scan() {
		said = append(said, c.out.Text())
	}
	return said
}

// produceAll puts count records, asleep while the ring is full.
func produceAll(r *Ring, p *Producer, own *Bell, count uint64, stop chan struct{}) error {
	for seq := uint64(0); seq < count; {
		payload := testRecord(seq)
		_, err := p.Put(1, 0, payload)
		if err == nil {
			r.Bell().Ring()
			seq++
			continue
		}
		select {
		case <-stop:
			return nil
		default:
		}
		p.WantSpace()
		fits := func() bool { return p.Room() >= 2*RecordSize(len(payload)) }
		if !fits() {
			own.Sleep(func() bool { return !fits() }, 0)
		}
	}
	return nil
}

// readTwice checks what two consumers in a row have seen: the first an unbroken run from 0,
// the second an unbroken run to the end, which begins at or before the end of the first and
// not before what the first had released.
func readTwice(t *testing.T, first, second []string, count uint64) error {
	got, again := numbers(t, first, "got"), numbers(t, second, "got")
	if err := inOrder(got); err != nil {
		return err
	}
	if len(again) == 0 {
		return fmt.Errorf("successor saw nothing, first saw %d", len(got))
	}
	for i, seq := range again {
		if seq != again[0]+uint64(i) {
			return fmt.Errorf("successor saw %d", again)
		}
	}
	released := uint64(0) // records known to be released by the first
	for i, line := range first {
		if strings.HasPrefix(line, "released ") {
			released = uint64(len(numbers(t, first[:i], "got")))
		}
	}
	switch {
	case again[0] > uint64(len(got)):
		return fmt.Errorf("lost: first saw up to %d, successor from %d", len(got), again[0])
	case again[0] < released:
		return fmt.Errorf("doubled: first released %d records, successor begins at %d", released, again[0])
	case again[len(again)-1] != count-1:
		return fmt.Errorf("stuck: successor ended at %d", again[len(again)-1])
	}
	return nil
}

func TestConsumerCrashEverywhere(t *testing.T) {
	for _, how := range []manner{killsItself, killedUnreaped} {
		t.Run(string(how), func(t *testing.T) {
			everyN(t, 30, func(t *testing.T, n int) bool {
				through, err := consumerCrash(t, n, how, "")
				if err != nil {
					t.Errorf("died behind store %d: %v", n, err)
				}
				return through
			})
		})
	}
}

func TestConsumerMutant(t *testing.T) {
	for n := 1; ; n++ {
		through, err := consumerCrash(t, n, killsItself, "early-head")
		if err != nil {
			t.Logf("caught behind store %d: %v", n, err)
			return
		}
		if through {
			t.Fatal("came through all stores unnoticed")
		}
	}
}

// ringerCrash plays one n with a consumer that sleeps until it is rung.
func ringerCrash(t *testing.T, n int, how manner, mutant string) (through bool, wrong error) {
	s, r := sysvRing(t, 4096)
	c, err := r.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			for _, ok := c.Next(); ok; _, ok = c.Next() {
			}
			c.Release(c.Read())
			select {
			case <-stop:
				return
			default:
				r.Bell().Sleep(func() bool { return !c.Ready() && r.Word(WordSpare).Load() == 0 }, 0)
			}
		}
	}()
	defer func() { // wake it for good, whatever the flag says
		close(stop)
		r.Word(WordSpare).Store(1)
		r.Bell().SetWake(nil)
		r.Bell().Ring()
		<-ended
	}()
	args := []string{strconv.Itoa(s.Key()), filepath.Join(t.TempDir(), "lock"), "3"}
	after := []string{args[0], args[1], "0"}
	_, through, successor := crash(t, n, how, "crash-ringer", []string{"TRIMQ_RING_MUTANT=" + mutant}, args, after)
	successor.finish(t)
	wait := patience
	if mutant != "" {
		wait = time.Second
	}
	for until := time.Now().Add(wait); r.Head() != r.Tail(); time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			return through, fmt.Errorf("the consumer sleeps on: head %d, tail %d", r.Head(), r.Tail())
		}
	}
	return through, nil
}

func TestRingerCrashEverywhere(t *testing.T) {
	for _, how := range []manner{killsItself, killedUnreaped} {
		t.Run(string(how), func(t *testing.T) {
			everyN(t, 12, func(t *testing.T, n int) bool {
				through, err := ringerCrash(t, n, how, "")
				if err != nil {
					t.Errorf("died behind store %d: %v", n, err)
				}
				return through
			})
		})
	}
}

func TestRingerMutant(t *testing.T) {
	for n := 1; ; n++ {
		through, err := ringerCrash(t, n, killsItself, "no-ring")
		if err != nil {
			t.Logf("caught behind store %d: %v", n, err)
			return
		}
		if through {
			t.Fatal("came through all stores unnoticed")
		}
	}
}

// TestCreatorCrashEverywhere lets the creator of a segment die behind every store.
func TestCreatorCrashEverywhere(t *testing.T) {
	for _, how := range []manner{killsItself, killedUnreaped} {
		t.Run(string(how), func(t *testing.T) {
			everyN(t, 7, func(t *testing.T, n int) bool {
				key := freshKey(t)
				args := []string{strconv.Itoa(key), "4096"}
				said, through, successor := crash(t, n, how, "crash-creator", nil, args, args)
				nonces := append(numbers(t, said, "nonce"), numbers(t, successor.finish(t), "nonce")...)
				s, err := Attach(key, 4096, false)
				if err != nil {
					t.Errorf("died behind store %d: %v", n, err)
					return through
				}
				defer func() { _ = s.Detach() }()
				for _, nonce := range nonces {
					if nonce != s.Ring().Nonce() {
						t.Errorf("died behind store %d: the nonce changed, %d", n, nonces)
					}
				}
				if _, err := s.Ring().Producer(); err != nil {
					t.Error(err)
				}
				return through
			})
		})
	}
}

// TestUnfinishedIsExplained shows what an attacher says that may not complete a segment.
func TestUnfinishedIsExplained(t *testing.T) {
	key := freshKey(t)
	binary := armed(t)
	c := spawn(t, binary, "crash-creator", []string{"TRIMQ_DIE_AT=*:3"}, strconv.Itoa(key), "4096")
	c.lines()
	_, err := Attach(key, 4096, false)
	if err == nil || !strings.Contains(err.Error(), "was not finished") {
		t.Fatalf("attach without create gave %v", err)
	}
	if info, err := Stat(key); err != nil || info.Kind != "unfinished" || info.CreatorPID != c.cmd.Process.Pid {
		t.Fatalf("Stat gave %+v, %v; creator was %d", info, err, c.cmd.Process.Pid)
	}
	s, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Detach() }()
	if !s.Recovered() || s.Created() {
		t.Fatalf("recovered %v, created %v", s.Recovered(), s.Created())
	}
}
