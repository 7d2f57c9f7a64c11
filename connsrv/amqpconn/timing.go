package amqpconn

import "github.com/trimq/trimq/protocol/amqp"

// Times of a connection: heartbeats both ways, the end of a close that is not answered, questions
// that are put again, and a look at whether the broker is still blocked. The link has one deadline;
// schedule sets it to the earliest.

const (
	// againMS is when a question is put again to which logicsrv has no answer yet.
	againMS = 20
	// blockedMS is how often a blocked connection looks whether it may go on.
	blockedMS = 200
)

// schedule sets the link's deadline.
func (c *Conn) schedule() {
	at := int64(0)
	sooner := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	switch c.state {
	case stateClosed:
		return
	case stateStart:
		if c.unknown {
			sooner(c.link.NowMS() + againMS)
		}
	case stateClosing:
		sooner(c.closeMS)
	case stateOpening, stateOpen:
		if c.heartbeatMS > 0 {
			sooner(c.saidMS + c.heartbeatMS/2)
			if c.listens() {
				sooner(c.heardMS + 2*c.heartbeatMS)
			}
		}
		if len(c.again) > 0 {
			sooner(c.againMS)
		}
		if c.blocked {
			sooner(c.link.NowMS() + blockedMS)
		}
	}
	if at != c.deadlineMS {
		c.deadlineMS = at
		c.link.SetDeadline(at)
	}
}

// listens tells whether we read what the client sends: while we do not, its silence says nothing.
func (c *Conn) listens() bool { return !c.stuck && !c.blocked && !c.held && !c.draining }

// Deadline does what is due.
func (c *Conn) Deadline(nowMS int64) {
	c.deadlineMS = 0
	if c.state == stateClosing && nowMS >= c.closeMS {
		c.finish()
	}
	if c.unknown {
		c.unknown = false
		c.link.Resume()
	}
	if c.state == stateOpening || c.state == stateOpen {
		c.link.Look() // a heartbeat is small
		c.beat(nowMS)
		c.askAgain(nowMS)
		c.unblock()
	}
	c.schedule()
}

// beat sends a heartbeat where nothing else was sent, and gives up on who sends none.
func (c *Conn) beat(nowMS int64) {
	if c.heartbeatMS == 0 {
		return
	}
	if c.listens() && nowMS >= c.heardMS+2*c.heartbeatMS {
		c.settings.Log.Debug("AMQP connection closed: no heartbeat", "conn", c.link.ID(), "remote", c.link.Remote())
		c.end()
		c.finish()
		return
	}
	if nowMS >= c.saidMS+c.heartbeatMS/2 {
		b := amqp.AppendHeartbeat(c.lane.Scratch())
		copy(c.append(len(b)), b)
	}
}

// block holds a publisher up while the disk is nearly full, and tells it why.
func (c *Conn) block() {
	if c.blocked {
		return
	}
	c.blocked = true
	if c.notified {
		c.send(0, &amqp.ConnectionBlocked{Reason: []byte("low on disk")})
	}
	c.schedule()
}

// unblock lets it go on when there is room.
func (c *Conn) unblock() {
	if !c.blocked || c.lane.DiskFull() {
		return
	}
	c.blocked = false
	if c.notified {
		c.send(0, &amqp.ConnectionUnblocked{})
	}
	c.resume()
}
