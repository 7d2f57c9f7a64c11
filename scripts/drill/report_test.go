package drill

import (
	"encoding/xml"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

const msec = time.Millisecond

// TestPauses: gaps are found at the beginning, within and at the end, and the longest that touches a time.
func TestPauses(t *testing.T) {
	times := []time.Duration{300 * msec, 310 * msec, 900 * msec, 950 * msec}
	got := pauses(times, 200*msec, 1200*msec)
	want := []pause{{0, 300 * msec}, {310 * msec, 900 * msec}, {950 * msec, 1200 * msec}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, tt := range []struct{ from, to, want time.Duration }{
		{0, 305 * msec, 10 * msec}, {305 * msec, 306 * msec, 10 * msec}, {400 * msec, 500 * msec, 590 * msec},
		{0, 2000 * msec, 590 * msec}, {901 * msec, 920 * msec, 50 * msec}, {1000 * msec, 1100 * msec, 0},
	} {
		if got := longest(times, tt.from, tt.to); got != tt.want {
			t.Errorf("longest in [%v, %v]: %v, want %v", tt.from, tt.to, got, tt.want)
		}
	}
	if r := rate(times, 300*msec, 800*msec); r != 4 {
		t.Errorf("rate %v", r)
	}
	if r := rate(times, 300*msec, 300*msec); r != 0 {
		t.Errorf("rate of no time: %v", r)
	}
}

// TestEffects: what comes before, during and after a fault is told apart.
func TestEffects(t *testing.T) {
	h := newHistory()
	for i := range 400 {
		at := time.Duration(i) * 10 * msec
		if at < 2000*msec || at >= 2100*msec {
			h.traffic.acked(at, msec)
			h.traffic.came(at, 2)
		}
	}
	h.faults = []*faultSpan{{"kill", span{h.began.Add(2 * time.Second), h.began.Add(2100 * msec)}}}
	got := h.effects()
	want := effect{name: "kill", times: 1, ackPause: 110 * msec, gotPause: 110 * msec, before: 100, during: 0, after: 100, lasted: 100 * msec}
	if len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	p50, p99 := h.traffic.latencies(time.Second, 5*time.Second)
	if len(p50) != 6 || p50[0] != msec || p99[3] != msec || p50[5] != 0 {
		t.Errorf("latencies %v, %v", p50, p99)
	}
	acks, gots := h.traffic.perBin(binWidth, 4*time.Second)
	if acks[0] != 100 || acks[20] != 0 || gots[0] != 200 {
		t.Errorf("bins %v, %v", acks, gots)
	}
}

// TestReportIsWellFormed: all of it, whatever is in the texts.
func TestReportIsWellFormed(t *testing.T) {
	h := sound(func(*history) {})
	h.note(&opFault{Name: "a <b> & c"})
	h.note(&opFault{Name: "a <b> & c", Over: true})
	h.report("x < y && %q", `"z"`)
	r := &Result{Wrong: h.judge(), h: h}
	var text strings.Builder
	if err := r.WriteHTML(&text); err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(text.String(), `<meta charset="utf-8">`, "", 1)
	body = strings.TrimPrefix(body, "<!DOCTYPE html>")
	for d := xml.NewDecoder(strings.NewReader(body)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"x &lt; y &amp;&amp; ", "1 violations", "--seed 7", "a &lt;b&gt; &amp; c"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in the report", want)
		}
	}
	var table strings.Builder
	if r.WriteTable(&table); !strings.Contains(table.String(), "a <b> & c") {
		t.Error(table.String())
	}
	if row := r.Row(); !strings.Contains(row, "| 7 |") || !strings.Contains(row, "1 violations") {
		t.Error(row)
	}
}
