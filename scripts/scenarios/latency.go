package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// latencies is a histogram in microseconds that several goroutines fill.
type latencies struct {
	mu sync.Mutex
	h  *hdrhistogram.Histogram
}

func newLatencies() *latencies {
	return &latencies{h: hdrhistogram.New(1, int64(time.Hour/time.Microsecond), 3)}
}

func (l *latencies) record(d time.Duration) {
	l.mu.Lock()
	_ = l.h.RecordValue(min(max(d.Microseconds(), 1), l.h.HighestTrackableValue()))
	l.mu.Unlock()
}

// at is a percentile for people.
func (l *latencies) at(percent float64) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	us := l.h.ValueAtPercentile(percent)
	if us < 10_000 {
		return fmt.Sprintf("%.2f ms", float64(us)/1000)
	}
	return fmt.Sprintf("%.0f ms", float64(us)/1000)
}

// below tells whether a percentile is below a time.
func (l *latencies) below(percent float64, d time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.h.TotalCount() > 0 && l.h.ValueAtPercentile(percent) < d.Microseconds()
}
