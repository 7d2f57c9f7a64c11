package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Questions to logicsrv. A channel has one under way, seldom two; while it has, nothing behind it on
// the channel is looked at. The record's room in the ring is not waited for: there are few of them.

// ask is a question that was not answered.
type ask struct {
	channel *channel
	doing   *doing    // the method that asks; nil: none does
	place   int       // … among its questions
	parked  bool      // it may stay for long, and does not hold the channel up
	sub     *consumer // of a stream, that waits
	beyond  uint64    // … for more than there is up to here
	req     uint64    // 0: it has to be put again
	typ     ipc.Type
	encode  func(head ipc.Head, b []byte) []byte
	then    func(answer)
}

// answer is logicsrv's answer to a question, valid while it is looked at.
type answer struct {
	payload []byte
	err     *errcode.Error // a refusal
}

// code is that of a refusal; errcode.OK: it is none.
func (a answer) code() errcode.Code {
	if a.err == nil {
		return errcode.OK
	}
	return a.err.Code
}

// waiter is the connection as one that waits for room in the ring: when there may be some, what was
// published goes first.
type waiter struct {
	session.Link
	conn *Conn
}

// Resume puts what waits into the ring, and lets the connection be read again.
func (w *waiter) Resume() { w.conn.resume() }

// resume goes on with what was held up.
func (c *Conn) resume() {
	if c.state == stateClosed {
		return
	}
	if c.stuck && !c.flush() {
		return
	}
	c.held = false
	c.heardMS = max(c.heardMS, c.link.NowMS())
	c.link.Resume()
	c.closeIfDrained()
}

// ask puts a question of the method that is being carried out, and has then called with its answer,
// unless the channel has ended meanwhile. A question that was put before a hand-over is not put again.
func (ch *channel) ask(typ ipc.Type, encode func(head ipc.Head, b []byte) []byte, then func(answer)) {
	a := &ask{channel: ch, doing: ch.doing, typ: typ, encode: encode, then: then}
	ch.busy++
	a.doing.open++
	if !ch.conn.recall(a) {
		a.place = a.doing.enter(typ)
		ch.conn.put(a)
	}
}

// put puts the record of a question into the ring.
func (c *Conn) put(a *ask) {
	a.req = c.lane.Req()
	record := a.encode(c.head(a.req), c.lane.Scratch())
	if len(record) > c.lane.MaxRecord {
		c.goOn(a, answer{err: errcode.New(errcode.LimitExceeded, "the request makes a record of %d bytes, at most %d", len(record), c.lane.MaxRecord)})
		return
	}
	c.enter(a)
	a.note(record)
	c.lane.PutLater(a.typ, record)
	c.told = true
}

// enter enters a question that stands in the ring.
func (c *Conn) enter(a *ask) {
	if c.asks == nil {
		c.asks = map[uint64]*ask{}
	}
	c.asks[a.req] = a
}

// administer puts an administrative command.
func (ch *channel) administer(cmd admin.Command, body interface{ Append([]byte) []byte }, then func(answer)) {
	encoded := body.Append(nil)
	ch.ask(ipc.TypeAdmin, func(head ipc.Head, b []byte) []byte {
		record := ipc.Admin{Head: head, Command: uint16(cmd), Body: encoded}
		return record.Append(b)
	}, then)
}

// create puts a command that is answered with a Created.
func (ch *channel) create(cmd admin.Command, body interface{ Append([]byte) []byte }, then func(made admin.Created, err *errcode.Error)) {
	ch.administer(cmd, body, func(a answer) {
		var made admin.Created
		if a.err == nil {
			m, err := ipc.DecodeAdminReply(a.payload)
			if err == nil {
				made, err = admin.DecodeCreated(m.Body)
			}
			a.err = ch.conn.undecodable(err)
		}
		then(made, a.err)
	})
}

// describe asks for a description of things by their names.
func (ch *channel) describe(kind admin.Kind, names []string, then func(d *admin.Description, err *errcode.Error)) {
	ch.administer(admin.CmdDescribe, &admin.Describe{Kind: kind, Names: names}, func(a answer) {
		var d admin.Description
		if a.err == nil {
			m, err := ipc.DecodeAdminReply(a.payload)
			if err == nil {
				d, err = admin.DecodeDescription(m.Body)
			}
			a.err = ch.conn.undecodable(err)
		}
		then(&d, a.err)
	})
}

