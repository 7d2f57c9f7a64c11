package core

// What happens by the clock alone: messages expire, leases and acknowledgement time-outs end,
// delayed messages are due, queues nobody uses go, transactions are checked. Whoever has
// something that will be due has a timer; when it fires he looks at what is due by now, decides
// it as events, and sets the timer for what is next. So a timer may fire too early, or for
// nothing, but never too late; and it is derived state, set again by replay and load.
//
// The clock that counts is the turn's (turn.go): time that is read before the turn is decided is
// the same for all of it, and what it decides stands in events, for a replay sees other clocks.

// timed is who has a timer.
type timed interface {
	// due decides what is due at the turn's time, as far as the turn has room, and sets the
	// timer again. REQUIRES: begun.
	due(c *Core)
	// clock is the timer.
	clock() *timer
}

// timer remembers when its owner is looked at next, in Unix ms; 0: not at all.
type timer struct{ at int64 }

// arm makes sure that t is looked at by a time.
func (c *Core) arm(t timed, due int64) {
	k := t.clock()
	if k.at != 0 && k.at <= due {
		return
	}
	k.at = max(due, 1)
	c.timers.add(k.at, t)
}

// fire looks at all whose time has come. Before the resync is through nothing is done by the clock:
// it is not known what is in hands, who uses a queue, and who answers for a transaction.
func (c *Core) fire() {
	if !c.resynced {
		return
	}
	c.timers.advance(c.turn.timeMS, func(t timed) {
		// An entry that is not the one the timer speaks of is of an earlier setting.
		if k := t.clock(); k.at != 0 && k.at <= c.turn.timeMS {
			k.at = 0
			if !c.hasRoom() {
				c.arm(t, 1) // in the next turn
				return
			}
			t.due(c)
		}
	})
}

// NextTimer is when a turn has something to do though no input comes, in Unix ms; false: never.
func (c *Core) NextTimer() (ms int64, ok bool) {
	if !c.resynced {
		return 0, false
	}
	return c.timers.wake()
}

// room is what a turn may still decide by itself, in ranges and targets of events: an entry has
// a limit, and what becomes due at one time has none.
type room int

// roomBytes is more than an event of one range takes, with the floor that it may move.
const roomBytes = 120

// roomLeft is what the turn may still decide by itself, beside what its entry holds already.
func (c *Core) roomLeft() room {
	return room(max(0, min(c.cfg.turnReturns(), (c.cfg.MaxEntryBytes-c.turn.entrySize())/roomBytes)))
}

// roomNow is what is left of the room. What was decided may have taken more of the entry than was said.
func (c *Core) roomNow() room {
	c.room = min(c.room, c.roomLeft())
	return c.room
}

// hasRoom tells whether the turn may still decide something by itself.
func (c *Core) hasRoom() bool { return c.roomNow() > 0 }

// takeRoom takes n of the room; false: it is used up, and who asked is to come again.
func (c *Core) takeRoom(n int) bool {
	if !c.hasRoom() {
		return false
	}
	c.room -= room(n)
	return true
}
