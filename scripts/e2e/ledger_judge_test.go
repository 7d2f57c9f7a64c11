package e2e

import (
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// grain is by how much times of the broker, in whole milliseconds, may differ from the clients'.
const grain = 2 * time.Millisecond

func clock(t time.Time) string { return t.Format("05.000") }

// judge holds the ledger against what docs/queues.md and docs/guarantees.md promise; the history has
// what is wrong.
func (l *ledger) judge() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h.mu.Lock()
	defer l.h.mu.Unlock()
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

// judgeLetter: what holds of every sight, wherever it was. REQUIRES: l.mu, h.mu held.
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

// judgeDeath: a dead letter says what it died of, and that can be. REQUIRES: l.mu, h.mu held.
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
// done for good. REQUIRES: l.mu, h.mu held.
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
		spots[spot{v.queue, v.index, v.offset}] = true
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
// or it was held for too long; and says so. REQUIRES: l.mu, h.mu held.
func (l *ledger) judgeNext(x *letter, v, again *viewing) {
	k := v.holder
	if k == nil {
		return // leases have a judge of their own
	}
	lost := k.client.lostBetween(v.at.Add(-slack), again.at.Add(slack))
	late := k.timeout > 0 && !again.at.Before(x.sent.Add(k.timeout-grain))
	back := !v.nacked.IsZero() && !v.nacked.After(again.at)
	gone := !k.closed.IsZero() && !k.closed.After(again.at)
	if !gone && !lost && !late && !back {
		l.h.violation("%s of %s came at %s and again at %s, while %s held it", x.value, v.queue, clock(v.at), clock(again.at), k.client.name)
	}
	if again.attempts == 0 && !l.h.uncounted(v.at, again.at, gone || lost) {
		l.h.violation("%s of %s came to %s at %s and again at %s without being flagged", x.value, v.queue, k.client.name, clock(v.at), clock(again.at))
	}
}

// judgeLeases: nobody gets what is leased before the time is over, each lease is an attempt, and what
// was deleted is gone. REQUIRES: l.mu, h.mu held.
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
		if again := l.h.uncounted(was.lease.granted, next.lease.granted, true); next.attempts < was.attempts || next.attempts == was.attempts && !again {
			l.h.violation("%s of %s was leased at %s with %d attempts, and at %s with %d", x.value, was.queue,
				clock(was.lease.granted), was.attempts, clock(next.lease.granted), next.attempts)
		}
		if was.lease.deleted {
			l.h.violation("%s of %s was given away at %s, deleted at %s", x.value, was.queue, clock(next.lease.granted), clock(was.lease.sent))
		}
	}
}

// judgeDeal: a transaction is everywhere or nowhere. REQUIRES: l.mu, h.mu held.
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
	switch {
	case d.ends == rolledBack && len(here) > 0:
		l.h.violation("%s was rolled back, but there are %v", d.name, here)
	case d.ends == undecided && len(here) > 0 && len(missing) > 0:
		l.h.violation("%s: there are %v, but not %v", d.name, here, missing)
	}
	if d.input != nil && len(here) > 0 {
		for _, o := range l.deals {
			if o != d && o.input == d.input && slices.ContainsFunc(o.letters, func(x *letter) bool { return len(x.sights) > 0 }) {
				l.h.violation("%s was taken by %s and by %s", d.input.value, d.name, o.name)
			}
		}
	}
}

// goodLedger is a small one in which all is well; at is its beginning.
func goodLedger(at time.Time) *ledger {
	l := newLedger(newHistory())
	after := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	l.place("graves", mail{limit: -1})
	l.place("q", mail{limit: 2, ttl: 100 * time.Millisecond, graves: "graves"})
	l.place("r", mail{limit: -1})
	k := &keeper{client: &party{}}
	died := func(reason trimq.Reason, ms int) []trimq.Death {
		return []trimq.Death{{Queue: "q", Reason: reason, Count: 1, FirstMS: after(ms).UnixMilli()}}
	}
	for _, x := range []*letter{
		{value: "acked", places: []string{"q", "r"}, priority: 3, sent: at, due: after(5), fate: acked, sights: []*viewing{
			{queue: "q", at: after(10), priority: 3, holder: k, nacked: after(11)},
			{queue: "r", at: after(10), priority: 3, holder: k},
			{queue: "q", at: after(12), priority: 3, attempts: 1, holder: k},
		}},
		{value: "expired", places: []string{"q"}, sent: at, fate: acked, sights: []*viewing{
			{queue: "q", at: after(10), holder: k, nacked: after(11)},
			{queue: "graves", offset: 1, at: after(101), deaths: died(trimq.ReasonExpired, 100)},
		}},
		{value: "rejected", places: []string{"q"}, sent: at, fate: acked, sights: []*viewing{
			{queue: "q", offset: 1, at: after(10), rejected: true, holder: k},
			{queue: "graves", offset: 2, at: after(11), deaths: died(trimq.ReasonRejected, 10)},
		}},
		{value: "leased", places: []string{"r"}, sent: at, fate: acked, sights: []*viewing{
			{queue: "r", offset: 2, at: after(1), lease: &lease{granted: at, least: after(50)}},
			{queue: "r", offset: 2, at: after(51), attempts: 1, lease: &lease{granted: after(50), least: after(90), deleted: true, sent: after(60)}},
		}},
		{value: "refused", places: []string{"r"}, fate: refused},
	} {
		l.post(x)
	}
	l.confirm("q", "acked")
	bought := &deal{name: "bought", ends: committed, input: l.letters["acked"]}
	l.open(bought)
	l.post(&letter{value: "one", places: []string{"r"}, deal: bought, fate: acked, sights: []*viewing{{queue: "r", offset: 7, drained: true, at: at}}})
	l.post(&letter{value: "two", places: []string{"r"}, deal: bought, fate: acked, sights: []*viewing{{queue: "r", offset: 8, drained: true, at: at}}})
	left := &deal{name: "left", ends: rolledBack, input: l.letters["acked"]}
	l.open(left)
	l.post(&letter{value: "three", places: []string{"r"}, deal: left, fate: acked})
	return l
}

