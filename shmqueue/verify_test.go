package shmqueue

import (
	"strings"
	"testing"
)

// TestVerifySound finds nothing in rings that are used as they should be: empty, in use, full,
// after laps, and after a take-over that cut.
func TestVerifySound(t *testing.T) {
	r := heapRing(t, 1024, 12345)
	p, c := ends(t, r)
	for seq := range uint64(200) {
		if _, err := p.Put(1, 0, testRecord(seq)); err != nil {
			rec, _ := c.Next()
			c.Release(rec.End)
		}
		if f := r.Verify(); len(f) > 0 {
			t.Fatalf("after %d: %v", seq, f)
		}
	}
	if _, err := p.Claim(40, 1, 0); err != nil {
		for rec, ok := c.Next(); ok; rec, ok = c.Next() {
			c.Release(rec.End)
		}
		if _, err := p.Claim(40, 1, 0); err != nil {
			t.Fatal(err)
		}
	}
	if f := r.Verify(); len(f) != 1 || !f[0].Claimed {
		t.Fatalf("a claim: %v", f)
	}
	if _, err := r.Producer(); err != nil {
		t.Fatal(err)
	}
	if f := r.Verify(); len(f) > 0 {
		t.Fatalf("after the cut: %v", f)
	}
}

// TestVerifyFinds names what is wrong: each word in turn, and records.
func TestVerifyFinds(t *testing.T) {
	for _, tt := range []struct {
		where string
		harm  func(r *Ring)
	}{
		{"cursors", func(r *Ring) { r.h.head.Store(r.h.tail.Load() + 16) }},
		{"cursors", func(r *Ring) { r.h.tail.Store(r.h.tail.Load() + 8) }},
		{"cursors", func(r *Ring) { r.h.tail.Store(r.h.head.Load() + r.capacity + 16) }},
		{"identity", func(r *Ring) { r.h.creator.Store(0) }},
		{"producer", func(r *Ring) { r.h.producer.pid.Store(0) }},
		{"consumer", func(r *Ring) { r.h.consumer.pid.Store(0) }},
		{"bell", func(r *Ring) { r.h.bell.sleeping.Store(2) }},
		{"wantSpace", func(r *Ring) { r.h.wantSpace.Store(7) }},
		{"header byte 60", func(r *Ring) { r.mem[60] = 1 }},
		{"header byte 270", func(r *Ring) { r.mem[270] = 1 }},
		{"header byte 4000", func(r *Ring) { r.mem[4000] = 1 }},
		{"record at ", func(r *Ring) { *metaAt(r.at(r.h.head.Load())) = packMeta(5000, 1, 0) }},
		{"position ", func(r *Ring) { stampAt(r.at(r.h.tail.Load())).Store(stampFor(r.h.tail.Load(), r.nonce)) }},
		{"position ", func(r *Ring) { stampAt(r.at(r.h.head.Load())).Store(0) }},
	} {
		r, err := Open(fuzzRing(t))
		if err != nil {
			t.Fatal(err)
		}
		tt.harm(r)
		f := r.Verify()
		if len(f) == 0 || !strings.HasPrefix(f[0].Where, tt.where) || f[0].Mend == "" || f[0].What == "" {
			t.Errorf("%s: %v", tt.where, f)
		}
	}
}

// TestVerifyInUse finds nothing in a ring through which records go all the while.
func TestVerifyInUse(t *testing.T) {
	_, r := sysvRing(t, 4096)
	p, c := ends(t, r)
	stop, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- traffic(p, c, stop) }()
	for range 2000 {
		if f := r.look(); len(f) > 0 { // one look may see words an instant apart; Verify may not
			if f = r.Verify(); len(f) > 0 {
				t.Fatal(f)
			}
		}
	}
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// traffic puts records and takes them until it is stopped.
func traffic(p *Producer, c *Consumer, stop chan struct{}) error {
	for seq := uint64(0); ; {
		select {
		case <-stop:
			return nil
		default:
		}
		for range 3 {
			if _, err := p.Put(1, 0, testRecord(seq)); err == nil {
				seq++
			}
		}
		if _, ok := c.Next(); !ok && c.Err() != nil {
			return c.Err()
		}
		c.Release(c.Read())
	}
}

// TestLook reads records in flight, released ones until their place is claimed again, and nothing
// that is not a record.
func TestLook(t *testing.T) {
	r := heapRing(t, 256, 3)
	p, c := ends(t, r)
	for range 4 {
		if _, err := p.Put(1, 0, make([]byte, 48)); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := r.Look(256, nil); ok || err != nil {
		t.Errorf("at the tail: %v %v", ok, err)
	}
	rec, _ := c.Next()
	c.Release(rec.End)
	if got, ok, err := r.Look(0, nil); !ok || err != nil || got.End != 64 || len(got.Payload) != 48 {
		t.Errorf("released: %+v %v %v", got, ok, err)
	}
	if _, err := p.Put(1, 0, make([]byte, 48)); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Look(0, nil); ok || err != ErrPassed {
		t.Errorf("claimed again: %v %v", ok, err)
	}
	for _, pos := range []uint64{72, 1 << 63, 80} {
		if got, ok, _ := r.Look(pos, nil); ok {
			t.Errorf("at %d: %+v", pos, got)
		}
	}
}
