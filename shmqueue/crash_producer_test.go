package shmqueue

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
)

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
