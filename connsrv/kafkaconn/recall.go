package kafkaconn

import (
	"bytes"

	"github.com/trimq/trimq/protocol/ipc"
)

// What a request is about to do when its program is replaced stands in closures, which cannot be
// written down. So the next program carries the request out from its start, and what it asks of
// logicsrv on the way is looked up among what was asked before: a question that stands in the ring, or
// was answered, is not put a second time. A question that is not among them is a new one; it is
// about what the old program knew and the new one does not, such as topics of the catalogue.
//
// So what a request changes in its room it changes with its last answer, and what it asks follows
// from its bytes, from answers, and from what is passed on.

// recalled is an answer that is to be looked at again.
type recalled struct {
	k     *call
	place int // of the question
}

// TakenOver carries the request out again that is under way. Only Produce requests, which are no
// closures, stand in line with others.
func (c *Conn) TakenOver() {
	if c.state == stateClosed {
		return
	}
	if len(c.line) > 0 && c.line[0].req != nil {
		c.serve(c.line[0], c.line[0].req)
	}
	if c.login.refusedMS != 0 {
		c.link.SetDeadline(c.login.refusedMS)
	}
	if c.intake != nil && c.intake.asking {
		c.askFor(c.intake.asked)
	}
	c.recallAll()
}

// recall finds a question among those that were put before a hand-over; false: it was not put.
func (c *Conn) recall(k *call, typ ipc.Type, encode func(head ipc.Head, b []byte) []byte, then func(answer)) bool {
	for place := range k.asks {
		a := &k.asks[place]
		if a.then != nil || a.typ != typ || a.req == 0 && a.had == nil {
			continue
		}
		head, _ := ipc.PeekHead(a.record) // Pass has looked at its length
		if !bytes.Equal(encode(head, c.loop.Lane.Scratch()), a.record) {
			continue
		}
		a.then = then
		k.unasked--
		k.open++
		if a.had != nil {
			c.recalled = append(c.recalled, recalled{k, place})
		}
		return true
	}
	return false
}

// recallAll looks at all answers that are to be looked at again, in the order of their questions, as
// if they came now.
func (c *Conn) recallAll() {
	for len(c.recalled) > 0 {
		r := c.recalled[0]
		c.recalled = c.recalled[1:]
		r.k.open--
		r.k.asks[r.place].then(r.k.asks[r.place].had.answer())
	}
	c.recalled = nil
}
