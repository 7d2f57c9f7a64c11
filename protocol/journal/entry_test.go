package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"reflect"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
)

// salt is that of the examples' place in the log.
const salt = 0x0123456789abcdef

// exampleBody is a RecordBatch as far as an entry looks at it, and its row in the table.
func exampleBody(n int, base uint64) ([]byte, Body) {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)
	}
	x := Body{RingPos: 4096 + base, Length: uint32(n), Base: base, Epoch: 7}
	b[16] = 2
	x.CRC = crc32.Checksum(b[21:], castagnoli)
	p := x.Prefix()
	copy(b, p[:])
	binary.BigEndian.PutUint32(b[17:], x.CRC)
	return b, x
}

func exampleEntry() Entry {
	_, first := exampleBody(70, 1000)
	_, second := exampleBody(61, 7)
	events := (&Appended{4096, 9, 1000, 3, 900, 42, 5}).Append(nil)
	events = (&Unchanged{8192, 0}).Append(events)
	first.Note = NoteAt(AppendedSize)
	return Entry{
		LSN: 77, Term: 3, Shard: 1, Level: ipc.LevelDisk,
		Nonce: 0xfeedface, Pos: 12288, TimeMS: 1_700_000_000_123,
		Events: events,
		Ops: []IndexOp{{
			Kind: OpCreate, Index: 9,
			Settings: ipc.IndexSettings{Index: 9, RetentionBytes: 1 << 30, RetentionMS: 3_600_000},
		}, {Kind: OpTrim, Index: 10, Offset: 500, Settings: ipc.IndexSettings{Index: 10}}},
		Items:  []IndexItem{{9, 1000, 3, 0, 1_700_000_000_100}, {10, 7, 1, 1, 1_700_000_000_101}},
		Bodies: []Body{first, second},
		Refs: []Ref{
			{Index: 11, Base: 40, Source: 9, SourceOffset: 1001, Count: 2, Note: NoteAt(0), Before: 1, MaxTimeMS: 1_700_000_000_100},
			{Index: 12, Base: 3, Source: 8, SourceOffset: 77, Count: 5, Before: 2, MaxTimeMS: -1},
		},
	}
}

// stored is the entry as persistsrv stores it: of the references it is known where they lead.
func stored(e Entry) Entry {
	e.Refs = slices.Clone(e.Refs)
	r := &e.Refs[0]
	r.Flags, r.Position, r.NotePosition, r.Length, r.Skip = RefRebase|RefPartial, 8752, 8296, 70, 1
	e.Refs[1].Flags = RefDamaged
	return e
}

const sectionsLayout = "event0:56 event1:24 " +
	"op.kind:1 zero:7 op.index:8 op.offset:8 op.retentionBytes:8 op.retentionMS:8 " +
	"op.kind:1 zero:7 op.index:8 op.offset:8 op.retentionBytes:8 op.retentionMS:8 " +
	"item.index:8 item.base:8 item.maxTimeMS:8 item.count:4 item.body:4 " +
	"item.index:8 item.base:8 item.maxTimeMS:8 item.count:4 item.body:4 " +
	"body.ringPos:8 body.base:8 body.length:4 body.crc:4 body.epoch:4 body.note:4 " +
	"body.ringPos:8 body.base:8 body.length:4 body.crc:4 body.epoch:4 body.note:4 " +
	refLayout + refLayout

const refLayout = "ref.index:8 ref.base:8 ref.source:8 ref.sourceOffset:8 ref.maxTimeMS:8 ref.count:4 ref.note:4 ref.before:4 " +
	"ref.flags:4 ref.position:8 ref.notePosition:8 ref.length:4 ref.skip:4 "

