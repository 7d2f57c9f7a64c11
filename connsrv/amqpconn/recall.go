package amqpconn

import (
	"bytes"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
)

// What a method is about to do when its program is replaced stands in closures, which cannot be
// written down. So the next program carries the method out from its start, and what it asks of logicsrv
// on the way is looked up among what was asked before: a question that stands in the ring, or was
// answered, is not put a second time.
//
// So what a method asks follows from its arguments, from answers, and from what is passed on of the
// room; and what it changes in the room it changes with its last answer, or finds it changed.

// doing is a method that waits for answers.
type doing struct {
	method    amqp.Arguments
	questions []question // in the order in which they were put
	open      int        // so many of them are not answered
	recalled  []*ask     // those that were answered before a hand-over, to be looked at again
}

// question is one that a method has put.
type question struct {
	req    uint64 // 0: it was answered, or has to be put again
	typ    ipc.Type
	record []byte
	had    *reply // the answer; nil: there is none yet
	asked  bool   // by this program
}

// reply is an answer that was kept.
type reply struct {
	typ     ipc.Type
	payload []byte
}

// carryOut carries a method out, whose arguments stay as they are until it is done.
func (ch *channel) carryOut(m amqp.Arguments) {
	d := &doing{method: m}
	ch.doing = d
	ch.method(m)
	ch.finish(d)
}

// finish ends a method that has its answers.
func (ch *channel) finish(d *doing) {
	if d != nil && d.open == 0 && ch.doing == d {
		ch.doing = nil
	}
}

// enter makes a place for a question.
func (d *doing) enter(typ ipc.Type) int {
	d.questions = append(d.questions, question{typ: typ, asked: true})
	return len(d.questions) - 1
}

// question is what a method knows of its ask; nil: no method asks.
func (a *ask) question() *question {
	if a.doing == nil {
		return nil
	}
	return &a.doing.questions[a.place]
}

// note keeps what was put.
func (a *ask) note(record []byte) {
	if q := a.question(); q != nil {
		q.req, q.record = a.req, bytes.Clone(record)
	}
}

// had keeps the answer.
func (a *ask) had(typ ipc.Type, payload []byte) {
	if q := a.question(); q != nil {
		q.req, q.had = 0, &reply{typ, bytes.Clone(payload)}
	}
}

// unanswered notes that it has to be put again.
func (a *ask) unanswered() {
	a.req = 0
	if q := a.question(); q != nil {
		q.req = 0
	}
}

// recall finds a question among those that its method has put before a hand-over; false: it is a new one.
func (c *Conn) recall(a *ask) bool {
	for i := range a.doing.questions {
		q := &a.doing.questions[i]
		if q.asked || q.typ != a.typ {
			continue
		}
		head, _ := ipc.PeekHead(q.record) // Pass has looked at its length
		if !bytes.Equal(a.encode(head, c.lane.Scratch()), q.record) {
			continue
		}
		q.asked, a.place, a.req = true, i, q.req
		switch {
		case q.had != nil:
			a.doing.recalled = append(a.doing.recalled, a)
		case q.req == 0:
			c.put(a)
		default:
			c.enter(a)
		}
		return true
	}
	return false
}

// repeat carries a method out again that was under way when the program was replaced. Its user may do
// that: it was looked at when it came.
func (ch *channel) repeat() {
	d := ch.doing
	ch.allowed(d.method)
	for len(d.recalled) > 0 && ch.doing == d {
		a := d.recalled[0]
		d.recalled = d.recalled[1:]
		had := a.question().had
		ch.conn.goOn(a, ch.conn.answerOf(had.typ, had.payload))
	}
	ch.finish(d)
}
