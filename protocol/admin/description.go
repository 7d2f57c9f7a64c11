package admin

// The reply to Describe (integers, strings and lists as in codec.go):
//
//	Description | kind u8 | more bool | list of missing string | list of what the kind says:
//
//	topic       | name string | uuid 16 | level u8 | retentionBytes i64 | retentionMS i64 | createdMS i64
//	            | list of (index u64 | next u64 | visible u64) |
//	exchange    | name string | type u8 | durable bool | bindings u32 |
//	queue       | name string | index u64 | level u8 | durable bool
//	            | ready u64 | unacked u64 | next u64 | floor u64 | consumers u32 |
//	binding     as CreateBinding
//	group       | name string | list of (index u64 | offset u64 | metadata string) |
//	membership, group summary    see groupcodec.go

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Append appends the encoded reply. Only the list that belongs to Kind is encoded.
func (m *Description) Append(b []byte) []byte {
	b = wire.AppendBool(append(b, byte(m.Kind)), m.More)
	b = appendNames(b, m.Missing)
	switch m.Kind {
	case KindTopic:
		b = wire.AppendUvarint(b, uint64(len(m.Topics)))
		for i := range m.Topics {
			b = m.Topics[i].append(b)
		}
	case KindExchange:
		b = wire.AppendUvarint(b, uint64(len(m.Exchanges)))
		for i := range m.Exchanges {
			b = m.Exchanges[i].append(b)
		}
	case KindQueue:
		b = wire.AppendUvarint(b, uint64(len(m.Queues)))
		for i := range m.Queues {
			b = m.Queues[i].append(b)
		}
	case KindBinding:
		b = wire.AppendUvarint(b, uint64(len(m.Bindings)))
		for i := range m.Bindings {
			b = (*CreateBinding)(&m.Bindings[i]).Append(b)
		}
	case KindGroup:
		b = wire.AppendUvarint(b, uint64(len(m.Groups)))
		for i := range m.Groups {
			b = wire.AppendString(b, m.Groups[i].Name)
			b = ipc.AppendOffsetCommits(b, m.Groups[i].Offsets)
		}
	case KindMembership:
		b = wire.AppendUvarint(b, uint64(len(m.Memberships)))
		for i := range m.Memberships {
			b = m.Memberships[i].append(b)
		}
	case KindGroupSummary:
		b = wire.AppendUvarint(b, uint64(len(m.Summaries)))
		for i := range m.Summaries {
			b = m.Summaries[i].append(b)
		}
	}
	return b
}

// DecodeDescription reads a reply.
func DecodeDescription(b []byte) (Description, error) {
	c := wire.Read(b)
	m := Description{Kind: Kind(c.U8()), More: c.Bool(), Missing: readNames(&c)}
	switch m.Kind {
	case KindTopic:
		m.Topics = readList(&c, 50, readTopic)
	case KindExchange:
		m.Exchanges = readList(&c, 7, readExchange)
	case KindQueue:
		m.Queues = readList(&c, 47, readQueue)
	case KindBinding:
		m.Bindings = readList(&c, 5, func(c *wire.Cursor) BindingInfo {
			return BindingInfo(readBinding(c))
		})
	case KindGroup:
		m.Groups = readList(&c, 2, func(c *wire.Cursor) GroupInfo {
			return GroupInfo{Name: c.String(), Offsets: ipc.ReadOffsetCommits(c)}
		})
	case KindMembership:
		m.Memberships = readList(&c, 24, readMembership)
	case KindGroupSummary:
		m.Summaries = readList(&c, 8, readGroupSummary)
	default:
		c.Fail(wire.ErrOutOfRange)
	}
	return m, c.Done("description")
}

// readList reads a count of elements of at least minBytes, and the elements.
func readList[T any](c *wire.Cursor, minBytes int, read func(*wire.Cursor) T) []T {
	n := c.Count(minBytes, MaxNames)
	if n == 0 {
		return nil
	}
	list := make([]T, n)
	for i := range list {
		list[i] = read(c)
	}
	return list
}

func (t *TopicInfo) append(b []byte) []byte {
	b = wire.AppendString(b, t.Name)
	b = append(append(b, t.UUID[:]...), byte(t.Level))
	b = wire.AppendU64(b, uint64(t.RetentionBytes))
	b = wire.AppendU64(b, uint64(t.RetentionMS))
	b = wire.AppendU64(b, uint64(t.CreatedMS))
	b = wire.AppendUvarint(b, uint64(len(t.Partitions)))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		b = wire.AppendU64(wire.AppendU64(wire.AppendU64(b, p.Index), p.Next), p.Visible)
	}
	return b
}

func readTopic(c *wire.Cursor) TopicInfo {
	t := TopicInfo{Name: c.String()}
	copy(t.UUID[:], c.Raw(len(t.UUID)))
	t.Level = readLevel(c)
	t.RetentionBytes, t.RetentionMS, t.CreatedMS = c.I64(), c.I64(), c.I64()
	if n := c.Count(24, MaxElements); n > 0 {
		t.Partitions = make([]PartitionInfo, n)
	}
	for i := range t.Partitions {
		t.Partitions[i] = PartitionInfo{c.U64(), c.U64(), c.U64()}
	}
	return t
}

func (x *ExchangeInfo) append(b []byte) []byte {
	b = append(wire.AppendString(b, x.Name), byte(x.Type))
	return wire.AppendU32(wire.AppendBool(b, x.Durable), x.Bindings)
}

func readExchange(c *wire.Cursor) ExchangeInfo {
	return ExchangeInfo{c.String(), ExchangeType(c.U8()), c.Bool(), c.U32()}
}

func (q *QueueInfo) append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendString(b, q.Name), q.Index)
	b = wire.AppendBool(append(b, byte(q.Level)), q.Durable)
	b = wire.AppendU64(wire.AppendU64(b, q.Ready), q.Unacked)
	b = wire.AppendU64(wire.AppendU64(b, q.Next), q.Floor)
	return wire.AppendU32(b, q.Consumers)
}

func readQueue(c *wire.Cursor) QueueInfo {
	q := QueueInfo{Name: c.String(), Index: c.U64(), Level: readLevel(c), Durable: c.Bool()}
	q.Ready, q.Unacked, q.Next, q.Floor = c.U64(), c.U64(), c.U64(), c.U64()
	q.Consumers = c.U32()
	return q
}
