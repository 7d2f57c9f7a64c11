package main

import (
	"sync/atomic"
	"time"
)

// pace holds compaction back to so many bytes read and written in a second, and ends it when the
// process is to end.
type pace struct {
	perSecond int64 // 0: no limit
	ended     atomic.Bool

	due time.Time // when what was read and written so far is due
}

// maxNap bounds how long a process that is to end is kept waiting.
const maxNap = 50 * time.Millisecond

// wait accounts for bytes, and waits until they are due; false: compaction is to stop. One goroutine
// calls it.
func (p *pace) wait(bytes int) bool {
	now := time.Now()
	if p.due.Before(now) {
		p.due = now
	}
	if p.perSecond > 0 {
		p.due = p.due.Add(time.Duration(int64(bytes) * int64(time.Second) / p.perSecond))
	}
	for !p.ended.Load() {
		ahead := time.Until(p.due)
		if ahead < time.Millisecond { // too short to be worth a nap
			return true
		}
		time.Sleep(min(ahead, maxNap))
	}
	return false
}

// end makes wait give false from now on.
func (p *pace) end() { p.ended.Store(true) }
