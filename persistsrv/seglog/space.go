package seglog

import (
	"fmt"
	"sync/atomic"
)

// space is what is known of the disk's room.
type space struct {
	free    atomic.Uint64
	reserve atomic.Uint64
	low     atomic.Bool // less than the reserve
	none    atomic.Bool // a call has failed for it, and none has succeeded since
}

// hit notes that a call failed for want of space.
func (s *space) hit() { s.none.Store(true) }

// SetReserve changes Settings.DiskReserveBytes. Any goroutine may call it.
func (l *Log) SetReserve(bytes uint64) { l.space.reserve.Store(bytes) }

// Full says whether new messages are to be refused.
func (l *Log) Full() bool { return l.space.low.Load() || l.space.none.Load() }

// TryAgain takes the last failure for over where the disk says that there is room. To be
// called while nothing waits to be written: then no call would ever succeed and show it,
// because clients are refused.
func (l *Log) TryAgain() {
	if free := l.space.free.Load(); free > 0 && !l.space.low.Load() {
		l.space.none.Store(false)
	}
}

// CheckSpace looks at the disk. Full is set before the disk is full, and goes when an eighth
// more than the reserve is free, so that it does not flap.
func (l *Log) CheckSpace() error { return l.checkSpace() }

func (l *Log) checkSpace() error {
	free, _, err := l.fs.Space()
	if err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	l.space.free.Store(free)
	reserve := l.space.reserve.Load()
	if l.space.low.Load() {
		reserve += reserve / 8
	}
	l.space.low.Store(free < reserve)
	return nil
}
