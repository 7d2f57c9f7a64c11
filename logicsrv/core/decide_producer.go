package core

import (
	"fmt"
	"math"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// How many producers are remembered. The table is bounded by MaxProducers, and by time: one that
// has been silent for ProducerExpiryMS is forgotten, the longest silent first, at the end of any
// turn. When the table is full a newcomer takes the place of the one silent longest, if that was
// silent for graceMS at least; otherwise it is refused, rather than let a crowd of newcomers
// push out producers that are at work and would then be strangers.

const (
	// graceMS is how long a producer must have been silent before it may have to make room
	// for another, in Unix milliseconds.
	graceMS = 60_000
	// maxExpired bounds the producers of one event.
	maxExpired = 256
)

// decideInitProducer hands out an id, or raises the epoch of one and so fences its former
// user. At disk level always: an id that a power cut could take back would be given to two.
func (c *Core) decideInitProducer() {
	m, err := ipc.DecodeInitProducer(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	// A new id, unless one is given whose epoch can be raised. Ids are never used twice.
	id, epoch := c.lastPID+1, int16(0)
	if m.ProducerID >= 0 {
		p := c.producers.byID[m.ProducerID]
		switch {
		case p == nil || p.txnal != nil:
			c.reject(m.Head, errcode.UnknownProducer, fmt.Sprintf("producer %d is not known, or was silent for too long", m.ProducerID))
			return
		// Who does not know the epoch (-1) may raise it; who knows an older one is a zombie.
		case m.Epoch >= 0 && m.Epoch < p.epoch:
			c.reject(m.Head, errcode.ProducerFenced, fmt.Sprintf("epoch %d of producer %d has been superseded", m.Epoch, m.ProducerID))
			return
		case p.highestEpoch() < math.MaxInt16:
			c.createProducer(m.Head, m.ProducerID, p.highestEpoch()+1)
			return
		}
		// The epochs of this id are used up: a new one.
	}
	if len(c.producers.byID) >= c.cfg.MaxProducers && !c.makeRoom() {
		c.reject(m.Head, errcode.LimitExceeded, fmt.Sprintf("%d idempotent producers are active; no more are allowed", c.cfg.MaxProducers))
		return
	}
	c.createProducer(m.Head, id, epoch)
}

// highestEpoch is that of the producer or of a batch it sent: a client may raise it by itself.
func (p *producer) highestEpoch() int16 {
	epoch := p.epoch
	for i := range p.lanes {
		epoch = max(epoch, p.lanes[i].epoch)
	}
	return epoch
}

// createProducer decides an id with its epoch. The reply waits for the disk: see
// decideInitProducer.
func (c *Core) createProducer(h ipc.Head, id int64, epoch int16) {
	t := c.turn
	ev := journal.ProducerCreated{Pos: c.in.Pos, ProducerID: id, Epoch: epoch}
	t.raise(ipc.LevelDisk)
	t.events = ev.Append(t.events)
	if h.Req != 0 {
		reply := ipc.Producer{Head: h, ProducerID: id, Epoch: epoch}
		t.sent(c.ownGate(ipc.LevelDisk), ipc.TypeProducer, reply.Append(t.recs))
	}
}

// makeRoom decides that the producer which was silent longest is forgotten, if it was
// silent for long enough. The event bears no input: it is not that input's outcome.
func (c *Core) makeRoom() bool {
	p := c.producers.oldest
	if p == nil || c.silence(p) < graceMS {
		return false
	}
	c.expire([]int64{p.id})
	return true
}

// expireProducers forgets those that were silent for too long, oldest first.
func (c *Core) expireProducers() {
	var ids []int64
	for p := c.producers.oldest; p != nil && len(ids) < maxExpired && c.silence(p) >= c.cfg.ProducerExpiryMS; p = p.newer {
		ids = append(ids, p.id)
	}
	if len(ids) > 0 {
		c.expire(ids)
		c.applyNew()
	}
}

// silence is for how long a producer has not been heard, in ms. A broker that was down, or
// restarts, gives everybody a fresh period.
func (c *Core) silence(p *producer) int64 { return c.turn.timeMS - max(p.used, c.begunMS) }

// expire decides that producers are forgotten. At page level: should a power cut lose it, they
// are remembered for longer, which harms nobody.
func (c *Core) expire(ids []int64) {
	ev := journal.ProducersExpired{Pos: journal.NoInput, IDs: ids}
	c.turn.raise(ipc.LevelPage)
	c.turn.events = ev.Append(c.turn.events)
}
