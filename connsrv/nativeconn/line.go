package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// What a connection is given by logicsrv is sent at once, unless too much waits to be sent already.
// Then it stands in line, as offsets, which cost next to nothing, until the link has drained. So it
// does where a filter costs much, for a while.
//
//	Deliver, Pulled, Recall ──► dispatch ──► DELIVER, …
//	                               │            ▲
//	                               └──► line ───┘ Drained

// parcel is one thing that the client is to get: a run of messages, the answer to a PULL, or word
// of what it no longer holds.
type parcel struct {
	sub      *session.Sub // whose it is
	run      ipc.PulledRun
	pull     *session.Pulling
	recalled *native.Recall
}

// dispatch sends a parcel, behind those that stand in line.
func (c *Conn) dispatch(p parcel) {
	if len(c.line) > 0 || !c.carry(&p) {
		c.line = append(c.line, p)
	}
}

// advance sends what stands in line; false: the link is crowded again.
func (c *Conn) advance() bool {
	for len(c.line) > 0 {
		if !c.carry(&c.line[0]) {
			return false
		}
		c.line[0] = parcel{}
		c.line = c.line[1:]
	}
	c.line = nil
	return true
}

// rest lets the line stand until others have had their turn.
func (c *Conn) rest() {
	c.resting = true
	c.deadline(c.link.NowMS())
}

// askAborted has the line wait until it is known what was aborted in an index from an offset on.
func (c *Conn) askAborted(index, from uint64) {
	if c.asking {
		return
	}
	c.asking = true
	p := &session.Park{Req: c.lane.Req(), Index: index, Offset: from, Beyond: ipc.WaitNow, Asking: true, Line: true}
	c.lane.PutLater(ipc.TypeWaitStable, c.lineWait(p.Req, p))
	c.lane.Counters.Add(shmqueue.ConnWaits, 1)
	c.told = true
	c.internal++
	c.pending.Add(session.Request{Req: p.Req, Park: p})
}

// lineWait is the record of such a question.
func (c *Conn) lineWait(req uint64, p *session.Park) []byte {
	m := ipc.WaitStable{Head: c.head(req), Index: p.Index, Beyond: p.Beyond, From: p.Offset}
	return m.Append(c.lane.Scratch())
}

// carry sends what is left of a parcel; false: the link was crowded before all was sent, or it is
// to rest. What is not for the client any more is done with.
func (c *Conn) carry(p *parcel) (done bool) {
	switch {
	case p.pull != nil:
		return c.carryPull(p.pull)
	case p.sub.Closing || c.state != stateOpen:
		return true // it goes back with the consumer's end, which is on its way to logicsrv
	case p.recalled != nil:
		c.send(native.CmdRecall, 0, 0, p.recalled)
		return true
	}
	d := delivery{sub: p.sub, autoAck: p.sub.Consumer.AutoAck, counter: shmqueue.ConnDeliveries}
	done, err := c.sendRun(&d, &p.run)
	if err != nil {
		c.undeliverable(p.sub, &p.run, err)
		return true
	}
	return done
}

// delivered takes in what logicsrv has decided: these offsets go to this consumer.
func (c *Conn) delivered(m *ipc.Deliver) {
	s := c.sub(m.Sub)
	if s == nil || s.Closing || !s.Queue || c.state != stateOpen {
		return // it goes back with the consumer's end, which is on its way to logicsrv
	}
	if !c.lane.Hand(s, m.Index, m.First, m.Count) {
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	s.Delivered += uint64(m.Count)
	c.dispatch(parcel{sub: s, run: ipc.PulledRun{Index: m.Index, First: m.First, Count: m.Count, Attempts: m.Attempts}})
	c.topUp(s)
}

// undeliverable ends a consumer whose messages cannot be read: to go on would lose them
// silently. They go back to the queue.
func (c *Conn) undeliverable(s *session.Sub, run *ipc.PulledRun, err error) {
	c.settings.Log.Error("a message cannot be delivered", "index", run.Index, "offset", run.First, "err", err)
	record := ipc.Unsubscribe{Head: c.head(0), Sub: s.ID}
	c.lane.PutLater(ipc.TypeUnsubscribe, record.Append(c.lane.Scratch()))
	c.closeSub(s, err)
}

// Drained goes on with what was held up because too much waited to be sent.
func (c *Conn) Drained() {
	if !c.advance() {
		return
	}
	for i := 0; i < len(c.subs); i++ { // push may end one
		s := c.subs[i]
		if s.Queue {
			c.topUp(s)
		} else {
			c.push(s)
		}
	}
	c.closeIfDrained()
}
