package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/batch"
)

// settings are the flags of all subcommands; each uses its part.
type settings struct {
	addrs      string
	secret     string
	topic      string
	partitions int
	levelName  string
	runDir     string
	json       bool
	cpuProfile string
	duration   time.Duration
	drain      time.Duration

	count       int64
	size        int
	producers   int
	batchBytes  int
	linger      time.Duration
	codecName   string
	bufferBytes int64
	sample      int
	plain       bool

	consumers  int
	commit     string
	group      string
	fetchBytes int
	readAhead  int
	push       bool
	idle       time.Duration

	rate    float64
	consume bool

	level trimq.Level
	codec batch.Codec
}

var levels = map[string]trimq.Level{
	"topic": trimq.LevelUnset, "memory": trimq.LevelMemory, "page": trimq.LevelPage, "disk": trimq.LevelDisk, "quorum": trimq.LevelQuorum,
}

// Ways to commit after a poll.
const (
	commitSync  = "sync"
	commitAsync = "async"
	commitNone  = "none"
)

// Bounds of flags.
const (
	maxClients  = 1024
	maxDuration = 24 * time.Hour
	maxRate     = 1e8
)

// check resolves names and refuses what cannot work, before anything is connected.
func (s *settings) check() error {
	var ok bool
	if s.level, ok = levels[s.levelName]; !ok {
		return fmt.Errorf("--level %q: one of topic, memory, page, disk", s.levelName)
	}
	if s.codec, ok = batch.ParseCodec(s.codecName); !ok || s.codec != batch.None && s.codec != batch.Zstd {
		return fmt.Errorf("--codec %q: none or zstd", s.codecName)
	}
	if s.commit != commitSync && s.commit != commitAsync && s.commit != commitNone {
		return fmt.Errorf("--commit %q: sync, async or none", s.commit)
	}
	for _, f := range []struct {
		name          string
		value, lo, hi int64
	}{
		{"partitions", int64(s.partitions), 1, 65536},
		{"size", int64(s.size), minSize, maxSize},
		{"producers", int64(s.producers), 1, maxClients},
		{"consumers", int64(s.consumers), 1, maxClients},
		{"sample", int64(s.sample), 1, 1 << 30},
		{"count", s.count, 0, maxNumber},
		{"duration", int64(s.duration), 1, int64(maxDuration)},
		{"drain", int64(s.drain), 1, int64(maxDuration)},
	} {
		if f.value < f.lo || f.value > f.hi {
			return fmt.Errorf("--%s %d: from %d to %d", f.name, f.value, f.lo, f.hi)
		}
	}
	if s.rate <= 0 || s.rate > maxRate {
		return fmt.Errorf("--rate %g: above 0, at most %g", s.rate, float64(maxRate))
	}
	if s.topic == "" {
		return errors.New("--topic is empty")
	}
	return nil
}

func (s *settings) addresses() []string { return strings.Split(s.addrs, ",") }

func (s *settings) clientOptions() []trimq.Option {
	o := []trimq.Option{trimq.WithName("mq_perf")}
	if s.secret != "" {
		o = append(o, trimq.WithSecret(s.secret))
	}
	return o
}

func (s *settings) producerOptions() []trimq.ProducerOption {
	o := []trimq.ProducerOption{
		trimq.WithLevel(s.level), trimq.WithBatchBytes(s.batchBytes),
		trimq.WithLinger(s.linger), trimq.WithBufferBytes(s.bufferBytes),
	}
	if s.codec == batch.Zstd {
		o = append(o, trimq.WithZstd())
	}
	if s.plain {
		o = append(o, trimq.WithoutIdempotence())
	}
	return o
}

// consumerOptions for consumer i, which reads every consumers-th partition.
func (s *settings) consumerOptions(i int, group string) []trimq.ConsumerOption {
	var parts []uint32
	for p := i; p < s.partitions; p += s.consumers {
		parts = append(parts, uint32(p))
	}
	o := []trimq.ConsumerOption{trimq.WithPartitions(parts...), trimq.WithFetchBytes(s.fetchBytes)}
	if s.readAhead > 0 {
		o = append(o, trimq.WithBuffer(s.readAhead))
	}
	if group != "" {
		o = append(o, trimq.WithPositions(group))
	}
	if s.push {
		o = append(o, trimq.WithPush())
	}
	return o
}
