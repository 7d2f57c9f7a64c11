package shmqueue

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

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
		own.Sleep(func() bool {
			p.WantSpace()
			return p.Room() < 2*RecordSize(len(payload))
		}, 0)
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
