package native

import "github.com/trimq/trimq/protocol/wire"

// TierState is how a daemon is, as connsrv sees it.
type TierState uint8

const (
	TierUnknown    TierState = 0
	TierRunning    TierState = 1
	TierRestarting TierState = 2 // its process is gone or not ready yet
	TierDiskFull   TierState = 3 // persistsrv: appends are refused
	TierDraining   TierState = 4
)

// Tier describes one daemon.
//
//	| name string | state u8 | pid u32 | epoch u64 | uptimeMS u64 |
type Tier struct {
	Name     string
	State    TierState
	PID      uint32
	Epoch    uint64 // connsrv's epoch, logicsrv's term
	UptimeMS uint64
}

// PairDataDir is the key of the pair that names the data directory, on the broker's machine.
const PairDataDir = "data_dir"

// Pair is a named figure or text.
type Pair struct{ Key, Value string }

// InfoReply answers INFO, whose request has no body. Figures that a server does not know
// are 0; more is in Pairs, whose keys are counters' names as the metrics show them.
//
//	| uptimeMS u64 | connections u32 | topics u32 | partitions u32 | exchanges u32 | queues u32 | groups u32 |
//	| server string | cluster string | node string | tiers list | pairs list of (key string, value string) |
type InfoReply struct {
	UptimeMS    uint64
	Connections uint32
	Topics      uint32
	Partitions  uint32
	Exchanges   uint32
	Queues      uint32
	Groups      uint32
	Server      string // version and commit
	Cluster     string
	Node        string
	Tiers       []Tier
	Pairs       []Pair
}

// Append encodes the body.
func (m *InfoReply) Append(b []byte) []byte {
	b = wire.AppendU64(b, m.UptimeMS)
	for _, v := range [...]uint32{m.Connections, m.Topics, m.Partitions, m.Exchanges, m.Queues, m.Groups} {
		b = wire.AppendU32(b, v)
	}
	b = wire.AppendString(b, m.Server)
	b = wire.AppendString(b, m.Cluster)
	b = wire.AppendString(b, m.Node)
	b = wire.AppendUvarint(b, uint64(len(m.Tiers)))
	for i := range m.Tiers {
		t := &m.Tiers[i]
		b = wire.AppendString(b, t.Name)
		b = append(b, byte(t.State))
		b = wire.AppendU32(b, t.PID)
		b = wire.AppendU64(b, t.Epoch)
		b = wire.AppendU64(b, t.UptimeMS)
	}
	b = wire.AppendUvarint(b, uint64(len(m.Pairs)))
	for _, p := range m.Pairs {
		b = wire.AppendString(b, p.Key)
		b = wire.AppendString(b, p.Value)
	}
	return b
}

// DecodeInfoReply decodes it.
func DecodeInfoReply(b []byte) (InfoReply, error) {
	c := wire.Read(b)
	m := InfoReply{
		UptimeMS: c.U64(), Connections: c.U32(), Topics: c.U32(), Partitions: c.U32(),
		Exchanges: c.U32(), Queues: c.U32(), Groups: c.U32(),
		Server: c.String(), Cluster: c.String(), Node: c.String(),
	}
	if n := c.Count(22, maxTiers); n > 0 {
		m.Tiers = make([]Tier, n)
		for i := range m.Tiers {
			m.Tiers[i] = Tier{Name: c.String(), State: TierState(c.U8()), PID: c.U32(), Epoch: c.U64(), UptimeMS: c.U64()}
		}
	}
	if n := c.Count(2, maxPairs); n > 0 {
		m.Pairs = make([]Pair, n)
		for i := range m.Pairs {
			m.Pairs[i] = Pair{Key: c.String(), Value: c.String()}
		}
	}
	return m, malformed(c.Done("INFO response"))
}
