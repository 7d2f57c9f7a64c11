package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// ack passes verdicts on. A verdict of a consumer that this connection does not have is that
// of one whose connection broke: it says all that is needed, so that what it is about does not
// come again. To put something back is not for it; that has happened. Whether a lease is still
// good logicsrv knows, whoever asks.
func (c *Conn) ack(h native.Header, body []byte) bool {
	m, err := native.DecodeAck(body, c.lane.Ranges())
	if err != nil {
		c.refuse(h, err)
		return true
	}
	s, err := c.holder(&m)
	if most := c.maxRanges(); err == nil && len(m.Ranges) > most {
		err = errcode.New(errcode.LimitExceeded, "%d ranges in one ACK, at most %d are allowed", len(m.Ranges), most)
	}
	if err == nil {
		err = c.takeFromHand(s, &m)
	}
	if err != nil && h.Flags&native.FlagNoReply != 0 {
		err = c.takeWhatIsThere(s, &m, err)
	}
	if err != nil {
		c.refuse(h, err)
		return true
	}
	req := uint64(0)
	if h.Flags&native.FlagNoReply == 0 {
		req = c.lane.Req()
	}
	slot, ok := c.lane.Claim(c.link, ipc.AckSize(len(m.Ranges)), ipc.TypeAck)
	if !ok {
		putBack(s, m.Index, m.Ranges)
		return false
	}
	record := ipc.Ack{Head: c.head(req), Sub: m.Sub, Queue: m.Queue, Index: m.Index, Lease: m.Lease, Verdict: m.Verdict, Ranges: m.Ranges}
	record.Append(slot.Payload[:0])
	slot.Publish()
	if s != nil {
		c.topUp(s)
	}
	if req != 0 {
		c.add(h, session.Request{Req: req})
	}
	c.lane.Counters.Add(shmqueue.ConnAcked, countOf(m.Ranges))
	return true
}

// maxRanges is how many ranges logicsrv takes in one Ack.
func (c *Conn) maxRanges() int {
	return min(ipc.MaxRanges, (c.lane.MaxRecord-ipc.AckSize(0))/(ipc.AckSize(1)-ipc.AckSize(0)))
}

// takeWhatIsThere lets a verdict hold for what of it is in hand, as who wants no answer would never
// know that it did not: some of it may have been recalled while it was on its way. why says what is
// wrong with it as it is, and comes back where nothing is in hand.
func (c *Conn) takeWhatIsThere(s *session.Sub, m *native.Ack, why error) error {
	if s == nil {
		return why
	}
	before := s.Gaps()
	var held []ipc.Range
	for _, r := range m.Ranges {
		held = s.InHand.Take(held, m.Index, r)
	}
	switch err := c.checkGaps(s, before); {
	case err != nil, len(held) == 0, len(held) > c.maxRanges():
		putBack(s, m.Index, held)
		return why
	}
	m.Ranges = held
	return nil
}

// holder is the consumer that a verdict is of; nil: it holds without one.
func (c *Conn) holder(m *native.Ack) (*session.Sub, error) {
	if m.Lease != 0 {
		return nil, nil
	}
	s := c.sub(m.Sub)
	if s == nil && m.Verdict == ipc.VerdictRequeue || s != nil && (!s.Queue || s.Closing) {
		return nil, errcode.New(errcode.UnknownSubscription, "no subscription %d", m.Sub)
	}
	if s != nil && s.Index != m.Queue {
		return nil, errcode.New(errcode.InvalidArgument, "subscription %d is of queue %d, not %d", s.ID, s.Index, m.Queue)
	}
	return s, nil
}

// takeFromHand removes the ranges of a verdict from what the consumer holds: all or none.
func (c *Conn) takeFromHand(s *session.Sub, m *native.Ack) error {
	if s == nil {
		return nil
	}
	before := s.Gaps()
	for i, r := range m.Ranges {
		if !s.InHand.Remove(m.Index, r) {
			putBack(s, m.Index, m.Ranges[:i])
			return errcode.New(errcode.InvalidArgument, "not all of offsets %d to %d of index %d are in hand", r.First, r.First+uint64(r.Count)-1, m.Index)
		}
	}
	if err := c.checkGaps(s, before); err != nil {
		putBack(s, m.Index, m.Ranges)
		return err
	}
	return nil
}

// checkGaps refuses verdicts after which a consumer would hold too many separate ranges.
func (c *Conn) checkGaps(s *session.Sub, before int) error {
	if gaps := s.Gaps(); gaps > before && gaps > c.lane.MaxGaps() {
		return errcode.New(errcode.LimitExceeded, "what is in hand would fall into %d ranges, at most %d: acknowledge lower offsets first", gaps, c.lane.MaxGaps())
	}
	return nil
}

func putBack(s *session.Sub, index uint64, ranges []ipc.Range) {
	if s == nil {
		return
	}
	for _, r := range ranges {
		s.InHand.Add(index, r.First, r.Count)
	}
}

func countOf(ranges []ipc.Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Count)
	}
	return n
}

// putVerdict passes a verdict that the client has not asked for on what a consumer holds, or what
// is leased, and takes it out of the hand. Nobody waits for an answer.
func (c *Conn) putVerdict(s *session.Sub, index, lease uint64, v ipc.Verdict, ranges []ipc.Range) {
	if len(ranges) == 0 {
		return
	}
	// The record is put before the hand is empty: session's invariant 3.
	record := ipc.Ack{Head: c.head(0), Sub: s.ID, Queue: s.Index, Index: index, Lease: lease, Verdict: v, Ranges: ranges}
	c.lane.PutLater(ipc.TypeAck, record.Append(c.lane.Scratch()))
	if lease == 0 {
		for _, r := range ranges {
			if !s.InHand.Remove(index, r) { // some of it has been recalled since
				s.InHand.Take(nil, index, r)
			}
		}
	}
}
