package kafkaconn

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
)

// A share session is what a member of a share group fetches over one connection, and what it has
// acquired by that: messages that logicsrv has leased to nobody else. It ends with the connection, as
// with Kafka: what the member still has goes back, and counts as not delivered. What a connsrv that
// dies had acquired comes back when the locks are over.
//
// What is acquired is told here by offsets, as the protocol does it, and in logicsrv by leases. hold
// leads from the one to the other.
//
// A request works on a copy of its session, which takes the session's place when it is answered: so a
// request that is carried out again behind a hand-over finds what it found before (recall.go).

// Bounds of the sessions of one connection.
const (
	maxShareSessions = 16
	maxShareParts    = 10_000 // of one session
	maxShareRanges   = 4096   // of one verdict
)

// The epochs of share sessions that are none.
const (
	shareEpochOpen  = 0
	shareEpochFinal = -1
)

// shareKey names a share session.
type shareKey struct{ group, member string }

// shareSession is one share session.
type shareSession struct {
	shareKey
	epoch    int32 // that the next request bears
	parts    []sharePart
	turn     int                // whose turn it is among the topics
	queues   map[topicID]uint64 // the group's queues, as far as they are known
	settings shareSettings
	askedMS  int64 // when those were asked for; 0: never
	hold     shareHold
}

// sharePart is a partition that a session fetches.
type sharePart struct {
	topic  topicID
	number int32
}

// shareSessionFor makes the copy of a session that a request works on, opens one, or says why it cannot
// be. fetch: the request may open one.
func (c *Conn) shareSessionFor(group, member *string, epoch int32, fetch bool) (*shareSession, int16, string) {
	if orEmpty(group) == "" || orEmpty(member) == "" {
		return nil, codeInvalidRequest, "a share session is of a group and a member"
	}
	key := shareKey{*group, *member}
	s := c.shares[key]
	switch {
	case epoch == shareEpochOpen && fetch:
		return c.openShare(key)
	case epoch == shareEpochOpen:
		return nil, codeInvalidShareEpoch, "only a fetch opens a share session"
	case s == nil:
		return nil, codeShareSessionNotFound, "this connection has no such share session"
	case epoch != s.epoch && epoch != shareEpochFinal:
		return nil, codeInvalidShareEpoch, "the share session is at another epoch"
	}
	s = s.clone()
	if epoch != shareEpochFinal {
		if s.epoch++; s.epoch == math.MaxInt32 {
			s.epoch = 1
		}
	}
	return s, codeNone, ""
}

// clone is a copy that shares nothing.
func (s *shareSession) clone() *shareSession {
	n := *s
	n.parts, n.queues, n.hold.runs = slices.Clone(s.parts), maps.Clone(s.queues), slices.Clone(s.hold.runs)
	return &n
}

// openShare begins a session, in place of the one that was there. What the member has acquired is its
// own all the same.
func (c *Conn) openShare(key shareKey) (*shareSession, int16, string) {
	s := &shareSession{shareKey: key, epoch: 1, queues: map[topicID]uint64{}}
	if old := c.shares[key]; old != nil {
		old = old.clone()
		s.queues, s.hold = old.queues, old.hold
	} else if len(c.shares) >= maxShareSessions {
		return nil, codeShareSessionLimit, "this connection has too many share sessions"
	}
	return s, codeNone, ""
}

// keepShare puts a session in the place of what it is a copy of, or ends it, now that its request is
// answered.
func (c *Conn) keepShare(s *shareSession, final bool) {
	if final {
		c.giveBackAll(s.hold.runs)
		delete(c.shares, s.shareKey)
		return
	}
	s.hold.expire(c.link.NowMS())
	if c.shares == nil {
		c.shares = map[shareKey]*shareSession{}
	}
	c.shares[s.shareKey] = s
}

// add has a session fetch a partition; false: it fetches too many.
func (s *shareSession) add(p sharePart) bool {
	if slices.Contains(s.parts, p) {
		return true
	}
	if len(s.parts) >= maxShareParts {
		return false
	}
	s.parts = append(s.parts, p)
	return true
}

// forget has it fetch one no longer.
func (s *shareSession) forget(p sharePart) {
	s.parts = slices.DeleteFunc(s.parts, func(q sharePart) bool { return q == p })
}

// topics lists the topics of a session, from the one on whose turn it is.
func (s *shareSession) topics() (list []topicID) {
	for _, p := range s.parts {
		if !slices.Contains(list, p.topic) {
			list = append(list, p.topic)
		}
	}
	if len(list) > 1 {
		at := s.turn % len(list)
		list = append(list[at:len(list):len(list)], list[:at]...)
	}
	return list
}

