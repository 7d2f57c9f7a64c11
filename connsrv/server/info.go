package server

import (
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// counting counts the reactor's events in shared memory.
type counting struct{ c *shmqueue.Counters }

func (n counting) Moved(in, out, cold uint64) {
	if in > 0 {
		n.c.Add(shmqueue.ConnReceivedBytes, in)
	}
	if out > 0 {
		n.c.Add(shmqueue.ConnSentBytes, out)
	}
	if cold > 0 {
		n.c.Add(shmqueue.ConnColdBytes, cold)
	}
}

func (n counting) Opened() {
	n.c.Add(shmqueue.ConnAccepted, 1)
	n.c.Add(shmqueue.ConnOpen, 1)
}

func (n counting) Refused() { n.c.Add(shmqueue.ConnRefused, 1) }

func (n counting) Closed(r reactor.Reason) {
	n.c.Add(shmqueue.ConnClosedPeer+shmqueue.CounterID(r), 1)
	n.c.Add(shmqueue.ConnOpen, ^uint64(0))
}

// Ready tells whether requests can be served, and if not, why not.
func (s *Server) Ready() (ok bool, why string) {
	for _, name := range tier.Daemons {
		if state, _ := s.tierState(name); state == native.TierRestarting {
			return false, name + " is not ready"
		}
	}
	if s.markers.Load() == 0 {
		return false, "logicsrv has not answered yet"
	}
	return true, ""
}

// tierState looks at a daemon's lock and ready file.
func (s *Server) tierState(name string) (state native.TierState, pid int) {
	paths := tier.PathsOf(s.config.Load(), name)
	pid, err := tier.LockHolder(paths.Lock)
	if err != nil || pid == 0 {
		return native.TierRestarting, 0
	}
	if _, err := os.Stat(paths.Ready); err != nil {
		return native.TierRestarting, pid
	}
	if name == shmqueue.TierPersist.String() && s.rings.DiskFull() {
		return native.TierDiskFull, pid
	}
	return native.TierRunning, pid
}

// info answers INFO.
func (s *Server) info() native.InfoReply {
	logic := s.metrics.Tier(shmqueue.TierLogic)
	settings := s.settings.Load()
	m := native.InfoReply{
		UptimeMS:    uint64(time.Since(s.started).Milliseconds()),
		Connections: uint32(s.group.Connections()),
		Topics:      uint32(logic.Load(shmqueue.LogicTopics)),
		Partitions:  uint32(logic.Load(shmqueue.LogicPartitions)),
		Exchanges:   uint32(logic.Load(shmqueue.LogicExchanges)),
		Queues:      uint32(logic.Load(shmqueue.LogicQueues)),
		Groups:      uint32(logic.Load(shmqueue.LogicGroups)),
		Server:      settings.Server, Cluster: settings.Cluster, Node: settings.Node,
	}
	if dir, err := filepath.Abs(s.config.Load().DataDir); err == nil {
		m.Pairs = append(m.Pairs, native.Pair{Key: native.PairDataDir, Value: dir})
	}
	for _, t := range []shmqueue.Tier{shmqueue.TierConn, shmqueue.TierLogic, shmqueue.TierPersist} {
		state, pid := s.tierState(t.String())
		tier := native.Tier{Name: t.String(), State: state, PID: uint32(pid)}
		switch t {
		case shmqueue.TierConn:
			tier.Epoch = s.rings.Requests.Epoch()
			tier.UptimeMS = m.UptimeMS
		case shmqueue.TierLogic:
			tier.Epoch = logic.Load(shmqueue.LogicTerm)
		}
		m.Tiers = append(m.Tiers, tier)
		m.Pairs = appendPairs(m.Pairs, t, s.metrics.Tier(t))
	}
	return m
}

// appendPairs lists a tier's figures that are not zero.
func appendPairs(pairs []native.Pair, t shmqueue.Tier, c *shmqueue.Counters) []native.Pair {
	for id, row := range shmqueue.Stats(t) {
		if row.Name == "" {
			continue
		}
		if v := c.Load(shmqueue.CounterID(id)); v != 0 {
			key := row.Name
			if row.Label != "" {
				key += "{" + row.Label + "=" + strconv.Quote(row.Value) + "}"
			}
			pairs = append(pairs, native.Pair{Key: key, Value: strconv.FormatUint(v, 10)})
		}
	}
	return pairs
}
