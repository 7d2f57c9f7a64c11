package ipc

import "github.com/trimq/trimq/protocol/wire"

// TypeTopicChanged is a record from logicsrv to connsrv: forget what you know of a topic.
//
//	TopicChanged   | topic string |
const TypeTopicChanged Type = 85 // TopicChanged

// TopicChanged is told to every event loop after a topic's configuration has changed.
type TopicChanged struct{ Topic string }

// Append appends the record.
func (m *TopicChanged) Append(b []byte) []byte { return wire.AppendString(b, m.Topic) }

// DecodeTopicChanged reads the record.
func DecodeTopicChanged(b []byte) (TopicChanged, error) {
	c := wire.Read(b)
	m := TopicChanged{c.String()}
	return m, done(&c, "topic changed")
}
