package shmqueue

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

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
