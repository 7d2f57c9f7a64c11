package kafkaconn

import "github.com/trimq/trimq/connsrv/handover"

// What is passed on of fetch sessions (pass.go). A fetch that is under way has changed nothing of its session yet.

// passFetches goes over the fetch sessions, the one that was used longest ago first.
func (c *Conn) passFetches(s *handover.Codec) {
	seen := map[int32]bool{}
	handover.List(s, &c.fetches, 4, func(s *handover.Codec, at **fetchSession) {
		if s.Reading() {
			*at = new(fetchSession)
		}
		t := *at
		t.pass(s)
		s.Check(t.id > 0 && t.epoch > 0 && mayStay(t.parts) && !seen[t.id])
		seen[t.id] = true
	})
	s.Check(len(c.fetches) <= maxFetchSessions)
}

// pass goes over one session.
func (t *fetchSession) pass(s *handover.Codec) {
	handover.Int(s, &t.id)
	handover.Int(s, &t.epoch)
	s.Bool(&t.byID)
	handover.List(s, &t.parts, 24, func(s *handover.Codec, p *sessionPart) {
		s.String(&p.topic)
		passTopicID(s, &p.id)
		handover.Int(s, &p.number)
		handover.Int(s, &p.leaderEpoch)
		handover.Int(s, &p.offset)
		handover.Int(s, &p.maxBytes)
		handover.Int(s, &p.toldEnd)
		handover.Int(s, &p.toldStart)
	})
}
