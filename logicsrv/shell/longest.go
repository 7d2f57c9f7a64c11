package shell

import "time"

// longestWindowMS is for how long a turn is shown at least, and half of the time for which at
// most: whoever looks that often sees every long one.
const longestWindowMS = 30_000

// longest knows how long the longest turn of late was: the time in which nobody was served.
type longest struct {
	now, before time.Duration // of this window and the one before
	endMS       int64         // of this window
	shown       time.Duration
}

// note takes one turn, which ended at nowMS.
func (l *longest) note(took time.Duration, nowMS int64) {
	if nowMS >= l.endMS {
		l.before = l.now
		if nowMS >= l.endMS+longestWindowMS {
			l.before = 0 // nothing was noted for a whole window
		}
		l.now, l.endMS = 0, nowMS+longestWindowMS
	}
	l.now = max(l.now, took)
}

// show returns the longest, and whether it has changed since it was shown last.
func (l *longest) show() (d time.Duration, changed bool) {
	d = max(l.now, l.before)
	changed = d != l.shown
	l.shown = d
	return d, changed
}
