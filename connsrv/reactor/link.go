package reactor

import "github.com/trimq/trimq/connsrv/session"

// This file is Conn as its room sees it (session.Link), and what follows from the room's
// wishes.

var _ session.Link = (*Conn)(nil)

// ID is the number of the connection: the loop in the low 8 bits, a counter above.
func (c *Conn) ID() uint64 { return c.id }

// NowMS is the time of this turn.
func (c *Conn) NowMS() int64 { return c.loop.nowMS }

// Remote is the peer's address.
func (c *Conn) Remote() string { return c.remote.String() }

// Append makes n bytes at the end of the out queue.
func (c *Conn) Append(n int) []byte {
	c.markDirty()
	return c.out.extend(&c.loop.pool, n)
}

// WriteRange queues a range of a file.
func (c *Conn) WriteRange(src session.Source, off int64, n int) {
	if n > 0 {
		c.markDirty()
		c.out.extendRange(src, off, n)
	}
}

// Bounds of what waits in file ranges, which cost no memory.
const (
	crowdedBytes = 4 << 20
	easedBytes   = 1 << 20
)

// Crowded tells whether the room should add nothing optional.
func (c *Conn) Crowded() bool {
	if c.out.memory() > c.loop.limits.MemoryBytes/2 || c.out.total > crowdedBytes {
		c.crowded = true
		return true
	}
	return false
}

// checkCrowded stops reading requests whose answers find no taker.
func (c *Conn) checkCrowded() {
	if c.out.memory() > c.loop.limits.MemoryBytes {
		c.paused |= pauseCrowded
	}
}

// eased is called after bytes were sent.
func (c *Conn) eased() {
	if c.dead {
		return
	}
	low := c.out.memory() <= c.loop.limits.MemoryBytes/4
	if c.paused&pauseCrowded != 0 && low {
		c.paused &^= pauseCrowded
		c.loop.later(c)
	}
	if c.crowded && low && c.out.total <= easedBytes {
		c.crowded = false
		c.room.Drained()
	}
}

// SetDeadline has the room called at that time.
func (c *Conn) SetDeadline(atMS int64) {
	c.deadlineMS = atMS
	c.armTimer()
}

// Resume goes on reading.
func (c *Conn) Resume() {
	if c.paused&pauseRoom != 0 {
		c.paused &^= pauseRoom
		c.loop.later(c)
	}
}

// Gather has the kernel wake us only when that many bytes are there, until Look or the next Gather.
func (c *Conn) Gather(n int) {
	if c.least = int32(min(n, maxLowat)); n == 0 {
		c.Look()
	}
}

// Look reads what is there, however little.
func (c *Conn) Look() {
	if c.lowat > 1 && !c.awaiting {
		c.readable = true
		c.loop.later(c)
	}
}

// Established ends the time limit of the handshake.
func (c *Conn) Established() { c.established = true }

// Close sends what is queued, then closes.
func (c *Conn) Close() {
	if !c.closing {
		c.closing = true
		c.paused |= pauseClosing
		c.markDirty()
	}
}

func (c *Conn) markDirty() {
	if !c.dirtyQueued && !c.dead {
		c.dirtyQueued = true
		c.loop.dirty = append(c.loop.dirty, c)
	}
}

// armTimer makes sure that the connection is looked at in time.
func (c *Conn) armTimer() {
	at := roundUp(c.nextTime())
	if at == 0 || c.armedMS != 0 && c.armedMS <= at || c.dead {
		return
	}
	c.laterMS, c.armedMS = c.armedMS, at
	c.loop.timers.push(at, c.id)
}

// nextTime is the earliest of the connection's time limits; 0: it has none.
func (c *Conn) nextTime() int64 {
	at := c.deadlineMS
	sooner := func(t int64) {
		if at == 0 || t < at {
			at = t
		}
	}
	limits := c.loop.limits
	if c.lingerMS != 0 {
		sooner(c.lingerMS)
	}
	if !c.established {
		sooner(c.openedMS + limits.HandshakeMS)
	}
	if limits.IdleMS > 0 {
		sooner(c.movedMS() + limits.IdleMS)
	}
	if c.stalledMS != 0 {
		sooner(c.stalledMS + limits.SlowMS)
	}
	if c.endedMS != 0 {
		sooner(c.endedMS + limits.SlowMS)
	}
	if c.partial() {
		sooner(c.activeMS + limits.SlowMS)
	}
	return at
}

// movedMS is when bytes last moved, either way.
func (c *Conn) movedMS() int64 { return max(c.activeMS, c.sentMS) }

// timerFired is told of an entry of the loop's timers. One that is not the earliest of the
// connection's is left over: to arm again for each of them would multiply them.
func (c *Conn) timerFired(atMS int64) {
	if atMS == c.armedMS {
		c.armedMS, c.laterMS = c.laterMS, 0
		c.onTimer()
	}
}

// onTimer looks at the time limits.
func (c *Conn) onTimer() {
	now, limits := c.loop.nowMS, c.loop.limits
	if c.awaiting && c.bodyGrows() {
		c.activeMS = now
	}
	switch {
	case c.lingerMS != 0 && now >= c.lingerMS:
		c.destroy(reasonDone)
	case !c.established && now >= c.openedMS+limits.HandshakeMS:
		c.destroy(reasonHandshake)
	case limits.IdleMS > 0 && now >= c.movedMS()+limits.IdleMS:
		c.destroy(reasonIdle)
	case c.stalledMS != 0 && now >= c.stalledMS+limits.SlowMS:
		c.destroy(reasonSlow)
	case c.endedMS != 0 && now >= c.endedMS+limits.SlowMS:
		c.destroy(reasonPeer)
	case c.partial() && now >= c.activeMS+limits.SlowMS:
		c.destroy(reasonSlow)
	}
	if c.dead {
		return
	}
	if c.deadlineMS != 0 && now >= c.deadlineMS {
		c.deadlineMS = 0
		c.room.Deadline(now)
	}
	c.armTimer()
}
