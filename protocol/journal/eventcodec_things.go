package journal

// Events that make and end topics, exchanges, queues and bindings. Their bodies are drawn
// at the top of eventcodec.go.

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// maxIndexes bounds the partitions of one event.
const maxIndexes = 1 << 20

func appendIndexes(b []byte, ids []uint64) []byte {
	b = wire.AppendUvarint(b, uint64(len(ids)))
	for _, id := range ids {
		b = wire.AppendU64(b, id)
	}
	return b
}

func decodeIndexes(c *wire.Cursor) []uint64 {
	n := c.Count(8, maxIndexes)
	if n == 0 {
		return nil
	}
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = c.U64()
	}
	return ids
}

// Append appends the event.
func (ev *TopicCreated) Append(b []byte) []byte {
	start := len(b)
	b = beginEvent(b, EvTopicCreated, ev.Pos)
	b = wire.AppendU64(b, ev.ID)
	b = append(b, ev.UUID[:]...)
	b = append(b, byte(ev.Level))
	b = wire.AppendString(b, ev.Name)
	return endEvent(ipc.AppendHeaders(appendIndexes(b, ev.Indexes), ev.Configs), start)
}

// DecodeTopicCreated reads the event's body.
func DecodeTopicCreated(ev Event) (TopicCreated, error) {
	if err := ev.expect(EvTopicCreated); err != nil {
		return TopicCreated{}, err
	}
	c := wire.Read(ev.Body)
	t := TopicCreated{Pos: ev.Pos, ID: c.U64()}
	copy(t.UUID[:], c.Raw(len(t.UUID)))
	t.Level = readLevel(&c)
	t.Name, t.Indexes, t.Configs = c.String(), decodeIndexes(&c), ipc.ReadHeaders(&c)
	return t, eventErr(c.Done("topic created"))
}

func readLevel(c *wire.Cursor) ipc.Level {
	l := ipc.Level(c.U8())
	if l > ipc.LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
	return l
}

// Append appends the event.
func (ev *TopicDeleted) Append(b []byte) []byte {
	return appendIDEvent(b, EvTopicDeleted, ev.Pos, ev.ID)
}

// DecodeTopicDeleted reads the event's body.
func DecodeTopicDeleted(ev Event) (TopicDeleted, error) {
	id, err := decodeIDEvent(ev, EvTopicDeleted, "topic deleted")
	return TopicDeleted{ev.Pos, id}, err
}

// Append appends the event.
func (ev *PartitionsAdded) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvPartitionsAdded, ev.Pos), ev.ID)
	return endEvent(appendIndexes(b, ev.Indexes), start)
}

// DecodePartitionsAdded reads the event's body.
func DecodePartitionsAdded(ev Event) (PartitionsAdded, error) {
	if err := ev.expect(EvPartitionsAdded); err != nil {
		return PartitionsAdded{}, err
	}
	c := wire.Read(ev.Body)
	p := PartitionsAdded{Pos: ev.Pos, ID: c.U64()}
	p.Indexes = decodeIndexes(&c)
	return p, eventErr(c.Done("partitions added"))
}

// Append appends the event.
func (ev *ExchangeCreated) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvExchangeCreated, ev.Pos), ev.ID)
	return endEvent(ev.Exchange.Append(b), start)
}

// DecodeExchangeCreated reads the event's body.
func DecodeExchangeCreated(ev Event) (ExchangeCreated, error) {
	if err := ev.expect(EvExchangeCreated); err != nil {
		return ExchangeCreated{}, err
	}
	c := wire.Read(ev.Body)
	x := ExchangeCreated{Pos: ev.Pos, ID: c.U64(), Exchange: admin.ReadExchange(&c)}
	return x, eventErr(c.Done("exchange created"))
}

// Append appends the event.
func (ev *ExchangeDeleted) Append(b []byte) []byte {
	return appendIDEvent(b, EvExchangeDeleted, ev.Pos, ev.ID)
}

// DecodeExchangeDeleted reads the event's body.
func DecodeExchangeDeleted(ev Event) (ExchangeDeleted, error) {
	id, err := decodeIDEvent(ev, EvExchangeDeleted, "exchange deleted")
	return ExchangeDeleted{ev.Pos, id}, err
}

// Append appends the event.
func (ev *QueueCreated) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvQueueCreated, ev.Pos), ev.Queue)
	b = ev.Settings.AppendSettings(wire.AppendString(append(b, byte(ev.Level)), ev.Name))
	b = wire.AppendUvarint(ev.Owner.append(b), uint64(len(ev.Starts)))
	for _, s := range ev.Starts {
		b = wire.AppendU64(wire.AppendU64(b, s.Index), s.Offset)
	}
	return endEvent(b, start)
}

// DecodeQueueCreated reads the event's body.
func DecodeQueueCreated(ev Event) (QueueCreated, error) {
	if err := ev.expect(EvQueueCreated); err != nil {
		return QueueCreated{}, err
	}
	c := wire.Read(ev.Body)
	q := QueueCreated{Pos: ev.Pos, Queue: c.U64(), Level: readLevel(&c), Name: c.String(), Settings: admin.ReadSettings(&c)}
	q.Owner = readOwner(&c)
	if n := c.Count(16, maxIndexes); n > 0 {
		q.Starts = make([]admin.SeekTo, n)
	}
	for i := range q.Starts {
		q.Starts[i] = admin.SeekTo{Index: c.U64(), Offset: c.U64()}
	}
	return q, eventErr(c.Done("queue created"))
}

// Append appends the event.
func (ev *QueueDeleted) Append(b []byte) []byte {
	start := len(b)
	return endEvent(wire.AppendU64(wire.AppendU64(beginEvent(b, EvQueueDeleted, ev.Pos), ev.Queue), ev.Messages), start)
}

// DecodeQueueDeleted reads the event's body.
func DecodeQueueDeleted(ev Event) (QueueDeleted, error) {
	if err := ev.expect(EvQueueDeleted); err != nil {
		return QueueDeleted{}, err
	}
	c := wire.Read(ev.Body)
	q := QueueDeleted{ev.Pos, c.U64(), c.U64()}
	return q, eventErr(c.Done("queue deleted"))
}

// Append appends the event.
func (ev *BindingCreated) Append(b []byte) []byte {
	return appendBinding(b, EvBindingCreated, ev.Pos, &ev.Binding)
}

// DecodeBindingCreated reads the event's body.
func DecodeBindingCreated(ev Event) (BindingCreated, error) {
	binding, err := decodeBinding(ev, EvBindingCreated)
	return BindingCreated{ev.Pos, binding}, err
}

// Append appends the event.
func (ev *BindingDeleted) Append(b []byte) []byte {
	return appendBinding(b, EvBindingDeleted, ev.Pos, &ev.Binding)
}

// DecodeBindingDeleted reads the event's body.
func DecodeBindingDeleted(ev Event) (BindingDeleted, error) {
	binding, err := decodeBinding(ev, EvBindingDeleted)
	return BindingDeleted{ev.Pos, binding}, err
}
