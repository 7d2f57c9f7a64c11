package kafkaconn

import (
	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/protocol/admin"
)

// View shows the connection to those who look after the broker.
func (c *Conn) View(v *connview.Conn) {
	v.User, v.VHost, v.Mechanism = c.login.user, admin.DefaultVHost, c.login.by
	switch c.state {
	case stateNew:
		v.State = "starting"
	case stateOpen:
		v.State = "running"
	default:
		v.State = "closing"
	}
}

// CloseFor ends the connection for one of them. The protocol has no word for why.
func (c *Conn) CloseFor(reason string) { c.disconnect("closed on request", "reason", reason) }