// giveBackAll gives back what was acquired, as if it had not been given.
func (c *Conn) giveBackAll(runs []shareRun) {
	for len(runs) > 0 {
		var ranges []ipc.Range
		first := runs[0]
		for len(runs) > 0 && runs[0].index == first.index && runs[0].lease == first.lease && len(ranges) < maxShareRanges {
			ranges = append(ranges, runs[0].span())
			runs = runs[1:]
		}
		c.putVerdict(ipc.VerdictUnsent, first.queue, first.index, first.lease, ranges)
	}
}

// closeShares ends all sessions of a connection that has ended, and the share fetch that is under way.
func (c *Conn) closeShares() {
	if len(c.line) > 0 && c.line[0].share != nil {
		c.giveBackAll(c.line[0].share.got)
	}
	for _, key := range slices.SortedFunc(maps.Keys(c.shares), shareKey.compare) {
		c.giveBackAll(c.shares[key].hold.runs)
	}
	c.shares = nil
}

// compare puts sessions in an order.
func (k shareKey) compare(o shareKey) int {
	return cmp.Or(strings.Compare(k.group, o.group), strings.Compare(k.member, o.member))
}

// putVerdict passes a verdict that nobody waits for.
func (c *Conn) putVerdict(v ipc.Verdict, queue, index, lease uint64, ranges []ipc.Range) {
	m := ipc.Ack{Head: c.head(0), Queue: queue, Index: index, Lease: lease, Verdict: v, Ranges: ranges}
	c.loop.Lane.PutLater(ipc.TypeAck, m.Append(c.loop.Lane.Scratch()))
}

// shareRun is offsets [first, next) of an index that are acquired under one lease.
type shareRun struct {
	queue, index uint64
	first, next  uint64
	lease        uint64
	untilMS      int64 // when the lease ends
	attempts     uint16
}

func (r *shareRun) span() ipc.Range {
	return ipc.Range{First: r.first, Count: uint32(r.next - r.first)}
}

// shareHold is what a session has acquired and not settled yet. A lease that has ended leaves its
// runs here until somebody looks: a verdict on them is refused by logicsrv, which knows.
//
// Invariant: in order of index and offset, disjoint.
type shareHold struct{ runs []shareRun }

// find is the first run of an index that ends above an offset.
func (h *shareHold) find(index, offset uint64) int {
	i, _ := slices.BinarySearchFunc(h.runs, offset, func(r shareRun, offset uint64) int {
		if r.index < index || r.index == index && r.next <= offset {
			return -1
		}
		return 1
	})
	return i
}

// add enters a run; what was held of it before is held no longer.
func (h *shareHold) add(run shareRun) {
	h.take(run.index, run.first, run.next)
	h.runs = slices.Insert(h.runs, h.find(run.index, run.first), run)
}

// covers tells whether all of [first, next) is held.
func (h *shareHold) covers(index, first, next uint64) bool {
	for i := h.find(index, first); first < next; i++ {
		if i == len(h.runs) || h.runs[i].index != index || h.runs[i].first > first {
			return false
		}
		first = h.runs[i].next
	}
	return true
}

// within lists the parts of runs that lie in [first, next).
func (h *shareHold) within(index, first, next uint64) (parts []shareRun) {
	for i := h.find(index, first); i < len(h.runs) && h.runs[i].index == index && h.runs[i].first < next; i++ {
		part := h.runs[i]
		part.first, part.next = max(part.first, first), min(part.next, next)
		parts = append(parts, part)
	}
	return parts
}

// take takes [first, next) out, as far as it is there.
func (h *shareHold) take(index, first, next uint64) (taken []shareRun) {
	taken = h.within(index, first, next)
	if len(taken) == 0 {
		return nil
	}
	at := h.find(index, first)
	var rest []shareRun
	for i := range taken {
		whole := h.runs[at+i]
		before, behind := whole, whole
		before.next, behind.first = taken[i].first, taken[i].next
		for _, r := range [...]shareRun{before, behind} {
			if r.first < r.next {
				rest = append(rest, r)
			}
		}
	}
	h.runs = slices.Replace(h.runs, at, at+len(taken), rest...)
	return taken
}

// expire drops runs whose leases have ended for good: nobody can settle them.
func (h *shareHold) expire(nowMS int64) {
	const lateMS = 60_000 // the clocks of the two ends of a ring are one, but records lie in it
	h.runs = slices.DeleteFunc(h.runs, func(r shareRun) bool { return r.untilMS+lateMS < nowMS })
}

// shareReading is what is sent of one partition: some of Loop.readings.
type shareReading struct {
	from, to int // of Loop.readings
	bytes    int
}

// release gives what was read back.
func (c *Conn) releaseShare(list []shareReading) {
	for _, s := range list {
		for i := s.from; i < s.to; i++ {
			c.loop.readings[i].Release()
		}
	}
}

// readingAt is the reading of that number, made where there is none.
func (l *Loop) readingAt(i int) *session.Reading {
	for i >= len(l.readings) {
		l.readings = append(l.readings, session.Reading{})
	}
	return &l.readings[i]
}
