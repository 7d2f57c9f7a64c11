package kafkaconn

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
)

// What is passed on of share sessions (pass.go). A request that is under way has changed nothing of
// its session yet.

// passShares goes over the share sessions, in order.
func (c *Conn) passShares(s *handover.Codec) {
	keys := slices.SortedFunc(maps.Keys(c.shares), shareKey.compare)
	n := s.Count(len(keys), 10)
	if s.Reading() {
		s.Check(n <= maxShareSessions)
		if keys = make([]shareKey, n); n > 0 {
			c.shares = make(map[shareKey]*shareSession, n)
		}
	}
	for i := range keys {
		s.String(&keys[i].group)
		s.String(&keys[i].member)
		s.Check(keys[i].group != "" && keys[i].member != "" && (i == 0 || keys[i-1].compare(keys[i]) < 0))
		t := c.shares[keys[i]]
		if s.Reading() {
			t = &shareSession{shareKey: keys[i], queues: map[topicID]uint64{}}
		}
		if t.pass(s); s.Reading() && !s.Failed() {
			c.shares[keys[i]] = t
		}
	}
}

// pass goes over one session.
func (t *shareSession) pass(s *handover.Codec) {
	handover.Int(s, &t.epoch)
	handover.Int(s, &t.turn)
	handover.Int(s, &t.askedMS)
	handover.Uint(s, &t.settings.lockMS)
	s.String(&t.settings.reset)
	handover.Uint(s, &t.settings.limit)
	s.Bool(&t.settings.committed)
	s.Check(t.epoch > 0 && t.turn >= 0)
	handover.List(s, &t.parts, 18, func(s *handover.Codec, p *sharePart) {
		passTopicID(s, &p.topic)
		handover.Int(s, &p.number)
	})
	s.Check(len(t.parts) <= maxShareParts)
	ids := slices.SortedFunc(maps.Keys(t.queues), func(a, b topicID) int { return slices.Compare(a[:], b[:]) })
	n := s.Count(len(ids), 18)
	if s.Reading() {
		ids = make([]topicID, n)
	}
	for i := range ids {
		passTopicID(s, &ids[i])
		s.Check(i == 0 || slices.Compare(ids[i-1][:], ids[i][:]) < 0)
		queue := t.queues[ids[i]]
		handover.Uint(s, &queue)
		t.queues[ids[i]] = queue
	}
	last := shareRun{}
	handover.List(s, &t.hold.runs, 7, func(s *handover.Codec, r *shareRun) {
		for _, v := range []*uint64{&r.queue, &r.index, &r.first, &r.next, &r.lease} {
			handover.Uint(s, v)
		}
		handover.Int(s, &r.untilMS)
		handover.Uint(s, &r.attempts)
		s.Check(r.first < r.next && (last.index < r.index || last.index == r.index && last.next <= r.first))
		last = *r
	})
}

// passTopicID goes over the id of a topic.
func passTopicID(s *handover.Codec, id *topicID) {
	b := id[:]
	s.Bytes(&b)
	if s.Reading() {
		s.Check(len(b) == len(id))
		copy(id[:], b)
	}
}