func TestEntryGolden(t *testing.T) {
	e := exampleEntry()
	ring := e.AppendRing(nil)
	golden.Check(t, "entry_v5_ring", "lsn:8 term:8 nonce:8 pos:8 timeMS:8 shard:4 level:1 version:1 zero:2 "+
		"eventBytes:4 ops:4 items:4 bodies:4 refs:4 zero:4 "+sectionsLayout, ring)
	found := stored(e)
	disk := found.AppendDisk(nil, 70, salt)
	for i, n := range []int{70, 61} {
		body, _ := exampleBody(n, e.Bodies[i].Base)
		disk = append(disk, body...)
	}
	disk = append(disk, make([]byte, e.DiskSize()-len(disk))...)
	golden.Check(t, "entry_v5_disk", "magic:4 headCRC:4 version:2 level:1 zero:1 headBytes:4 bodyBytes:8 "+
		"lsn:8 term:8 synced:8 nonce:8 pos:8 timeMS:8 shard:4 eventBytes:4 ops:4 items:4 bodies:4 refs:4 zero:4 fixedCRC:4 "+
		sectionsLayout+"body0:70 body1:61 pad:5", disk)

	if got, err := DecodeRing(golden.Read(t, "entry_v5_ring")); err != nil || !reflect.DeepEqual(got, e) {
		t.Errorf("ring: %v\nhave %+v\nwant %+v", err, got, e)
	}
	got, synced, headLen, totalLen, err := DecodeDisk(golden.Read(t, "entry_v5_disk"), salt)
	if err != nil || !reflect.DeepEqual(got, found) || synced != 70 ||
		headLen != e.HeadSize() || totalLen != len(disk) {
		t.Errorf("disk: %v synced %d head %d total %d\nhave %+v\nwant %+v", err, synced, headLen, totalLen, got, found)
	}
	if again := found.AppendRing(nil); !bytes.Equal(again, ring) {
		t.Errorf("what persistsrv has found shows in the ring form: %x", again)
	}
}

func TestEntrySizes(t *testing.T) {
	e := stored(exampleEntry())
	if have := len(e.AppendRing(nil)); have != e.RingSize() {
		t.Errorf("ring form of %d bytes, RingSize says %d", have, e.RingSize())
	}
	disk := e.AppendDisk(nil, 70, salt)
	if len(disk) != e.HeadSize() || e.BodyBytes() != 131 || e.DiskSize() != len(disk)+136 {
		t.Errorf("%d of %d bytes, bodies %d, in all %d", len(disk), e.HeadSize(), e.BodyBytes(), e.DiskSize())
	}
	if a, b := e.BodyOffset(0), e.BodyOffset(1); a != uint64(len(disk)) || b != a+70 {
		t.Errorf("bodies at %d and %d", a, b)
	}
	head, total, lsn, err := PeekDisk(disk[:DiskHeaderSize], salt)
	if err != nil || head != len(disk) || total != e.DiskSize() || lsn != 77 {
		t.Errorf("peek: %d %d %d %v", head, total, lsn, err)
	}
	var empty Entry
	if got, err := DecodeRing(empty.AppendRing(nil)); err != nil || !reflect.DeepEqual(got, empty) {
		t.Errorf("empty: %+v %v", got, err)
	}
}

// Any single flipped bit of the head is noticed.
func TestDiskHeadNoticesEveryBit(t *testing.T) {
	e := stored(exampleEntry())
	disk := e.AppendDisk(nil, 70, salt)
	for i := range len(disk) * 8 {
		disk[i/8] ^= 1 << (i % 8)
		if _, _, _, _, err := DecodeDisk(disk, salt); err == nil {
			t.Fatalf("bit %d of byte %d", i%8, i/8)
		}
		disk[i/8] ^= 1 << (i % 8)
	}
	for n := range disk {
		if _, _, _, _, err := DecodeDisk(disk[:n], salt); !errors.Is(err, ErrShort) {
			t.Fatalf("%d of %d bytes: %v", n, len(disk), err)
		}
	}
}

// refit makes the CRCs of an entry's head fit to its bytes.
func refit(b []byte, head int) {
	le.PutUint32(b[fixedCRCAt:], fixedCRC(b, salt))
	le.PutUint32(b[4:], headCRC(b[:head], salt))
}

