package shmqueue

import (
	"encoding/binary"
	"errors"
	"testing"
	"unsafe"
)

// What another process, or a broken one, may have left in the memory: any bytes. Opening says
// no with a *FormatError, reading stops with a *RecordError; nothing panics, hangs, or hands
// out bytes from outside the ring.

// fuzzRing is a ring in use, to be damaged.
func fuzzRing(t testing.TB) []byte {
	r := heapRing(t, 1024, 12345)
	p, c := ends(t, r)
	for seq := range uint64(12) {
		if _, err := p.Put(1, 0, testRecord(seq)); errors.Is(err, ErrFull) {
			rec, _ := c.Next()
			c.Release(rec.End)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	return r.mem
}

// tryAll uses a ring that Open took, in every way. It fails the test on anything but errors.
func tryAll(t *testing.T, r *Ring) {
	t.Helper()
	_ = r.Snapshot()
	_ = r.look()
	area := r.bytes
	inside := func(payload []byte) {
		if len(payload) == 0 {
			return
		}
		first := uintptr(unsafe.Pointer(&payload[0]))
		begin := uintptr(unsafe.Pointer(&area[0]))
		if first < begin || first+uintptr(len(payload)) > begin+uintptr(len(area)) {
			t.Fatalf("%d bytes at %#x, the area is %#x", len(payload), first, begin)
		}
	}
	var damage *RecordError
	if err := r.Walk(func(rec Record) bool { return true }); err != nil && !errors.As(err, &damage) {
		t.Fatalf("walk: %v", err)
	}
	c, err := r.Consumer()
	if err != nil {
		t.Fatalf("consumer: %v", err)
	}
	for n := 0; ; n++ {
		rec, ok := c.Next()
		if !ok {
			break
		}
		inside(rec.Payload)
		if rec.End <= rec.Pos || c.Read() > r.Tail() || n > len(area) {
			t.Fatalf("record %+v, read %d, tail %d", rec, c.Read(), r.Tail())
		}
		inside(r.At(rec.PayloadPos, len(rec.Payload)))
	}
	if err := c.Err(); err != nil {
		if !errors.As(err, &damage) {
			t.Fatalf("consumer: %v", err)
		}
		if _, ok := c.Next(); ok {
			t.Fatal("the consumer goes on behind damage")
		}
	}
	p, err := r.Producer()
	if err != nil {
		if !errors.As(err, &damage) {
			t.Fatalf("producer: %v", err)
		}
		return
	}
	for {
		s, err := p.Claim(100, 1, 0)
		if err != nil {
			if !errors.Is(err, ErrFull) {
				t.Fatalf("claim: %v", err)
			}
			break
		}
		inside(s.Payload)
		s.Publish()
	}
}

// FuzzHeader damages the header.
func FuzzHeader(f *testing.F) {
	f.Add(uint16(0), []byte{})
	f.Add(uint16(0), []byte("not a ring at all"))
	f.Add(uint16(8), []byte{2, 0, 0, 0})
	f.Add(uint16(16), []byte{0, 8, 0, 0, 0, 0, 0, 0})
	f.Add(uint16(256), []byte{8})
	f.Add(uint16(384), []byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Add(uint16(384), []byte{240, 255, 255, 255, 255, 255, 255, 63})
	f.Fuzz(func(t *testing.T, at uint16, damage []byte) {
		mem := fuzzRing(t)
		copy(mem[int(at)%HeaderSize:HeaderSize], damage)
		r, err := Open(mem)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) || format.Mend == "" {
				t.Fatalf("open: %#v", err)
			}
			return
		}
		tryAll(t, r)
	})
}

// FuzzMemory opens any bytes at all, of any length.
func FuzzMemory(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, HeaderSize))
	f.Add(fuzzRing(f))
	f.Fuzz(func(t *testing.T, mem []byte) {
		if len(mem) > 0 && uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
			mem = append(make([]byte, 0, len(mem)+8), mem...)
		}
		r, err := Open(mem)
		if err != nil {
			var format *FormatError
			if !errors.As(err, &format) {
				t.Fatalf("open: %#v", err)
			}
			return
		}
		tryAll(t, r)
	})
}

// FuzzRecords damages records, and stamps what it has damaged as published: the data is a list
// of (position / 16, second word) pairs.
func FuzzRecords(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{4, 0xf0, 3, 0, 0, 1, 0, 0, 0})
	f.Add([]byte{63, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0xe0, 3, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, damage []byte) {
		mem := fuzzRing(t)
		r, err := Open(mem)
		if err != nil {
			t.Fatal(err)
		}
		for ; len(damage) >= 9; damage = damage[9:] {
			pos := r.Head() + uint64(damage[0])*RecordAlign
			*metaAt(r.at(pos)) = binary.LittleEndian.Uint64(damage[1:])
			stampAt(r.at(pos)).Store(stampFor(pos, r.nonce))
		}
		tryAll(t, r)
	})
}
