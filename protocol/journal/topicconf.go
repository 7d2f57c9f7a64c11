package journal

// What becomes of a topic after it was made. Bodies, as in eventcodec.go:
//
//	TopicConfigured   | id u64 | list of (key string | value string) |
//	RecordsDeleted    | list of (index u64 | offset u64) |

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Types of these events.
const (
	EvTopicConfigured EventType = 58 // TopicConfigured
	EvRecordsDeleted  EventType = 59 // RecordsDeleted
)

// TopicConfigured: this is all of the topic's configuration now.
type TopicConfigured struct {
	Pos     uint64
	ID      uint64
	Configs []ipc.Header
}

// RecordsDeleted: partitions begin at these offsets now; persistsrv is told by the entry's operations.
type RecordsDeleted struct {
	Pos uint64
	To  []IndexOffset
}

// IndexOffset is a place in an index.
type IndexOffset struct{ Index, Offset uint64 }

// Append appends the event.
func (ev *TopicConfigured) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvTopicConfigured, ev.Pos), ev.ID)
	return endEvent(ipc.AppendHeaders(b, ev.Configs), start)
}

// DecodeTopicConfigured reads the event's body.
func DecodeTopicConfigured(ev Event) (TopicConfigured, error) {
	if err := ev.expect(EvTopicConfigured); err != nil {
		return TopicConfigured{}, err
	}
	c := wire.Read(ev.Body)
	t := TopicConfigured{ev.Pos, c.U64(), ipc.ReadHeaders(&c)}
	return t, eventErr(c.Done("topic configured"))
}

// Append appends the event.
func (ev *RecordsDeleted) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendUvarint(beginEvent(b, EvRecordsDeleted, ev.Pos), uint64(len(ev.To)))
	for _, to := range ev.To {
		b = wire.AppendU64(wire.AppendU64(b, to.Index), to.Offset)
	}
	return endEvent(b, start)
}

// DecodeRecordsDeleted reads the event's body.
func DecodeRecordsDeleted(ev Event) (RecordsDeleted, error) {
	if err := ev.expect(EvRecordsDeleted); err != nil {
		return RecordsDeleted{}, err
	}
	c := wire.Read(ev.Body)
	d := RecordsDeleted{Pos: ev.Pos}
	if n := c.Count(16, MaxHeadBytes/16); n > 0 {
		d.To = make([]IndexOffset, n)
	}
	for i := range d.To {
		d.To[i] = IndexOffset{c.U64(), c.U64()}
	}
	return d, eventErr(c.Done("records deleted"))
}
