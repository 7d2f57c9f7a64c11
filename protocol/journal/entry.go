package journal

// An entry in ring 65432 (ring form; little-endian, 8-aligned, parts back to back):
//
//	| lsn u64 | term u64 | nonce u64 | pos u64 | timeMS i64                    |  0
//	| shard u32 | level u8 | version u8 | 0 ×2                                 | 40
//	| eventBytes u32 | ops u32 | items u32 | bodies u32 | refs u32             | 48
//	| inlineBytes u32                                                          | 68
//	| sections                                                                 | 72
//	| inline, inlineBytes, a multiple of 8                                     | behind them
//
// and in the commit log (disk form; 8-aligned from its first byte):
//
//	| magic "TMQE" | headCRC u32                                               |  0
//	| version u16 | level u8 | 0 | headBytes u32 | bodyBytes u64               |  8
//	| lsn u64 | term u64 | synced u64 | nonce u64 | pos u64 | timeMS i64       | 24
//	| shard u32 | eventBytes u32 | ops u32 | items u32 | bodies u32 | refs u32 | 72
//	| 0 ×4 | fixedCRC u32                                                      | 96
//	| sections, up to headBytes                                                | 104
//	| the bodies back to back, bodyBytes in all | 0 … to a multiple of 8       | headBytes
//
// Bodies are in ring 12345, but for logicsrv's own, such as the control batches that end
// transactions: those are in inline, and the top bit of their ringPos is set (InlineAt).
//
// The sections are the same in both:
//
//	events   eventBytes, a multiple of 8 (drawn in eventreader.go)
//	op    ×n | kind u8 | 0 ×7 | index u64 | offset u64 | retentionBytes i64 | retentionMS i64 |      40
//	         of kind 5, instead of the three last: | dirtyPPM i64 | minLagMS i64 | maxLagMS i64 |
//	         of kind 6:                            | closingBytes i64 | tombstoneMS i64 | closingMS i64 |
//	item  ×n | index u64 | base u64 | maxTimeMS i64 | count u32 | body u32 |                        32
//	body  ×n | ringPos u64 | base u64 | length u32 | crc u32 | epoch i32 | note u32 |               32
//	ref   ×n | (drawn in ref.go) |                                                                  80
//
// fixedCRC is the CRC32C of bytes 8 … 100, headCRC that of bytes 8 … headBytes. Both are salted:
// fixedCRC goes on from the low half of the entry's salt, headCRC from the high half. The salt
// is the log's (commitlog.SegmentHeader.EntrySalt): as no client knows it, none can make a message
// that is taken for an entry when what lies before it is lost. fixedCRC is checked first, so that
// no length is followed that was not written here.
//
// headCRC covers no body: a body is a RecordBatch with a CRC of its own over bytes 21 …, and
// what lies before those is checked against the body table (Body.Verify). synced is the LSN that
// was durable when the entry was written: by it recovery tells a torn tail from damage.
// Version ladder: 1, never released; 2: references, notes, a version in the ring form; 3: share groups, settings of groups,
// queues, exchanges and bindings with the arguments of AMQP; 4: ops of kinds 5 and 6; 5, the one spoken: leader epochs of committed
// offsets.

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/trimq/trimq/protocol/ipc"
)

// Sizes of the fixed parts of an entry.
const (
	RingHeaderSize = 72
	DiskHeaderSize = 104 // what PeekDisk needs to see
	OpSize         = 40
	ItemSize       = 32
	BodySize       = 32
	RefSize        = 80
)

// Limits of one entry in the log. A head comes through ring 65432 and is far smaller; they
// keep a damaged length from being followed.
const (
	MaxHeadBytes = 1 << 28
	MaxBodyBytes = 1 << 33
)

// Versions of the two forms that are written and read.
const (
	DiskVersion = 5
	RingVersion = 5
)

// DiskMagic begins each entry in the log.
const DiskMagic = "TMQE"

// fixedCRCAt is where fixedCRC lies, behind all that it covers.
const fixedCRCAt = 100

// Errors of an entry's decoding, each wrapped with what was found.
var (
	ErrEntry    = errors.New("malformed entry")
	ErrShort    = errors.New("entry cut short")
	ErrMagic    = errors.New("no entry begins here")
	ErrVersion  = errors.New("entry of an unknown version")
	ErrChecksum = errors.New("entry fails its check")
	ErrBody     = errors.New("body fails its check")
)

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// fixedCRC is the check of a header's fixed part. REQUIRES: b holds it.
func fixedCRC(b []byte, salt uint64) uint32 {
	return crc32.Update(uint32(salt), castagnoli, b[8:fixedCRCAt])
}

