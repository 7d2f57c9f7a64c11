package admin

// Topics, their configuration, and where their partitions begin. Bodies, as in codec.go:
//
//	CreateTopic     | name string | partitions u32 | level u8 | retentionBytes i64 | retentionMS i64 | list of (key string | value string) |
//	AlterTopic      | name string | replace bool | list of (op u8 | key string | value string) |
//	DeleteRecords   | list of (index u64 | offset u64) |

import (
	"fmt"
	"strconv"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
	"github.com/trimq/trimq/protocol/wire"
)

// CreateTopic makes a topic with partitions 0 … Partitions-1.
type CreateTopic struct {
	Name           string
	Partitions     uint32
	Level          ipc.Level
	RetentionBytes int64 // each partition; 0: no limit
	RetentionMS    int64
	Configs        []ipc.Header // keys of package topicconf; they count before the two fields
}

// Configuration is all that a new topic's configuration is to say.
func (m *CreateTopic) Configuration() ([]ipc.Header, error) {
	var changes []topicconf.Change
	for _, limit := range []struct {
		key string
		n   int64
	}{{topicconf.RetentionBytes, m.RetentionBytes}, {topicconf.RetentionMS, m.RetentionMS}} {
		switch {
		case limit.n < 0:
			return nil, fmt.Errorf("%s = %d: want a number above 0, or 0 for no limit", limit.key, limit.n)
		case limit.n > 0:
			changes = append(changes, topicconf.Change{Key: limit.key, Value: strconv.FormatInt(limit.n, 10)})
		}
	}
	list, err := topicconf.Apply(nil, false, changes)
	if err != nil {
		return nil, err
	}
	return topicconf.Apply(list, false, topicconf.Sets(m.Configs))
}

// AlterTopic changes the configuration of a topic: all of the changes, or none.
type AlterTopic struct {
	Name    string
	Replace bool // keys that are not named get their defaults
	Changes []topicconf.Change
}

// DeleteRecords lets partitions begin at later offsets: what lies below goes.
type DeleteRecords struct{ To []SeekTo }

// Append appends the encoded body.
func (m *CreateTopic) Append(b []byte) []byte {
	b = wire.AppendString(b, m.Name)
	b = wire.AppendU32(b, m.Partitions)
	b = append(b, byte(m.Level))
	b = wire.AppendU64(b, uint64(m.RetentionBytes))
	b = wire.AppendU64(b, uint64(m.RetentionMS))
	return ipc.AppendHeaders(b, m.Configs)
}

// DecodeCreateTopic reads a body.
func DecodeCreateTopic(b []byte) (CreateTopic, error) {
	c := wire.Read(b)
	m := CreateTopic{Name: c.String(), Partitions: c.U32(), Level: readLevel(&c)}
	m.RetentionBytes, m.RetentionMS = c.I64(), c.I64()
	m.Configs = ipc.ReadHeaders(&c)
	return m, c.Done("create topic")
}

// Append appends the encoded body.
func (m *AlterTopic) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendString(b, m.Name), m.Replace)
	b = wire.AppendUvarint(b, uint64(len(m.Changes)))
	for i := range m.Changes {
		g := &m.Changes[i]
		b = wire.AppendString(wire.AppendString(append(b, byte(g.Op)), g.Key), g.Value)
	}
	return b
}

// DecodeAlterTopic reads a body.
func DecodeAlterTopic(b []byte) (AlterTopic, error) {
	c := wire.Read(b)
	m := AlterTopic{Name: c.String(), Replace: c.Bool()}
	if n := c.Count(3, ipc.MaxHeaders); n > 0 {
		m.Changes = make([]topicconf.Change, n)
	}
	for i := range m.Changes {
		m.Changes[i] = topicconf.Change{Op: topicconf.Op(c.U8()), Key: c.String(), Value: c.String()}
	}
	return m, c.Done("alter topic")
}

// Append appends the encoded body.
func (m *DeleteRecords) Append(b []byte) []byte { return appendSeeks(b, m.To) }

// DecodeDeleteRecords reads a body.
func DecodeDeleteRecords(b []byte) (DeleteRecords, error) {
	c := wire.Read(b)
	m := DeleteRecords{readSeeks(&c)}
	return m, c.Done("delete records")
}
