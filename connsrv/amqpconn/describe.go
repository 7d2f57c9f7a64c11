package amqpconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/amqp"
)

// ConnInfo describes a connection, for people.
type ConnInfo struct {
	Conn       uint64 // its number
	Peer       string
	User       string
	VHost      string
	Properties amqp.Table // the client's
	ChannelMax uint16
	FrameMax   uint32
	HeartbeatS uint16
	OpenedMS   int64 // Unix time
	State      string
	Blocked    bool
	Channels   []ChannelInfo
}

// ChannelInfo describes a channel.
type ChannelInfo struct {
	Number      uint16
	Prefetch    uint32 // of each consumer
	Shared      uint32 // of all consumers together
	Confirm     bool
	Tx          bool
	Unacked     int // messages in the client's hand
	Unconfirmed int // publishes
	Uncommitted int // verdicts
	Consumers   []ConsumerInfo
}

// ConsumerInfo describes a consumer.
type ConsumerInfo struct {
	Tag       string
	Queue     string
	NoAck     bool
	Exclusive bool
	Prefetch  uint32
	Arguments amqp.Table
}

// Describe describes the connection. Called in its loop.
func (c *Conn) Describe() ConnInfo {
	info := ConnInfo{
		Conn: c.link.ID(), Peer: c.link.Remote(), User: c.user, VHost: c.vhost, Properties: c.clientProperties,
		ChannelMax: c.channelMax, FrameMax: uint32(c.frameMax), HeartbeatS: uint16(c.heartbeatMS / 1000),
		OpenedMS: c.openedMS, State: "running", Blocked: c.blocked,
	}
	switch {
	case c.state < stateOpen:
		info.State = "starting"
	case c.state > stateOpen:
		info.State = "closing"
	case c.blocked:
		info.State = "blocked"
	}
	numbers := make([]uint16, 0, len(c.channels))
	for n := range c.channels { // order: sorted below
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	for _, n := range numbers {
		info.Channels = append(info.Channels, c.channels[n].info())
	}
	return info
}

func (ch *channel) info() ChannelInfo {
	info := ChannelInfo{
		Number: ch.number, Prefetch: ch.prefetch, Shared: ch.shared, Confirm: ch.mode == modeConfirm, Tx: ch.mode == modeTx,
		Unacked: ch.unacked.count, Uncommitted: len(ch.tx.verdicts),
	}
	for i := range ch.confirms.open {
		info.Unconfirmed += int(ch.confirms.open[i].count)
	}
	for _, s := range ch.conn.subs {
		if s.channel == ch && !s.Puller && !s.ended {
			info.Consumers = append(info.Consumers, ConsumerInfo{
				Tag: string(s.tag), Queue: s.name, NoAck: s.noAck, Exclusive: s.Consumer.Exclusive, Prefetch: s.prefetch, Arguments: s.arguments,
			})
		}
	}
	return info
}

// CloseBy ends the connection for somebody who governs the broker.
func (c *Conn) CloseBy(reason string) {
	if c.state < stateClosing {
		c.closeWith(0, wrong(amqp.ConnectionForced, "%s", reason))
	}
}
