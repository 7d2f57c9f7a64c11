package server

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/trimq/trimq/connsrv/kafkaconn"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/shmqueue/tier"
)

// listenKafka serves Kafka's clients, if an address is configured for them.
func (s *Server) listenKafka(c *tier.Config) (err error) {
	if c.KafkaListen == "" {
		return nil
	}
	if s.secret != nil {
		return fmt.Errorf("%w: auth_secret_file asks for a secret that Kafka's clients cannot present: unset kafka_listen, or the file", tier.ErrUsage)
	}
	settings := &kafkaconn.Settings{
		Clock:          func() int64 { return time.Now().UnixMilli() },
		WindowRequests: c.WindowRequests, WindowBytes: int(c.WindowBytes), Cluster: s.cluster,
		AutoCreate: c.KafkaAutoCreate != 0, Partitions: uint32(c.KafkaPartitions), MaxReplication: c.KafkaMaxReplication, Log: s.log,
	}
	if settings.Advertised, err = kafkaconn.ParseEndpoint(c.KafkaAdvertised); err != nil {
		return fmt.Errorf("%w: kafka_advertised: %w", tier.ErrUsage, err)
	}
	s.kafkaPort, err = s.group.ListenAt(c.KafkaListen, &reactor.Door{
		Room: func(l *reactor.Loop, link session.Link, local netip.AddrPort) session.Protocol {
			return kafkaconn.New(settings, s.desks[l.Number].kafka, link, local)
		},
	})
	return err
}

// KafkaPort is where Kafka's clients are served; 0: nowhere.
func (s *Server) KafkaPort() uint16 { return s.kafkaPort }
