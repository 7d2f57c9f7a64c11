package admin

// Commands' bodies (little-endian; string: uvarint length and bytes; list: uvarint count
// and elements; bool: 0 or 1).
//
//	CreateExchange  | name string | type u8 | durable bool | autoDelete bool | internal bool | alternate string | hashHeader string
//	                | delayed bool | arguments string |
//	CreateQueue     and the other bodies of queues: queue.go
//	CreateBinding   | exchange string | queue string | toExchange bool | routingKey string | matchAny bool | withX bool
//	                | list of (key string | value string) | list of present string | arguments string |
//	DeleteBinding   as CreateBinding
//	CreateTopic     and what else is about one topic: topic.go
//	AddPartitions   | name string | total u32 |
//	Delete          | name string | ifUnused bool | ifEmpty bool |
//	Describe        | kind u8 | list of name string | after string | max u32 |
//	Created         | index u64 | existed bool | name string | messages u64 |     (answers all but Describe)
//	Define, Undefine: definition.go
//
// Version ladder: 1, never released; 2 and 3, with the native protocol's versions.

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
	case CmdPurge:
		return "purge"
	case CmdSeek:
		return "seek"
	case CmdAlterTopic:
		return "alter-topic"
	case CmdDeleteRecords:
		return "delete-records"
	case CmdDescribe:
		return "describe"
	case CmdDeleteGroup:
		return "delete-group"
	case CmdResetOffsets:
		return "reset-offsets"
	case CmdSetGroup:
		return "set-group"
	case CmdDeleteOffsets:
		return "delete-offsets"
	case CmdDefine:
		return "define"
	case CmdUndefine:
		return "undefine"
	case CmdAbortTxnal:
		return "abort-transactional"
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
	b = append(wire.AppendString(b, m.Name), byte(m.Type))
	b = wire.AppendBool(wire.AppendBool(wire.AppendBool(b, m.Durable), m.AutoDelete), m.Internal)
	b = wire.AppendString(wire.AppendString(b, m.Alternate), m.HashHeader)
	return wire.AppendString(wire.AppendBool(b, m.Delayed), m.Arguments)
}

// ReadExchange reads a CreateExchange that others follow.
func ReadExchange(c *wire.Cursor) CreateExchange {
	return CreateExchange{
		Name: c.String(), Type: ExchangeType(c.U8()), Durable: c.Bool(), AutoDelete: c.Bool(), Internal: c.Bool(),
		Alternate: c.String(), HashHeader: c.String(), Delayed: c.Bool(), Arguments: c.String(),
	}
}

// DecodeCreateExchange reads a body, as do the other functions of such a name.
func DecodeCreateExchange(b []byte) (CreateExchange, error) {
	c := wire.Read(b)
	m := ReadExchange(&c)
	return m, c.Done("create exchange")
}

// Append appends the encoded body.
func (m *CreateBinding) Append(b []byte) []byte {
	b = wire.AppendString(wire.AppendString(b, m.Exchange), m.Queue)
	b = wire.AppendString(wire.AppendBool(b, m.ToExchange), m.RoutingKey)
	b = wire.AppendBool(wire.AppendBool(b, m.MatchAny), m.WithX)
	return wire.AppendString(appendNames(ipc.AppendHeaders(b, m.Headers), m.Present), m.Arguments)
}

// ReadBinding reads a CreateBinding that others follow.
func ReadBinding(c *wire.Cursor) CreateBinding {
	m := CreateBinding{
		Exchange: c.String(), Queue: c.String(), ToExchange: c.Bool(), RoutingKey: c.String(),
		MatchAny: c.Bool(), WithX: c.Bool(),
	}
	m.Headers = ipc.ReadHeaders(c)
	m.Present, m.Arguments = readNames(c), c.String()
	return m
}

// DecodeCreateBinding reads a body.
func DecodeCreateBinding(b []byte) (CreateBinding, error) {
	c := wire.Read(b)
	m := ReadBinding(&c)
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
	b = wire.AppendBool(wire.AppendU64(b, m.Index), m.Existed)
	return wire.AppendU64(wire.AppendString(b, m.Name), m.Messages)
}

// DecodeCreated reads a body.
func DecodeCreated(b []byte) (Created, error) {
	c := wire.Read(b)
	m := Created{Index: c.U64(), Existed: c.Bool(), Name: c.String(), Messages: c.U64()}
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
