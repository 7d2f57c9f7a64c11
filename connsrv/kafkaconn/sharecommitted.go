package kafkaconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
)

// A share group that reads what is committed (share.isolation.level) passes over what was aborted, and
// over control batches: what its members have acquired of it is not sent, and done with. What an open
// transaction has written is acquired by nobody before it has ended, whatever a group reads: a queue
// over a topic ends there.

// offsetSpan is a range of offsets, half open.
type offsetSpan struct{ first, next uint64 }

// learnAborted sees that it is known what was aborted in all that a request has acquired.
//
// REQUIRES: f.got is in order of index.
func (c *Conn) learnAborted(k *call, then func()) {
	f, all := k.share, newTally(then)
	for i := 0; f.session.settings.committed && i < len(f.got); {
		index, first, next := f.got[i].index, f.got[i].first, uint64(0)
		for ; i < len(f.got) && f.got[i].index == index; i++ {
			next = max(next, f.got[i].next)
		}
		if end, _ := c.loop.Lane.Readable(index, first); end >= next {
			continue
		}
		all.begin()
		c.askStable(k, index, first, func(uint64, error) { all.done() }) // on an error nothing is known, and what was acquired goes back
	}
	all.done()
}

// readShared reads what a run gives its member, from its front on. All of what was read may be passed
// over: then there are no bytes, and the run goes on at the reading's end.
func (c *Conn) readShared(r *session.Reading, f *sharing, run *shareRun, maxBytes int) error {
	lane := c.loop.Lane
	if !f.session.settings.committed {
		return lane.Read(r, run.index, run.first, run.next, maxBytes)
	}
	end, _ := lane.Readable(run.index, run.first)
	if end <= run.first {
		return errcode.New(errcode.Unavailable, "it is not known what of index %d is committed from offset %d on", run.index, run.first)
	}
	return lane.ReadCommitted(r, run.index, run.first, min(run.next, end), maxBytes)
}

// passOver notes what of a reading from an offset on is not sent.
func (t *shareTold) passOver(from uint64, r *session.Reading) {
	at := from
	for i := range r.Spans {
		if s := &r.Spans[i]; s.First() > at {
			t.passed = append(t.passed, offsetSpan{at, s.First()})
		}
		at = max(at, r.Spans[i].End)
	}
	if at < r.End {
		t.passed = append(t.passed, offsetSpan{at, r.End})
	}
}

// passes tells up to where, from an offset on, records are passed over, or else are in the response.
//
// REQUIRES: offset < t.sent.
func (t *shareTold) passes(offset uint64) (next uint64, passed bool) {
	for _, p := range t.passed {
		switch {
		case offset < p.first:
			return p.first, false
		case offset < p.next:
			return p.next, true
		}
	}
	return t.sent, false
}
