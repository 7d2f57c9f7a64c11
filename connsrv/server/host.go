package server

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/management"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// Host is what the machine gives the broker. What cannot be found out is 0.
func (s *Server) Host() management.Host {
	h := management.Host{ReserveBytes: uint64(s.config.Load().DiskReserveBytes)}
	for _, name := range tier.Daemons {
		if _, pid := s.tierState(name); pid != 0 {
			h.MemoryBytes += heldBy(pid)
		}
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		h.OpenFiles = uint64(len(open))
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		h.MaxFiles = limit.Cur
	}
	h.FreeBytes = s.metrics.Tier(shmqueue.TierPersist).Load(shmqueue.PersistDiskFree)
	h.Sockets = s.counters.Load(shmqueue.ConnOpen)
	return h
}

// heldBy is the memory that a process has for itself: without the rings, which all share, and files.
func heldBy(pid int) uint64 {
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if rest, ok := bytes.CutPrefix(line, []byte("RssAnon:")); ok {
			kib, _ := strconv.ParseUint(string(bytes.TrimSpace(bytes.TrimSuffix(bytes.TrimSpace(rest), []byte("kB")))), 10, 64)
			return kib << 10
		}
	}
	return 0
}
