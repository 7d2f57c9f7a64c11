package main

import (
	"testing"
	"time"
)

func TestRecord(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(ms)) }
	var r record
	for _, ms := range []int{10, 20, 20, 70, 80} {
		r.times = append(r.times, at(ms))
	}
	for _, tt := range []struct{ from, to, count, longest int }{
		{0, 100, 5, 50}, {10, 20, 1, 10}, {20, 70, 2, 50}, {75, 200, 1, 120}, {21, 69, 0, 48}, {0, 12, 1, 10},
	} {
		if n := r.count(at(tt.from), at(tt.to)); n != tt.count {
			t.Errorf("[%d, %d): counted %d", tt.from, tt.to, n)
		}
		if d := r.longest(at(tt.from), at(tt.to)); d != time.Duration(tt.longest)*time.Millisecond {
			t.Errorf("[%d, %d): longest %v", tt.from, tt.to, d)
		}
	}
	r.forget()
	if r.count(at(0), at(100)) != 0 {
		t.Error("not forgotten")
	}
	before := time.Now()
	if r.add(3); r.count(before, time.Now().Add(time.Minute)) != 3 {
		t.Error("not noted")
	}
}

func TestRow(t *testing.T) {
	ms := time.Millisecond
	got := row("x", []measured{{30 * ms, 7 * ms, 1, 2, 3, 0}, {10 * ms, 9 * ms, 2, 2, 3, 5}, {20 * ms, 8 * ms, 3, 2, 3, 5}})
	if want := "| x | 20 (30) | 8 (9) | 2 | 2 | 3 | 5 |"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestFaultsThatKeepConnections(t *testing.T) {
	kept := 0
	for _, f := range faults() {
		if f.keepsConnections() {
			kept++
		}
	}
	if kept != 6 {
		t.Errorf("%d of %d keep connections", kept, len(faults()))
	}
}
