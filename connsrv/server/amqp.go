package server

import (
	"fmt"
	"net/netip"
	"time"

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

// listenAMQP serves AMQP's clients, if an address is configured for them.
func (s *Server) listenAMQP(c *tier.Config) (err error) {
	if c.AMQPListen == "" {
		return nil
	}
	if s.secret != nil {
		return fmt.Errorf("%w: auth_secret_file asks for a secret that AMQP's clients cannot present: unset amqp_listen, or the file", tier.ErrUsage)
	}
	settings := &amqpconn.Settings{
		WindowRequests: c.WindowRequests, WindowBytes: int(c.WindowBytes),
		FrameMax: amqpFrameMax, ChannelMax: amqpChannelMax, HeartbeatS: uint16(c.AMQPHeartbeatSeconds),
		Users: amqpconn.Guest{}, Version: tier.Version, Cluster: s.cluster,
		UnixMS: func() int64 { return time.Now().UnixMilli() }, Log: s.log,
	}
	s.amqpPort, err = s.group.ListenAt(c.AMQPListen, &reactor.Door{
		Room: func(l *reactor.Loop, link session.Link, _ netip.AddrPort) session.Protocol {
			return amqpconn.New(settings, s.desks[l.Number].amqp, link)
		},
	})
	return err
}

// AMQPPort is where AMQP's clients are served; 0: nowhere.
func (s *Server) AMQPPort() uint16 { return s.amqpPort }
