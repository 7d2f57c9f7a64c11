package exporter

import (
	"fmt"

	"github.com/trimq/trimq/connsrv/connview"
	"github.com/trimq/trimq/shmqueue"
)

// imitated is the release of RabbitMQ whose names these are.
const imitated = "3.13.7"

// info tells who the broker is. Dashboards join all else with it.
func (s *scrape) info() {
	if s.families == nil {
		s.put(buildInfo, 1, "rabbitmq_version", imitated, "product_name", "TriMQ", "product_version", s.Version)
	}
	(&scrape{out: s.out, prefix: "rabbitmq_"}).put(
		identityInfo, 1, "rabbitmq_node", s.Node, "rabbitmq_cluster", s.ClusterName(), "rabbitmq_cluster_permanent_id", s.Cluster, "rabbitmq_endpoint", s.endpoint(),
	)
	if s.families != nil && s.wants("vhost_status") {
		for _, name := range s.VHosts() {
			(&scrape{out: s.out, prefix: "rabbitmq_cluster_"}).put(vhostStatus, 1, "vhost", name)
		}
	}
	if s.families == nil {
		s.host()
	}
}

// endpoint is RabbitMQ's word for what was asked for: dashboards show one of them, so that nothing counts twice.
func (s *scrape) endpoint() string {
	switch {
	case s.families != nil:
		return "detailed"
	case s.apart:
		return "per-object"
	}
	return "aggregated"
}

// host tells what the machine gives, and for how long.
func (s *scrape) host() {
	h := s.Host()
	s.put(uptime, s.Uptime().Seconds())
	s.put(residentMemory, float64(h.MemoryBytes))
	s.put(openFiles, float64(h.OpenFiles))
	s.put(maxFiles, float64(h.MaxFiles))
	s.put(openSockets, float64(h.Sockets))
	s.put(maxSockets, float64(h.MaxFiles))
	s.put(diskFree, float64(h.FreeBytes))
	s.put(diskReserve, float64(h.ReserveBytes))
}

// counters tells what is counted in shared memory.
func (s *scrape) counters() {
	block := s.Metrics.Tier(shmqueue.TierConn)
	for i := range counted {
		c := &counted[i]
		if !s.wants(c.family) {
			continue
		}
		sum := uint64(0)
		for _, id := range c.of {
			sum += block.Load(id)
		}
		s.put(c.metric, float64(sum))
	}
}

// ofChannels are the figures of channels.
var ofChannels = []struct {
	metric *metric
	value  func(ch *connview.Channel) uint64
}{
	{gauge("channel_consumers", "Consumers on a channel."), func(ch *connview.Channel) uint64 { return uint64(len(ch.Consumers)) }},
	{gauge("channel_messages_unacked", "Messages delivered and not acknowledged yet."), func(ch *connview.Channel) uint64 { return ch.Unacked }},
	{gauge("channel_messages_unconfirmed", "Messages published and not confirmed yet."), func(ch *connview.Channel) uint64 { return ch.Unconfirmed }},
	{gauge("channel_prefetch", "Messages that all consumers of a channel may hold."), func(ch *connview.Channel) uint64 { return uint64(ch.SharedPrefetch) }},
}

var connectionChannels = gauge("connection_channels", "Channels on a connection.")

// clients tells of connections, channels and consumers.
func (s *scrape) clients() {
	if !s.wants("connection_metrics") && !s.wants("channel_metrics") && !s.wants(generic) {
		return
	}
	all := s.Connections()
	if s.wants(generic) {
		s.total(all)
	}
	if s.wants("connection_metrics") {
		s.eachConnection(all)
	}
	if s.wants("channel_metrics") {
		s.eachChannel(all)
	}
}

// total tells how many there are.
func (s *scrape) total(all []connview.Conn) {
	open, publishing := 0, 0
	for i := range all {
		open += all[i].ChannelCount
		for j := range all[i].Channels {
			if all[i].Channels[j].Publishes {
				publishing++
			}
		}
	}
	attached := float64(s.Metrics.Tier(shmqueue.TierLogic).Load(shmqueue.LogicConsumers))
	s.put(connections, float64(len(all)))
	s.put(channels, float64(open))
	s.put(consumers, attached)
	s.put(subscribed, attached)
	s.put(publishers, float64(publishing))
}

func (s *scrape) eachConnection(all []connview.Conn) {
	sum := 0
	for i := range all {
		if s.apart {
			s.put(connectionChannels, float64(all[i].ChannelCount), "connection", all[i].Peer)
		}
		sum += all[i].ChannelCount
	}
	if !s.apart {
		s.put(connectionChannels, float64(sum))
	}
}

func (s *scrape) eachChannel(all []connview.Conn) {
	for _, of := range ofChannels {
		sum := uint64(0)
		for i := range all {
			for j := range all[i].Channels {
				ch := &all[i].Channels[j]
				if s.apart {
					s.put(of.metric, float64(of.value(ch)), "channel", fmt.Sprintf("%s (%d)", all[i].Peer, ch.Number))
				}
				sum += of.value(ch)
			}
		}
		if !s.apart {
			s.put(of.metric, float64(sum))
		}
	}
}
