package session

import (
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// told is what logicsrv tells a reader who is at an offset, of aborted transactions of which all that
// begin below stable have ended; of some of them, if there are many.
func told(aborted []ipc.AbortedTxn, stable, from uint64, most int) ipc.Stable {
	m := ipc.Stable{Index: 7, End: stable + 3, Stable: stable, To: stable}
	for _, a := range aborted {
		switch {
		case a.Last < from:
			m.From = max(m.From, a.Last+1)
		case a.First >= stable || a.First >= m.To:
		case len(m.Aborted) < most || a.First <= from:
			m.Aborted = append(m.Aborted, a)
		default:
			m.To = a.First
		}
	}
	m.From = min(m.From, m.To)
	return m
}

// TestStables: whatever is told in whatever order, a reader below Readable knows exactly what was aborted.
func TestStables(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var aborted []ipc.AbortedTxn // in order of First
		for at := uint64(0); len(aborted) < 12; {
			at += rapid.Uint64Range(1, 6).Draw(rt, "gap")
			a := ipc.AbortedTxn{ProducerID: int64(len(aborted) % 4), First: at, Last: at + rapid.Uint64Range(1, 9).Draw(rt, "length")}
			aborted = append(aborted, a)
		}
		l := NewLane(&Rings{}, 0)
		l.ToldVisible(&ipc.Visible{Index: 7, End: 2})
		if end, stable := l.Readable(7, 0); end != 2 || stable {
			rt.Fatalf("of an index without transactions: %d, %v", end, stable)
		}
		stable := uint64(0)
		for range 30 {
			stable += rapid.Uint64Range(0, 5).Draw(rt, "step")
			at := rapid.Uint64Range(0, stable).Draw(rt, "at")
			m := told(aborted, stable, at, rapid.IntRange(1, 5).Draw(rt, "most"))
			l.Told(&m)
			if end, known := l.Readable(7, at); !known || at < m.To && end < m.To || end > stable || l.StableEnd(7) != stable || l.Ends[7] != stable+3 {
				rt.Fatalf("at %d, told %+v: readable to %d, %v; stable %d", at, m, end, known, l.StableEnd(7))
			}
			from := rapid.Uint64Range(0, stable).Draw(rt, "from")
			end, _ := l.Readable(7, from)
			if from >= end {
				continue
			}
			want := slices.DeleteFunc(slices.Clone(aborted), func(a ipc.AbortedTxn) bool { return a.First >= end || a.Last < from })
			if got := l.Aborted(7, from, end); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
				rt.Fatalf("[%d,%d) has %v, want %v", from, end, got, want)
			}
			for _, a := range want {
				if gone, known := l.Stables[7].wasAborted(a.ProducerID, max(a.First, from)); max(a.First, from) < min(a.Last, end) && (!gone || !known) {
					rt.Fatalf("%+v is not known to be aborted at %d: %v %v", a, max(a.First, from), gone, known)
				}
			}
		}
	})
}

// TestStablesAreBounded: what is remembered of an index is.
func TestStablesAreBounded(t *testing.T) {
	l := NewLane(&Rings{}, 0)
	for n := uint64(0); n < 10; n++ {
		m := ipc.Stable{Index: 7, From: n * 3000, To: (n + 1) * 3000, Stable: (n + 1) * 3000, End: (n + 1) * 3000}
		for i := range uint64(1000) {
			m.Aborted = append(m.Aborted, ipc.AbortedTxn{First: m.From + 3*i, Last: m.From + 3*i + 2})
		}
		l.Told(&m)
		if len(l.Stables[7].aborted) > maxKnownAborted {
			t.Fatalf("%d are remembered", len(l.Stables[7].aborted))
		}
		if end, _ := l.Readable(7, m.From); end != m.To {
			t.Fatalf("what was told last is not known: %d", end)
		}
	}
}

// TestKeeps: committed readers get no control batches, and nothing that was aborted.
func TestKeeps(t *testing.T) {
	s := &Stable{to: 20, aborted: []ipc.AbortedTxn{{ProducerID: 8, First: 5, Last: 9}}}
	var b batch.Builder
	b.Add(1, nil, []byte("value"), nil)
	plain := b.Seal(batch.None, 8, 0, 0)
	part := slices.Clone(plain)
	part[batch.OffAttributes+1] |= 0x10
	for _, c := range []struct {
		name string
		h    batch.Header
		base uint64
		want bool
	}{
		{"a control batch", batch.AppendControl(nil, 8, 0, false, 1), 9, false},
		{"a batch of no transaction", plain, 6, true},
		{"an aborted one", part, 6, false},
		{"one before", part, 4, true},
		{"one behind", part, 10, true},
	} {
		if got := s.keeps(c.h, c.base); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
