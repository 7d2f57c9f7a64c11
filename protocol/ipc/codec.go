package ipc

// Records off the message path, read and written field by field. Little-endian; head is
// epoch u64 | conn u64 | req u64; a string or bytes is a uvarint length and so many bytes;
// a list is a uvarint count and its elements; a bool is a byte, 0 or 1. No padding.
//
//	Hello          | head | loops u32 |
//	InitProducer   | head | producer i64 | epoch i16 |
//	Producer       | head | producer i64 | epoch i16 |
//	Admin          | head | command u16 | body bytes |
//	AdminReply     | head | command u16 | body bytes |
//	Unwait         | head | target u64 |
//	Subscribe      | head | sub u64 | queue u64 | limit u64 | consumer |
//	Subscribed     | head | sub u64 | filter |
//	Unsubscribe    | head | sub u64 | keep bool |
//	SubClosed      | head | sub u64 | code u16 | text string |
//	CommitOffsets  | head | group string | level u8 | list of (index u64 | offset u64 | metadata string | leader u32) |
//	FetchOffsets   | head | group string | list of index u64 |
//	OffsetList     | head | list of (index u64 | offset u64 | metadata string | leader u32) |
//	ConnClosed     | head |
//	SubState       | head | term u64 | ask u64 | sub u64 | queue u64 | limit u64 | delivered u64 | consumer | list of (index u64 | first u64 | count u32) |
//	ResyncEnd      | head | term u64 | ask u64 | loop u32 | loops u32 |
//	Marker         | term u64 | ask u64 |
//	Error          | head | code u16 | text string |
//	IndexGone      | index u64 |
//	Defined        | count u64 |
//	CheckpointPart | lsn u64 | resultsFrom u64 | part u32 | parts u32 | bytes, to the end |
//	Configure      | term u64 | part u32 | parts u32 | list of (index u64 | retentionBytes i64 | retentionMS i64) |
//
//	filter         | kind u8 | text string |
//	consumer       | autoAck bool | exclusive bool | puller bool | priority i32 | ackTimeoutMS u64 | tag string |
//
// Those of pulls and transactions are in pull.go and txn.go. Version ladder: as in hot.go.

import (
	"fmt"

	"github.com/trimq/trimq/protocol/wire"
)

// done is the end of every decoder here.
func done(c *wire.Cursor, what string) error {
	if err := c.Done(what); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

func (h *Head) append(b []byte) []byte {
	var e [HeadSize]byte
	h.put(e[:])
	return append(b, e[:]...)
}

func readHead(c *wire.Cursor) Head { return Head{c.U64(), c.U64(), c.U64()} }

// Append appends the record, as do the other methods of this name.
func (m *Hello) Append(b []byte) []byte { return wire.AppendU32(m.append(b), m.Loops) }

// DecodeHello reads the record, as do the other functions of such a name.
func DecodeHello(b []byte) (Hello, error) {
	c := wire.Read(b)
	m := Hello{readHead(&c), c.U32()}
	return m, done(&c, "hello")
}

// Append appends the record.
func (m *InitProducer) Append(b []byte) []byte {
	return wire.AppendU16(wire.AppendU64(m.append(b), uint64(m.ProducerID)), uint16(m.Epoch))
}

// DecodeInitProducer reads the record.
func DecodeInitProducer(b []byte) (InitProducer, error) {
	c := wire.Read(b)
	m := InitProducer{readHead(&c), c.I64(), c.I16()}
	return m, done(&c, "init producer")
}

// Append appends the record.
func (m *Producer) Append(b []byte) []byte {
	return wire.AppendU16(wire.AppendU64(m.append(b), uint64(m.ProducerID)), uint16(m.Epoch))
}

// DecodeProducer reads the record.
func DecodeProducer(b []byte) (Producer, error) {
	c := wire.Read(b)
	m := Producer{readHead(&c), c.I64(), c.I16()}
	return m, done(&c, "producer")
}

// Append appends the record.
func (m *Admin) Append(b []byte) []byte {
	return wire.AppendBytes(wire.AppendU16(m.append(b), m.Command), m.Body)
}

// DecodeAdmin reads the record; Body aliases b.
func DecodeAdmin(b []byte) (Admin, error) {
	c := wire.Read(b)
	m := Admin{readHead(&c), c.U16(), c.Bytes()}
	return m, done(&c, "admin")
}

// Append appends the record.
func (m *AdminReply) Append(b []byte) []byte {
	return wire.AppendBytes(wire.AppendU16(m.append(b), m.Command), m.Body)
}

// DecodeAdminReply reads the record; Body aliases b.
func DecodeAdminReply(b []byte) (AdminReply, error) {
	c := wire.Read(b)
	m := AdminReply{readHead(&c), c.U16(), c.Bytes()}
	return m, done(&c, "admin reply")
}

// Append appends the record.
func (m *Unwait) Append(b []byte) []byte { return wire.AppendU64(m.append(b), m.Target) }

// DecodeUnwait reads the record.
func DecodeUnwait(b []byte) (Unwait, error) {
	c := wire.Read(b)
	m := Unwait{readHead(&c), c.U64()}
	return m, done(&c, "unwait")
}

// Append appends what a consumer wants to be; package admin uses it too.
func (m *Consumer) Append(b []byte) []byte {
	b = wire.AppendBool(wire.AppendBool(b, m.AutoAck), m.Exclusive)
	b = wire.AppendU32(wire.AppendBool(b, m.Puller), uint32(m.Priority))
	return wire.AppendString(wire.AppendU64(b, m.AckTimeoutMS), m.Tag)
}

// ReadConsumer reads it.
func ReadConsumer(c *wire.Cursor) Consumer {
	return Consumer{c.Bool(), c.Bool(), c.Bool(), c.I32(), c.U64(), c.String()}
}

// Append appends the record.
func (m *Subscribe) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Sub), m.Queue)
	return m.Consumer.Append(wire.AppendU64(b, m.Limit))
}

