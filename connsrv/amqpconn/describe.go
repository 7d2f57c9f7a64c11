package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/definitions"
)

var _ connview.Room = (*Conn)(nil)

// View describes the connection, for people.
func (c *Conn) View(v *connview.Conn) {
	v.Protocol, v.User, v.VHost, v.Mechanism = "AMQP 0-9-1", c.user, c.vhost, c.mechanism
	v.Client = definitions.Arguments(c.clientProperties)
	v.ChannelMax, v.FrameMax, v.HeartbeatS = c.channelMax, uint32(c.frameMax), uint16(c.heartbeatMS/1000)
	v.ConnectedMS, v.ChannelCount = c.openedMS, len(c.channels)
	switch {
	case c.state < stateOpen:
		v.State = "starting"
	case c.state > stateOpen:
		v.State = "closing"
	case c.blocked:
		v.State = "blocked"
	default:
		v.State = "running"
	}
	numbers := make([]uint16, 0, len(c.channels))
	for n := range c.channels { // order: sorted below
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		v.Channels = append(v.Channels, c.channels[n].view())
	}
}

func (ch *channel) view() connview.Channel {
	v := connview.Channel{
		Number: ch.number, Prefetch: ch.prefetch, SharedPrefetch: ch.shared, Confirms: ch.mode == modeConfirm, Transactional: ch.mode == modeTx,
		Publishes: ch.incoming != nil,
		Unacked:   uint64(ch.unacked.count),
	}
	for i := range ch.confirms.open {
		v.Unconfirmed += uint64(ch.confirms.open[i].count)
	}
	for _, s := range ch.conn.subs {
		if s.channel == ch && !s.Puller && !s.ended {
			v.Consumers = append(v.Consumers, connview.Consumer{
				Tag: string(s.tag), Queue: s.name, AckNeeded: !s.noAck, Exclusive: s.Consumer.Exclusive, Prefetch: s.prefetch, Arguments: definitions.Arguments(s.arguments),
			})
		}
	}
	return v
}

// CloseFor ends the connection for somebody who looks after the broker.
func (c *Conn) CloseFor(reason string) {
	if c.state < stateClosing {
		c.closeWith(0, wrong(amqp.ConnectionForced, "%s", reason))
	}
}