// undecodable makes a refusal of an answer that cannot be read; nil: it can. Only our own daemons
// write into the ring: this is a bug, and shows in the log.
func (c *Conn) undecodable(err error) *errcode.Error {
	if err == nil {
		return nil
	}
	c.settings.Log.Error("a reply of logicsrv cannot be decoded", "err", err)
	return errcode.New(errcode.Internal, "the broker's answer cannot be read")
}

// answered takes an answer to a question in; false: it is none.
func (c *Conn) answered(typ ipc.Type, req uint64, payload []byte) bool {
	a := c.asks[req]
	if a == nil {
		return false
	}
	delete(c.asks, req)
	got := c.answerOf(typ, payload)
	if got.code() == errcode.Unavailable { // logicsrv does not know yet who holds what
		a.unanswered()
		c.again = append(c.again, a)
		c.againMS = c.link.NowMS() + againMS
		c.schedule()
		return true
	}
	a.had(typ, payload)
	c.goOn(a, got)
	return true
}

// answerOf is the answer that a record is.
func (c *Conn) answerOf(typ ipc.Type, payload []byte) answer {
	got := answer{payload: payload}
	if typ == ipc.TypeError {
		m, err := ipc.DecodeError(payload)
		if got.err = c.undecodable(err); got.err == nil {
			got.err = errcode.New(errcode.Code(m.Code), "%s", m.Text)
		}
	}
	return got
}

// goOn carries out what was to be done with the answer to a question.
func (c *Conn) goOn(a *ask, got answer) {
	a.release()
	a.then(got)
	a.channel.finish(a.doing)
	if a.channel.busy == 0 && !a.parked {
		c.resume()
	}
}

// release lets the channel go on.
func (a *ask) release() {
	if !a.parked {
		a.channel.busy--
	}
	if a.doing != nil {
		a.doing.open--
	}
}

// forgetWaits takes the Waits of a consumer of a stream back.
func (c *Conn) forgetWaits(s *consumer) {
	for req, a := range c.asks {
		if a.sub == s {
			c.unwait(req)
			delete(c.asks, req)
		}
	}
}

func (c *Conn) unwait(req uint64) {
	m := ipc.Unwait{Head: c.head(0), Target: req}
	c.lane.PutLater(ipc.TypeUnwait, m.Append(c.lane.Scratch()))
}

// askAgain puts the questions again for which it was too early.
func (c *Conn) askAgain(nowMS int64) {
	if len(c.again) == 0 || nowMS < c.againMS {
		return
	}
	again := c.again
	c.again = nil
	for _, a := range again {
		c.put(a)
	}
}

// forgetAsks drops the questions of a channel that has ended.
func (c *Conn) forgetAsks(ch *channel) {
	for req, a := range c.asks {
		if a.channel == ch {
			if a.typ == ipc.TypePull { // it may be parked: what it would be given, nobody wants
				m := ipc.PullEnd{Head: c.head(0), Target: req}
				c.lane.PutLater(ipc.TypePullEnd, m.Append(c.lane.Scratch()))
			}
			delete(c.asks, req)
		}
	}
	c.again = slices.DeleteFunc(c.again, func(a *ask) bool { return a.channel == ch })
}

// Reply takes a record of logicsrv in.
func (c *Conn) Reply(typ ipc.Type, payload []byte) {
	if c.state == stateClosed {
		return
	}
	head, _ := ipc.PeekHead(payload) // its length was checked when it was routed
	switch {
	case typ == ipc.TypeDeliver:
		m, err := ipc.DecodeDeliver(payload)
		if c.undecodable(err) == nil {
			c.delivered(&m)
		}
	case typ == ipc.TypePublished || typ == ipc.TypeError && c.sends != nil && c.isSend(head.Req):
		c.published(typ, head.Req, payload)
	case head.Req != 0 && c.answered(typ, head.Req, payload):
	case typ == ipc.TypeSubClosed && head.Req == 0:
		m, err := ipc.DecodeSubClosed(payload)
		if c.undecodable(err) == nil {
			c.subClosed(&m)
		}
	default:
		c.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
	}
	c.closeIfDrained()
}
