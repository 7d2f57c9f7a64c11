package shmqueue

import (
	"bytes"
	"errors"
	"testing"
)

// heapRing makes a ring on heap memory.
func heapRing(t testing.TB, capacity, nonce uint64) *Ring {
	t.Helper()
	mem := make([]byte, MemorySize(capacity))
	if err := Format(mem, capacity, nonce); err != nil {
		t.Fatal(err)
	}
	r, err := Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// ends takes both ends over.
func ends(t testing.TB, r *Ring) (*Producer, *Consumer) {
	t.Helper()
	p, err := r.Producer()
	if err != nil {
		t.Fatal(err)
	}
	c, err := r.Consumer()
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func TestOneRecord(t *testing.T) {
	r := heapRing(t, 1024, 7)
	p, c := ends(t, r)
	if p.Epoch() != 1 || c.Epoch() != 1 {
		t.Fatalf("first epochs are %d and %d", p.Epoch(), c.Epoch())
	}
	if _, ok := c.Next(); ok {
		t.Fatal("an empty ring has a record")
	}
	s, err := p.Claim(5, 3, 9)
	if err != nil {
		t.Fatal(err)
	}
	copy(s.Payload, "hello")
	if _, ok := c.Next(); ok {
		t.Fatal("a claimed record is visible")
	}
	s.Publish()
	rec, ok := c.Next()
	if !ok || string(rec.Payload) != "hello" || rec.Type != 3 || rec.Flags != 9 {
		t.Fatalf("Next gave %+v, %v", rec, ok)
	}
	if rec.Pos != s.Pos || rec.PayloadPos != s.PayloadPos || rec.End != 32 || r.Tail() != 32 {
		t.Fatalf("positions: %+v of %+v, tail %d", rec, s, r.Tail())
	}
	if got := r.At(rec.PayloadPos, 5); !bytes.Equal(got, []byte("hello")) {
		t.Fatalf("At gave %q", got)
	}
	if c.Release(rec.End) || r.Head() != rec.End {
		t.Fatalf("release: head %d", r.Head())
	}
	if r.At(rec.PayloadPos, 5) != nil {
		t.Fatal("At gives released bytes")
	}
}

func TestFullAndWantSpace(t *testing.T) {
	r := heapRing(t, 256, 7)
	p, c := ends(t, r)
	for range 256 / 64 {
		if _, err := p.Put(1, 0, make([]byte, 48)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Put(1, 0); !errors.Is(err, ErrFull) {
		t.Fatalf("full ring gave %v", err)
	}
	p.WantSpace()
	rec, _ := c.Next()
	if !c.Release(rec.End) {
		t.Fatal("release does not tell the waiting producer")
	}
	rec, _ = c.Next()
	if c.Release(rec.End) {
		t.Fatal("the flag was not cleared")
	}
	if p.Room() != 128 {
		t.Fatalf("room is %d", p.Room())
	}
	if _, err := p.Claim(r.MaxRecord()+1, 1, 0); !errors.Is(err, ErrTooLarge) {
		t.Fatalf("too large a claim gave %v", err)
	}
}

// TestDamagedRecords stamps a record with a length that cannot be right: every reader stops
// before it, and says where and why.
func TestDamagedRecords(t *testing.T) {
	for _, tt := range []struct {
		name   string
		at     int // which record of the four
		typ    uint16
		length uint32
	}{
		{"longest of all", 0, 1, 1<<32 - 1},
		{"beyond the end of the area, within the tail", 1, 1, 180},
		{"beyond the tail", 3, 1, 100},
		{"a pad beyond the end of the area", 1, padType, 180},
		{"a pad beyond the tail", 3, padType, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := heapRing(t, 512, 5)
			p, c := ends(t, r)
			for range 2 { // head 256: the four lie across the end of the area
				if _, err := p.Put(1, 0, make([]byte, 112)); err != nil {
					t.Fatal(err)
				}
				rec, _ := c.Next()
				c.Release(rec.End)
			}
			var at [4]uint64
			for i := range at {
				pos, err := p.Put(1, 0, make([]byte, 80))
				if err != nil {
					t.Fatal(err)
				}
				at[i] = pos
			}
			*metaAt(r.at(at[tt.at])) = uint64(tt.length) | uint64(tt.typ)<<32
			for i := range tt.at {
				if _, ok := c.Next(); !ok {
					t.Fatalf("record %d, before the damage, is refused: %v", i, c.Err())
				}
			}
			read := c.Read()
			var damage *RecordError
			for range 2 {
				if rec, ok := c.Next(); ok || !errors.As(c.Err(), &damage) {
					t.Fatalf("next gave %+v, %v, %v", rec, ok, c.Err())
				}
			}
			if damage.Pos != at[tt.at] || damage.Length != tt.length || c.Read() != read {
				t.Fatalf("error %+v, read %d", damage, c.Read())
			}
			if err := r.Walk(func(Record) bool { return true }); !errors.As(err, &damage) {
				t.Fatalf("walk gave %v", err)
			}
			if _, err := r.Producer(); !errors.As(err, &damage) {
				t.Fatalf("a take-over gave %v", err)
			}
			if r.Tail() != at[3]+96 {
				t.Fatal("a take-over has cut a damaged ring")
			}
		})
	}
}

// A program that takes over from an earlier one of its process goes on in its epoch, behind what was
// published; one that comes from elsewhere is refused, and nothing has changed.
func TestContinueProducer(t *testing.T) {
	r := heapRing(t, 1024, 7)
	p, c := ends(t, r)
	for _, text := range []string{"first", "second"} {
		if _, err := p.Put(1, 0, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := c.Next(); !ok {
		t.Fatal("nothing was read")
	}
	var format *FormatError
	if _, err := r.ContinueProducer(p.Epoch() + 1); !errors.As(err, &format) {
		t.Errorf("another epoch: %v", err)
	}
	next, err := r.ContinueProducer(p.Epoch())
	if err != nil || next.Epoch() != 1 {
		t.Fatalf("epoch %d, %v", next.Epoch(), err)
	}
	if _, err := next.Put(1, 0, []byte("third")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"second", "third"} {
		if rec, ok := c.Next(); !ok || string(rec.Payload) != want {
			t.Errorf("%q %v, want %q", rec.Payload, ok, want)
		}
	}
}