// headCRC is the check of a whole head.
func headCRC(head []byte, salt uint64) uint32 {
	return crc32.Update(uint32(salt>>32), castagnoli, head[8:])
}

// pad8 rounds up to a multiple of 8.
func pad8(n uint64) uint64 { return (n + 7) &^ 7 }

// sectionBytes is the size of all sections.
func (e *Entry) sectionBytes() int {
	return len(e.Events) + OpSize*len(e.Ops) + ItemSize*len(e.Items) + BodySize*len(e.Bodies) + RefSize*len(e.Refs)
}

// RingSize is the size of the ring form.
func (e *Entry) RingSize() int { return RingHeaderSize + e.sectionBytes() + len(e.Inline) }

// HeadSize is the size of the disk form without the bodies.
func (e *Entry) HeadSize() int { return DiskHeaderSize + e.sectionBytes() }

// BodyBytes is the size of all bodies, without the padding behind them.
func (e *Entry) BodyBytes() uint64 {
	n := uint64(0)
	for i := range e.Bodies {
		n += uint64(e.Bodies[i].Length)
	}
	return n
}

// DiskSize is the size of the disk form with bodies and padding.
func (e *Entry) DiskSize() int { return e.HeadSize() + int(pad8(e.BodyBytes())) }

// BodyOffset is where body i begins, from the first byte of the entry's disk form.
func (e *Entry) BodyOffset(i int) uint64 {
	n := uint64(e.HeadSize())
	for k := range e.Bodies[:i] {
		n += uint64(e.Bodies[k].Length)
	}
	return n
}

// AppendRing appends the ring form, without what persistsrv has found of the references. It
// allocates nothing where b has room.
// REQUIRES: len(Events) is a multiple of 8, as the events' Append methods leave it.
func (e *Entry) AppendRing(b []byte) []byte {
	var h [RingHeaderSize]byte
	le.PutUint64(h[0:], e.LSN)
	le.PutUint64(h[8:], e.Term)
	le.PutUint64(h[16:], e.Nonce)
	le.PutUint64(h[24:], e.Pos)
	le.PutUint64(h[32:], uint64(e.TimeMS))
	le.PutUint32(h[40:], e.Shard)
	h[44], h[45] = byte(e.Level), RingVersion
	e.putCounts(h[48:])
	le.PutUint32(h[68:], uint32(len(e.Inline)))
	b = e.appendSections(append(b, h[:]...))
	for i := range e.Refs {
		b = e.Refs[i].append(b, false)
	}
	return append(b, e.Inline...)
}

// DecodeRing reads the ring form. Events and Inline alias b.
func DecodeRing(b []byte) (e Entry, err error) { err = e.DecodeRing(b); return e, err }

// DecodeRing is the function of this name into the memory that e's slices have.
func (e *Entry) DecodeRing(b []byte) error {
	if len(b) < RingHeaderSize {
		return fmt.Errorf("%w: %d bytes in ring", ErrEntry, len(b))
	}
	if v := b[45]; v != RingVersion {
		return fmt.Errorf("%w: %d in ring 65432, this program reads %d: stop all daemons with the build that wrote it, then start this one", ErrVersion, v, RingVersion)
	}
	e.LSN, e.Term = le.Uint64(b[0:]), le.Uint64(b[8:])
	e.Nonce, e.Pos = le.Uint64(b[16:]), le.Uint64(b[24:])
	e.TimeMS = int64(le.Uint64(b[32:]))
	e.Shard, e.Level = le.Uint32(b[40:]), ipc.Level(b[44])
	if le.Uint16(b[46:]) != 0 {
		return fmt.Errorf("%w: header padding is not zero", ErrEntry)
	}
	b, err := e.cutInline(le.Uint32(b[68:]), b)
	if err != nil {
		return err
	}
	if err := e.decodeSections(readCounts(b[48:]), b[RingHeaderSize:], false); err != nil {
		return err
	}
	return e.checkInline()
}

