package shmqueue

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// The ring against a model: a list of pieces of the ring, each a claim, a published record or
// a pad. What is claimed, published, given up, read, released, and what both ends' deaths
// leave, must be the same in both, to the byte.

// piece is a stretch of the ring from a claim.
type piece struct {
	pos, size uint64
	slot      Slot // while claimed
	published bool
	pad       bool
	flags     uint16
	payload   []byte
}

type ringModel struct {
	t          *rapid.T
	r          *Ring
	p          *Producer
	c          *Consumer
	pieces     []piece // from head to tail
	head, tail uint64
	read       uint64
	wantSpace  bool
	epochs     [2]uint64
	made       byte // varies the payloads
}

// newRingModel makes a small ring whose positions begin anywhere.
func newRingModel(t *rapid.T) *ringModel {
	capacity := uint64(256) << rapid.IntRange(0, 3).Draw(t, "capacity")
	mem := make([]byte, MemorySize(capacity))
	for i := range mem {
		mem[i] = 0xa5
	}
	if err := Format(mem, capacity, rapid.Uint64().Draw(t, "nonce")); err != nil {
		t.Fatal(err)
	}
	r, err := Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	m := &ringModel{t: t, r: r}
	m.RestartProducer(t)
	m.RestartConsumer(t)
	return m
}

// room says where a claim of size bytes would go, and whether it fits.
func (m *ringModel) room(size uint64) (pad, end uint64, fits bool) {
	rest := m.r.Capacity() - m.tail%m.r.Capacity()
	if size > rest {
		pad = rest
	}
	end = m.tail + pad + size
	return pad, end, end-m.head <= m.r.Capacity()
}

// claimed appends what a claim of size bytes makes, up to but without the record itself.
func (m *ringModel) claimed(pad uint64) {
	if pad > 0 {
		m.pieces = append(m.pieces, piece{pos: m.tail, size: pad, published: true, pad: true})
		m.tail += pad
	}
}

func (m *ringModel) payload(n int) []byte {
	m.made++
	return bytes.Repeat([]byte{m.made}, n)
}

func (m *ringModel) Claim(t *rapid.T) {
	n := rapid.IntRange(0, m.r.MaxRecord()+20).Draw(t, "n")
	s, err := m.p.Claim(n, 1, uint16(n))
	pad, end, fits := m.room(RecordSize(n))
	switch {
	case n > m.r.MaxRecord():
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("claim of %d gave %v", n, err)
		}
		return
	case !fits:
		if !errors.Is(err, ErrFull) {
			t.Fatalf("claim of %d with head %d, tail %d gave %v", n, m.head, m.tail, err)
		}
		return
	case err != nil:
		t.Fatalf("claim of %d with head %d, tail %d: %v", n, m.head, m.tail, err)
	}
	m.claimed(pad)
	if s.Pos != m.tail || s.PayloadPos != s.Pos+RecordHeader || len(s.Payload) != n {
		t.Fatalf("slot %d, %d bytes; want %d, %d bytes", s.Pos, len(s.Payload), m.tail, n)
	}
	payload := m.payload(n)
	copy(s.Payload, payload)
	m.pieces = append(m.pieces, piece{pos: s.Pos, size: RecordSize(n), slot: s, flags: uint16(n), payload: payload})
	m.tail = end
}

// outstanding draws a claim that is not published yet; nil: there is none.
func (m *ringModel) outstanding(t *rapid.T) *piece {
	var open []int
	for i := range m.pieces {
		if !m.pieces[i].published {
			open = append(open, i)
		}
	}
	if len(open) == 0 {
		return nil
	}
	return &m.pieces[rapid.SampledFrom(open).Draw(t, "claim")]
}

func (m *ringModel) Publish(t *rapid.T) {
	if p := m.outstanding(t); p != nil {
		p.slot.Publish()
		p.published = true
	}
}

func (m *ringModel) Discard(t *rapid.T) {
	if p := m.outstanding(t); p != nil {
		p.slot.Discard()
		p.published, p.pad = true, true
	}
}

func (m *ringModel) PutBatch(t *rapid.T) {
	sizes := rapid.SliceOfN(rapid.IntRange(0, 60), 1, 6).Draw(t, "sizes")
	spare := uint64(rapid.IntRange(0, 4).Draw(t, "spare")) * RecordAlign
	size := spare
	for _, n := range sizes {
		size += RecordSize(n)
	}
	b, err := m.p.ClaimBatch(size)
	pad, end, fits := m.room(size)
	if size > m.p.MaxBatch() {
		if !errors.Is(err, ErrTooLarge) {
			t.Fatalf("batch claim of %d gave %v", size, err)
		}
		return
	}
	if (err == nil) != fits {
		t.Fatalf("batch claim of %d with head %d, tail %d gave %v", size, m.head, m.tail, err)
	}
	if err != nil {
		return
	}
	m.claimed(pad)
	for _, n := range sizes {
		payload := m.payload(n)
		room, ok := b.Add(n, 1, uint16(n))
		if !ok || copy(room, payload) != n {
			t.Fatalf("batch of %d has no room for %v", size, sizes)
		}
		m.pieces = append(m.pieces, piece{pos: m.tail, size: RecordSize(n), published: true, flags: uint16(n), payload: payload})
		m.tail += RecordSize(n)
	}
	if _, ok := b.Add(int(b.Room()), 1, 0); ok {
		t.Fatal("a batch takes more than was claimed")
	}
	if spare > 0 {
		m.pieces = append(m.pieces, piece{pos: m.tail, size: spare, published: true, pad: true})
	}
	m.tail = end
	b.Publish()
}

