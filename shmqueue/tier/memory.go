package tier

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"

	"github.com/trimq/trimq/shmqueue"
)

// Memory is the broker's shared memory as one daemon sees it.
type Memory struct {
	Request  *shmqueue.Segment // connsrv → logicsrv
	Response *shmqueue.Segment // logicsrv → connsrv
	Log      *shmqueue.Segment // logicsrv → persistsrv
	Metrics  *shmqueue.Metrics
}

// Attach attaches to the broker's segments and creates those that are not there. The
// daemon's lock must be held. A segment of another broker is refused: ErrInUse.
func (p *Process) Attach() (*Memory, error) {
	identity, err := brokerIdentity(p.Config)
	if err != nil {
		return nil, err
	}
	request, response, log, metrics := Keys(p.Config.ShmKeyBase)
	m := &Memory{}
	for _, a := range []struct {
		segment  **shmqueue.Segment
		name     string
		key      int
		capacity Bytes
	}{
		{&m.Request, "ring_request_bytes", request, p.Config.RingRequestBytes},
		{&m.Response, "ring_response_bytes", response, p.Config.RingResponseBytes},
		{&m.Log, "ring_log_bytes", log, p.Config.RingLogBytes},
	} {
		s, err := shmqueue.Attach(a.key, uint64(a.capacity), true)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrInUse, a.name, err)
		}
		if err := claimIdentity(s, a.key, identity); err != nil {
			return nil, err
		}
		*a.segment = s
	}
	if m.Metrics, err = shmqueue.AttachMetrics(metrics, true); err != nil {
		return nil, fmt.Errorf("%w: metrics: %w", ErrInUse, err)
	}
	return m, nil
}

// tryAttach tells whether Attach would take the segments as they are, and leaves no trace.
func tryAttach(c *Config) error {
	identity, err := brokerIdentity(c)
	if err != nil {
		return err
	}
	request, response, log, metrics := Keys(c.ShmKeyBase)
	for key, capacity := range map[int]Bytes{request: c.RingRequestBytes, response: c.RingResponseBytes, log: c.RingLogBytes} {
		s, err := shmqueue.Attach(key, uint64(capacity), false)
		if err == nil {
			err = errors.Join(claimIdentity(s, key, identity), s.Detach())
		}
		if err != nil {
			return err
		}
	}
	m, err := shmqueue.AttachMetrics(metrics, false)
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return m.Detach()
}

// claimIdentity marks a new segment as ours, or checks the mark of an old one.
func claimIdentity(s *shmqueue.Segment, key int, identity uint64) error {
	word := s.Ring().Word(shmqueue.WordIdentity)
	if word.CompareAndSwap(0, identity) || word.Load() == identity {
		return nil
	}
	return fmt.Errorf("%w: the segment at key %d belongs to another broker (other data_dir or run_dir): "+
		"choose another shm_key_base, or, if that broker is no more, remove its segments with `trimq shm rm`", ErrInUse, key)
}

// brokerIdentity derives the mark of our segments from the broker's id, a random number
// that lives with its data, and from run_dir, where its locks are: two brokers that share
// either would otherwise both believe their predecessors dead.
func brokerIdentity(c *Config) (uint64, error) {
	id, err := brokerID(filepath.Join(c.DataDir, "broker.id"))
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	run, err := filepath.EvalSymlinks(c.RunDir)
	if err != nil {
		return 0, fmt.Errorf("%w: run_dir: %w", ErrUsage, err)
	}
	h := fnv.New64a()
	fmt.Fprintf(h, "%s\x00%s", id, run)
	return max(1, h.Sum64()), nil
}

// brokerID reads the broker's id, and makes one where there is none. Daemons that start at
// the same time agree, because a link is made only once. It is synced before it has its name:
// after a power cut the file is whole or not there.
func brokerID(path string) (string, error) {
	for {
		b, err := os.ReadFile(path)
		if err == nil {
			id := strings.TrimSpace(string(b))
			if raw, err := hex.DecodeString(id); err != nil || len(raw) != 16 {
				return "", fmt.Errorf("broker id %s is damaged: want 32 hexadecimal digits; restore it, or remove it if no segments of this broker are left", path)
			}
			return id, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("broker id: %w", err)
		}
		var raw [16]byte
		if _, err := rand.Read(raw[:]); err != nil {
			return "", err
		}
		tmp, err := os.CreateTemp(filepath.Dir(path), ".broker.id.*")
		if err != nil {
			return "", fmt.Errorf("broker id: %w", err)
		}
		_, err = fmt.Fprintln(tmp, hex.EncodeToString(raw[:]))
		err = errors.Join(err, tmp.Sync(), tmp.Close())
		if err == nil {
			err = os.Link(tmp.Name(), path)
		}
		os.Remove(tmp.Name())
		if err == nil {
			err = syncDir(filepath.Dir(path))
		}
		if err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("broker id: %w", err)
		}
	}
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// BrokerID returns the id of the broker whose data_dir c names.
func BrokerID(c *Config) (string, error) {
	return brokerID(filepath.Join(c.DataDir, "broker.id"))
}

// Detach lets go of the segments. They stay for the successor.
func (m *Memory) Detach() error {
	return errors.Join(m.Request.Detach(), m.Response.Detach(), m.Log.Detach(), m.Metrics.Detach())
}
