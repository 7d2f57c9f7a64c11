package journal

// Bodies of the events (the header is drawn in eventreader.go; all little-endian, a
// string is a uvarint length and its bytes, a list a uvarint count and its elements):
//
//	Appended          | index u64 | base u64 | count u32 | baseSeq i32 | producer i64 | epoch i16 | 0 ×6 |
//	Routed            | exchange u64 | count u32 | baseSeq i32 | producer i64 | epoch i16 | weight u32 | ttlMS i64 | full u32 | list of (index u64 | base u64) | note | check u32 |
//	Acked             | queue u64 | index u64 | conn u64 | sub u64 | reason u8 | 0 ×3 | ranges u32 | (first u64 | count u32)… |
//	Returned          | queue u64 | index u64 | reason u8 | 0 ×3 | ranges u32 | (first u64 | count u32)… |
//	ProducerCreated   | producer i64 | epoch i16 |
//	OffsetsCommitted  | group string | list of (index u64 | offset u64 | metadata string | leader u32) |
//	Rejected          | code u16 | text string |
//	Duplicate         | index u64 | base u64 | queues u32 | full u32 |
//	Unchanged         | index u64 |
//	TopicCreated      | id u64 | uuid 16 | level u8 | name string | list of index u64 | list of (key string | value string) |
//	TopicDeleted      | id u64 |
//	PartitionsAdded   | id u64 | list of index u64 |
//	ExchangeCreated   | id u64 | admin.CreateExchange |
//	ExchangeDeleted   | id u64 |
//	QueueCreated      | queue u64 | level u8 | name string | settings (admin) | nonce u64 | epoch u64 | conn u64 | list of (index u64 | offset u64) |
//	QueueDeleted      | queue u64 | messages u64 |
//	BindingCreated    | admin.CreateBinding |
//	BindingDeleted    | admin.CreateBinding |
//	Defined           | base u64 | admin.Definition | (definition.go)
//	Undefined         | admin.Definition, without values |
//	ProducersExpired  | list of producer i64 | (expired.go)
//
// The others that queues have are in eventcodec_queues.go, those that topics have in topicconf.go; note and check are drawn in notebody.go.

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

const (
	appendedBody = 40
	// AppendedSize is the encoded size of an Appended event.
	AppendedSize = EventHeaderSize + appendedBody
)

// Append appends the event. It allocates nothing where b has room, as do those below.
func (ev *Appended) Append(b []byte) []byte {
	var e [AppendedSize]byte
	binary.LittleEndian.PutUint64(e[0:], uint64(EvAppended)<<32|appendedBody)
	binary.LittleEndian.PutUint64(e[8:], ev.Pos)
	binary.LittleEndian.PutUint64(e[16:], ev.Index)
	binary.LittleEndian.PutUint64(e[24:], ev.Base)
	binary.LittleEndian.PutUint32(e[32:], ev.Count)
	binary.LittleEndian.PutUint32(e[36:], uint32(ev.BaseSeq))
	binary.LittleEndian.PutUint64(e[40:], uint64(ev.ProducerID))
	binary.LittleEndian.PutUint16(e[48:], uint16(ev.Epoch))
	return append(b, e[:]...)
}

// DecodeAppended reads the event's body.
func DecodeAppended(ev Event) (Appended, error) {
	b := ev.Body
	if ev.Type != EvAppended || len(b) != appendedBody ||
		binary.LittleEndian.Uint64(b[32:])>>16 != 0 {
		return Appended{}, ErrEvent
	}
	return Appended{
		Pos:        ev.Pos,
		Index:      binary.LittleEndian.Uint64(b[0:]),
		Base:       binary.LittleEndian.Uint64(b[8:]),
		Count:      binary.LittleEndian.Uint32(b[16:]),
		BaseSeq:    int32(binary.LittleEndian.Uint32(b[20:])),
		ProducerID: int64(binary.LittleEndian.Uint64(b[24:])),
		Epoch:      int16(binary.LittleEndian.Uint16(b[32:])),
	}, nil
}

// Append appends the event.
func (ev *Routed) Append(b []byte) []byte {
	start := len(b)
	b = ev.Sent.append(beginEvent(b, EvRouted, ev.Pos))
	b = appendTargets(wire.AppendU32(wire.AppendU32(b, ev.Full), ev.Dying), ev.Targets)
	return endNoted(AppendNoteBody(b, &ev.Note), start)
}

