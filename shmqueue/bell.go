package shmqueue

import (
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/trimq/trimq/protocol/failpoint"
	"golang.org/x/sys/unix"
)

// Bell wakes one sleeping daemon. Its flag lies in shared memory; whoever makes work for the
// sleeper rings, and pays one load while the sleeper is awake.
//
// The sleeper sets the flag and looks for work once more; the ringer makes work and then looks
// at the flag. Both are sequentially consistent, so at least one of them sees the other.
//
// A ringer may die after it made work and before it woke the sleeper, even with the flag
// already cleared. So the first Ring of a process wakes whatever the flag says, and the rule
// for its callers is: a daemon that starts rings once every bell that it ever rings.
// (Ring.Producer does it for the bell in its own ring.)
type Bell struct {
	line *bellLine
	wake func()
	rung atomic.Bool // this process has woken the sleeper once
}

// The futex operations, without the private flag: the waiter is another process.
const (
	futexWait = 0
	futexWake = 1
)

// SetWake says how this process wakes the sleeper of a bell which does not sleep on the futex
// (connsrv sleeps in epoll: a byte into its FIFO wakes it). Set it before other
// goroutines ring; the next Ring wakes in any case.
func (b *Bell) SetWake(wake func()) {
	b.wake = wake
	b.rung.Store(false)
}

// Ring wakes the sleeper if it sleeps, and says whether it tried. Any goroutine may call it.
func (b *Bell) Ring() (wake bool) {
	// SYNC: pairs with Arm and Sleep.
	return (b.line.sleeping.Load() != 0 || !b.rung.Load()) && b.rouse()
}

// rouse takes the flag; the one that gets it wakes the sleeper.
func (b *Bell) rouse() bool {
	taken := b.line.sleeping.CompareAndSwap(1, 0)
	failpoint.Hit("bell.ring")
	if first := b.rung.CompareAndSwap(false, true); !taken && !first {
		return false
	}
	b.line.wakes.Add(1)
	failpoint.Hit("bell.ring")
	if b.wake != nil {
		b.wake()
		return true
	}
	futex(b.line, futexWake, 1, nil)
	return true
}

// Arm sets the flag for a sleeper that sleeps elsewhere. Look for work again after it.
func (b *Bell) Arm() {
	b.line.sleeping.Store(1)
	failpoint.Hit("bell.arm")
	b.line.waits.Add(1)
	failpoint.Hit("bell.arm")
}

// Disarm clears the flag.
func (b *Bell) Disarm() {
	b.line.sleeping.Store(0)
	failpoint.Hit("bell.arm")
}

// Sleep waits until somebody rings or the time is over (0: no limit), unless there is work
// already: stillIdle is asked after the flag is set. One goroutine per bell sleeps.
func (b *Bell) Sleep(stillIdle func() bool, timeout time.Duration) {
	b.line.sleeping.Store(1)
	failpoint.Hit("bell.arm")
	if stillIdle() {
		b.line.waits.Add(1)
		failpoint.Hit("bell.arm")
		b.await(timeout)
	}
	b.Disarm()
}

// await sleeps on the futex while the flag is set.
func (b *Bell) await(timeout time.Duration) {
	if timeout <= 0 {
		for b.line.sleeping.Load() != 0 {
			futex(b.line, futexWait, 1, nil)
		}
		return
	}
	deadline := time.Now().Add(timeout)
	for b.line.sleeping.Load() != 0 {
		left := time.Until(deadline)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		futex(b.line, futexWait, 1, &ts)
	}
}

// futex makes the system call. Its errors need no answer: the flag has changed (EAGAIN), a
// signal came (EINTR) or the time is over (ETIMEDOUT), and the caller looks at the flag.
func futex(line *bellLine, op int, value uint32, timeout *unix.Timespec) {
	_, _, _ = unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(&line.sleeping)), uintptr(op),
		uintptr(value), uintptr(unsafe.Pointer(timeout)), 0, 0)
}
