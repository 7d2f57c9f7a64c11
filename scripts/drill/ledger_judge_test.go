package drill

import (
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// goodLedger is a small one in which all is well; at is its beginning.
func goodLedger(at time.Time) *ledger {
	h := newHistory()
	h.began = at
	l := h.ledger
	after := func(ms int) time.Time { return at.Add(time.Duration(ms) * time.Millisecond) }
	l.mailbox("graves", mail{limit: -1})
	l.mailbox("q", mail{limit: 2, ttl: 100 * time.Millisecond, graves: "graves"})
	l.mailbox("r", mail{limit: -1})
	k := &holder{client: "worker"}
	died := func(reason trimq.Reason, ms int) []trimq.Death {
		return []trimq.Death{{Queue: "q", Reason: reason, Count: 1, FirstMS: after(ms).UnixMilli()}}
	}
	put := func(x *letter) {
		l.post(x)
		sent := x.sent
		x.deal = l.letters[x.value].deal
		if *l.letters[x.value] = *x; sent.IsZero() {
			l.letters[x.value].sent = at
		}
		if x.deal != nil {
			x.deal.letters[len(x.deal.letters)-1] = l.letters[x.value]
		}
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
		// AMQP says neither where a message lies nor how often it came.
		{value: "guest", places: []string{"r"}, sent: at, fate: acked, sights: []*viewing{
			{queue: "r", offset: 4, at: after(10), attempts: 3, holder: k, nacked: after(11)},
			{queue: "r", blind: true, at: after(12), attempts: 1, holder: k},
		}},
		{value: "refused", places: []string{"r"}, fate: refused},
	} {
		put(x)
	}
	l.confirm("q", "acked")
	bought := l.open("bought", committed, "acked")
	put(&letter{value: "one", places: []string{"r"}, deal: bought, fate: acked, sights: []*viewing{{queue: "r", offset: 7, drained: true, at: at}}})
	put(&letter{value: "two", places: []string{"r"}, deal: bought, fate: acked, sights: []*viewing{{queue: "r", offset: 8, drained: true, at: at}}})
	left := l.open("left", rolledBack, "acked")
	put(&letter{value: "three", places: []string{"r"}, deal: left, fate: acked})
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
	if wrong := judged(func(x map[string]*letter, _ *ledger) { // a delivery that came to light when its time was over
		s := x["acked"].sights
		s[0].attempts, s[0].nacked, s[0].at = 2, time.Time{}, at.Add(500*time.Millisecond)
		s[2].attempts, s[2].holder, s[2].at = 1, &holder{client: "slow", timeout: 400 * time.Millisecond}, at.Add(600*time.Millisecond)
	}); wrong != "" {
		t.Errorf("a late sight of an early delivery: %s", wrong)
	}
	for want, spoil := range map[string]func(x map[string]*letter, l *ledger){
		"and again at 20.700 with 1, while hasty held it": func(x map[string]*letter, _ *ledger) { // it came late
			s := x["acked"].sights
			s[0].nacked, s[0].since, s[0].holder = time.Time{}, at.Add(400*time.Millisecond), &holder{client: "hasty", timeout: 400 * time.Millisecond}
			s[2].at = at.Add(700 * time.Millisecond)
		},
		"with 1 attempts and again at 20.010 with 2, while slow held it": func(x map[string]*letter, _ *ledger) {
			s := x["acked"].sights // the time of the earlier delivery was not over
			s[0].attempts, s[2].attempts, s[2].holder = 2, 1, &holder{client: "slow", timeout: 400 * time.Millisecond}
		},
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
		"LOST":    func(x map[string]*letter, _ *ledger) { x["expired"].sights = nil },
		"DOUBLE":  func(x map[string]*letter, _ *ledger) { x["acked"].sights[2].offset = 9 },
		"held it": func(x map[string]*letter, _ *ledger) { x["acked"].sights[0].nacked = time.Time{} },
		"and again at 21.700 with 2, while": func(x map[string]*letter, _ *ledger) { // who has no time-out cannot have got it late
			x["acked"].sights[2].at, x["acked"].sights[2].attempts = at.Add(1700*time.Millisecond), 2
			x["acked"].sights[0].nacked = time.Time{}
		},
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