// AppendDisk appends the disk form up to its first body. synced is the LSN that is durable
// now, salt the one of the entry's place. It allocates nothing where b has room.
// REQUIRES: as AppendRing; b is 8-aligned; references are resolved.
func (e *Entry) AppendDisk(b []byte, synced, salt uint64) []byte {
	start := len(b)
	var h [DiskHeaderSize]byte
	copy(h[:], DiskMagic)
	le.PutUint16(h[8:], DiskVersion)
	h[10] = byte(e.Level)
	le.PutUint32(h[12:], uint32(e.HeadSize()))
	le.PutUint64(h[16:], e.BodyBytes())
	le.PutUint64(h[24:], e.LSN)
	le.PutUint64(h[32:], e.Term)
	le.PutUint64(h[40:], synced)
	le.PutUint64(h[48:], e.Nonce)
	le.PutUint64(h[56:], e.Pos)
	le.PutUint64(h[64:], uint64(e.TimeMS))
	le.PutUint32(h[72:], e.Shard)
	e.putCounts(h[76:])
	b = e.appendSections(append(b, h[:]...))
	for i := range e.Refs {
		b = e.Refs[i].append(b, true)
	}
	le.PutUint32(b[start+fixedCRCAt:], fixedCRC(b[start:], salt))
	le.PutUint32(b[start+4:], headCRC(b[start:], salt))
	return b
}

// PeekDisk reads the lengths of the entry whose first DiskHeaderSize bytes b holds, so that
// the rest can be read; of the rest nothing is verified. totalLen counts header, bodies and
// padding.
func PeekDisk(b []byte, salt uint64) (headLen, totalLen int, lsn uint64, err error) {
	if len(b) < DiskHeaderSize {
		return 0, 0, 0, fmt.Errorf("%w: %d bytes", ErrShort, len(b))
	}
	if string(b[:4]) != DiskMagic {
		return 0, 0, 0, fmt.Errorf("%w: magic %x", ErrMagic, b[:4])
	}
	if v := le.Uint16(b[8:]); v != DiskVersion {
		return 0, 0, 0, fmt.Errorf("%w: %d, this program reads %d", ErrVersion, v, DiskVersion)
	}
	if have, want := fixedCRC(b, salt), le.Uint32(b[fixedCRCAt:]); have != want {
		return 0, 0, 0, fmt.Errorf("%w: CRC %08x of the header's fixed part, its bytes give %08x", ErrChecksum, want, have)
	}
	head, bodies := uint64(le.Uint32(b[12:])), le.Uint64(b[16:])
	if head < DiskHeaderSize || head%8 != 0 || head > MaxHeadBytes || bodies > MaxBodyBytes {
		return 0, 0, 0, fmt.Errorf("%w: head of %d and bodies of %d bytes", ErrEntry, head, bodies)
	}
	return int(head), int(head + pad8(bodies)), le.Uint64(b[24:]), nil
}

// DecodeDisk reads the disk form from the front of b, which holds at least the head; the
// bodies need not be there, and are not looked at. Events alias b.
func DecodeDisk(b []byte, salt uint64) (e Entry, synced uint64, headLen, totalLen int, err error) {
	synced, headLen, totalLen, err = e.DecodeDisk(b, salt)
	return e, synced, headLen, totalLen, err
}

// DecodeDisk is the function of this name into the memory that e's slices have.
func (e *Entry) DecodeDisk(b []byte, salt uint64) (synced uint64, headLen, totalLen int, err error) {
	headLen, totalLen, _, err = PeekDisk(b, salt)
	if err != nil {
		return 0, 0, 0, err
	}
	if headLen > len(b) {
		return 0, 0, 0, fmt.Errorf("%w: %d of %d bytes", ErrShort, len(b), headLen)
	}
	if have, want := headCRC(b[:headLen], salt), le.Uint32(b[4:]); have != want {
		return 0, 0, 0, fmt.Errorf("%w: CRC %08x, its bytes give %08x", ErrChecksum, want, have)
	}
	if b[11] != 0 || le.Uint32(b[96:]) != 0 {
		return 0, 0, 0, fmt.Errorf("%w: header padding is not zero", ErrEntry)
	}
	e.Level = ipc.Level(b[10])
	e.LSN, e.Term, synced = le.Uint64(b[24:]), le.Uint64(b[32:]), le.Uint64(b[40:])
	e.Nonce, e.Pos = le.Uint64(b[48:]), le.Uint64(b[56:])
	e.TimeMS, e.Shard = int64(le.Uint64(b[64:])), le.Uint32(b[72:])
	if err := e.decodeSections(readCounts(b[76:]), b[DiskHeaderSize:headLen], true); err != nil {
		return 0, 0, 0, err
	}
	if n := e.BodyBytes(); n != le.Uint64(b[16:]) {
		return 0, 0, 0, fmt.Errorf("%w: bodies of %d bytes, header says %d", ErrEntry, n, le.Uint64(b[16:]))
	}
	return synced, headLen, totalLen, nil
}
