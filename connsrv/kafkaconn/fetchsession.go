package kafkaconn

import (
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/hash"
)

// A fetch session is what a client fetches again and again (KIP-227): it names its partitions once, and then only
// those of which something has changed, or that it fetches no longer; a response tells only what is new. Each request
// bears the epoch that follows that of the one before, so that neither side goes by what the other has not heard.
//
// A session belongs to its connection, and ends with it: who continues one elsewhere is told that there is none, and
// opens another. That costs one request that names all.
//
// A request works on a copy of its session, which takes the session's place when it is answered: so a request that is
// carried out again behind a hand-over finds what it found before (recall.go).

// Bounds of the sessions of one connection.
const (
	maxFetchSessions = 8      // the one that was used longest ago makes room
	maxSessionParts  = 10_000 // of one session; who fetches more names them with each request
)

// The epochs of fetches that continue no session.
const (
	fetchEpochOpen  = 0  // opens one
	fetchEpochFinal = -1 // has none
)

// fetchSession is one fetch session.
type fetchSession struct {
	id    int32
	epoch int32 // that the next request bears
	byID  bool  // topics are named by their ids
	parts []sessionPart
}

// sessionPart is a partition that is fetched: how, and what was told of it last.
type sessionPart struct {
	topic       string
	id          topicID
	number      int32
	leaderEpoch int32
	offset      int64
	maxBytes    int32

	toldEnd, toldStart int64 // untold: it is told again
}

// untold is no end and no start of a partition.
const untold = -2

// sessionKey names a partition of a session.
type sessionKey struct {
	topic  string
	id     topicID
	number int32
}

func (p *sessionPart) key(byID bool) sessionKey {
	if byID { // the name comes with the first answer
		return sessionKey{id: p.id, number: p.number}
	}
	return sessionKey{topic: p.topic, number: p.number}
}

// followFetch finds out which partitions a fetch is about: those that it names, or those of the session that it
// continues.
func (c *Conn) followFetch(f *fetching, m *kmsg.FetchRequest) (code int16) {
	named := namedParts(m)
	if m.Version < 7 || m.SessionEpoch == fetchEpochFinal || m.SessionEpoch == fetchEpochOpen {
		f.ends = m.SessionID
		if m.Version >= 7 && m.SessionEpoch == fetchEpochOpen && mayStay(named) {
			f.session = &fetchSession{id: c.nextFetchSession(), epoch: 1, byID: f.byID, parts: named}
		}
		f.take(named)
		return codeNone
	}
	at := c.fetchSession(m.SessionID)
	switch {
	case at < 0:
		return codeFetchSessionNotFound
	case c.fetches[at].epoch != m.SessionEpoch:
		return codeInvalidFetchEpoch
	case c.fetches[at].byID != f.byID:
		return codeFetchSessionTopicID
	}
	s := *c.fetches[at]
	s.parts = slices.Clone(s.parts)
	s.change(named, m)
	if s.epoch++; s.epoch < 0 {
		s.epoch = 1
	}
	f.take(s.parts)
	if f.partial = true; mayStay(s.parts) {
		f.session = &s
	} else { // the client opens another, if it goes on
		f.ends = s.id
	}
	return codeNone
}

// mayStay tells whether partitions can be those of a session: some, and not too many; names that no topic can have are
// not remembered.
func mayStay(parts []sessionPart) bool {
	return len(parts) > 0 && len(parts) <= maxSessionParts &&
		!slices.ContainsFunc(parts, func(p sessionPart) bool { return len(p.topic) > maxTopicName })
}

// take makes the partitions of a session, or of a request, those of a fetch.
func (f *fetching) take(parts []sessionPart) {
	f.parts = make([]fetchedPart, len(parts))
	for i := range parts {
		f.parts[i] = fetchedPart{sessionPart: parts[i]}
	}
}

// namedParts are the partitions that a request names.
func namedParts(m *kmsg.FetchRequest) (list []sessionPart) {
	for i := range m.Topics {
		t := &m.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			list = append(list, sessionPart{
				topic: t.Topic, id: t.TopicID, number: p.Partition, leaderEpoch: p.CurrentLeaderEpoch,
				offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes, toldEnd: untold, toldStart: untold,
			})
		}
	}
	return list
}

// change changes what a session fetches, as a request says.
func (s *fetchSession) change(named []sessionPart, m *kmsg.FetchRequest) {
	if len(named) > 0 {
		at := make(map[sessionKey]int, len(s.parts))
		for i := range s.parts {
			at[s.parts[i].key(s.byID)] = i
		}
		for _, p := range named {
			i, ok := at[p.key(s.byID)]
			if !ok {
				at[p.key(s.byID)] = len(s.parts)
				s.parts = append(s.parts, p)
				continue
			}
			old := &s.parts[i]
			old.leaderEpoch, old.offset, old.maxBytes = p.leaderEpoch, p.offset, p.maxBytes
		}
	}
	forgotten := map[sessionKey]bool{}
	for i := range m.ForgottenTopics {
		t := &m.ForgottenTopics[i]
		for _, number := range t.Partitions {
			p := sessionPart{topic: t.Topic, id: t.TopicID, number: number}
			forgotten[p.key(s.byID)] = true
		}
	}
	if len(forgotten) > 0 {
		s.parts = slices.DeleteFunc(s.parts, func(p sessionPart) bool { return forgotten[p.key(s.byID)] })
	}
}

// fetchSession is the place of a session; -1: there is none of that id.
func (c *Conn) fetchSession(id int32) int {
	return slices.IndexFunc(c.fetches, func(s *fetchSession) bool { return s.id == id })
}

// nextFetchSession is the id of a session that is opened. No other connection is likely to have the same: a client
// that continues a session at the wrong one shall be told so.
func (c *Conn) nextFetchSession() int32 {
	for n := c.calls; ; n++ {
		id := int32(hash.Mix(hash.Mix(c.link.ID())+uint64(n)) & math.MaxInt32)
		if id != 0 && c.fetchSession(id) < 0 {
			return id
		}
	}
}

// keepFetch notes what a response is about to tell, and has the session stand as the request has left it. It returns
// the session's id; 0: there is none.
func (c *Conn) keepFetch(f *fetching) int32 {
	s := f.session
	if s == nil {
		c.dropFetch(f.ends)
		return 0
	}
	for _, i := range f.told {
		p := &f.parts[i]
		if p.toldEnd, p.toldStart = p.end, p.start; p.code != codeNone {
			p.toldEnd = untold
		}
	}
	s.parts = s.parts[:0]
	for _, given := range []bool{false, true} { // who got something is read last the next time
		for i := range f.parts {
			if (f.parts[i].read > 0) == given {
				s.parts = append(s.parts, f.parts[i].sessionPart)
			}
		}
	}
	c.dropFetch(f.ends)
	c.dropFetch(s.id)
	if len(c.fetches) >= maxFetchSessions {
		c.dropFetch(c.fetches[0].id)
	}
	c.fetches = append(c.fetches, s)
	return s.id
}

// dropFetch ends a session, if it is there.
func (c *Conn) dropFetch(id int32) {
	if at := c.fetchSession(id); at >= 0 {
		c.fetches = slices.Delete(c.fetches, at, at+1)
	}
}
