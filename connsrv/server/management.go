package server

import (
	"crypto/rand"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/trimq/trimq/connsrv/management"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Secret is what native clients must know; nil: nothing.
func (s *Server) Secret() []byte { return s.secret }

// LinkAddress is where the process reaches its own native listener.
func (s *Server) LinkAddress() string {
	host, _, err := net.SplitHostPort(s.config.Load().Listen)
	if ip, bad := netip.ParseAddr(host); err != nil || host == "" || bad == nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if bad == nil && ip.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, strconv.Itoa(int(s.Port())))
}

// Management is what the management API is told of the server. Its Broker and Connections are the
// caller's to set.
func (s *Server) Management() management.Options {
	settings := s.settings.Load()
	return management.Options{
		Access: s.Access(), Close: s.CloseConnection, Ready: s.Ready, Node: "rabbit@" + settings.Node, Cluster: s.cluster, Version: tier.Version,
		Started: s.started, Listeners: s.listeners, Host: s.Host, Learn: s.ReadDefinitions, Salt: salt, Now: time.Now,
	}
}

// salt is random bytes for what is kept of a password.
func salt() []byte {
	b := make([]byte, definitions.SaltBytes)
	_, _ = rand.Read(b) // it never fails
	return b
}

// listeners are where clients are served.
func (s *Server) listeners() (list []management.Listener) {
	c := s.config.Load()
	for _, l := range []struct {
		protocol, address string
		port              uint16
	}{{"amqp", c.AMQPListen, s.AMQPPort()}, {"kafka", c.KafkaListen, s.KafkaPort()}, {"trimq", c.Listen, s.Port()}} {
		if l.port == 0 {
			continue
		}
		host, _, err := net.SplitHostPort(l.address)
		if err != nil || host == "" {
			host = "::"
		}
		list = append(list, management.Listener{Protocol: l.protocol, Address: host, Port: l.port})
	}
	return list
}
