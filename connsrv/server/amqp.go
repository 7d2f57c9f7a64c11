package server

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/amqpconn"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Limits that AMQP's clients are told, as RabbitMQ has them.
const (
	amqpFrameMax   = 128 << 10
	amqpChannelMax = 2047
)

// amqpDoor is where AMQP's clients are served; nil: nowhere.
func (s *Server) amqpDoor(c *tier.Config) *reactor.Door {
	if c.AMQPListen == "" {
		return nil
	}
	settings := &amqpconn.Settings{
		WindowRequests: c.WindowRequests, WindowBytes: int(c.WindowBytes),
		FrameMax: amqpFrameMax, ChannelMax: amqpChannelMax, HeartbeatS: uint16(c.AMQPHeartbeatSeconds),
		Access: s.Access(), Attendance: access.NewAttendance(), Version: tier.Version, Cluster: s.cluster,
		UnixMS: func() int64 { return time.Now().UnixMilli() }, Log: s.log,
	}
	return &reactor.Door{
		Protocol: amqpProtocol, Address: c.AMQPListen,
		Room: func(l *reactor.Loop, link session.Link, _ netip.AddrPort) session.Protocol {
			return amqpconn.New(settings, s.desks[l.Number].amqp, link)
		},
	}
}

// checkAMQP tells what keeps AMQP's clients from being served.
func checkAMQP(c *tier.Config) error {
	if c.AMQPListen != "" && c.AuthSecretFile != "" {
		return fmt.Errorf("%w: auth_secret_file asks for a secret that AMQP's clients cannot present: unset amqp_listen, or the file", tier.ErrUsage)
	}
	return nil
}

// AMQPPort is where AMQP's clients are served; 0: nowhere.
func (s *Server) AMQPPort() uint16 { return s.group.Port(amqpProtocol) }
