package server

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/kafkaconn"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/shmqueue/tier"
)

// kafkaDoor is where Kafka's clients are served; nil: nowhere.
func (s *Server) kafkaDoor(c *tier.Config) *reactor.Door {
	if c.KafkaListen == "" {
		return nil
	}
	settings := &kafkaconn.Settings{
		Clock:          func() int64 { return time.Now().UnixMilli() },
		WindowRequests: c.WindowRequests, WindowBytes: int(c.WindowBytes), Cluster: s.cluster,
		LoginMS: int64(c.KafkaAuthSeconds) * 1000, Access: s.Access(), Nonce: rand.Text,
		DataDir: c.DataDir, Disk: func() (total, usable int64, err error) { return diskOf(c.DataDir) },
		AutoCreate: c.KafkaAutoCreate != 0, Partitions: uint32(c.KafkaPartitions), MaxReplication: c.KafkaMaxReplication, Log: s.log,
	}
	settings.Advertised, _ = kafkaconn.ParseEndpoint(c.KafkaAdvertised) // Check has looked at it, and at the mechanisms
	settings.Mechanisms, _ = kafkaconn.ParseMechanisms(c.KafkaAuth)
	return &reactor.Door{
		Protocol: kafkaProtocol, Address: c.KafkaListen,
		Room: func(l *reactor.Loop, link session.Link, local netip.AddrPort) session.Protocol {
			return kafkaconn.New(settings, s.desks[l.Number].kafka, link, local)
		},
	}
}

// diskOf is how large the file system of a directory is, and what it has left.
func diskOf(dir string) (total, usable int64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, 0, fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// checkKafka tells what keeps Kafka's clients from being served.
func checkKafka(c *tier.Config) error {
	if c.KafkaListen == "" {
		return nil
	}
	if c.AuthSecretFile != "" {
		return fmt.Errorf("%w: auth_secret_file asks for a secret that Kafka's clients cannot present: unset kafka_listen, or the file", tier.ErrUsage)
	}
	if _, err := kafkaconn.ParseEndpoint(c.KafkaAdvertised); err != nil {
		return fmt.Errorf("%w: kafka_advertised: %w", tier.ErrUsage, err)
	}
	if _, err := kafkaconn.ParseMechanisms(c.KafkaAuth); err != nil {
		return fmt.Errorf("%w: kafka_auth: %w", tier.ErrUsage, err)
	}
	return nil
}

// KafkaPort is where Kafka's clients are served; 0: nowhere.
func (s *Server) KafkaPort() uint16 { return s.group.Port(kafkaProtocol) }