// DecodeSubscribe reads the record.
func DecodeSubscribe(b []byte) (Subscribe, error) {
	c := wire.Read(b)
	m := Subscribe{readHead(&c), c.U64(), c.U64(), c.U64(), ReadConsumer(&c)}
	return m, done(&c, "subscribe")
}

// Append appends the record.
func (m *Subscribed) Append(b []byte) []byte {
	return m.Filter.append(wire.AppendU64(m.append(b), m.Sub))
}

// DecodeSubscribed reads the record.
func DecodeSubscribed(b []byte) (Subscribed, error) {
	c := wire.Read(b)
	m := Subscribed{readHead(&c), c.U64(), readFilter(&c)}
	return m, done(&c, "subscribed")
}

func (m *Filter) append(b []byte) []byte { return wire.AppendString(append(b, m.Kind), m.Text) }

func readFilter(c *wire.Cursor) Filter { return Filter{c.U8(), c.String()} }

// Append appends the record.
func (m *Unsubscribe) Append(b []byte) []byte {
	return wire.AppendBool(wire.AppendU64(m.append(b), m.Sub), m.Keep)
}

// DecodeUnsubscribe reads the record.
func DecodeUnsubscribe(b []byte) (Unsubscribe, error) {
	c := wire.Read(b)
	m := Unsubscribe{readHead(&c), c.U64(), c.Bool()}
	return m, done(&c, "unsubscribe")
}

// Append appends the record.
func (m *SubClosed) Append(b []byte) []byte {
	b = wire.AppendU16(wire.AppendU64(m.append(b), m.Sub), m.Code)
	return wire.AppendString(b, m.Text)
}

// DecodeSubClosed reads the record.
func DecodeSubClosed(b []byte) (SubClosed, error) {
	c := wire.Read(b)
	m := SubClosed{readHead(&c), c.U64(), c.U16(), c.String()}
	return m, done(&c, "sub closed")
}

// Append appends the record.
func (m *CommitOffsets) Append(b []byte) []byte {
	b = append(wire.AppendString(m.append(b), m.Group), byte(m.Level))
	return AppendOffsetCommits(b, m.Offsets)
}

// DecodeCommitOffsets reads the record.
func DecodeCommitOffsets(b []byte) (CommitOffsets, error) {
	c := wire.Read(b)
	m := CommitOffsets{Head: readHead(&c), Group: c.String(), Level: Level(c.U8())}
	if m.Level > LevelQuorum {
		c.Fail(wire.ErrOutOfRange)
	}
	m.Offsets = ReadOffsetCommits(&c)
	return m, done(&c, "commit offsets")
}

