package amqpconn

import (
	"sort"

	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Verdicts. Those of one pass over the socket are gathered, and put into the ring together.

// unacked is what a channel was given and has not settled, in order of delivery tags.
type unacked struct {
	last   uint64 // tag that was given last
	list   []held
	head   int // those before it are settled
	count  int
	pushed int // of them those that consumers were given, not gets
}

// held is one message in the client's hand; sub is nil once it is settled.
type held struct {
	tag    uint64
	sub    *consumer
	index  uint64
	offset uint64
}

// give makes a delivery tag for the first message of a run, which is to be settled unless noAck says
// that nobody will.
func (u *unacked) give(s *consumer, run *ipc.PulledRun, noAck bool) uint64 {
	u.last++
	if !noAck {
		u.list = append(u.list, held{u.last, s, run.Index, run.First})
		u.count++
		u.pushed += s.one()
	}
	return u.last
}

// find is the place of a tag that is not settled, or -1.
func (u *unacked) find(tag uint64) int {
	if u.head >= len(u.list) || tag < u.list[u.head].tag {
		return -1
	}
	i := u.head + int(min(tag-u.list[u.head].tag, uint64(len(u.list)-u.head-1)))
	if u.list[i].tag != tag { // tags were given to who acknowledges nothing
		i = u.head + sort.Search(len(u.list)-u.head, func(i int) bool { return u.list[u.head+i].tag >= tag })
	}
	if i < len(u.list) && u.list[i].tag == tag && u.list[i].sub != nil {
		return i
	}
	return -1
}

// take takes one out.
func (u *unacked) take(i int) held {
	h := u.list[i]
	u.list[i].sub = nil
	u.count--
	u.pushed -= h.sub.one()
	for u.head < len(u.list) && u.list[u.head].sub == nil {
		u.head++
	}
	if u.head == len(u.list) {
		u.list, u.head = u.list[:0], 0
		if cap(u.list) > 1024 {
			u.list = nil
		}
	} else if u.head > 1024 && u.head > len(u.list)/2 {
		n := copy(u.list, u.list[u.head:])
		u.list, u.head = u.list[:n], 0
	}
	return h
}

// restore puts back what was taken, in order of tags.
func (u *unacked) restore(back []held) {
	list := make([]held, 0, u.count+len(back))
	for _, h := range u.list[u.head:] {
		for len(back) > 0 && back[0].tag < h.tag {
			list, back = append(list, back[0]), back[1:]
		}
		if h.sub != nil {
			list = append(list, h)
		}
	}
	u.list = append(list, back...)
	u.head, u.count, u.pushed = 0, len(u.list), 0
	for _, h := range u.list {
		u.pushed += h.sub.one()
	}
}

// one is what a message counts for the limit that consumers share: gets are not limited.
func (s *consumer) one() int {
	if len(s.tag) == 0 {
		return 0
	}
	return 1
}

// settled are the verdicts that are not in the ring yet.
type settled struct{ groups []verdicts }

// verdicts are verdicts of one kind on messages of one index.
type verdicts struct {
	sub     *consumer
	index   uint64
	verdict ipc.Verdict
	ranges  []ipc.Range
}

// add adds a verdict on one message.
func (s *settled) add(h held, v ipc.Verdict) {
	for i := len(s.groups) - 1; i >= 0 && i >= len(s.groups)-8; i-- {
		g := &s.groups[i]
		if g.sub != h.sub || g.index != h.index || g.verdict != v {
			continue
		}
		if last := &g.ranges[len(g.ranges)-1]; last.First+uint64(last.Count) == h.offset {
			last.Count++
		} else {
			g.ranges = append(g.ranges, ipc.Range{First: h.offset, Count: 1})
		}
		return
	}
	s.groups = append(s.groups, verdicts{h.sub, h.index, v, []ipc.Range{{First: h.offset, Count: 1}}})
}

// ack takes a basic.ack.
func (ch *channel) ack(args []byte) {
	var m amqp.BasicAck
	if m.Decode(args) != nil {
		ch.conn.failConnection(m.Method(), ch.unreadable(m.Method()))
		return
	}
	ch.verdict(m.Method(), m.DeliveryTag, m.Multiple, ipc.VerdictAck)
}

// verdict takes a verdict on a message, or on all up to it.
func (ch *channel) verdict(m amqp.Method, tag uint64, multiple bool, v ipc.Verdict) {
	u := &ch.unacked
	if tag == 0 && multiple {
		if u.count == 0 {
			return
		}
		tag = u.list[len(u.list)-1].tag
		for i := len(u.list) - 1; u.list[i].sub == nil; i-- {
			tag = u.list[i-1].tag
		}
	}
	i := u.find(tag)
	if i < 0 {
		ch.fail(m, wrong(amqp.PreconditionFailed, "unknown delivery tag %d", tag))
		return
	}
	if !multiple {
		ch.pass(u.take(i), v)
		return
	}
	for u.count > 0 && u.list[u.head].tag <= tag {
		ch.pass(u.take(u.head), v)
	}
}

// pass passes a verdict on: with what was read, or with the transaction.
func (ch *channel) pass(h held, v ipc.Verdict) {
	if ch.mode == modeTx {
		ch.tx.verdicts = append(ch.tx.verdicts, verdictOn{h, v})
		ch.tx.pushed += h.sub.one()
		return
	}
	ch.conn.settled.add(h, v)
}

// settle puts the verdicts into the ring that were read, and lets the consumers have more.
func (c *Conn) settle() {
	if len(c.settled.groups) == 0 {
		return
	}
	groups := c.settled.groups
	c.settled.groups = nil
	for i := range groups {
		g := &groups[i]
		s := g.sub
		n := countOf(g.ranges)
		if s.Limit != unlimited {
			s.Limit += n
		}
		c.lane.Counters.Add(shmqueue.ConnAcked, n)
		if g.verdict == ipc.VerdictAck {
			c.lane.Counters.Add(shmqueue.ConnAcknowledged, n)
		}
		if s.isStream() {
			c.released(s, n)
			continue
		}
		if s.Closing { // what it held has gone back, or is gone
			continue
		}
		c.putVerdict(s, g.index, g.verdict, g.ranges)
		if s.ended && s.Gaps() == 0 {
			c.endSub(s)
			continue
		}
		c.topUp(s)
	}
	for i := range groups {
		groups[i].sub.channel.advance()
	}
}

func countOf(ranges []ipc.Range) (n uint64) {
	for _, r := range ranges {
		n += uint64(r.Count)
	}
	return n
}

// maxRanges is how many ranges logicsrv takes in one Ack.
func (c *Conn) maxRanges() int {
	return min(ipc.MaxRanges, (c.lane.MaxRecord-ipc.AckSize(0))/(ipc.AckSize(1)-ipc.AckSize(0)))
}

// putVerdict puts a verdict on what a consumer holds, and takes it out of the hand.
func (c *Conn) putVerdict(s *consumer, index uint64, v ipc.Verdict, ranges []ipc.Range) {
	most := c.maxRanges()
	for len(ranges) > 0 {
		part := ranges[:min(most, len(ranges))]
		ranges = ranges[len(part):]
		// The record is put before the hand is empty: session's invariant 3.
		record := ipc.Ack{Head: c.head(0), Sub: s.ID, Queue: s.Index, Index: index, Verdict: v, Recalls: s.Recalls, Ranges: part}
		c.lane.PutLater(ipc.TypeAck, record.Append(c.lane.Scratch()))
		for _, r := range part {
			s.InHand.Remove(index, r)
		}
	}
}