// The judge finds each kind of wrong, and nothing in a ledger where all is well.
func TestLedgerJudge(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_000)
	judged := func(spoil func(x map[string]*letter, l *ledger)) string {
		l := goodLedger(at)
		spoil(l.letters, l)
		l.judge()
		return strings.Join(l.h.wrong, "\n")
	}
	if wrong := judged(func(map[string]*letter, *ledger) {}); wrong != "" {
		t.Fatalf("all is well, and yet: %s", wrong)
	}
	for want, spoil := range map[string]func(x map[string]*letter, l *ledger){
		"never answered":    func(x map[string]*letter, _ *ledger) { x["refused"].fate = pending },
		"it belongs to [q]": func(x map[string]*letter, _ *ledger) { x["rejected"].sights[0].queue = "r" },
		"was not taken":     func(x map[string]*letter, _ *ledger) { x["acked"].fate = refused },
		"early":             func(x map[string]*letter, _ *ledger) { x["acked"].due = at.Add(time.Second) },
		"with priority 3":   func(x map[string]*letter, _ *ledger) { x["acked"].priority = 4 },
		"for the 4th":       func(x map[string]*letter, _ *ledger) { x["acked"].sights[2].attempts = 3 },
		"Reason:expired":    func(x map[string]*letter, _ *ledger) { x["expired"].sent = at.Add(10 * time.Millisecond) },
		"Reason:rejected":   func(x map[string]*letter, _ *ledger) { x["rejected"].sights[0].rejected = false },
		"Count:2":           func(x map[string]*letter, _ *ledger) { x["expired"].sights[1].deaths[0].Count = 2 },
		"among its dead": func(x map[string]*letter, _ *ledger) {
			x["rejected"].sights = append(x["rejected"].sights, later(at, "q", 1))
		},
		"its acknowledgement was co": func(_ map[string]*letter, l *ledger) { l.confirm("q", "expired") },
		"after its acknowledgement": func(x map[string]*letter, _ *ledger) {
			x["acked"].sights = append(x["acked"].sights, later(at, "q", 0))
		},
		"LOST":                   func(x map[string]*letter, _ *ledger) { x["expired"].sights = nil },
		"DOUBLE":                 func(x map[string]*letter, _ *ledger) { x["acked"].sights[2].offset = 9 },
		"held it":                func(x map[string]*letter, _ *ledger) { x["acked"].sights[0].nacked = time.Time{} },
		"without being flagged":  func(x map[string]*letter, _ *ledger) { x["acked"].sights[2].attempts = 0 },
		"before its lease ended": func(x map[string]*letter, _ *ledger) { x["leased"].sights[0].lease.least = at.Add(time.Second) },
		"attempts, and at":       func(x map[string]*letter, _ *ledger) { x["leased"].sights[1].attempts = 0 },
		"50, deleted at":         func(x map[string]*letter, _ *ledger) { x["leased"].sights[0].lease.deleted = true },
		"was rolled back, but":   func(x map[string]*letter, l *ledger) { l.deals[0].ends = rolledBack },
		"but not [two in r]":     func(x map[string]*letter, l *ledger) { l.deals[0].ends, x["two"].sights = undecided, nil },
		"was taken by":           func(x map[string]*letter, l *ledger) { x["three"].sights, l.deals[1].ends = x["one"].sights, committed },
	} {
		if wrong := judged(spoil); !strings.Contains(wrong, want) {
			t.Errorf("%q was not found:\n%s", want, wrong)
		}
	}
}

// later is a sight when all was over.
func later(at time.Time, queue string, offset uint64) *viewing {
	return &viewing{queue: queue, offset: offset, at: at.Add(time.Minute), attempts: 1, priority: 3, drained: true}
}