// Append appends the record.
func (m *FetchOffsets) Append(b []byte) []byte {
	b = wire.AppendString(m.append(b), m.Group)
	b = wire.AppendUvarint(b, uint64(len(m.Indexes)))
	for _, index := range m.Indexes {
		b = wire.AppendU64(b, index)
	}
	return b
}

// DecodeFetchOffsets reads the record.
func DecodeFetchOffsets(b []byte) (FetchOffsets, error) {
	c := wire.Read(b)
	m := FetchOffsets{Head: readHead(&c), Group: c.String()}
	if n := c.Count(8, MaxOffsets); n > 0 {
		m.Indexes = make([]uint64, n)
	}
	for i := range m.Indexes {
		m.Indexes[i] = c.U64()
	}
	return m, done(&c, "fetch offsets")
}

// Append appends the record.
func (m *OffsetList) Append(b []byte) []byte {
	return AppendOffsetCommits(m.append(b), m.Offsets)
}

// DecodeOffsetList reads the record.
func DecodeOffsetList(b []byte) (OffsetList, error) {
	c := wire.Read(b)
	m := OffsetList{readHead(&c), ReadOffsetCommits(&c)}
	return m, done(&c, "offset list")
}

// Append appends the record.
func (m *ConnClosed) Append(b []byte) []byte { return m.append(b) }

// DecodeConnClosed reads the record.
func DecodeConnClosed(b []byte) (ConnClosed, error) {
	c := wire.Read(b)
	m := ConnClosed{readHead(&c)}
	return m, done(&c, "conn closed")
}

// Append appends the record.
func (m *SubState) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Term), m.Ask)
	b = wire.AppendU64(wire.AppendU64(b, m.Sub), m.Queue)
	b = wire.AppendU64(wire.AppendU64(b, m.Limit), m.Delivered)
	b = wire.AppendUvarint(m.Consumer.Append(b), uint64(len(m.InHand)))
	for i := range m.InHand {
		b = wire.AppendU64(b, m.InHand[i].Index)
		b = appendRange(b, m.InHand[i].Range)
	}
	return b
}

// DecodeSubState reads the record.
func DecodeSubState(b []byte) (SubState, error) {
	c := wire.Read(b)
	m := SubState{
		Head: readHead(&c), Term: c.U64(), Ask: c.U64(), Sub: c.U64(), Queue: c.U64(),
		Limit: c.U64(), Delivered: c.U64(), Consumer: ReadConsumer(&c),
	}
	if n := c.Count(8+rangeSize, 1<<24); n > 0 {
		m.InHand = make([]Held, n)
	}
	for i := range m.InHand {
		m.InHand[i] = Held{c.U64(), readRange(&c)}
	}
	return m, done(&c, "sub state")
}

// Append appends the record.
func (m *ResyncEnd) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(m.append(b), m.Term), m.Ask)
	return wire.AppendU32(wire.AppendU32(b, m.Loop), m.Loops)
}

// DecodeResyncEnd reads the record.
func DecodeResyncEnd(b []byte) (ResyncEnd, error) {
	c := wire.Read(b)
	m := ResyncEnd{readHead(&c), c.U64(), c.U64(), c.U32(), c.U32()}
	return m, done(&c, "resync end")
}

// Append appends the record.
func (m *Marker) Append(b []byte) []byte {
	return wire.AppendU64(wire.AppendU64(b, m.Term), m.Ask)
}

// DecodeMarker reads the record.
func DecodeMarker(b []byte) (Marker, error) {
	c := wire.Read(b)
	m := Marker{c.U64(), c.U64()}
	return m, done(&c, "marker")
}

// Append appends the record.
func (m *Error) Append(b []byte) []byte {
	return wire.AppendString(wire.AppendU16(m.append(b), m.Code), m.Text)
}

// DecodeError reads the record.
func DecodeError(b []byte) (Error, error) {
	c := wire.Read(b)
	m := Error{readHead(&c), c.U16(), c.String()}
	return m, done(&c, "error")
}

// Append appends the record.
func (m *Defined) Append(b []byte) []byte { return wire.AppendU64(b, m.Count) }

