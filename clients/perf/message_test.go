package main

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"testing"
)

func TestMessagesAreJSONOfTheirSize(t *testing.T) {
	for _, size := range []int{minSize, 129, 250, 1000, 70000} {
		g := newGenerator(0xa1b2c3d4, 7, size)
		for n := range 40 {
			m := g.next(int64(1700000000000000000 + n))
			var got struct{ Run, ID, At, User, Note string }
			if err := json.Unmarshal(m, &got); err != nil || len(m) != size {
				t.Fatalf("size %d: %d bytes, %v: %s", size, len(m), err, m)
			}
			if got.Run != "a1b2c3d4" || got.ID != fmt.Sprintf("0007-%012d", n) || got.At != fmt.Sprint(1700000000000000000+n) || timeOf(m) != int64(1700000000000000000+n) {
				t.Fatalf("message %d is %+v", n, got)
			}
		}
	}
}

// A pool repeats its texts; the numbers go on.
func TestGeneratorGoesRound(t *testing.T) {
	g := newGenerator(1, 0, 250)
	var x texts
	for n := range uint64(3*maxPoolCount + 5) {
		if got, ok := x.number(g.next(0)); !ok || got != n {
			t.Fatalf("message %d reads as %d, %v", n, got, ok)
		}
	}
	if timeOf(g.next(0)) != 0 {
		t.Fatal("a message without a time has one")
	}
}

// Any changed byte is found, but for the free fields run, producer, number (where the text
// then does not fit) and time.
func TestTextsFindEveryChangedByte(t *testing.T) {
	m := bytes.Clone(newGenerator(1, 0, 250).next(5))
	var x texts
	for i := range m {
		m[i] ^= 1
		n, ok := x.number(m)
		free := i >= runAt && i < runAt+runLen || i >= senderAt && i < senderAt+senderLen || i >= timeAt && i < timeAt+timeLen
		if ok != free || ok && n != 0 {
			t.Errorf("byte %d (%q) changed: number %d, %v", i, m[i]^1, n, ok)
		}
		m[i] ^= 1
	}
	for name, bad := range map[string][]byte{"nothing": nil, "short": m[:minSize-1], "cut": m[:249], "longer": append(bytes.Clone(m), ' '), "huge": make([]byte, maxSize+1)} {
		if _, ok := x.number(bad); ok {
			t.Errorf("%s passes", name)
		}
	}
}

// The messages shall compress as real ones do: not to nothing, and not at all.
func TestMessagesCompressModestly(t *testing.T) {
	g := newGenerator(1, 0, 250)
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, 6)
	const count = 1000
	for range count {
		_, _ = w.Write(g.next(0))
	}
	_ = w.Close()
	if ratio := float64(count*250) / float64(out.Len()); ratio < 1.3 || ratio > 5 {
		t.Fatalf("compresses %.1f times", ratio)
	}
}

func TestLedger(t *testing.T) {
	g, other := newGenerator(1, 0, 250), newGenerator(1, 1, 250)
	var l ledger
	clone := func(m []byte) []byte { return bytes.Clone(m) }
	m0, m1, m2 := clone(g.next(0)), clone(g.next(0)), clone(g.next(0))
	l.note(0, m0)
	l.note(0, m2)
	l.note(1, m1) // lower, but of another partition: no disorder
	l.note(0, other.next(0))
	if v := l.verdict(); l.shuffled != 0 || v.doubled != 0 || v.distinct != 4 || l.corrupt != 0 {
		t.Fatalf("%+v, %d shuffled, %d corrupt", v, l.shuffled, l.corrupt)
	}
	l.note(0, m2)
	l.note(1, m0)
	bad := clone(m1)
	bad[200]++
	l.note(0, bad)
	if v := l.verdict(); l.shuffled != 2 || v.doubled != 2 || v.distinct != 4 || l.corrupt != 1 || l.messages != 7 || l.bytes != 7*250 {
		t.Fatalf("%+v, %d shuffled, %d corrupt, %d messages", v, l.shuffled, l.corrupt, l.messages)
	}
}

// Two consumers' ledgers together say what one would have said.
func TestLedgerMerge(t *testing.T) {
	g := newGenerator(9, 3, 250)
	var a, b, all ledger
	for n := range 5000 {
		m := bytes.Clone(g.next(0))
		if n%3 == 0 {
			a.note(0, m)
		} else {
			b.note(1, m)
		}
		if n == 4998 {
			a.note(0, m)
		}
	}
	all.merge(&a)
	all.merge(&b)
	if v := all.verdict(); v.distinct != 5000 || v.doubled != 1 || all.messages != 5001 || all.corrupt != 0 {
		t.Fatalf("%+v, %d messages", v, all.messages)
	}
}

func BenchmarkGenerator(b *testing.B) {
	g := newGenerator(1, 0, 250)
	b.ReportAllocs()
	for b.Loop() {
		g.next(0)
	}
}

func BenchmarkLedger(b *testing.B) {
	g := newGenerator(1, 0, 250)
	var l ledger
	b.ReportAllocs()
	for b.Loop() {
		l.note(0, g.next(0))
	}
}
