package main

import (
	"slices"
	"sync"
	"time"
)

// record is when something happened, many times.
type record struct {
	mu    sync.Mutex
	times []time.Time
}

// add notes n that happened now.
func (r *record) add(n int) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for range n {
		r.times = append(r.times, now)
	}
}

// forget drops what was noted so far.
func (r *record) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = r.times[:0]
}

// count is how many happened in [from, to).
func (r *record) count(from, to time.Time) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return rank(r.times, to) - rank(r.times, from)
}

// rank is how many of the times, which ascend, lie before at.
func rank(times []time.Time, at time.Time) int {
	n, _ := slices.BinarySearchFunc(times, at, func(t, at time.Time) int { return t.Compare(at) })
	return n
}

// longest is the longest time within [from, to) in which nothing happened.
func (r *record) longest(from, to time.Time) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, gap := from, time.Duration(0)
	for _, t := range r.times[rank(r.times, from):rank(r.times, to)] {
		gap, last = max(gap, t.Sub(last)), t
	}
	return max(gap, to.Sub(last))
}
