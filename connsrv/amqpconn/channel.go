package amqpconn

import (
	"bytes"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// mode is what a channel does with what is published on it.
type mode uint8

const (
	modePlain   mode = iota
	modeConfirm      // each publish is confirmed
	modeTx           // publishes and verdicts wait for tx.commit
)

// channel is one channel of a connection.
type channel struct {
	conn   *Conn
	number uint16

	gone    bool   // it, or its connection, has ended
	closing bool   // close was sent: nothing counts but its answer
	busy    int    // questions to logicsrv that have no answer yet
	doing   *doing // the method that waits for answers; nil: none does
	sending int    // publishes that were put into the ring together and have none
	due     bool   // something is confirmed at the end of the turn

	sorting  bool      // some is published again (again.go): what comes waits until all is answered
	incoming *incoming // the content that is coming in; nil: none was published yet
	mode     mode
	confirms confirms
	tx       transaction
	queue    string // that was declared last
	permit   permit // to publish, that was found last

	prefetch uint32 // of each consumer that begins now; 0: no limit
	shared   uint32 // of all consumers together; 0: no limit
	tags     map[string]*consumer
	pullers  []*consumer // one for each queue from which something was got
	unacked  unacked
	line     []parcel // what waits for the link to drain, or for the client to settle, oldest first
	asking   bool     // … or for what was aborted to be known
}

// Class channel.

// onChannel carries a frame of a channel out; false: the channel waits for an answer.
func (c *Conn) onChannel(f amqp.Frame, payload []byte) (done bool) {
	ch := c.channels[f.Channel]
	if ch == nil {
		c.openChannel(f, payload)
		return true
	}
	if ch.closing {
		ch.closed(f, payload)
		return true
	}
	if ch.busy > 0 {
		c.held = true
		return false
	}
	switch f.Type {
	case amqp.FrameHeader:
		return ch.header(payload)
	case amqp.FrameBody:
		return ch.body(payload)
	}
	if ch.incoming != nil && ch.incoming.awaits != awaitsMethod {
		c.failConnection(0, wrong(amqp.UnexpectedFrame, "expected content, got a method frame on channel %d instead", ch.number))
		return true
	}
	id := amqp.MethodAt(payload)
	switch id { // the commonest, without a pass through the rest
	case amqp.MethodBasicPublish:
		return ch.publish(payload[amqp.MethodHeaderSize:])
	case amqp.MethodBasicAck:
		ch.ack(payload[amqp.MethodHeaderSize:])
		return true
	}
	id, m := decode(bytes.Clone(payload)) // what it says is needed beyond this pass over the socket
	switch m := m.(type) {
	case nil:
		c.failConnection(id, ch.unreadable(id))
		return true
	case *amqp.BasicNack:
		ch.verdict(id, m.DeliveryTag, m.Multiple, requeueIf(m.Requeue))
		return true
	case *amqp.BasicReject:
		ch.verdict(id, m.DeliveryTag, false, requeueIf(m.Requeue))
		return true
	}
	if !c.through() {
		return false
	}
	if ch.sending > 0 { // what comes of it is told before the answer to this
		c.held = true
		return false
	}
	ch.carryOut(m)
	return true
}

// unreadable says what is wrong with a method that cannot be decoded.
func (ch *channel) unreadable(id amqp.Method) *fault {
	if amqp.New(id) == nil {
		return wrong(amqp.NotImplemented, "there is no method %s", id)
	}
	return wrong(amqp.SyntaxError, "the arguments of %s cannot be read", id)
}

// openChannel takes a frame of a channel that is not open: only one kind of it is right.
func (c *Conn) openChannel(f amqp.Frame, payload []byte) {
	switch {
	case f.Type != amqp.FrameMethod || amqp.MethodAt(payload) != amqp.MethodChannelOpen:
		if f.Type == amqp.FrameMethod && amqp.MethodAt(payload) == amqp.MethodChannelCloseOk {
			return // of one that both have closed
		}
		c.failConnection(0, wrong(amqp.ChannelError, "expected 'channel.open'"))
	default:
		if f := c.addChannel(f.Channel); f != nil {
			c.failConnection(0, f)
			return
		}
		c.send(f.Channel, &amqp.ChannelOpenOk{})
	}
}

// method carries a method out, if the user may do that. What came before it is in the ring.
func (ch *channel) method(m amqp.Arguments) {
	if f := ch.forbidden(m); f != nil {
		ch.fail(m.Method(), f)
		return
	}
	ch.allowed(m)
}

// allowed carries a method out that the user has a right to.
func (ch *channel) allowed(m amqp.Arguments) {
	switch m := m.(type) {
	case *amqp.ChannelOpen:
		ch.conn.failConnection(m.Method(), wrong(amqp.ChannelError, "second 'channel.open' seen"))
	case *amqp.ChannelClose:
		ch.close()
		ch.conn.dropChannel(ch.number)
		ch.conn.send(ch.number, &amqp.ChannelCloseOk{})
	case *amqp.ChannelCloseOk, *amqp.ChannelFlowOk:
	case *amqp.ChannelFlow:
		if !m.Active { // as RabbitMQ: prefetch is what holds deliveries up
			ch.fail(m.Method(), wrong(amqp.NotImplemented, "active=false"))
			return
		}
		ch.send(&amqp.ChannelFlowOk{Active: true})
	case *amqp.ConfirmSelect:
		ch.confirmSelect(m)
	case *amqp.TxSelect:
		ch.txSelect(m)
	case *amqp.TxCommit:
		ch.txEnd(m, true)
	case *amqp.TxRollback:
		ch.txEnd(m, false)
	default:
		ch.declare(m)
	}
}

// declare carries a method of class exchange or queue out.
func (ch *channel) declare(m amqp.Arguments) {
	switch m := m.(type) {
	case *amqp.ExchangeDeclare:
		ch.exchangeDeclare(m)
	case *amqp.ExchangeDelete:
		ch.exchangeDelete(m)
	case *amqp.ExchangeBind:
		ch.exchangeBind(m)
	case *amqp.ExchangeUnbind:
		ch.exchangeUnbind(m)
	case *amqp.QueueDeclare:
		ch.queueDeclare(m)
	case *amqp.QueueBind:
		ch.queueBind(m)
	case *amqp.QueueUnbind:
		ch.queueUnbind(m)
	case *amqp.QueuePurge:
		ch.queuePurge(m)
	case *amqp.QueueDelete:
		ch.queueDelete(m)
	default:
		ch.basic(m)
	}
}

// send queues a method for the channel.
func (ch *channel) send(m amqp.Arguments) {
	if !ch.gone {
		ch.conn.send(ch.number, m)
	}
}

// answer sends the answer to a method, unless the client wants none.
func (ch *channel) answer(noWait bool, m amqp.Arguments) {
	if !noWait {
		ch.send(m)
	}
}

// fail ends the channel for an error, or the connection where it is one of those.
func (ch *channel) fail(m amqp.Method, f *fault) {
	c := ch.conn
	switch {
	case ch.gone || ch.closing:
	case !f.soft():
		c.failConnection(m, f)
	default:
		c.lane.Counters.Add(shmqueue.ConnRequestErrors, 1)
		c.loop.Answered() // what was confirmed before is told before
		ch.close()
		ch.closing = true
		c.send(ch.number, &amqp.ChannelClose{ReplyCode: f.code, ReplyText: f.reply(), ClassID: m.Class(), MethodID: m.ID()})
	}
}

// close ends what the channel has: its consumers end, and what it holds goes back.
func (ch *channel) close() {
	c := ch.conn
	c.through()
	ch.gone = true
	ch.rollBack()
	for i := len(c.subs) - 1; i >= 0; i-- {
		if s := c.subs[i]; s.channel == ch {
			c.endSub(s)
		}
	}
	c.forgetAsks(ch)
	ch.busy, ch.doing = 0, nil
	ch.tags, ch.pullers, ch.line, ch.incoming = nil, nil, nil, nil
	ch.unacked = unacked{}
	c.resume()
}

// endSub ends a consumer or puller: what it holds goes back.
func (c *Conn) endSub(s *consumer) {
	if !s.Closing && !s.isStream() {
		record := ipc.Unsubscribe{Head: c.head(0), Sub: s.ID}
		c.lane.PutLater(ipc.TypeUnsubscribe, record.Append(c.lane.Scratch()))
	}
	c.dropSub(s)
}

// closed waits for the end of a channel that was closed for an error.
func (ch *channel) closed(f amqp.Frame, payload []byte) {
	if f.Type != amqp.FrameMethod {
		return
	}
	switch amqp.MethodAt(payload) {
	case amqp.MethodChannelCloseOk:
		ch.conn.dropChannel(ch.number)
	case amqp.MethodChannelClose: // both have closed it
		ch.conn.send(ch.number, &amqp.ChannelCloseOk{})
	}
}
