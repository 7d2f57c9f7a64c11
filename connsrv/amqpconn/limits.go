package amqpconn

import (
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/shmqueue"
)

// Limits of vhosts and users on connections, channels and queues. They are counted over all event
// loops, by access.Attendance, from open to the end of the connection.

// arrive counts the connection as one of its user and of a vhost; a fault says that there are enough.
func (c *Conn) arrive(vhost string) *fault {
	full := c.settings.Attendance.Enter(c.settings.Access.Load(), c.user, vhost)
	switch {
	case full == nil:
		return nil
	case full.OfUser:
		return wrong(amqp.NotAllowed, "Connection refused for user '%s': user connection limit (%d) is reached", c.user, full.Limit)
	}
	return wrong(amqp.NotAllowed, "access to vhost '%s' refused for user '%s': connection limit (%d) is reached", vhost, c.user, full.Limit)
}

// depart ends what arrive began, if it has, and all channels.
func (c *Conn) depart() {
	if c.channels == nil {
		return
	}
	c.lane.Counters.Add(shmqueue.ConnChannelsClosed, uint64(len(c.channels)))
	c.settings.Attendance.Leave(c.user, c.vhost, len(c.channels))
	for _, ch := range c.channels {
		ch.gone = true
	}
	c.channels = nil
}

// addChannel opens a channel; a fault says that the connection, or its user, has enough.
func (c *Conn) addChannel(number uint16) *fault {
	if len(c.channels) >= int(c.channelMax) { // any number may be taken, as by RabbitMQ
		return wrong(amqp.NotAllowed, "number of channels opened (%d) has reached the negotiated channel_max (%d)", len(c.channels), c.channelMax)
	}
	if full := c.settings.Attendance.OpenChannel(c.settings.Access.Load(), c.user); full != nil {
		return wrong(amqp.NotAllowed, "number of channels opened for user '%s' has reached the maximum allowed user limit of (%d)", c.user, full.Limit)
	}
	c.lane.Counters.Add(shmqueue.ConnChannelsOpened, 1)
	c.channels[number] = &channel{conn: c, number: number}
	return nil
}

// dropChannel forgets a channel that has ended on both sides.
func (c *Conn) dropChannel(number uint16) {
	c.lane.Counters.Add(shmqueue.ConnChannelsClosed, 1)
	delete(c.channels, number)
	c.settings.Attendance.CloseChannel(c.user)
}

// enoughQueues says that a vhost has as many queues as it may; nil: it has no such limit, and the
// refusal means something else.
func (c *Conn) enoughQueues(name string) *fault {
	limit := c.settings.Access.Load().VHostLimit(c.vhost, "max-queues")
	if limit < 0 {
		return nil
	}
	return wrong(amqp.PreconditionFailed, "cannot declare queue '%s': queue limit in vhost '%s' (%d) is reached", name, c.vhost, limit)
}
