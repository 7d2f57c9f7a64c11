package management

import (
	"math"
	"sync"
	"time"
)

// rates tells how fast counters move, from when they were last looked at.
type rates struct {
	now func() time.Time

	mu sync.Mutex
	of map[string]*sample
}

// sample is a counter at two moments.
type sample struct {
	at, before       time.Time
	value, valueThen uint64
}

const (
	// sampleAge is how old the earlier of two moments is at least.
	sampleAge = 5 * time.Second
	// maxSamples bounds what is remembered; beyond, all begins anew.
	maxSamples = 200_000
)

// rate is a counter's change per second. The first time it is 0.
func (r *rates) rate(key string, value uint64) float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	s := r.of[key]
	if s == nil {
		if len(r.of) >= maxSamples {
			clear(r.of)
		}
		r.of[key] = &sample{now, now, value, value}
		return 0
	}
	if now.Sub(s.at) >= sampleAge {
		s.before, s.valueThen = s.at, s.value
		s.at, s.value = now, value
	}
	span := now.Sub(s.before).Seconds()
	if span <= 0 || value < s.valueThen {
		return 0
	}
	return math.Round(float64(value-s.valueThen)/span*10) / 10
}

// count sets a counter and its rate in stats.
func (r *rates) count(stats object, owner, name string, value uint64) {
	stats[name] = value
	stats[name+"_details"] = object{"rate": r.rate(owner+"\x00"+name, value)}
}
