package admin

// The reply to Describe (integers, strings and lists as in codec.go):
//
//	Description | kind u8 | more bool | list of missing string | list of what the kind says:
//
//	topic       | name string | uuid 16 | level u8 | retentionBytes i64 | retentionMS i64 | createdMS i64
//	            | list of (index u64 | next u64 | visible u64) |
//	exchange    as CreateExchange | bindings u32 | exchanges u32 | policy string | published u64 | reached u64 |
//	queue       | name string | queue u64 | level u8 | settings, see queue.go
//	            | effective settings | policy string | operator string
//	            | ready u64 | unacked u64 | leased u64 | dead u64 | settled u64 | consumers u32 | pulls u32
//	            | list of (index u64 | number u32 | next u64 | visible u64 | floor u64 | oldest u64)
//	binding     as CreateBinding
//	group       | name string | list of (index u64 | offset u64 | metadata string) |
//	consumer    | queue string | conn u64 | sub u64 | consumer, as in ipc | active bool | credit u64 | held u64 |
//	txn         | txn u64 | group string | key string | begun i64 | batches u32 | checks u32 | checkMS i64 |
//	definition  see definition.go
//	membership, group summary    see groupcodec.go
//	txnal, producers, held       see txnal.go

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
			b = ipc.AppendPositions(b, m.Groups[i].Offsets)
		}
	case KindConsumer:
		b = wire.AppendUvarint(b, uint64(len(m.Consumers)))
		for i := range m.Consumers {
			b = m.Consumers[i].append(b)
		}
	case KindTxn:
		b = wire.AppendUvarint(b, uint64(len(m.Txns)))
		for i := range m.Txns {
			b = m.Txns[i].append(b)
		}
	case KindDefinition:
		b = wire.AppendUvarint(b, uint64(len(m.Definitions)))
		for i := range m.Definitions {
			b = m.Definitions[i].Append(b)
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
	case KindTxnal:
		b = wire.AppendUvarint(b, uint64(len(m.Txnals)))
		for i := range m.Txnals {
			b = m.Txnals[i].append(b)
		}
	case KindProducers:
		b = wire.AppendUvarint(b, uint64(len(m.Producers)))
		for i := range m.Producers {
			b = m.Producers[i].append(b)
		}
	case KindHeld:
		b = wire.AppendUvarint(b, uint64(len(m.Held)))
		for i := range m.Held {
			b = m.Held[i].append(b)
		}
	case KindGroupConfig:
		b = wire.AppendUvarint(b, uint64(len(m.Configs)))
		for i := range m.Configs {
			b = m.Configs[i].append(b)
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
		m.Exchanges = readList(&c, 34, readExchange)
	case KindQueue:
		m.Queues = readList(&c, 220, readQueue)
	case KindBinding:
		m.Bindings = readList(&c, 9, func(c *wire.Cursor) BindingInfo {
			return BindingInfo(ReadBinding(c))
		})
	case KindGroup:
		m.Groups = readList(&c, 2, func(c *wire.Cursor) GroupInfo {
			return GroupInfo{Name: c.String(), Offsets: ipc.ReadPositions(c)}
		})
	case KindConsumer:
		m.Consumers = readList(&c, 50, readConsumer)
	case KindTxn:
		m.Txns = readList(&c, 34, readTxn)
	case KindDefinition:
		m.Definitions = readList(&c, 5, ReadDefinition)
	case KindMembership:
		m.Memberships = readList(&c, 24, readMembership)
	case KindGroupSummary:
		m.Summaries = readList(&c, 8, readGroupSummary)
	case KindGroupConfig:
		m.Configs = readList(&c, 2, readGroupConfig)
	case KindTxnal:
		m.Txnals = readList(&c, 25, readTxnal)
	case KindProducers:
		m.Producers = readList(&c, 2, readProducers)
	case KindHeld:
		m.Held = readList(&c, 2, readHeld)
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
	return ipc.AppendHeaders(b, t.Configs)
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
	t.Configs = ipc.ReadHeaders(c)
	return t
}

func (x *ExchangeInfo) append(b []byte) []byte {
	b = wire.AppendU32(wire.AppendU32(x.CreateExchange.Append(b), x.Bindings), x.Exchanges)
	b = wire.AppendString(b, x.Policy)
	return wire.AppendU64(wire.AppendU64(b, x.Published), x.Reached)
}

func readExchange(c *wire.Cursor) ExchangeInfo {
	return ExchangeInfo{ReadExchange(c), c.U32(), c.U32(), c.String(), c.U64(), c.U64()}
}

func (q *QueueInfo) append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendString(b, q.Name), q.Queue)
	b = q.Settings.AppendSettings(append(b, byte(q.Level)))
	b = wire.AppendString(wire.AppendString(q.Effective.AppendSettings(b), q.Policy), q.Operator)
	for _, n := range [...]uint64{q.Ready, q.Unacked, q.Leased, q.Dead, q.Settled} {
		b = wire.AppendU64(b, n)
	}
	b = wire.AppendU32(wire.AppendU32(b, q.Consumers), q.Pulls)
	b = wire.AppendUvarint(b, uint64(len(q.Indexes)))
	for i := range q.Indexes {
		x := &q.Indexes[i]
		b = wire.AppendU32(wire.AppendU64(b, x.Index), x.Number)
		b = wire.AppendU64(wire.AppendU64(b, x.Next), x.Visible)
		b = wire.AppendU64(wire.AppendU64(b, x.Floor), x.Oldest)
	}
	return b
}

func readQueue(c *wire.Cursor) QueueInfo {
	q := QueueInfo{Name: c.String(), Queue: c.U64(), Level: readLevel(c), Settings: ReadSettings(c)}
	q.Effective, q.Policy, q.Operator = ReadSettings(c), c.String(), c.String()
	for _, n := range [...]*uint64{&q.Ready, &q.Unacked, &q.Leased, &q.Dead, &q.Settled} {
		*n = c.U64()
	}
	q.Consumers, q.Pulls = c.U32(), c.U32()
	if n := c.Count(44, MaxElements); n > 0 {
		q.Indexes = make([]QueueIndex, n)
	}
	for i := range q.Indexes {
		q.Indexes[i] = QueueIndex{c.U64(), c.U32(), c.U64(), c.U64(), c.U64(), c.U64()}
	}
	return q
}

func (k *ConsumerInfo) append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(wire.AppendString(b, k.Queue), k.Conn), k.Sub)
	b = wire.AppendBool(k.Consumer.Append(b), k.Active)
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(b, k.Credit), k.Held), k.Delivered)
}

func readConsumer(c *wire.Cursor) ConsumerInfo {
	return ConsumerInfo{
		Queue: c.String(), Conn: c.U64(), Sub: c.U64(), Consumer: ipc.ReadConsumer(c), Active: c.Bool(),
		Credit: c.U64(), Held: c.U64(), Delivered: c.U64(),
	}
}

func (t *TxnInfo) append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(wire.AppendU64(b, t.Txn), t.Group), t.Key)
	b = wire.AppendU32(wire.AppendU32(wire.AppendU64(b, uint64(t.Begun)), t.Batches), t.Checks)
	return wire.AppendU64(b, uint64(t.CheckMS))
}

func readTxn(c *wire.Cursor) TxnInfo {
	return TxnInfo{
		Txn: c.U64(), Group: c.String(), Key: c.String(), Begun: c.I64(), Batches: c.U32(), Checks: c.U32(), CheckMS: c.I64(),
	}
}
