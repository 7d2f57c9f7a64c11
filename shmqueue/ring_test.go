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
