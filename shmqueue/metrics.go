package shmqueue

import (
	"sync/atomic"
	"unsafe"

	"github.com/trimq/trimq/protocol/invariant"
)

// The metrics segment: the identity line in a header of HeaderSize bytes, then a block of
// tierSlots u64 for each tier. A slot's meaning is its row in the tables of stats_*.go; rows
// are only ever added, so that daemons of two builds can share a segment.
//
//	   0 | identity as in layout.go, magic "TRIMQCNT" |
//	4096 | connsrv: 512 × u64 | logicsrv: 512 × u64 | persistsrv: 512 × u64 |
const (
	tierSlots    = 512
	metricsMagic = 0x544e43514d495254 // "TRIMQCNT"
	metricsSize  = HeaderSize + int(tierCount)*tierSlots*8
)

// Tier names a daemon.
type Tier int

// The three daemons.
const (
	TierConn    Tier = 0
	TierLogic   Tier = 1
	TierPersist Tier = 2

	tierCount Tier = 3
)

// String is the daemon's name.
func (t Tier) String() string {
	switch t {
	case TierConn:
		return "connsrv"
	case TierLogic:
		return "logicsrv"
	case TierPersist:
		return "persistsrv"
	default:
		return "unknown"
	}
}

// Metrics is the attached metrics segment.
type Metrics struct {
	mapping
	tiers [tierCount]Counters
}

// Counters are one tier's slots. Each tier writes its own; everyone reads all.
type Counters struct {
	slots *[tierSlots]atomic.Uint64
}

// AttachMetrics attaches to the metrics segment as Attach does to a ring.
func AttachMetrics(key int, create bool) (*Metrics, error) {
	return openMetrics(key, purpose{magic: metricsMagic, size: metricsSize, setting: "shm_key_base"}, create)
}

// InspectMetrics attaches for looking only, as Inspect does to a ring.
func InspectMetrics(key int) (*Metrics, error) {
	return openMetrics(key, purpose{magic: metricsMagic, size: metricsSize, setting: "shm_key_base", readOnly: true}, false)
}

func openMetrics(key int, p purpose, create bool) (*Metrics, error) {
	m, err := attach(key, p, create)
	if err != nil {
		return nil, err
	}
	metrics := &Metrics{mapping: m}
	metrics.carve(m.mem[HeaderSize:])
	return metrics, nil
}

// HeapMetrics are counters in plain memory, for tests and simulations.
func HeapMetrics() *Metrics {
	m := &Metrics{}
	words := make([]uint64, int(tierCount)*tierSlots)
	m.carve(unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8))
	return m
}

// carve gives each tier its block.
func (m *Metrics) carve(blocks []byte) {
	invariant.Check(len(blocks) == int(tierCount)*tierSlots*8, "metrics blocks of %d bytes", len(blocks))
	for t := range m.tiers {
		m.tiers[t].slots = (*[tierSlots]atomic.Uint64)(unsafe.Pointer(&blocks[t*tierSlots*8]))
	}
}

// Tier is one daemon's counters.
func (m *Metrics) Tier(t Tier) *Counters {
	invariant.Check(t >= 0 && t < tierCount, "no tier %d", int(t))
	return &m.tiers[t]
}

// Add adds to a counter.
func (c *Counters) Add(id CounterID, n uint64) { c.slots[id%tierSlots].Add(n) }

// Set sets a gauge.
func (c *Counters) Set(id CounterID, n uint64) { c.slots[id%tierSlots].Store(n) }

// Load reads a counter or gauge.
func (c *Counters) Load(id CounterID) uint64 { return c.slots[id%tierSlots].Load() }
