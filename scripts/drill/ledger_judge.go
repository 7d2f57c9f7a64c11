package drill

import (
	"slices"
	"sort"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// grain is by how much times of the broker, in whole milliseconds, may differ from the clients'.
const grain = 2 * time.Millisecond

func clock(t time.Time) string { return t.Format("05.000") }

// judge holds the ledger against what docs/queues.md and docs/guarantees.md promise; the history has
// what is wrong. REQUIRES: h.mu held.
func (l *ledger) judge() {
	for _, x := range l.letters {
		sort.SliceStable(x.sights, func(i, k int) bool { return x.sights[i].at.Before(x.sights[k].at) })
		l.judgeLetter(x)
		for _, place := range x.places {
			l.judgePlace(x, place)
		}
		l.judgeLeases(x)
	}
	for _, d := range l.deals {
		l.judgeDeal(d)
	}
}

// judgeLetter: what holds of every sight, wherever it was. REQUIRES: h.mu held.
func (l *ledger) judgeLetter(x *letter) {
	if x.fate == pending {
		l.h.violation("ledger: %s was never answered", x.value)
	}
	for _, v := range x.sights {
		m := l.queues[v.of()]
		switch {
		case !slices.Contains(x.places, v.of()) || m == nil || v.queue != v.of() && v.queue != m.graves:
			l.h.violation("%s came to %s (of %s), it belongs to %v", x.value, v.queue, v.of(), x.places)
			continue
		case x.fate == refused:
			l.h.violation("%s came to %s, and was not taken when it was sent", x.value, v.queue)
		case v.at.Before(x.due.Add(-grain)):
			l.h.violation("%s came to %s %v early", x.value, v.queue, x.due.Sub(v.at))
		case v.priority != x.priority:
			l.h.violation("%s came to %s with priority %d, it was sent with %d", x.value, v.queue, v.priority, x.priority)
		case v.queue == v.of() && m.limit >= 0 && int(v.attempts) > m.limit:
			l.h.violation("%s came to %s for the %dth time: the limit is %d", x.value, v.queue, v.attempts+1, m.limit)
		}
		if v.queue != v.of() {
			l.judgeDeath(x, v, m)
		}
	}
}

// judgeDeath: a dead letter says what it died of, and that can be. REQUIRES: h.mu held.
func (l *ledger) judgeDeath(x *letter, v *viewing, m *mail) {
	d := v.deaths[0]
	rejected := slices.ContainsFunc(x.sights, func(s *viewing) bool { return s.queue == d.Queue && s.rejected })
	ttl := x.ttl
	if ttl == 0 || m.ttl > 0 && m.ttl < ttl {
		ttl = m.ttl
	}
	possible := false
	switch d.Reason {
	case trimq.ReasonRejected:
		possible = rejected
	case trimq.ReasonExpired:
		possible = ttl > 0 && !v.at.Before(x.sent.Add(ttl-grain)) && d.FirstMS >= x.sent.Add(ttl-grain).UnixMilli()
	case trimq.ReasonDeliveryLimit:
		possible = m.limit >= 0
	}
	if !possible || d.Count != 1 || len(v.deaths) != 1 {
		l.h.violation("%s came to %s after %+v, sent at %v", x.value, v.queue, v.deaths, x.sent.UnixMilli())
	}
}

// judgePlace: a letter that was acknowledged comes to each of its places, is there once, and dead or
// done for good. REQUIRES: h.mu held.
func (l *ledger) judgePlace(x *letter, place string) {
	type spot struct {
		queue         string
		index, offset uint64
	}
	spots := map[spot]bool{}
	last := map[string]*viewing{}
	for _, v := range x.sights {
		m := l.queues[v.queue]
		if v.of() != place || m == nil {
			continue
		}
		if !v.blind {
			spots[spot{v.queue, v.index, v.offset}] = true
		}
		switch was := last[v.queue]; {
		case v.drained && v.queue == place && last[m.graves] != nil:
			l.h.violation("%s came to %s when it was among its dead letters", x.value, place)
		case v.drained && m.confirmed[x.value]:
			l.h.violation("%s came to %s after its acknowledgement was confirmed", x.value, v.queue)
		case was != nil:
			l.judgeNext(x, was, v)
		}
		last[v.queue] = v
	}
	if m := l.queues[place]; m.confirmed[x.value] && last[m.graves] != nil {
		l.h.violation("%s of %s is among the dead letters, its acknowledgement was confirmed", x.value, place)
	}
	here := 0
	for s := range spots {
		if s.queue == place {
			here++
		}
	}
	if here > 1 || len(spots)-here > 1 {
		l.h.violation("DOUBLE: %s is in %s at %v", x.value, place, spots)
	}
	if x.expected() && !x.arrived(place) {
		l.h.violation("LOST: %s is not in %s", x.value, place)
	}
}

// judgeNext: a message comes again only after it was put back, or its consumer or its connection ended,
// or it was held for too long; and says so. Of two sights the one with fewer attempts is of the earlier
// delivery: it may have lain in its client, or on the way to it, when the other one came. REQUIRES: h.mu held.
func (l *ledger) judgeNext(x *letter, seen, next *viewing) {
	v, again := seen, next
	if next.attempts < seen.attempts && !(next.blind && next.attempts > 0) {
		v, again = next, seen
	}
	k := v.holder
	if k == nil {
		return // leases have a judge of their own
	}
	lost := l.h.lostBetween(k.client, seen.at.Add(-slack), next.at.Add(slack))
	given := x.sent // at the earliest
	if v.since.After(given) {
		given = v.since
	}
	late := k.timeout > 0 && !again.at.Before(given.Add(k.timeout-grain))
	back := !v.nacked.IsZero() && !v.nacked.After(again.at)
	gone := k.ended(again.at)
	if !gone && !lost && !late && !back {
		l.h.violation("%s of %s came at %s with %d attempts and again at %s with %d, while %s held it", x.value, v.queue,
			clock(v.at), v.attempts, clock(again.at), again.attempts, k.client)
	}
	if again.attempts == 0 {
		l.h.violation("%s of %s came to %s at %s and again at %s without being flagged", x.value, v.queue, k.client, clock(v.at), clock(again.at))
	}
}

// judgeLeases: nobody gets what is leased before the time is over, each lease is an attempt, and what
// was deleted is gone. REQUIRES: h.mu held.
func (l *ledger) judgeLeases(x *letter) {
	var all []*viewing
	for _, v := range x.sights {
		switch {
		case v.lease != nil:
			all = append(all, v)
		case v.drained && len(all) > 0: // at the end, which is behind all leases
			all = append(all, &viewing{queue: v.queue, attempts: v.attempts, lease: &lease{granted: v.at, least: v.at}})
		}
	}
	sort.SliceStable(all, func(i, k int) bool { return all[i].lease.granted.Before(all[k].lease.granted) })
	for i := 1; i < len(all); i++ {
		was, next := all[i-1], all[i]
		if next.lease.granted.Before(was.lease.least.Add(-grain)) {
			l.h.violation("%s of %s was given away at %s, before its lease ended at %s", x.value, was.queue,
				clock(next.lease.granted), clock(was.lease.least))
		}
		// A pull that a restarted logicsrv answers again tells of the attempts until then.
		if again := l.h.uncounted(was.lease.granted, next.lease.granted); next.attempts < was.attempts || next.attempts == was.attempts && !again {
			l.h.violation("%s of %s was leased at %s with %d attempts, and at %s with %d", x.value, was.queue,
				clock(was.lease.granted), was.attempts, clock(next.lease.granted), next.attempts)
		}
		if was.lease.deleted {
			l.h.violation("%s of %s was given away at %s, deleted at %s", x.value, was.queue, clock(next.lease.granted), clock(was.lease.sent))
		}
	}
}

// judgeDeal: a transaction is everywhere or nowhere. REQUIRES: h.mu held.
func (l *ledger) judgeDeal(d *deal) {
	var here, missing []string
	for _, x := range d.letters {
		for _, place := range x.places {
			if x.arrived(place) {
				here = append(here, x.value+" in "+place)
			} else if x.fate == acked {
				missing = append(missing, x.value+" in "+place)
			}
		}
	}
	l.judgeWhole(d, here, missing)
	if d.input != nil && len(here) > 0 {
		for _, o := range l.deals {
			if o != d && o.input == d.input && slices.ContainsFunc(o.letters, func(x *letter) bool { return len(x.sights) > 0 }) {
				l.h.violation("%s was taken by %s and by %s", d.input.value, d.name, o.name)
			}
		}
	}
}

// judgeWhole: nothing is there of a transaction that was rolled back, and all or nothing of one of which nobody
// knows how it ended. REQUIRES: h.mu held.
func (l *ledger) judgeWhole(d *deal, here, missing []string) {
	switch {
	case d.ends == rolledBack && len(here) > 0:
		l.h.violation("%s was rolled back, but there are %v", d.name, here)
	case d.ends == undecided && len(here) > 0 && len(missing) > 0:
		l.h.violation("%s: there are %v, but not %v", d.name, here, missing)
	}
}
