package ipc

// Records of the message path: fixed offsets, no allocation. Little-endian; a ring aligns
// a payload to 16 bytes, so every field here is aligned. Padding (0 ×n) is zero.
//
//	Append    | epoch u64 | conn u64 | req u64 | index u64                  |  0
//	          | producer i64 | maxTimeMS i64                                | 32
//	          | count u32 | crc u32 | length u32 | baseSeq i32              | 48
//	          | producerEpoch i16 | level u8 | txnal u8 | 0 ×4 | txn u64     | 64
//	          | batch, length bytes                                         | 80
//
//	Publish   | epoch u64 | conn u64 | req u64                              |  0
//	          | producer i64 | maxTimeMS i64                                | 24
//	          | count u32 | crc u32 | length u32 | baseSeq i32              | 40
//	          | producerEpoch i16 | level u8 | mandatory bool | bodyOff u32 | 56
//	          | txn u64 | dueMS i64 | ttlMS i64                             | 64
//	          | weight u32 | priority u8 | flags u8 | 0 ×2                    | 88
//	          | exchange string | routingKey string | list of (key string | value string) |
//	          | list of more keys string, with the flag | 0 … to a multiple of 8 | 96
//	          | batch, length bytes                                         | bodyOff
//
//	Appended  | epoch u64 | conn u64 | req u64 | index u64 | base u64 | duplicate bool | 0 ×7 |
//	Published | epoch u64 | conn u64 | req u64 | queues u32 | full u32 | duplicate bool | 0 ×7 |
//	Wait      | epoch u64 | conn u64 | req u64 | index u64 | beyond u64 |
//	Visible   | epoch u64 | conn u64 | req u64 | index u64 | end u64 |
//	Credit    | epoch u64 | conn u64 | req u64 | sub u64 | limit u64 |
//	Deliver   | epoch u64 | conn u64 | req u64 | sub u64 | index u64 | first u64 | count u32 | attempts u16 | 0 ×2 |
//	Ack       | epoch u64 | conn u64 | req u64 | sub u64 | queue u64 | index u64 | lease u64 | verdict u8 | 0 | recalls u16 | ranges u32 | (first u64 | count u32)… |
//	Done      | epoch u64 | conn u64 | req u64 |
//
// Version ladder: 1, never released; 2: queues of many indexes, leases, transactions; 3, the first: leader epochs of committed offsets, and all else (docs/formats/ipc.md).
// The rings' header carries the version; all daemons of one broker are
// of one build while they run, but a record may have been written by the build before.

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/wire"
)

// Sizes of records, for claims of ring space.
const (
	HeadSize      = 24
	AppendSize    = 80 // the encoded Append; the batch follows
	publishFixed  = 96
	AppendedSize  = 48
	PublishedSize = 40
	WaitSize      = 40
	VisibleSize   = 40
	CreditSize    = 40
	DeliverSize   = 56
	ackFixed      = 64
	rangeSize     = 12
)

// ErrMalformed is wrapped by every error of a record's decoding.
var ErrMalformed = errors.New("malformed record")

var le = binary.LittleEndian

// malformed names the record that could not be decoded.
func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func (h *Head) put(b []byte) {
	le.PutUint64(b[0:], h.Epoch)
	le.PutUint64(b[8:], h.Conn)
	le.PutUint64(b[16:], h.Req)
}

func getHead(b []byte) Head {
	return Head{le.Uint64(b), le.Uint64(b[8:]), le.Uint64(b[16:])}
}

// PeekHead reads the Head of any record that has one, so that even a record that cannot be
// decoded can be answered.
func PeekHead(b []byte) (Head, bool) {
	if len(b) < HeadSize {
		return Head{}, false
	}
	return getHead(b), true
}

