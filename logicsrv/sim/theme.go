//go:build failpoints

package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// theme is what a history about the features of queues has: a few queues of random properties,
// and clients that use them. It is drawn from a stream of its own, so that it moves no other draw.
type theme struct {
	queues    []admin.CreateQueue
	topic     bool // there is one, and queues over it
	hermit    bool // makes exclusive queues
	txns      bool
	delays    bool
	pulls     bool
	back      bool   // the dead-letter exchange leads to the first queue too
	exchanges bool   // come and go
	policies  bool   // come and go, and so does a vhost
	seeks     bool   // queues are set back and forth a lot
	alone     string // a queue that nobody but pullers uses; empty: none
	checkMS   uint64 // between two checks of a transaction
}

// mainTopic is the topic that queues are over.
const mainTopic = "events"

// makeTheme draws a theme; nil: the history is one of the others.
func makeTheme(seed uint64) *theme {
	r := rand.New(rand.NewPCG(seed, 0x7468656d65))
	if r.IntN(2) == 0 {
		return nil
	}
	t := &theme{
		topic: r.IntN(3) == 0, hermit: r.IntN(2) == 0, txns: r.IntN(3) == 0, delays: r.IntN(3) == 0, pulls: r.IntN(2) == 0,
		back: r.IntN(2) == 0, seeks: r.IntN(3) == 0, checkMS: 100 + r.Uint64N(200),
		exchanges: r.IntN(3) == 0,
	}
	for i := range 2 + r.IntN(2) {
		m := admin.CreateQueue{Name: fmt.Sprintf("q%d", i), Level: ipc.Level(1 + r.IntN(3)), QueueSettings: drawSettings(r)}
		t.queues = append(t.queues, m)
	}
	if t.pulls {
		t.alone = []string{"q0", "q1"}[r.IntN(2)]
	}
	t.queues = append(t.queues, admin.CreateQueue{Name: "grave", Level: ipc.LevelPage, QueueSettings: admin.QueueSettings{
		Durable: true, MaxPriority: uint8(r.IntN(2) * 2),
	}})
	if t.topic {
		t.queues = append(t.queues, drawView(r))
	}
	if t.policies = r.IntN(3) == 0; t.policies {
		t.queues = append(t.queues, admin.CreateQueue{Name: admin.InVHost(estate, "q7"), Level: ipc.LevelPage, QueueSettings: drawSettings(r)})
	}
	return t
}

// drawSettings draws the properties of a queue.
func drawSettings(r *rand.Rand) admin.QueueSettings {
	one := func(in int) bool { return r.IntN(in) == 0 }
	some := func(v ...uint64) admin.Opt { return admin.Some(v[r.IntN(len(v))]) }
	s := admin.QueueSettings{Durable: !one(5), SingleActive: one(3)}
	if one(3) {
		s.MaxPriority = uint8(1 + r.IntN(3))
	}
	if one(3) {
		s.MaxMessages = some(1, 3, 6)
		s.Overflow = admin.Overflow(r.IntN(3))
	} else if one(4) {
		s.MaxBytes = some(60, 200)
		s.Overflow = admin.Overflow(r.IntN(3))
	}
	if one(3) {
		s.MessageTTLMS = some(0, 10, 60, 400, 3000)
	}
	if one(3) {
		s.DeliveryLimit = some(0, 1, 2)
	}
	if !one(3) {
		drawDeadLetter(r, &s)
	}
	if one(3) {
		s.RewindMS = some(300, 2000)
	}
	if one(6) {
		s.ExpiresMS = some(100, 500)
	} else if one(6) {
		s.AutoDelete = true
	}
	return s
}

// drawDeadLetter draws where the dead of a queue go: through an exchange, by name to a queue, which
// may be the one where they come from, or nowhere.
func drawDeadLetter(r *rand.Rand, s *admin.QueueSettings) {
	s.DeadLetter, s.KeepKey = true, r.IntN(2) == 0
	switch r.IntN(8) {
	case 0:
		s.DeadLetterExchange = "no-such-exchange"
	case 1, 2:
		s.DeadLetterExchange = ""
	default:
		s.DeadLetterExchange = "dlx"
	}
	if !s.KeepKey {
		s.DeadLetterKey = []string{"q0", "q1", "grave"}[r.IntN(3)]
	}
}

// drawView draws a queue over the topic.
func drawView(r *rand.Rand) admin.CreateQueue {
	m := admin.CreateQueue{Name: "view", QueueSettings: admin.QueueSettings{Durable: true, Topic: mainTopic, SingleActive: r.IntN(4) == 0}}
	if r.IntN(2) == 0 {
		m.FilterKind, m.Filter = admin.FilterTags, evenFilter
	}
	if r.IntN(2) == 0 {
		m.DeliveryLimit = admin.Some(1)
		drawDeadLetter(r, &m.QueueSettings)
	}
	if r.IntN(2) == 0 {
		m.From = admin.FromLatest
	}
	return m
}
