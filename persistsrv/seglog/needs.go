package seglog

import (
	"slices"

	"github.com/trimq/trimq/protocol/commitlog"
)

// What keeps a segment. An index entry needs the segment of its batch, that of its note, and
// that of the log entry which it came from, as from there it is made anew if the index is lost.
// For an item all three are the same; a reference leads into up to three.

// needs lists the segments that an index entry needs, each once; batch is that of its batch. A
// damaged slot needs none.
func (l *Log) needs(e *commitlog.Entry) (segs [3]*segment, n int, batch *segment) {
	if e.Count == 0 {
		return segs, 0, nil
	}
	origin := l.at(e.Origin)
	if origin != nil {
		segs[0], n = origin, 1
	}
	for _, position := range [2]uint64{e.Note, e.Position} {
		batch = nil
		if position == 0 {
			continue
		}
		if batch = origin; origin == nil || position < origin.position || position >= origin.end {
			batch = l.at(position)
		}
		if batch != nil && !slices.Contains(segs[:n], batch) {
			segs[n] = batch
			n++
		}
	}
	return segs, n, batch
}

// ref counts an index entry among those that need its segments. REQUIRES: mu is held.
func (l *Log) ref(e *commitlog.Entry) {
	segs, n, batch := l.needs(e)
	for _, s := range segs[:n] {
		s.refs++
	}
	if batch != nil {
		batch.live += uint64(e.Length)
	}
}

// unref takes an index entry out of the counts again. REQUIRES: mu is held.
func (l *Log) unref(e *commitlog.Entry) {
	segs, n, batch := l.needs(e)
	for _, s := range segs[:n] {
		s.refs -= min(s.refs, 1)
	}
	if batch != nil {
		batch.live -= min(batch.live, uint64(e.Length))
	}
}