// bit is the encoding of a bool inside a fixed layout.
func bit(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// put encodes the metadata except for Epoch, at 8-aligned b: 32 bytes.
func (m *BatchMeta) put(b []byte) {
	le.PutUint64(b[0:], uint64(m.ProducerID))
	le.PutUint64(b[8:], uint64(m.MaxTimeMS))
	le.PutUint32(b[16:], m.Count)
	le.PutUint32(b[20:], m.CRC)
	le.PutUint32(b[24:], m.Length)
	le.PutUint32(b[28:], uint32(m.BaseSeq))
}

func getMeta(b []byte, epoch uint16) BatchMeta {
	return BatchMeta{
		ProducerID: int64(le.Uint64(b)),
		MaxTimeMS:  int64(le.Uint64(b[8:])),
		Count:      le.Uint32(b[16:]),
		CRC:        le.Uint32(b[20:]),
		Length:     le.Uint32(b[24:]),
		BaseSeq:    int32(le.Uint32(b[28:])),
		Epoch:      int16(epoch),
	}
}

// Append appends the record without its batch: AppendSize bytes.
func (m *Append) Append(b []byte) []byte {
	var e [AppendSize]byte
	m.put(e[:])
	le.PutUint64(e[24:], m.Index)
	m.Batch.put(e[32:])
	le.PutUint16(e[64:], uint16(m.Batch.Epoch))
	e[66], e[67] = byte(m.Level), byte(m.Txnal)
	le.PutUint64(e[72:], m.Txn)
	return append(b, e[:]...)
}

// DecodeAppend reads the record; the batch is b[bodyOff:], exactly Batch.Length bytes.
func DecodeAppend(b []byte) (m Append, bodyOff int, err error) {
	if len(b) < AppendSize {
		return m, 0, malformed("append ends too early")
	}
	m = Append{
		Head: getHead(b), Index: le.Uint64(b[24:]),
		Batch: getMeta(b[32:], le.Uint16(b[64:])), Level: Level(b[66]), Txn: le.Uint64(b[72:]), Txnal: AppendTxnal(b[67]),
	}
	switch {
	case m.Level > LevelQuorum:
		return m, 0, malformed("append of an unknown level")
	case m.Txnal > TxnalJoins || le.Uint32(b[68:]) != 0:
		return m, 0, malformed("append of an unknown kind, or with padding that is not zero")
	case uint64(len(b)-AppendSize) != uint64(m.Batch.Length):
		return m, 0, malformed("append whose batch has another length")
	}
	return m, AppendSize, nil
}

// Size is how long the record is without its batch, for the claim of ring space.
func (m *Publish) Size() int {
	n := publishFixed + stringSize(m.Exchange) + stringSize(m.RoutingKey)
	n += uvarintSize(uint64(len(m.Headers)))
	for i := range m.Headers {
		n += stringSize(m.Headers[i].Key) + stringSize(m.Headers[i].Value)
	}
	if len(m.MoreKeys) > 0 {
		n += uvarintSize(uint64(len(m.MoreKeys)))
		for _, key := range m.MoreKeys {
			n += stringSize(key)
		}
	}
	return (n + 7) &^ 7
}

// Flags of a Publish.
const (
	flagDelayedOnly = 1 << iota
	flagWhole
	flagNoHeaders
	flagMoreKeys
	flagKeyless
	publishFlags = 1<<iota - 1
)

func (m *Publish) flags() byte {
	return bit(m.DelayedOnly)*flagDelayedOnly | bit(m.Whole)*flagWhole | bit(m.NoHeaders)*flagNoHeaders | bit(len(m.MoreKeys) > 0)*flagMoreKeys | bit(m.Keyless)*flagKeyless
}

func stringSize(s string) int { return uvarintSize(uint64(len(s))) + len(s) }

func uvarintSize(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// Append appends the record without its batch: Size bytes, a multiple of 8.
func (m *Publish) Append(b []byte) []byte {
	start := len(b)
	var e [publishFixed]byte
	m.put(e[:])
	m.Batch.put(e[24:])
	le.PutUint16(e[56:], uint16(m.Batch.Epoch))
	e[58], e[59] = byte(m.Level), bit(m.Mandatory)
	le.PutUint64(e[64:], m.Txn)
	le.PutUint64(e[72:], uint64(m.DueMS))
	le.PutUint64(e[80:], uint64(m.TTLMS))
	le.PutUint32(e[88:], m.Weight)
	e[92], e[93] = m.Priority, m.flags()
	b = append(b, e[:]...)
	b = wire.AppendString(b, m.Exchange)
	b = wire.AppendString(b, m.RoutingKey)
	b = AppendHeaders(b, m.Headers)
	if len(m.MoreKeys) > 0 {
		b = wire.AppendUvarint(b, uint64(len(m.MoreKeys)))
		for _, key := range m.MoreKeys {
			b = wire.AppendString(b, key)
		}
	}
	b = wire.AppendPad8(b, start)
	le.PutUint32(b[start+60:], uint32(len(b)-start))
	return b
}

// DecodePublish reads the record; the batch is b[bodyOff:], exactly Batch.Length bytes.
// REQUIRES: b stays as it is while the strings of m are in use: they alias it.
func DecodePublish(b []byte) (m Publish, bodyOff int, err error) {
	bodyOff, err = m.Decode(b)
	return m, bodyOff, err
}

// Decode is DecodePublish into the memory that Headers has.
func (m *Publish) Decode(b []byte) (bodyOff int, err error) {
	headers, keys := m.Headers[:0], m.MoreKeys[:0]
	*m = Publish{}
	if len(b) < publishFixed {
		return 0, malformed("publish ends too early")
	}
	m.Head = getHead(b)
	m.Batch = getMeta(b[24:], le.Uint16(b[56:]))
	m.Level, m.Mandatory = Level(b[58]), b[59] == 1
	m.Txn, m.DueMS, m.TTLMS = le.Uint64(b[64:]), int64(le.Uint64(b[72:])), int64(le.Uint64(b[80:]))
	m.Weight, m.Priority = le.Uint32(b[88:]), b[92]
	flags := b[93]
	m.DelayedOnly, m.Whole, m.NoHeaders, m.Keyless = flags&flagDelayedOnly != 0, flags&flagWhole != 0, flags&flagNoHeaders != 0, flags&flagKeyless != 0
	off := uint64(le.Uint32(b[60:]))
	switch {
	case m.Level > LevelQuorum:
		return 0, malformed("publish of an unknown level")
	case b[59] > 1:
		return 0, malformed("publish with a bool that is neither 0 nor 1")
	case m.DueMS < 0 || m.TTLMS < NoTTL || flags > publishFlags || le.Uint16(b[94:]) != 0:
		return 0, malformed("publish with a time before all times, unknown flags, or padding that is not zero")
	case off < publishFixed || off%8 != 0 || off+uint64(m.Batch.Length) != uint64(len(b)):
		return 0, malformed("publish whose batch has another length")
	}
	c := wire.Read(b[publishFixed:off])
	m.Exchange, m.RoutingKey = c.Alias(), c.Alias()
	n := c.Count(2, MaxHeaders)
	for i := 0; i < n; i++ {
		headers = append(headers, Header{c.Alias(), c.Alias()})
	}
	m.Headers = headers
	if flags&flagMoreKeys != 0 {
		n := c.Count(1, MaxHeaders)
		for i := 0; i < n; i++ {
			keys = append(keys, c.Alias())
		}
		if n == 0 {
			c.Fail(wire.ErrNotUnique)
		}
	}
	m.MoreKeys = keys
	c.Pad8()
	if err := c.Done("publish"); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return int(off), nil
}

// Append appends the record: AppendedSize bytes.
func (m *Appended) Append(b []byte) []byte {
	var e [AppendedSize]byte
	m.put(e[:])
	le.PutUint64(e[24:], m.Index)
	le.PutUint64(e[32:], m.Base)
	e[40] = bit(m.Duplicate)
	return append(b, e[:]...)
}

// DecodeAppended reads the record.
func DecodeAppended(b []byte) (Appended, error) {
	if len(b) != AppendedSize || le.Uint64(b[40:]) > 1 {
		return Appended{}, malformed("appended")
	}
	return Appended{getHead(b), le.Uint64(b[24:]), le.Uint64(b[32:]), b[40] == 1}, nil
}

// Append appends the record: PublishedSize bytes.
func (m *Published) Append(b []byte) []byte {
	var e [PublishedSize]byte
	m.put(e[:])
	le.PutUint32(e[24:], m.Queues)
	le.PutUint32(e[28:], m.Full)
	e[32] = bit(m.Duplicate)
	return append(b, e[:]...)
}

// DecodePublished reads the record.
func DecodePublished(b []byte) (Published, error) {
	if len(b) != PublishedSize || le.Uint64(b[32:]) > 1 {
		return Published{}, malformed("published")
	}
	return Published{getHead(b), le.Uint32(b[24:]), le.Uint32(b[28:]), b[32] == 1}, nil
}

// appendPair is the encoding of a Head and two numbers.
func appendPair(b []byte, h *Head, x, y uint64) []byte {
	var e [HeadSize + 16]byte
	h.put(e[:])
	le.PutUint64(e[24:], x)
	le.PutUint64(e[32:], y)
	return append(b, e[:]...)
}

// Append appends the record: WaitSize bytes.
func (m *Wait) Append(b []byte) []byte { return appendPair(b, &m.Head, m.Index, m.Beyond) }

// DecodeWait reads the record.
func DecodeWait(b []byte) (Wait, error) {
	if len(b) != WaitSize {
		return Wait{}, malformed("wait")
	}
	return Wait{getHead(b), le.Uint64(b[24:]), le.Uint64(b[32:])}, nil
}

// Append appends the record: VisibleSize bytes.
func (m *Visible) Append(b []byte) []byte { return appendPair(b, &m.Head, m.Index, m.End) }

// DecodeVisible reads the record.
func DecodeVisible(b []byte) (Visible, error) {
	if len(b) != VisibleSize {
		return Visible{}, malformed("visible")
	}
	return Visible{getHead(b), le.Uint64(b[24:]), le.Uint64(b[32:])}, nil
}

// Append appends the record: CreditSize bytes.
func (m *Credit) Append(b []byte) []byte { return appendPair(b, &m.Head, m.Sub, m.Limit) }

// DecodeCredit reads the record.
func DecodeCredit(b []byte) (Credit, error) {
	if len(b) != CreditSize {
		return Credit{}, malformed("credit")
	}
	return Credit{getHead(b), le.Uint64(b[24:]), le.Uint64(b[32:])}, nil
}

// Append appends the record: DeliverSize bytes.
func (m *Deliver) Append(b []byte) []byte {
	var e [DeliverSize]byte
	m.put(e[:])
	le.PutUint64(e[24:], m.Sub)
	le.PutUint64(e[32:], m.Index)
	le.PutUint64(e[40:], m.First)
	le.PutUint32(e[48:], m.Count)
	le.PutUint16(e[52:], m.Attempts)
	return append(b, e[:]...)
}

// DecodeDeliver reads the record.
func DecodeDeliver(b []byte) (Deliver, error) {
	if len(b) != DeliverSize || le.Uint16(b[54:]) != 0 {
		return Deliver{}, malformed("deliver")
	}
	return Deliver{
		Head: getHead(b), Sub: le.Uint64(b[24:]), Index: le.Uint64(b[32:]),
		First: le.Uint64(b[40:]), Count: le.Uint32(b[48:]), Attempts: le.Uint16(b[52:]),
	}, nil
}

// Append appends the record.
func (m *Ack) Append(b []byte) []byte {
	var e [ackFixed]byte
	m.put(e[:])
	le.PutUint64(e[24:], m.Sub)
	le.PutUint64(e[32:], m.Queue)
	le.PutUint64(e[40:], m.Index)
	le.PutUint64(e[48:], m.Lease)
	e[56] = byte(m.Verdict)
	le.PutUint16(e[58:], m.Recalls)
	le.PutUint32(e[60:], uint32(len(m.Ranges)))
	b = append(b, e[:]...)
	for i := range m.Ranges {
		b = wire.AppendU64(b, m.Ranges[i].First)
		b = wire.AppendU32(b, m.Ranges[i].Count)
	}
	return b
}

// AckSize is how long the record is with so many ranges.
func AckSize(ranges int) int { return ackFixed + ranges*rangeSize }

// DecodeAck reads the record.
func DecodeAck(b []byte) (m Ack, err error) { err = m.Decode(b); return m, err }

// Decode is DecodeAck into the memory that Ranges has.
func (m *Ack) Decode(b []byte) error {
	ranges := m.Ranges[:0]
	*m = Ack{}
	if len(b) < ackFixed {
		return malformed("ack ends too early")
	}
	n := uint64(le.Uint32(b[60:]))
	if b[57] != 0 || uint64(len(b)) != ackFixed+n*rangeSize {
		return malformed("ack")
	}
	*m = Ack{
		Head: getHead(b), Sub: le.Uint64(b[24:]), Queue: le.Uint64(b[32:]), Index: le.Uint64(b[40:]),
		Lease: le.Uint64(b[48:]), Verdict: Verdict(b[56]), Recalls: le.Uint16(b[58:]),
	}
	if m.Verdict < VerdictAck || m.Verdict > VerdictUnsent {
		return malformed("ack of an unknown verdict")
	}
	for b = b[ackFixed:]; len(b) > 0; b = b[rangeSize:] {
		ranges = append(ranges, Range{le.Uint64(b), le.Uint32(b[8:])})
	}
	m.Ranges = ranges
	return nil
}

// Append appends the record: HeadSize bytes.
func (m *Done) Append(b []byte) []byte {
	var e [HeadSize]byte
	m.put(e[:])
	return append(b, e[:]...)
}

// DecodeDone reads the record.
func DecodeDone(b []byte) (Done, error) {
	if len(b) != HeadSize {
		return Done{}, malformed("done")
	}
	return Done{getHead(b)}, nil
}
