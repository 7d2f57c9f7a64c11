//go:build failpoints

package sim

import (
	"github.com/trimq/trimq/protocol/admin"
)

// steward looks after the queues of a theme: it makes those again that have gone, purges, seeks,
// deletes, and asks how they stand. One command at a time; what is not answered is not repeated.
type steward struct {
	commander
	known []admin.QueueInfo // as they were described last
}

func (s *steward) tick() {
	r, w := s.w.rng, s.w
	if s.stopped || s.asking || !w.admin.done() || r.IntN(3) > 0 || !s.ready(s) {
		return
	}
	m := w.theme.queues[r.IntN(len(w.theme.queues))]
	if w.theme.seeks && r.IntN(2) == 0 && s.seek() {
		return
	}
	switch n := r.IntN(16); {
	case n < 5:
		d := admin.Describe{Kind: []admin.Kind{admin.KindQueue, admin.KindQueue, admin.KindConsumer, admin.KindTxn}[r.IntN(4)]}
		s.ask(admin.CmdDescribe, d.Append(nil), s.described)
	case n < 7:
		s.purge(&m)
	case n < 10:
		s.seek()
	case n < 11 && r.IntN(3) == 0:
		d := admin.Delete{Name: m.Name, IfUnused: r.IntN(2) == 0, IfEmpty: r.IntN(2) == 0}
		s.ask(admin.CmdDeleteQueue, d.Append(nil), func([]byte) { delete(w.names, m.Name) })
	case n < 12 && r.IntN(3) == 0:
		m.SingleActive = !m.SingleActive // unequal, if it is there
		s.ask(admin.CmdCreateQueue, m.Append(nil), func(b []byte) { s.created(&m, b) })
	default:
		if w.queueOf(m.Name) == 0 || r.IntN(3) == 0 {
			s.ask(admin.CmdCreateQueue, m.Append(nil), func(b []byte) { s.created(&m, b) })
		}
	}
}

// purge drops what is ready in a queue; now and then it tries the hermit's.
func (s *steward) purge(m *admin.CreateQueue) {
	p := admin.Purge{Name: m.Name}
	if s.w.hermitage != "" && s.w.rng.IntN(2) == 0 {
		p.Name = s.w.hermitage
	}
	s.ask(admin.CmdPurge, p.Append(nil), nil)
}

func (s *steward) created(m *admin.CreateQueue, b []byte) {
	a, err := admin.DecodeCreated(b)
	s.w.must(err, "decode an answer to create queue")
	s.w.names[m.Name] = []uint64{a.Index}
}

func (s *steward) described(b []byte) {
	d, err := admin.DecodeDescription(b)
	s.w.must(err, "decode a description")
	if d.Kind == admin.KindQueue {
		s.known = d.Queues
	}
}

// seek sets a queue to other offsets, of those that it had when it was described; false: there is
// none to which that can be done.
func (s *steward) seek() bool {
	w := s.w
	q := s.seekable()
	if q == nil {
		return false
	}
	x := q.Indexes[w.rng.IntN(len(q.Indexes))]
	to := admin.SeekTo{Index: x.Index, Offset: w.rng.Uint64N(x.Next + 1)}
	w.trace("steward sets queue %s to offset %d of index %d", q.Name, to.Offset, to.Index)
	k := admin.Seek{Name: q.Name, To: []admin.SeekTo{to}}
	s.ask(admin.CmdSeek, k.Append(nil), nil)
	return true
}

// seekable is a queue that keeps what is done with; nil: none is known.
func (s *steward) seekable() *admin.QueueInfo {
	var of []*admin.QueueInfo
	for i := range s.known {
		q := &s.known[i]
		if q.Queue == s.w.queueOf(q.Name) && (q.Settings.Topic != "" || q.Settings.RewindMS.Given) {
			of = append(of, q)
		}
	}
	if len(of) == 0 {
		return nil
	}
	return of[s.w.rng.IntN(len(of))]
}

// sought: a seek is decided. All from an offset on may be given out again. What was passed over in a hand comes back in
// that hand, but for a restart of logicsrv in between, when it is in two.
func (w *world) sought(queue uint64, to admin.SeekTo) {
	w.underWay.sought(queue, to)
	again := func(at spot) bool { return at.queue == queue && at.index == to.Index && at.base >= to.Offset }
	for at := range w.hand {
		if again(at) {
			w.shared[at] = true
		}
	}
	for at := range w.done {
		if again(at) {
			delete(w.done, at)
		}
	}
	for at := range w.seen { // as if it had never been tried
		if again(at) {
			delete(w.seen, at)
		}
	}
	for at := range w.leases {
		if again(at) {
			delete(w.leases, at)
		}
	}
}