// patched flips what a wrong writer, not a bad disk, could have written: the CRC fits.
func patched(disk []byte, change func([]byte)) []byte {
	b := bytes.Clone(disk)
	change(b)
	refit(b, len(b))
	return b
}

func TestDiskRefusesBadValues(t *testing.T) {
	e := stored(exampleEntry())
	disk := e.AppendDisk(nil, 70, salt)
	const op0 = DiskHeaderSize + 80
	const item0, body0, ref0, ref1 = op0 + 2*OpSize, op0 + 2*OpSize + 2*ItemSize, op0 + 2*OpSize + 2*ItemSize + 2*BodySize, op0 + 2*OpSize + 2*ItemSize + 2*BodySize + RefSize
	put32 := func(at int, v uint32) func(b []byte) { return func(b []byte) { le.PutUint32(b[at:], v) } }
	put64 := func(at int, v uint64) func(b []byte) { return func(b []byte) { le.PutUint64(b[at:], v) } }
	for name, x := range map[string]struct {
		change func(b []byte)
		want   error
	}{
		"magic":                               {func(b []byte) { b[0] = 'X' }, ErrMagic},
		"version":                             {func(b []byte) { b[8] = 9 }, ErrVersion},
		"version 1":                           {func(b []byte) { b[8] = 1 }, ErrVersion},
		"level":                               {func(b []byte) { b[10] = 5 }, ErrEntry},
		"padding":                             {func(b []byte) { b[11] = 1 }, ErrEntry},
		"padding behind counts":               {put32(96, 1), ErrEntry},
		"head too long":                       {put32(12, MaxHeadBytes+8), ErrEntry},
		"head unaligned":                      {put32(12, DiskHeaderSize+1), ErrEntry},
		"head too short":                      {put32(12, DiskHeaderSize-8), ErrEntry},
		"head beyond":                         {put32(12, uint32(len(disk)+8)), ErrShort},
		"bodies too long":                     {put64(16, MaxBodyBytes+1), ErrEntry},
		"bodies of other sum":                 {put64(16, 130), ErrEntry},
		"huge event bytes":                    {put32(76, 0xfffffff8), ErrEntry},
		"huge ops":                            {put32(80, 0xffffffff), ErrEntry},
		"huge items":                          {put32(84, 0xffffffff), ErrEntry},
		"huge bodies":                         {put32(88, 0xffffffff), ErrEntry},
		"huge refs":                           {put32(92, 0xffffffff), ErrEntry},
		"op kind":                             {func(b []byte) { b[op0] = 7 }, ErrEntry},
		"op padding":                          {func(b []byte) { b[op0+1] = 1 }, ErrEntry},
		"item of no body":                     {func(b []byte) { b[item0+28] = 2 }, ErrEntry},
		"note of a body outside":              {put32(body0+28, 80/8), ErrEntry},
		"huge note of a body":                 {put32(body0+28, 0xffffffff), ErrEntry},
		"ref of nothing":                      {put32(ref0+40, 0), ErrEntry},
		"ref of too many":                     {put32(ref0+40, MaxCount+1), ErrEntry},
		"note of a ref outside":               {put32(ref0+44, 80/8), ErrEntry},
		"ref behind no item":                  {put32(ref1+48, 3), ErrEntry},
		"refs out of order":                   {put32(ref1+48, 0), ErrEntry},
		"ref of unknown flags":                {put32(ref0+52, 8), ErrEntry},
		"ref to no body":                      {put32(ref0+72, minBody-1), ErrEntry},
		"ref to no place":                     {put64(ref0+56, 0), ErrEntry},
		"ref that skips all":                  {put32(ref0+76, MaxCount-1), ErrEntry},
		"ref that skips and is whole":         {put32(ref0+52, RefRebase), ErrEntry},
		"damaged ref with a place":            {put64(ref1+56, 8), ErrEntry},
		"damaged ref with a length":           {put32(ref1+72, 70), ErrEntry},
		"damaged ref with records before it":  {put32(ref1+76, 1), ErrEntry},
		"damaged ref with more to be told it": {put32(ref1+52, RefDamaged|RefPartial), ErrEntry},
	} {
		if _, _, _, _, err := DecodeDisk(patched(disk, x.change), salt); !errors.Is(err, x.want) {
			t.Errorf("%s: %v, want %v", name, err, x.want)
		}
	}
}

