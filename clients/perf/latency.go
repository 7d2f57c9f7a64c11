package main

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept in microseconds, three digits, up to ten minutes.
const (
	lowestLatencyUS  = 1
	highestLatencyUS = int64(10 * time.Minute / time.Microsecond)
	latencyDigits    = 3
)

// latencies is a histogram that several goroutines may fill.
type latencies struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newLatencies() *latencies {
	return &latencies{h: hdrhistogram.New(lowestLatencyUS, highestLatencyUS, latencyDigits)}
}

func (l *latencies) record(d time.Duration) {
	us := min(max(d.Microseconds(), lowestLatencyUS), highestLatencyUS)
	l.mu.Lock()
	_ = l.h.RecordValue(us) // in range by the line above
	l.mu.Unlock()
}

func (l *latencies) merge(o *latencies) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.Merge(o.h)
}

// Percentiles are a histogram's figures as reports show them.
type Percentiles struct {
	Samples int64   `json:"samples"`
	Mean    float64 `json:"mean"`
	P50     int64   `json:"p50"`
	P90     int64   `json:"p90"`
	P99     int64   `json:"p99"`
	P999    int64   `json:"p99_9"`
	P9999   int64   `json:"p99_99"`
	Max     int64   `json:"max"`
}

// percentiles is nil without samples.
func (l *latencies) percentiles() *Percentiles {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.h.TotalCount() == 0 {
		return nil
	}
	at := l.h.ValueAtPercentile
	return &Percentiles{
		Samples: l.h.TotalCount(), Mean: float64(int64(l.h.Mean()*10)) / 10,
		P50: at(50), P90: at(90), P99: at(99), P999: at(99.9), P9999: at(99.99), Max: l.h.Max(),
	}
}
