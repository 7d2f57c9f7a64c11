package journal

import (
	"bytes"
	"hash/crc32"
	"runtime"
	"testing"
)

// allocated is how many bytes run allocates.
func allocated(run func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	run()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// FuzzEntry gives any bytes to both forms. Invariants: no panic; what is accepted encodes
// to the same bytes; allocation is bounded by the input's length. So that it gets past the
// CRC, the disk form is tried once with the CRC made to fit.
func FuzzEntry(f *testing.F) {
	e := exampleEntry()
	f.Add(e.AppendRing(nil))
	e = stored(e)
	f.Add(e.AppendDisk(nil, 70, salt))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= DiskHeaderSize {
			b = bytes.Clone(b)
			refit(b, max(DiskHeaderSize, int(min(uint64(le.Uint32(b[12:])), uint64(len(b))))))
		}
		var ring, disk Entry
		var ringErr, diskErr error
		var synced uint64
		var headLen int
		grown := allocated(func() {
			ring, ringErr = DecodeRing(b)
			disk, synced, headLen, _, diskErr = DecodeDisk(b, salt)
		})
		if grown > uint64(8*len(b)+1<<18) {
			t.Errorf("%d bytes allocated for %d", grown, len(b))
		}
		if ringErr == nil && !bytes.Equal(ring.AppendRing(nil), b) {
			t.Errorf("ring form %x encodes as %x", b, ring.AppendRing(nil))
		}
		if diskErr == nil && !bytes.Equal(disk.AppendDisk(nil, synced, salt), b[:headLen]) {
			t.Errorf("disk form %x encodes as %x", b[:headLen], disk.AppendDisk(nil, synced, salt))
		}
	})
}

// FuzzEvents walks over any bytes, and gives each event to every decoder. Invariants as above.
func FuzzEvents(f *testing.F) {
	codecs := eventCodecs()
	for _, c := range codecs {
		f.Add(c.encoded)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := Events(b)
		var again []byte
		for ev, ok := r.Next(); ok; ev, ok = r.Next() {
			again = append(again, ev.Raw...)
			for _, c := range codecs {
				var out []byte
				var err error
				if grown := allocated(func() { out, err = c.redo(ev.Raw) }); grown > uint64(64*len(ev.Raw)+1<<18) {
					t.Errorf("%s: %d bytes allocated for %d", c.name, grown, len(ev.Raw))
				}
				if err == nil && !bytes.Equal(out, ev.Raw) {
					t.Errorf("%s: %x encodes as %x", c.name, ev.Raw, out)
				}
			}
		}
		if r.Err() == nil && !bytes.Equal(again, b) {
			t.Errorf("%x is walked over as %x", b, again)
		}
	})
}

// FuzzCheckpoint: no panic; what is accepted encodes to the same bytes.
func FuzzCheckpoint(f *testing.F) {
	f.Add(AppendCheckpoint(nil, 77, 70, []byte("state")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= CheckpointHeaderSize {
			b = bytes.Clone(b)
			le.PutUint32(b[8:], crc32.Checksum(b[12:], castagnoli))
		}
		lsn, from, blob, err := DecodeCheckpoint(b)
		if err == nil && !bytes.Equal(AppendCheckpoint(nil, lsn, from, blob), b) {
			t.Errorf("%x encodes otherwise", b)
		}
	})
}

// FuzzNote: no panic, no reading beyond what is there; what is accepted is one whole event, and
// one changed bit behind its length is noticed. (With another length the check lies elsewhere,
// where who made the body may have put one that fits.)
func FuzzNote(f *testing.F) {
	f.Add(exampleNote(), uint16(9))
	f.Add([]byte{4, 0, 0, 0}, uint16(0))
	for _, c := range eventCodecs() {
		f.Add(c.encoded, uint16(99))
	}
	f.Fuzz(func(t *testing.T, b []byte, bit uint16) {
		if len(b) > EventHeaderSize+noteSumSize { // so that it gets past the check
			b = AppendNote(nil, EventType(b[4]), le.Uint64(b[8:]), b[EventHeaderSize:])
		}
		ev, err := ReadNote(b)
		if err != nil {
			return
		}
		size, err := PeekNote(b)
		if err != nil || size > len(b) || len(ev.Raw) != size || !bytes.Equal(ev.Raw, b[:size]) {
			t.Fatalf("%x is %d bytes (%v), read as %x", b, size, err, ev.Raw)
		}
		if n, err := DecodeNote(ev); err == nil {
			if from, to, err := NoteWithin(ev); err != nil || !bytes.Equal(ev.Raw[from:to], n.Append(nil)) {
				t.Fatalf("the note of %x is at %d to %d, decoded it is %+v (%v)", b, from, to, n, err)
			}
		}
		changed := bytes.Clone(ev.Raw)
		changed[4+int(bit/8)%(size-4)] ^= 1 << (bit % 8)
		if _, err := ReadNote(changed); err == nil {
			t.Fatalf("%x counts for %x", changed, ev.Raw)
		}
	})
}