// DecodeDefined reads the record.
func DecodeDefined(b []byte) (Defined, error) {
	c := wire.Read(b)
	m := Defined{c.U64()}
	return m, done(&c, "defined")
}

// Append appends the record.
func (m *IndexGone) Append(b []byte) []byte { return wire.AppendU64(b, m.Index) }

// DecodeIndexGone reads the record.
func DecodeIndexGone(b []byte) (IndexGone, error) {
	c := wire.Read(b)
	m := IndexGone{c.U64()}
	return m, done(&c, "index gone")
}

// CheckpointPartFixed is the size of a CheckpointPart without its bytes.
const CheckpointPartFixed = 24

// Append appends the record.
func (m *CheckpointPart) Append(b []byte) []byte {
	b = wire.AppendU64(wire.AppendU64(b, m.LSN), m.ResultsFrom)
	b = wire.AppendU32(wire.AppendU32(b, m.Part), m.Parts)
	return append(b, m.Bytes...)
}

// DecodeCheckpointPart reads the record; Bytes aliases b.
func DecodeCheckpointPart(b []byte) (CheckpointPart, error) {
	c := wire.Read(b)
	m := CheckpointPart{LSN: c.U64(), ResultsFrom: c.U64(), Part: c.U32(), Parts: c.U32()}
	if m.Part >= m.Parts {
		c.Fail(wire.ErrOutOfRange)
	}
	m.Bytes = c.Raw(c.Left())
	return m, done(&c, "checkpoint part")
}

// Append appends the record. REQUIRES: no index of it is compacted.
func (m *Configure) Append(b []byte) []byte { return m.append(b, false) }

// Append appends the record.
func (m *ConfigureCompacted) Append(b []byte) []byte { return (*Configure)(m).append(b, true) }

func (m *Configure) append(b []byte, compacted bool) []byte {
	b = wire.AppendU32(wire.AppendU32(wire.AppendU64(b, m.Term), m.Part), m.Parts)
	b = wire.AppendUvarint(b, uint64(len(m.Settings)))
	for i := range m.Settings {
		s := &m.Settings[i]
		b = wire.AppendU64(b, s.Index)
		b = wire.AppendU64(wire.AppendU64(b, uint64(s.RetentionBytes)), uint64(s.RetentionMS))
		if compacted {
			b = s.Compaction.append(b)
		}
	}
	return b
}

// append encodes it: a byte that says whether the rest is there.
func (m *Compaction) append(b []byte) []byte {
	if !m.On {
		return append(b, 0)
	}
	b = append(b, 1)
	for _, v := range []int64{m.DirtyPPM, m.MinLagMS, m.MaxLagMS, m.TombstoneMS, m.ClosingMS, m.ClosingBytes} {
		b = wire.AppendU64(b, uint64(v))
	}
	return b
}

func readCompaction(c *wire.Cursor) (m Compaction) {
	switch c.U8() {
	case 0:
		return m
	case 1:
		m.On = true
	default:
		c.Fail(wire.ErrOutOfRange)
	}
	for _, v := range []*int64{&m.DirtyPPM, &m.MinLagMS, &m.MaxLagMS, &m.TombstoneMS, &m.ClosingMS, &m.ClosingBytes} {
		*v = c.I64()
	}
	return m
}

// DecodeConfigure reads the record.
func DecodeConfigure(b []byte) (Configure, error) { return decodeConfigure(b, false) }

// DecodeConfigureCompacted reads the record.
func DecodeConfigureCompacted(b []byte) (ConfigureCompacted, error) {
	m, err := decodeConfigure(b, true)
	return ConfigureCompacted(m), err
}

func decodeConfigure(b []byte, compacted bool) (Configure, error) {
	c := wire.Read(b)
	m := Configure{Term: c.U64(), Part: c.U32(), Parts: c.U32()}
	if m.Part >= m.Parts {
		c.Fail(wire.ErrOutOfRange)
	}
	if n := c.Count(24, 1<<24); n > 0 {
		m.Settings = make([]IndexSettings, n)
	}
	for i := range m.Settings {
		m.Settings[i] = IndexSettings{Index: c.U64(), RetentionBytes: c.I64(), RetentionMS: c.I64()}
		if compacted {
			m.Settings[i].Compaction = readCompaction(&c)
		}
	}
	return m, done(&c, "configure")
}
