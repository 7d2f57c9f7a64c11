package shmqueue

import (
	"testing"
)

// TestAtBounds shows which references At accepts.
func TestAtBounds(t *testing.T) {
	r := heapRing(t, 256, 3)
	p, c := ends(t, r)
	for range 4 {
		if _, err := p.Put(1, 0, make([]byte, 48)); err != nil {
			t.Fatal(err)
		}
	}
	rec, _ := c.Next()
	c.Release(rec.End)
	if _, err := p.Put(1, 0, make([]byte, 48)); err != nil {
		t.Fatal(err)
	}
	// head 64, tail 320, the area ends at 256
	for _, tt := range []struct {
		pos uint64
		n   int
		ok  bool
	}{
		{64, 0, true},
		{64, 192, true},
		{64, 193, false}, // split at the area's end
		{256, 64, true},
		{256, 65, false}, // beyond tail
		{320, 0, true},
		{320, 1, false},
		{321, 0, false},
		{63, 1, false}, // released
		{64, -1, false},
		{1 << 63, 16, false},
		{^uint64(0), 16, false},
	} {
		got := r.At(tt.pos, tt.n)
		if (got != nil) != tt.ok || tt.ok && len(got) != tt.n {
			t.Errorf("At(%d, %d) gave %d bytes, nil %v", tt.pos, tt.n, len(got), got == nil)
		}
	}
}

// TestWalkInUse walks a ring while records go through it. On a segment, where the race
// detector does not see that the copies race with the producer by design.
func TestWalkInUse(t *testing.T) {
	_, r := sysvRing(t, 1024)
	p, c := ends(t, r)
	shown := 0
	done := make(chan error, 1)
	stop := make(chan struct{})
	go func() { done <- traffic(p, c, stop) }()
	for shown < 20000 && !t.Failed() {
		last := uint64(0)
		err := r.Walk(func(rec Record) bool {
			if rec.End <= last {
				t.Errorf("record at %d behind %d", rec.Pos, last)
			}
			last = rec.End
			if _, err := testSeq(rec.Payload); err != nil {
				t.Error(err)
			}
			shown++
			return true
		})
		if err != nil {
			t.Error(err)
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
