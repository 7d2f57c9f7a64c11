package drill

import (
	"cmp"
	"slices"
	"time"
)

// traffic is what went through, and when, since the run began.
type traffic struct {
	acks []ackPoint
	got  []gotPoint
}

// ackPoint is one acknowledgement, and how long after its message was sent it came.
type ackPoint struct{ at, took time.Duration }

// gotPoint is what one consumer got at once.
type gotPoint struct {
	at time.Duration
	n  int
}

func (t *traffic) acked(at, took time.Duration) { t.acks = append(t.acks, ackPoint{at, took}) }
func (t *traffic) came(at time.Duration, n int) { t.got = append(t.got, gotPoint{at, n}) }

// ackTimes and gotTimes are when something happened, in order.
func (t *traffic) ackTimes() []time.Duration {
	times := make([]time.Duration, len(t.acks))
	for i, a := range t.acks {
		times[i] = a.at
	}
	return times
}

func (t *traffic) gotTimes() []time.Duration {
	times := make([]time.Duration, len(t.got))
	for i, g := range t.got {
		times[i] = g.at
	}
	return times
}

// perBin counts the acknowledgements and the deliveries of each width of time.
func (t *traffic) perBin(width, end time.Duration) (acks, got []float64) {
	n := int(end/width) + 1
	acks, got = make([]float64, n), make([]float64, n)
	rate := float64(time.Second) / float64(width)
	for _, a := range t.acks {
		if i := int(a.at / width); i < n {
			acks[i] += rate
		}
	}
	for _, g := range t.got {
		if i := int(g.at / width); i < n {
			got[i] += rate * float64(g.n)
		}
	}
	return acks, got
}

// latencies gives the median and the 99th percentile of each width of time; 0 where nothing came.
func (t *traffic) latencies(width, end time.Duration) (p50, p99 []time.Duration) {
	all := make([][]time.Duration, int(end/width)+1)
	for _, a := range t.acks {
		if i := int(a.at / width); i < len(all) {
			all[i] = append(all[i], a.took)
		}
	}
	for _, list := range all {
		slices.Sort(list)
		p50, p99 = append(p50, at(list, 50)), append(p99, at(list, 99))
	}
	return p50, p99
}

// at is a percentile of a sorted list; 0 of an empty one.
func at(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// pause is a time in which nothing came.
type pause struct{ from, to time.Duration }

func (p pause) long() time.Duration { return p.to - p.from }

// pauses are the times longer than least in which nothing of a sorted list came, up to end.
func pauses(times []time.Duration, least, end time.Duration) (list []pause) {
	last := time.Duration(0)
	for _, t := range append(slices.Clip(times), end) {
		if t = min(t, end); t-last > least {
			list = append(list, pause{last, t})
		}
		last = t
	}
	return list
}

// longest is the longest time without anything that touches [from, to].
func longest(times []time.Duration, from, to time.Duration) (most time.Duration) {
	i, _ := slices.BinarySearch(times, from)
	for i = max(i, 1); i < len(times) && times[i-1] <= to; i++ {
		most = max(most, times[i]-times[i-1])
	}
	return most
}

// rate counts what came in [from, to), a second.
func rate(times []time.Duration, from, to time.Duration) float64 {
	if to <= from {
		return 0
	}
	first, _ := slices.BinarySearch(times, from)
	last, _ := slices.BinarySearch(times, to)
	return float64(last-first) / (to - from).Seconds()
}

// effect is what the faults of one name did, as medians.
type effect struct {
	name                  string
	times                 int
	ackPause, gotPause    time.Duration // the longest
	before, during, after float64       // acknowledgements a second
	lasted                time.Duration // until all served again
}

// around is the time before and behind a fault that is compared with it, and settling the one in which
// its pause may end.
const (
	around   = time.Second
	settling = 500 * time.Millisecond
)

// effects measures the faults of a run, by name.
func (h *history) effects() []effect {
	acks, got := h.traffic.ackTimes(), h.traffic.gotTimes()
	byName := map[string][]effect{}
	for _, f := range h.faults {
		from, to := h.since(f.from), h.since(f.to)
		byName[f.name] = append(byName[f.name], effect{
			ackPause: longest(acks, from, to+settling), gotPause: longest(got, from, to+settling), lasted: to - from,
			before: rate(acks, max(0, from-around), from), during: rate(acks, from, to), after: rate(acks, to, to+around),
		})
	}
	var list []effect
	for name, each := range byName {
		list = append(list, effect{
			name: name, times: len(each),
			ackPause: median(each, func(e effect) time.Duration { return e.ackPause }),
			gotPause: median(each, func(e effect) time.Duration { return e.gotPause }),
			lasted:   median(each, func(e effect) time.Duration { return e.lasted }),
			before:   median(each, func(e effect) float64 { return e.before }),
			during:   median(each, func(e effect) float64 { return e.during }),
			after:    median(each, func(e effect) float64 { return e.after }),
		})
	}
	slices.SortFunc(list, func(a, b effect) int { return cmp.Compare(a.name, b.name) })
	return list
}

func median[T cmp.Ordered](each []effect, of func(effect) T) T {
	values := make([]T, len(each))
	for i, e := range each {
		values[i] = of(e)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
