package admin

// Commands' bodies (little-endian; string: uvarint length and bytes; list: uvarint count
// and elements; bool: 0 or 1). Version ladder: 1, with the native protocol's version 1.
//
//	CreateExchange  | name string | type u8 | durable bool |
//	CreateQueue     | name string | level u8 | durable bool |
//	CreateBinding   | exchange string | queue string | routingKey string | matchAny bool | list of (key string | value string) |
//	DeleteBinding   as CreateBinding
//	CreateTopic     | name string | partitions u32 | level u8 | retentionBytes i64 | retentionMS i64 |
//	AddPartitions   | name string | total u32 |
//	Delete          | name string | ifUnused bool | ifEmpty bool |
//	Describe        | kind u8 | list of name string | after string | max u32 |
//	Created         | index u64 | existed bool |     (answers all but Describe)

import (
	"strconv"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Limits of what a body may hold.
const (
	MaxNames    = 1 << 16 // of one Describe, and elements of one Description
	MaxElements = 1 << 20 // partitions of a topic, offsets of a group
)

// Text is the command's name.
func Text(cmd Command) string {
	switch cmd {
	case CmdCreateExchange:
		return "create-exchange"
	case CmdCreateQueue:
		return "create-queue"
	case CmdCreateBinding:
		return "create-binding"
	case CmdCreateTopic:
		return "create-topic"
	case CmdDeleteTopic:
		return "delete-topic"
	case CmdAddPartitions:
		return "add-partitions"
	case CmdDeleteExchange:
		return "delete-exchange"
	case CmdDeleteQueue:
		return "delete-queue"
	case CmdDeleteBinding:
		return "delete-binding"
	case CmdDescribe:
		return "describe"
	case CmdDeleteGroup:
		return "delete-group"
	case CmdResetOffsets:
		return "reset-offsets"
	case CmdDeleteOffsets:
		return "delete-offsets"
	default:
		return "command-" + strconv.Itoa(int(cmd))
	}
}

func readLevel(c *wire.Cursor) ipc.Level {
	l := ipc.Level(c.U8())
	if l > ipc.LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
	return l
}

// Append appends the encoded body, as do the other methods of this name.
func (m *CreateExchange) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Name)
	return wire.AppendBool(append(b, byte(m.Type)), m.Durable)
}

// DecodeCreateExchange reads a body, as do the other functions of such a name.
func DecodeCreateExchange(b []byte) (CreateExchange, error) {
	c := wire.Read(b)
	m := CreateExchange{Name: c.String(), Type: ExchangeType(c.U8()), Durable: c.Bool()}
	return m, c.Done("create exchange")
}

// Append appends the encoded body.
func (m *CreateQueue) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Name)
	return wire.AppendBool(append(b, byte(m.Level)), m.Durable)
}

// DecodeCreateQueue reads a body.
func DecodeCreateQueue(b []byte) (CreateQueue, error) {
	c := wire.Read(b)
	m := CreateQueue{Name: c.String(), Level: readLevel(&c), Durable: c.Bool()}
	return m, c.Done("create queue")
}

// Append appends the encoded body.
func (m *CreateBinding) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Exchange)
	b = wire.AppendString(b, m.Queue)
	b = wire.AppendString(b, m.RoutingKey)
	b = wire.AppendBool(b, m.MatchAny)
	return ipc.AppendHeaders(b, m.Headers)
}

func readBinding(c *wire.Cursor) CreateBinding {
	m := CreateBinding{
		Exchange: c.String(), Queue: c.String(), RoutingKey: c.String(), MatchAny: c.Bool(),
	}
	m.Headers = ipc.ReadHeaders(c)
	return m
}

// DecodeCreateBinding reads a body.
func DecodeCreateBinding(b []byte) (CreateBinding, error) {
	c := wire.Read(b)
	m := readBinding(&c)
	return m, c.Done("binding")
}

// Append appends the encoded body.
func (m *DeleteBinding) Append(b []byte) []byte { return (*CreateBinding)(m).Append(b) }

// DecodeDeleteBinding reads a body.
func DecodeDeleteBinding(b []byte) (DeleteBinding, error) {
	m, err := DecodeCreateBinding(b)
	return DeleteBinding(m), err
}

// Append appends the encoded body.
func (m *CreateTopic) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Name)
	b = wire.AppendU32(b, m.Partitions)
	b = append(b, byte(m.Level))
	b = wire.AppendU64(b, uint64(m.RetentionBytes))
	return wire.AppendU64(b, uint64(m.RetentionMS))
}

// DecodeCreateTopic reads a body.
func DecodeCreateTopic(b []byte) (CreateTopic, error) {
	c := wire.Read(b)
	m := CreateTopic{Name: c.String(), Partitions: c.U32(), Level: readLevel(&c)}
	m.RetentionBytes, m.RetentionMS = c.I64(), c.I64()
	return m, c.Done("create topic")
}

// Append appends the encoded body.
func (m *AddPartitions) Append(b []byte) []byte {
	return wire.AppendU32(wire.AppendString(b, m.Name), m.Total)
}

// DecodeAddPartitions reads a body.
func DecodeAddPartitions(b []byte) (AddPartitions, error) {
	c := wire.Read(b)
	m := AddPartitions{Name: c.String(), Total: c.U32()}
	return m, c.Done("add partitions")
}

// Append appends the encoded body.
func (m *Delete) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Name)
	return wire.AppendBool(wire.AppendBool(b, m.IfUnused), m.IfEmpty)
}

// DecodeDelete reads a body.
func DecodeDelete(b []byte) (Delete, error) {
	c := wire.Read(b)
	m := Delete{Name: c.String(), IfUnused: c.Bool(), IfEmpty: c.Bool()}
	return m, c.Done("delete")
}

// Append appends the encoded body.
func (m *Created) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendU64(b, m.Index), m.Existed)
}

// DecodeCreated reads a body.
func DecodeCreated(b []byte) (Created, error) {
	c := wire.Read(b)
	m := Created{Index: c.U64(), Existed: c.Bool()}
	return m, c.Done("created")
}

// Append appends the encoded body.
func (m *Describe) Append(b []byte) []byte {
	b = appendNames(append(b, byte(m.Kind)), m.Names)
	return wire.AppendU32(wire.AppendString(b, m.After), m.Max)
}

// DecodeDescribe reads a body.
func DecodeDescribe(b []byte) (Describe, error) {
	c := wire.Read(b)
	m := Describe{Kind: Kind(c.U8()), Names: readNames(&c), After: c.String(), Max: c.U32()}
	return m, c.Done("describe")
}

func appendNames(b []byte, names []string) []byte {
	b = wire.AppendUvarint(b, uint64(len(names)))
	for _, name := range names {
		b = wire.AppendString(b, name)
	}
	return b
}

func readNames(c *wire.Cursor) []string {
	n := c.Count(1, MaxNames)
	if n == 0 {
		return nil
	}
	names := make([]string, n)
	for i := range names {
		names[i] = c.String()
	}
	return names
}