// An entry is one only under the salt that it was written with, and lengths under another one
// are not followed.
func TestDiskRefusesOtherSalts(t *testing.T) {
	e := stored(exampleEntry())
	disk := e.AppendDisk(nil, 70, salt)
	for i := range 64 {
		other := uint64(salt) ^ 1<<i
		if _, _, _, _, err := DecodeDisk(disk, other); !errors.Is(err, ErrChecksum) {
			t.Errorf("bit %d of the salt: %v", i, err)
		}
		// The low half guards the fixed part alone.
		if _, _, _, err := PeekDisk(disk, other); (err == nil) != (i >= 32) {
			t.Errorf("bit %d of the salt, fixed part: %v", i, err)
		}
	}
}

func TestRingRefusesOtherLengths(t *testing.T) {
	e := exampleEntry()
	ring := e.AppendRing(nil)
	for n := range ring {
		if _, err := DecodeRing(ring[:n]); !errors.Is(err, ErrEntry) {
			t.Errorf("%d of %d bytes: %v", n, len(ring), err)
		}
	}
	if _, err := DecodeRing(append(ring, 0)); !errors.Is(err, ErrEntry) {
		t.Errorf("a byte behind it: %v", err)
	}
	for name, x := range map[string]struct {
		at   int
		want error
	}{
		"version 0, of builds before": {45, ErrVersion}, "padding": {46, ErrEntry}, "padding behind counts": {68, ErrEntry},
		"a ref that leads somewhere": {len(ring) - 1, ErrEntry}, "a ref with flags": {len(ring) - RefSize + refFoundAt, ErrEntry},
	} {
		b := bytes.Clone(ring)
		if b[x.at]++; x.at == 45 {
			b[x.at] = 0
		}
		if _, err := DecodeRing(b); !errors.Is(err, x.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestInOrder: references stand between the items where their Before says.
func TestInOrder(t *testing.T) {
	for _, c := range []struct {
		items  int
		before []uint32
		want   string
	}{
		{0, nil, ""}, {2, nil, "i0 i1 "}, {0, []uint32{0, 0}, "r0 r1 "}, {3, []uint32{0, 2, 2, 3}, "r0 i0 i1 r1 r2 i2 r3 "},
	} {
		e := Entry{Items: make([]IndexItem, c.items)}
		for _, before := range c.before {
			e.Refs = append(e.Refs, Ref{Before: before})
		}
		order := ""
		for i, ref := range e.InOrder() {
			order += fmt.Sprintf("%c%d ", map[bool]rune{false: 'i', true: 'r'}[ref], i)
		}
		if order != c.want {
			t.Errorf("%d items, refs behind %d: %s, want %s", c.items, c.before, order, c.want)
		}
		for range e.InOrder() { // may be left early
			break
		}
	}
}

func TestBodyVerify(t *testing.T) {
	b, x := exampleBody(70, 1000)
	if err := x.Verify(b); err != nil {
		t.Fatal(err)
	}
	for i := range len(b) * 8 {
		b[i/8] ^= 1 << (i % 8)
		if err := x.Verify(b); !errors.Is(err, ErrBody) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
		b[i/8] ^= 1 << (i % 8)
	}
	if err := x.Verify(b[:69]); !errors.Is(err, ErrBody) {
		t.Error(err)
	}
	short := Body{Length: 20}
	if err := short.Verify(make([]byte, 20)); !errors.Is(err, ErrBody) {
		t.Error(err)
	}
}

func TestEntryReusesMemory(t *testing.T) {
	e := stored(exampleEntry())
	ring, disk := e.AppendRing(nil), e.AppendDisk(nil, 70, salt)
	buf := make([]byte, 0, 4096)
	var into Entry
	run := func() {
		if err := into.DecodeRing(ring); err != nil {
			t.Fatal(err)
		}
		buf = into.AppendDisk(buf[:0], 70, salt)
		if _, _, _, err := into.DecodeDisk(disk, salt); err != nil {
			t.Fatal(err)
		}
		buf = into.AppendRing(buf[:0])
	}
	run()
	if n := testing.AllocsPerRun(100, run); n != 0 {
		t.Errorf("%v allocs", n)
	}
}

func TestCheckpoint(t *testing.T) {
	blob := []byte("the state of logicsrv")
	file := AppendCheckpoint(nil, 77, 70, blob)
	golden.Check(t, "checkpoint_v1_example", "magic:8 crc:4 version:2 zero:2 lsn:8 resultsFrom:8 length:8 blob:*", file)
	lsn, from, got, err := DecodeCheckpoint(golden.Read(t, "checkpoint_v1_example"))
	if err != nil || lsn != 77 || from != 70 || !bytes.Equal(got, blob) {
		t.Errorf("%d %d %q %v", lsn, from, got, err)
	}
	for i := range len(file) * 8 {
		file[i/8] ^= 1 << (i % 8)
		if _, _, _, err := DecodeCheckpoint(file); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("bit %d of byte %d: %v", i%8, i/8, err)
		}
		file[i/8] ^= 1 << (i % 8)
	}
	for n := range file {
		if _, _, _, err := DecodeCheckpoint(file[:n]); !errors.Is(err, ErrCheckpoint) {
			t.Fatalf("%d of %d bytes: %v", n, len(file), err)
		}
	}
	if _, _, _, err := DecodeCheckpoint(append(file, 0)); !errors.Is(err, ErrCheckpoint) {
		t.Error("a byte behind it is accepted")
	}
}

// TestCheckpointInPieces: however a blob is cut, its envelope is the same, and its CRC the plain one.
func TestCheckpointInPieces(t *testing.T) {
	blob := make([]byte, 1<<20+5)
	for i := range blob {
		blob[i] = byte(i * i >> 7)
	}
	file := AppendCheckpoint(nil, 77, 70, blob)
	if want := crc32.Checksum(file[12:], castagnoli); le.Uint32(file[8:]) != want {
		t.Errorf("CRC %08x, want %08x", le.Uint32(file[8:]), want)
	}
	for _, cut := range []int{0, 1, 256 << 10, 256<<10 + 1, len(blob)} {
		if got := CheckpointHeader(77, 70, blob[:cut], blob[cut:]); !bytes.Equal(got, file[:CheckpointHeaderSize]) {
			t.Errorf("cut at %d: %x, want %x", cut, got, file[:CheckpointHeaderSize])
		}
	}
	if _, _, got, err := DecodeCheckpoint(file); err != nil || !bytes.Equal(got, blob) {
		t.Error(err)
	}
}

func TestCheckpointName(t *testing.T) {
	for _, lsn := range []uint64{0, 77, 1<<64 - 1} {
		name := CheckpointName(lsn)
		if got, ok := ParseCheckpointName(name); !ok || got != lsn {
			t.Errorf("%s: %d %v", name, got, ok)
		}
	}
	for _, name := range []string{
		"", "checkpoint-77.ckpt", "checkpoint-00000000000000000077.tmp", "checkpoint-0000000000000000007x.ckpt",
		"checkpoint-99999999999999999999.ckpt", "x00000000000000000077.ckpt",
	} {
		if _, ok := ParseCheckpointName(name); ok {
			t.Errorf("%q is a checkpoint's name", name)
		}
	}
}
