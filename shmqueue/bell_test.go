package shmqueue

import (
	"sync/atomic"
	"testing"
	"time"
)

// rungOnce opens the ring again and rings its bell for the first time, so that what follows
// depends on the flag alone.
func rungOnce(t *testing.T, r *Ring) *Bell {
	t.Helper()
	other, err := Open(r.mem)
	if err != nil {
		t.Fatal(err)
	}
	if !other.Bell().Ring() {
		t.Fatal("the first ring of a process does not wake in any case")
	}
	return other.Bell()
}

func TestBellWakesTheSleeperOnly(t *testing.T) {
	r := heapRing(t, 256, 1)
	b := rungOnce(t, r)
	woken := 0
	b.SetWake(func() { woken++ })
	b.Ring() // SetWake asks for one that is sure
	if woken != 1 || b.Ring() {
		t.Fatal("a bell whose sleeper is awake rings")
	}
	r.Bell().Arm()
	if !b.Ring() || b.Ring() || woken != 2 {
		t.Fatalf("woken %d times", woken)
	}
	r.Bell().Arm()
	r.Bell().Disarm()
	if b.Ring() || woken != 2 {
		t.Fatal("a disarmed bell rings")
	}
	if s := r.Snapshot(); s.Waits != 2 || s.Wakes != 3 || s.Sleeping {
		t.Fatalf("waits %d, wakes %d", s.Waits, s.Wakes)
	}
}

func TestSleepWithWorkAtHand(t *testing.T) {
	r := heapRing(t, 256, 1)
	asked := 0
	r.Bell().Sleep(func() bool {
		asked++
		if r.Snapshot().Sleeping != true {
			t.Error("asked for work before the flag was set")
		}
		return false
	}, 0)
	if s := r.Snapshot(); asked != 1 || s.Sleeping || s.Waits != 0 {
		t.Fatalf("asked %d times, waits %d", asked, s.Waits)
	}
}

func TestSleepEndsByItself(t *testing.T) {
	r := heapRing(t, 256, 1)
	r.Bell().Sleep(func() bool { return true }, time.Millisecond)
	if s := r.Snapshot(); s.Waits != 1 || s.Sleeping {
		t.Fatalf("waits %d, flag %v", s.Waits, s.Sleeping)
	}
}

// TestNoRingIsLost lets work come at every moment of falling asleep: a ring between the look
// for work and the sleep must not be lost. It would hang.
func TestNoRingIsLost(t *testing.T) {
	r := heapRing(t, 256, 1)
	b := rungOnce(t, r)
	const rounds = 20000
	var work, done atomic.Int64
	go func() {
		for i := int64(1); i <= rounds; i++ {
			work.Store(i)
			b.Ring()
			for done.Load() < i {
			}
		}
	}()
	for done.Load() < rounds {
		r.Bell().Sleep(func() bool { return work.Load() == done.Load() }, 0)
		done.Store(work.Load())
	}
}