// DecodeRouted reads the event's body.
func DecodeRouted(ev Event) (r Routed, err error) {
	if err = r.Decode(ev); err == nil {
		r.Note, err = DecodeNote(ev)
	}
	return r, err
}

// Decode is DecodeRouted into the memory that Targets has, and without the note, which
// apply has no use for.
func (r *Routed) Decode(ev Event) error {
	targets := r.Targets[:0]
	*r = Routed{Pos: ev.Pos}
	if err := ev.expect(EvRouted); err != nil {
		return err
	}
	c := wire.Read(ev.Body)
	r.Sent, r.Full, r.Dying = readSent(&c), c.U32(), c.U32()
	r.Targets = readTargets(&c, targets)
	if r.Dying > r.Full || uint64(r.Dying) > uint64(len(r.Targets)) {
		c.Fail(wire.ErrOutOfRange)
	}
	return eventErr(c.Ok("routed"))
}

// fixedCount reads a u32 count of elements of exactly size bytes that fill the rest.
func fixedCount(c *wire.Cursor, size int) int {
	n := uint64(c.U32())
	if n*uint64(size) != uint64(c.Left()) {
		c.Fail(wire.ErrShort)
		return 0
	}
	return int(n)
}

func appendRanges(b []byte, ranges []ipc.Range) []byte {
	b = wire.AppendU32(b, uint32(len(ranges)))
	for i := range ranges {
		b = wire.AppendU64(b, ranges[i].First)
		b = wire.AppendU32(b, ranges[i].Count)
	}
	return b
}

func decodeRanges(c *wire.Cursor, ranges []ipc.Range) []ipc.Range {
	n := fixedCount(c, 12)
	for i := 0; i < n; i++ {
		ranges = append(ranges, ipc.Range{First: c.U64(), Count: c.U32()})
	}
	return ranges
}

// Append appends the event.
func (ev *Acked) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvAcked, ev.Pos), ev.Queue)
	b = wire.AppendU64(b, ev.Index)
	b = wire.AppendU64(wire.AppendU64(b, ev.Conn), ev.Sub)
	b = wire.AppendU32(b, uint32(ev.Reason))
	return endEvent(appendRanges(b, ev.Ranges), start)
}

// DecodeAcked reads the event's body.
func DecodeAcked(ev Event) (a Acked, err error) { err = a.Decode(ev); return a, err }

// Decode is DecodeAcked into the memory that Ranges has.
func (a *Acked) Decode(ev Event) error {
	ranges := a.Ranges[:0]
	*a = Acked{Pos: ev.Pos}
	if err := ev.expect(EvAcked); err != nil {
		return err
	}
	c := wire.Read(ev.Body)
	a.Queue, a.Index, a.Conn, a.Sub, a.Reason = c.U64(), c.U64(), c.U64(), c.U64(), ipc.Reason(c.U8())
	c.Zero(3)
	a.Ranges = decodeRanges(&c, ranges)
	if a.Reason != ipc.ReasonAcked && a.Reason != ipc.ReasonSkipped && !a.Reason.Kills() {
		c.Fail(wire.ErrOutOfRange)
	}
	return eventErr(c.Done("acked"))
}

// Append appends the event.
func (ev *Returned) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvReturned, ev.Pos), ev.Queue)
	b = wire.AppendU32(wire.AppendU64(b, ev.Index), uint32(ev.Reason))
	return endEvent(appendRanges(b, ev.Ranges), start)
}

// DecodeReturned reads the event's body.
func DecodeReturned(ev Event) (r Returned, err error) { err = r.Decode(ev); return r, err }

// Decode is DecodeReturned into the memory that Ranges has.
func (r *Returned) Decode(ev Event) error {
	ranges := r.Ranges[:0]
	*r = Returned{Pos: ev.Pos}
	if err := ev.expect(EvReturned); err != nil {
		return err
	}
	c := wire.Read(ev.Body)
	r.Queue, r.Index, r.Reason = c.U64(), c.U64(), ipc.Reason(c.U8())
	c.Zero(3)
	r.Ranges = decodeRanges(&c, ranges)
	if !r.Reason.Returns() {
		c.Fail(wire.ErrOutOfRange)
	}
	return eventErr(c.Done("returned"))
}

// Append appends the event.
func (ev *ProducerCreated) Append(b []byte) []byte {
	start := len(b)
	b = beginEvent(b, EvProducerCreated, ev.Pos)
	b = wire.AppendU64(b, uint64(ev.ProducerID))
	b = wire.AppendU16(b, uint16(ev.Epoch))
	return endEvent(b, start)
}