func (m *ringModel) Next(t *rapid.T) {
	rec, ok := m.c.Next()
	if err := m.c.Err(); err != nil {
		t.Fatal(err)
	}
	for i := range m.pieces {
		p := &m.pieces[i]
		if p.pos < m.read {
			continue
		}
		if !p.published {
			break
		}
		m.read = p.pos + p.size
		if p.pad {
			continue
		}
		if !ok || rec.Pos != p.pos || rec.End != m.read || rec.Flags != p.flags || !bytes.Equal(rec.Payload, p.payload) {
			t.Fatalf("next at %d: %v, %+v; want %+v", p.pos, ok, rec, *p)
		}
		if at := m.r.At(rec.PayloadPos, len(rec.Payload)); !bytes.Equal(at, p.payload) {
			t.Fatalf("At(%d) gave %v", rec.PayloadPos, at)
		}
		return
	}
	if ok {
		t.Fatalf("next gave %+v, want nothing at %d", rec, m.read)
	}
}

func (m *ringModel) Release(t *rapid.T) {
	ends := []uint64{m.head, m.read}
	for _, p := range m.pieces {
		if p.pos+p.size <= m.read {
			ends = append(ends, p.pos+p.size)
		}
	}
	pos := rapid.SampledFrom(ends).Draw(t, "release")
	want := m.c.Release(pos)
	if want != (pos > m.head && m.wantSpace) {
		t.Fatalf("release of %d says %v, flag is %v", pos, want, m.wantSpace)
	}
	if want {
		m.wantSpace = false
	}
	for len(m.pieces) > 0 && m.pieces[0].pos < pos {
		m.pieces = m.pieces[1:]
	}
	m.head = pos
}

func (m *ringModel) WantSpace(*rapid.T) {
	m.p.WantSpace()
	m.wantSpace = true
}

// RestartProducer is a death of the producing process with all its claims, and a take-over.
func (m *ringModel) RestartProducer(t *rapid.T) {
	var err error
	if m.p, err = m.r.Producer(); err != nil {
		t.Fatal(err)
	}
	m.epochs[0]++
	for i := range m.pieces {
		if !m.pieces[i].published {
			m.tail = m.pieces[i].pos
			m.pieces = m.pieces[:i]
			break
		}
	}
}

// RestartConsumer is a death of the consuming process and a take-over.
func (m *ringModel) RestartConsumer(t *rapid.T) {
	var err error
	if m.c, err = m.r.Consumer(); err != nil {
		t.Fatal(err)
	}
	m.epochs[1]++
	m.read = m.head
}

// Reopen opens the memory again, as a successor process does.
func (m *ringModel) Reopen(t *rapid.T) {
	r, err := Open(m.r.mem)
	if err != nil {
		t.Fatal(err)
	}
	m.r = r
	m.RestartProducer(t)
	m.RestartConsumer(t)
}

// Check compares all that can be seen.
func (m *ringModel) Check(t *rapid.T) {
	s := m.r.Snapshot()
	switch {
	case s.Head != m.head || s.Tail != m.tail || m.c.Read() != m.read:
		t.Fatalf("head %d read %d tail %d, want %d %d %d", s.Head, m.c.Read(), s.Tail, m.head, m.read, m.tail)
	case m.p.Room() != m.r.Capacity()-(m.tail-m.head):
		t.Fatalf("room %d with head %d, tail %d", m.p.Room(), m.head, m.tail)
	case m.p.Epoch() != m.epochs[0] || m.c.Epoch() != m.epochs[1]:
		t.Fatalf("epochs %d, %d; want %v", m.p.Epoch(), m.c.Epoch(), m.epochs)
	case s.WantSpace != m.wantSpace:
		t.Fatalf("wantSpace %v", s.WantSpace)
	}
	// Invariant 3: no stamp fits its position in the free part.
	for pos := m.tail; pos < m.head+m.r.Capacity(); pos += RecordAlign {
		if m.r.published(pos) {
			t.Fatalf("a stamp at %d, head %d, tail %d", pos, m.head, m.tail)
		}
	}
	i := 0
	err := m.r.Walk(func(rec Record) bool {
		for m.pieces[i].pad {
			i++
		}
		if rec.Pos != m.pieces[i].pos || !bytes.Equal(rec.Payload, m.pieces[i].payload) {
			t.Fatalf("walk shows %+v, want %+v", rec, m.pieces[i])
		}
		i++
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newRingModel(t)
		t.Repeat(map[string]func(*rapid.T){
			"":                m.Check,
			"claim":           m.Claim,
			"claim again":     m.Claim,
			"publish":         m.Publish,
			"publish again":   m.Publish,
			"discard":         m.Discard,
			"batch":           m.PutBatch,
			"next":            m.Next,
			"next again":      m.Next,
			"release":         m.Release,
			"want":            m.WantSpace,
			"producer dies":   m.RestartProducer,
			"consumer dies":   m.RestartConsumer,
			"everything dies": m.Reopen,
		})
	})
}
