package session

import (
	"math/rand/v2"
	"testing"
)

// Pending against a map: requests are answered in any order, some twice.
func TestPendingAgainstModel(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		var p Pending
		model := map[uint64]Request{}
		var numbers []uint64
		next, bytes := uint64(0), 0
		for range 400 {
			if rnd.IntN(5) < 3 {
				next += 1 + rnd.Uint64N(3)
				r := Request{Req: next, Bytes: uint32(rnd.IntN(100)), Correlation: next * 2}
				p.Add(r)
				model[next] = r
				numbers = append(numbers, next)
				bytes += int(r.Bytes)
			} else if len(numbers) > 0 {
				req := numbers[rnd.IntN(len(numbers))]
				if rnd.IntN(2) == 0 {
					req = numbers[0]
				}
				got, ok := p.Take(req)
				want, had := model[req]
				if ok != had || got != want {
					t.Fatalf("seed %d: take %d: %+v %v, want %+v %v", seed, req, got, ok, want, had)
				}
				delete(model, req)
				bytes -= int(want.Bytes)
				if ok && req == numbers[0] {
					numbers = numbers[1:]
				}
			}
			if p.Len() != len(model) || p.Bytes() != bytes {
				t.Fatalf("seed %d: %d requests of %d bytes, want %d of %d", seed, p.Len(), p.Bytes(), len(model), bytes)
			}
		}
		last, seen := uint64(0), 0
		p.Each(func(r *Request) {
			if r.Req <= last || model[r.Req] != *r {
				t.Fatalf("seed %d: %+v after %d", seed, r, last)
			}
			last = r.Req
			seen++
		})
		if seen != len(model) {
			t.Fatalf("seed %d: %d listed of %d", seed, seen, len(model))
		}
	}
}

func TestPendingHoldsNoMemoryWhenIdle(t *testing.T) {
	var p Pending
	for i := range uint64(1000) {
		p.Add(Request{Req: i + 1})
	}
	for i := range uint64(1000) {
		p.Take(i + 1)
	}
	if cap(p.list) > 8 || cap(p.reqs) > 8 {
		t.Errorf("an idle table has room for %d and %d", cap(p.list), cap(p.reqs))
	}
	if _, ok := p.Take(0); ok {
		t.Error("request 0 was found")
	}
}
