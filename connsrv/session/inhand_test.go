package session

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// InHand against a set of numbers.
func TestInHandAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		var h InHand
		model := map[uint64]bool{}
		all := func(r ipc.Range, in bool) bool {
			for o := r.First; o < r.First+uint64(r.Count); o++ {
				if model[o] != in {
					return false
				}
			}
			return true
		}
		for range 300 {
			r := ipc.Range{First: rnd.Uint64N(60), Count: uint32(1 + rnd.IntN(8))}
			if rnd.IntN(2) == 0 {
				want := all(r, false)
				if got := h.Add(r.First, r.Count); got != want {
					t.Fatalf("seed %d: add %+v: %v", seed, r, got)
				}
				if want {
					for o := r.First; o < r.First+uint64(r.Count); o++ {
						model[o] = true
					}
				}
			} else {
				want := all(r, true)
				if got := h.Remove(r); got != want {
					t.Fatalf("seed %d: remove %+v: %v", seed, r, got)
				}
				if want {
					for o := r.First; o < r.First+uint64(r.Count); o++ {
						delete(model, o)
					}
				}
			}
			checkInHand(t, &h, model)
		}
	}
}

func checkInHand(t *testing.T, h *InHand, model map[uint64]bool) {
	t.Helper()
	if h.Count() != uint64(len(model)) {
		t.Fatalf("%d in hand, want %d", h.Count(), len(model))
	}
	end := uint64(0)
	for i, r := range slices.Collect(h.Each) {
		if i > 0 && r.First <= end {
			t.Fatalf("ranges touch: %+v", h)
		}
		end = r.First + uint64(r.Count)
		for o := r.First; o < end; o++ {
			if !model[o] {
				t.Fatalf("%d is not in hand", o)
			}
		}
	}
}

func TestInHandRefusesEmptyAndOverflow(t *testing.T) {
	var h InHand
	if h.Add(5, 0) || h.Add(^uint64(0), 2) || h.Remove(ipc.Range{First: 5}) || h.Remove(ipc.Range{First: ^uint64(0), Count: 2}) {
		t.Error("accepted")
	}
}

func TestTopUp(t *testing.T) {
	r := &Rings{MaxRecord: 1 << 20}
	s := Sub{Limit: 10}
	limit, tell := s.TopUp(r)
	if limit != 10 || !tell {
		t.Fatalf("%d %v", limit, tell)
	}
	s.Told = limit
	if _, tell := s.TopUp(r); tell {
		t.Error("told twice")
	}
	s = Sub{Limit: 1 << 40}
	s.Told, _ = s.TopUp(r)
	if s.Told != aheadMessages {
		t.Fatalf("endless credit is told as %d", s.Told)
	}
	s.Delivered = 1
	if _, tell := s.TopUp(r); tell {
		t.Error("a small step is told")
	}
	s.Delivered = aheadMessages / 2
	if limit, tell := s.TopUp(r); !tell || limit != aheadMessages/2*3 {
		t.Errorf("%d %v", limit, tell)
	}
	s = Sub{Limit: aheadMessages + 5, Told: aheadMessages, Delivered: 10}
	if limit, tell := s.TopUp(r); !tell || limit != s.Limit {
		t.Errorf("the last step: %d %v", limit, tell)
	}
}

// What a consumer may hold at most fits a record, in rings of any size.
func TestStateFitsARecord(t *testing.T) {
	for capacity := 1 << 16; capacity <= 1<<30; capacity *= 2 {
		r := &Rings{MaxRecord: capacity/4 - 16}
		var s Sub
		s.Consumer.Tag = strings.Repeat("t", ipc.MaxTag)
		for s.Gaps() < r.MaxGaps()+int(r.Ahead()) {
			s.InHand.Add(uint64(s.Gaps()%3), uint64(2*s.InHand.Gaps()), 1)
			s.Pledged.Add(uint64(s.Gaps()%3), uint64(2*s.InHand.Gaps()+1), 1)
		}
		if s.Room(r) != 0 {
			t.Errorf("capacity %d: a puller may ask for %d more", capacity, s.Room(r))
		}
		m := s.State(ipc.Head{}, ipc.Marker{})
		if n := len(m.Append(nil)); n > r.MaxRecord {
			t.Errorf("capacity %d: a state of %d bytes, a record holds %d", capacity, n, r.MaxRecord)
		}
	}
}
