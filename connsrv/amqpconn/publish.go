package amqpconn

import (
	"math"
	"strconv"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// The way in: a content is gathered as its frames come, and becomes a record of the run (run.go).

// awaited is what frame of a content must come next.
type awaited uint8

const (
	awaitsMethod awaited = iota // none: no content is coming in
	awaitsHeader
	awaitsBody
)

// incoming is the content that comes in on a channel. Its memory is kept for the next, where it is small.
type incoming struct {
	awaits     awaited
	exchange   []byte
	key        []byte
	more       []string // keys besides, as the core has them
	mandatory  bool
	properties []byte // flags and properties, as they came
	size       int    // of the body
	body       []byte // as far as it has come in earlier frames
	ready      bool   // all of it is there, and has been looked at:
	routing    routing
}

// keptBody is up to which size a body's memory is kept.
const keptBody = 64 << 10

// publish begins a content.
func (ch *channel) publish(args []byte) (done bool) {
	var m amqp.BasicPublish
	c := ch.conn
	if m.Decode(args) != nil {
		c.failConnection(m.Method(), ch.unreadable(m.Method()))
		return true
	}
	switch {
	case c.lane.DiskFull():
		c.block()
		return false
	case c.draining:
		return false
	case ch.sorting && ch.sending > 0:
		c.held = true
		return false
	case m.Immediate:
		ch.fail(m.Method(), wrong(amqp.NotImplemented, "immediate=true"))
		return true
	}
	if f := ch.mayPublish(m.Exchange, m.RoutingKey); f != nil {
		ch.fail(m.Method(), f)
		return true
	}
	if ch.incoming == nil {
		ch.incoming = &incoming{}
	}
	in := ch.incoming
	in.awaits, in.mandatory = awaitsHeader, m.Mandatory
	in.exchange = append(in.exchange[:0], m.Exchange...)
	in.key = append(in.key[:0], m.RoutingKey...)
	return true
}

// unexpected ends the connection for a frame that is no part of a content, or not its next.
func (ch *channel) unexpected(what string) {
	ch.conn.failConnection(0, wrong(amqp.UnexpectedFrame, "expected %s, got another frame on channel %d instead", what, ch.number))
}

// header takes the head of a content; false: the message has no body and finds no room, the head shall
// be shown again.
func (ch *channel) header(payload []byte) (done bool) {
	in := ch.incoming
	if in == nil || in.awaits != awaitsHeader {
		ch.unexpected("method frame")
		return true
	}
	h, err := amqp.ParseContentHeader(payload)
	switch {
	case err != nil:
		ch.conn.failConnection(amqp.MethodBasicPublish, wrong(amqp.SyntaxError, "a content header cannot be read"))
	case h.Class != amqp.ClassBasic:
		ch.unexpected("content header of class basic")
	case h.BodySize > uint64(ch.conn.largest()):
		in.awaits = awaitsMethod
		ch.fail(amqp.MethodBasicPublish, wrong(amqp.PreconditionFailed, "message size %d is larger than configured max size %d", h.BodySize, ch.conn.largest()))
	default:
		in.properties = append(in.properties[:0], h.Properties...)
		in.size, in.body = int(h.BodySize), in.body[:0]
		in.awaits, in.ready = awaitsBody, false
		if in.size == 0 && !ch.complete(nil) {
			in.awaits = awaitsHeader
			return false
		}
	}
	return true
}

// messageRoom is what a message needs around its body in a batch: properties, key and headers.
const messageRoom = 256 << 10

// largest is the largest body that is taken.
func (c *Conn) largest() int {
	most := min(batch.MaxBytes, c.lane.MaxRecord)
	return max(most-messageRoom, most/2)
}

// body takes a part of a content; false: the message finds no room, the part shall be shown again.
func (ch *channel) body(payload []byte) (done bool) {
	in := ch.incoming
	switch {
	case in == nil || in.awaits != awaitsBody:
		ch.unexpected("method frame")
	case len(in.body)+len(payload) > in.size:
		ch.conn.failConnection(amqp.MethodBasicPublish, wrong(amqp.FrameError, "a content is longer than its header says"))
	case len(in.body)+len(payload) < in.size:
		in.body = append(in.body, payload...)
	case len(in.body) == 0:
		return ch.complete(payload)
	default:
		n := len(in.body)
		in.body = append(in.body, payload...)
		if !ch.complete(in.body) {
			in.body = in.body[:n]
			return false
		}
		if cap(in.body) > keptBody {
			in.body = nil
		}
	}
	return true
}

// complete makes a whole content part of the run; false: there is no room.
func (ch *channel) complete(body []byte) (done bool) {
	c, in := ch.conn, ch.incoming
	var p amqp.Properties
	if p.Decode(in.properties) != nil {
		c.failConnection(amqp.MethodBasicPublish, wrong(amqp.SyntaxError, "the properties of a content cannot be read"))
		return true
	}
	if !in.ready { // else it has found no room before
		r, f := ch.routing(&p)
		if f == nil {
			f = ch.reroute(&p)
		}
		if f != nil {
			in.awaits = awaitsMethod
			ch.fail(amqp.MethodBasicPublish, f)
			return true
		}
		in.routing, in.ready = r, true
	}
	if !ch.addTo(&in.routing, &p, body) {
		return false
	}
	in.awaits = awaitsMethod
	return true
}

// routing is what of a message decides where it goes, and how long it stays.
type routing struct {
	level     ipc.Level
	mandatory bool
	priority  uint8
	ttlMS     int64
	delayMS   int64
	txn       uint64
}

// routing reads it from the properties; a fault says what is wrong with them.
func (ch *channel) routing(p *amqp.Properties) (routing, *fault) {
	r := routing{mandatory: ch.incoming.mandatory, ttlMS: ipc.NoTTL, level: ipc.LevelMemory, txn: ch.tx.number}
	if p.Flags&amqp.HasUserID != 0 && string(p.UserID) != ch.conn.user && !ch.conn.impersonates() {
		return r, wrong(amqp.PreconditionFailed, "user_id property set to '%s' but authenticated user was '%s'", p.UserID, ch.conn.user)
	}
	if p.Flags&amqp.HasDeliveryMode != 0 && p.DeliveryMode == persistent && ch.mode != modePlain {
		r.level = ipc.LevelUnset // that of the queues it reaches
	}
	if p.Flags&amqp.HasPriority != 0 {
		r.priority = p.Priority
	}
	if p.Flags&amqp.HasExpiration != 0 {
		ms, err := strconv.ParseInt(string(p.Expiration), 10, 64)
		switch {
		case err != nil:
			return r, wrong(amqp.PreconditionFailed, "invalid expiration '%s': no_integer", p.Expiration)
		case ms < 0:
			return r, wrong(amqp.PreconditionFailed, "invalid expiration '%s': {value_negative,%d}", p.Expiration, ms)
		}
		r.ttlMS = min(ms, math.MaxUint32)
	}
	if v, ok := p.Headers.Get("x-delay"); ok {
		if ms, whole := v.Int(); whole {
			r.delayMS = max(ms, -ms)
		}
	}
	return r, nil
}

// persistent is the delivery mode of what survives.
const persistent = 2