// DecodeProducerCreated reads the event's body.
func DecodeProducerCreated(ev Event) (ProducerCreated, error) {
	if err := ev.expect(EvProducerCreated); err != nil {
		return ProducerCreated{}, err
	}
	c := wire.Read(ev.Body)
	p := ProducerCreated{Pos: ev.Pos, ProducerID: c.I64(), Epoch: c.I16()}
	return p, eventErr(c.Done("producer created"))
}

// Append appends the event.
func (ev *OffsetsCommitted) Append(b []byte) []byte {
	start := len(b)
	b = beginEvent(b, EvOffsetsCommitted, ev.Pos)
	b = wire.AppendString(b, ev.Group)
	return endEvent(ipc.AppendOffsetCommits(b, ev.Offsets), start)
}

// DecodeOffsetsCommitted reads the event's body.
func DecodeOffsetsCommitted(ev Event) (OffsetsCommitted, error) {
	if err := ev.expect(EvOffsetsCommitted); err != nil {
		return OffsetsCommitted{}, err
	}
	c := wire.Read(ev.Body)
	o := OffsetsCommitted{Pos: ev.Pos, Group: c.String()}
	o.Offsets = ipc.ReadOffsetCommits(&c)
	return o, eventErr(c.Done("offsets committed"))
}

// Append appends the event.
func (ev *Rejected) Append(b []byte) []byte {
	start := len(b)
	b = beginEvent(b, EvRejected, ev.Pos)
	b = wire.AppendU16(b, uint16(ev.Code))
	b = wire.AppendString(b, ev.Text)
	return endEvent(b, start)
}

// DecodeRejected reads the event's body.
func DecodeRejected(ev Event) (Rejected, error) {
	if err := ev.expect(EvRejected); err != nil {
		return Rejected{}, err
	}
	c := wire.Read(ev.Body)
	r := Rejected{Pos: ev.Pos, Code: errcode.Code(c.U16()), Text: c.String()}
	return r, eventErr(c.Done("rejected"))
}

// Append appends the event.
func (ev *Duplicate) Append(b []byte) []byte {
	start := len(b)
	b = beginEvent(b, EvDuplicate, ev.Pos)
	b = wire.AppendU64(b, ev.Index)
	b = wire.AppendU64(b, ev.Base)
	b = wire.AppendU32(wire.AppendU32(b, ev.Queues), ev.Full)
	return endEvent(b, start)
}

// DecodeDuplicate reads the event's body.
func DecodeDuplicate(ev Event) (Duplicate, error) {
	if err := ev.expect(EvDuplicate); err != nil {
		return Duplicate{}, err
	}
	c := wire.Read(ev.Body)
	d := Duplicate{Pos: ev.Pos, Index: c.U64(), Base: c.U64(), Queues: c.U32(), Full: c.U32()}
	return d, eventErr(c.Done("duplicate"))
}

// Append appends the event.
func (ev *Unchanged) Append(b []byte) []byte {
	return appendIDEvent(b, EvUnchanged, ev.Pos, ev.Index)
}

// DecodeUnchanged reads the event's body.
func DecodeUnchanged(ev Event) (Unchanged, error) {
	index, err := decodeIDEvent(ev, EvUnchanged, "unchanged")
	return Unchanged{ev.Pos, index}, err
}

// appendIDEvent is the encoding of all events that are one number.
func appendIDEvent(b []byte, typ EventType, pos, id uint64) []byte {
	start := len(b)
	return endEvent(wire.AppendU64(beginEvent(b, typ, pos), id), start)
}

func decodeIDEvent(ev Event, typ EventType, what string) (uint64, error) {
	if err := ev.expect(typ); err != nil {
		return 0, err
	}
	c := wire.Read(ev.Body)
	id := c.U64()
	return id, eventErr(c.Done(what))
}

// appendBinding and decodeBinding serve BindingCreated and BindingDeleted.
func appendBinding(b []byte, typ EventType, pos uint64, binding *admin.CreateBinding) []byte {
	start := len(b)
	return endEvent(binding.Append(beginEvent(b, typ, pos)), start)
}

func decodeBinding(ev Event, typ EventType) (admin.CreateBinding, error) {
	if err := ev.expect(typ); err != nil {
		return admin.CreateBinding{}, err
	}
	binding, err := admin.DecodeCreateBinding(ev.Body)
	return binding, eventErr(err)
}
