//go:build failpoints

package sim

import (
	"cmp"
	"encoding/binary"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// connsrv is the model of connsrv: it owns the soft state, tells it again in answer to a
// marker, keeps what it asked until it is answered, and always drains ring 54321.
type connsrv struct {
	w     *world
	epoch uint64
	out   *shmqueue.Producer
	in    *shmqueue.Consumer
	loops []*loop
	conns []*conn

	greeted  bool // the Hello is in the ring; nothing else may come before it
	lastConn uint64
	lastReq  uint64
	pending  map[uint64]*request
	left     map[subID]*subscription // of connections that have ended
	given    map[givenKey]uint64     // up to where messages were given to somebody
}

// givenKey names an index of a queue.
type givenKey struct{ queue, index uint64 }

// subID names a subscription of a connsrv.
type subID struct{ conn, sub uint64 }

// loop is one event loop: the records that it has not got into ring 12345 yet, in order.
type loop struct {
	number int
	outbox []outgoing
}

// outgoing is one record for ring 12345. before and after are called around the moment in
// which it enters the ring; a death may lie between them.
type outgoing struct {
	typ           ipc.Type
	conn          uint64 // 0: of the loop
	head, body    []byte
	before, after func()
}

// request is one that has not been answered. Parked ones are told again after a marker.
type request struct {
	req    uint64
	conn   *conn
	parked *ipc.Wait
	pull   *ipc.Pull
	ended  bool      // the pull shall wait no longer
	again  *outgoing // the record of another one that may be parked
	reply  func(typ ipc.Type, record []byte)
}

// conn is a client's connection.
type conn struct {
	id       uint64
	loop     *loop
	subs     []*subscription
	groups   []string // of producers, for which it answers checks
	joinedMS int64    // since when
	user     client
}

// subscription is a consumer, or who pulls from a queue, as connsrv knows it.
type subscription struct {
	sub       uint64
	queue     uint64
	wants     ipc.Consumer
	filter    string
	limit     uint64
	delivered uint64
	recalls   uint16  // since it was told last
	closing   bool    // an Unsubscribe is on its way: it is told no more
	inHand    []place // in order of index and offset
	owner     user
}

// user is the client behind a subscription.
type user interface {
	client
	// closed says that it has ended, though nobody has asked for it.
	closed(s *subscription, code errcode.Code)
	// checked asks what has become of a transaction.
	checked(m *ipc.CheckTxn)
}

// startConnsrv takes over connsrv's ends of the rings, as its main would.
func startConnsrv(w *world) (*connsrv, error) {
	c := &connsrv{w: w, pending: map[uint64]*request{}, left: map[subID]*subscription{}, given: map[givenKey]uint64{}}
	var err error
	if c.out, err = w.ringA.Producer(); err != nil {
		return nil, err
	}
	if c.in, err = w.ringB.Consumer(); err != nil {
		return nil, err
	}
	c.epoch = c.out.Epoch()
	for i := range w.plan.loops {
		c.loops = append(c.loops, &loop{number: i})
	}
	hello := ipc.Hello{Head: ipc.Head{Epoch: c.epoch}, Loops: uint32(len(c.loops))}
	c.send(c.loops[0], outgoing{typ: ipc.TypeHello, head: hello.Append(nil), after: func() { c.greeted = true }})
	return c, nil
}

// step drains some of ring 54321 and moves what loops have into ring 12345.
func (c *connsrv) step() (progress bool) {
	for range 1 + c.w.rng.IntN(16) {
		r, ok := c.in.Next()
		if !ok {
			break
		}
		c.take(ipc.Type(r.Type), r.Payload)
		failpoint.Hit("conn.taken")
		if c.in.Release(r.End) {
			c.w.ringA.Bell().Ring()
		}
		progress = true
	}
	for _, l := range c.loops {
		if c.flush(l) {
			progress = true
		}
	}
	return progress
}

// flush puts a loop's records into ring 12345 as far as there is room; now and then several
// under one claim.
func (c *connsrv) flush(l *loop) (progress bool) {
	for len(l.outbox) > 0 && (c.greeted || l.number == 0) {
		n := 1
		if len(l.outbox) > 1 && c.w.rng.IntN(3) == 0 {
			n = 2 + c.w.rng.IntN(min(len(l.outbox), 4)-1)
		}
		part := l.outbox[:n]
		for i := range part {
			if part[i].before != nil {
				part[i].before()
			}
		}
		done, err := c.put(part)
		for i := range part[:done] {
			if c.w.out != nil {
				h, _ := ipc.PeekHead(part[i].head)
				c.w.trace("    ring 12345 ← type %d %+v", part[i].typ, h)
			}
			if part[i].after != nil {
				part[i].after()
			}
		}
		l.outbox = l.outbox[done:]
		progress = progress || done > 0
		if err != nil {
			c.w.stats.ringFull++
			c.out.WantSpace()
			return progress
		}
	}
	return progress
}

func (c *connsrv) put(part []outgoing) (int, error) {
	if len(part) == 1 {
		if _, err := c.out.Put(uint16(part[0].typ), 0, part[0].head, part[0].body); err != nil {
			return 0, err
		}
		return 1, nil
	}
	messages := make([]shmqueue.Message, len(part))
	for i := range part {
		messages[i] = shmqueue.Message{Type: uint16(part[i].typ), Payload: append(slices.Clip(part[i].head), part[i].body...)}
	}
	return c.out.PutBatch(messages)
}

func (c *connsrv) send(l *loop, o outgoing) { l.outbox = append(l.outbox, o) }

// crowded tells a client that its loop has stopped reading sockets.
func (c *connsrv) crowded(l *loop) bool { return len(l.outbox) > 12 }

// open makes a connection.
func (c *connsrv) open(user client) *conn {
	l := c.loops[c.w.rng.IntN(len(c.loops))]
	c.lastConn++
	k := &conn{id: c.lastConn<<8 | uint64(l.number), loop: l, user: user}
	c.conns = append(c.conns, k)
	return k
}

// close ends a connection: what it asked is forgotten, what it held goes back, and what is not
// in ring 12345 yet was never read from its socket.
func (c *connsrv) close(k *conn) {
	c.conns = slices.DeleteFunc(c.conns, func(x *conn) bool { return x == k })
	for _, req := range sortedKeys(c.pending) {
		if c.pending[req].conn == k {
			delete(c.pending, req)
		}
	}
	for _, s := range k.subs {
		c.w.giveBack(s)
		c.left[subID{k.id, s.sub}] = s
	}
	k.loop.outbox = slices.DeleteFunc(k.loop.outbox, func(o outgoing) bool { return o.conn == k.id })
	closed := ipc.ConnClosed{Head: ipc.Head{Epoch: c.epoch, Conn: k.id}}
	c.send(k.loop, outgoing{typ: ipc.TypeConnClosed, head: closed.Append(nil)})
}

// ask sends a request; reply is called once, unless the connection or connsrv ends first.
func (c *connsrv) ask(k *conn, typ ipc.Type, encode func(ipc.Head) []byte, body []byte, reply func(ipc.Type, []byte)) *outgoing {
	c.lastReq++
	c.pending[c.lastReq] = &request{req: c.lastReq, conn: k, reply: reply}
	c.send(k.loop, outgoing{typ: typ, conn: k.id, head: encode(ipc.Head{Epoch: c.epoch, Conn: k.id, Req: c.lastReq}), body: body})
	return &k.loop.outbox[len(k.loop.outbox)-1]
}

// keep has a request that was just asked told again after a marker, behind the ResyncEnd.
func (c *connsrv) keep(o *outgoing) {
	c.pending[c.lastReq].again = &outgoing{typ: o.typ, conn: o.conn, head: o.head}
}

// tell sends a record that is not answered.
func (c *connsrv) tell(k *conn, typ ipc.Type, encode func(ipc.Head) []byte) *outgoing {
	c.send(k.loop, outgoing{typ: typ, conn: k.id, head: encode(ipc.Head{Epoch: c.epoch, Conn: k.id})})
	return &k.loop.outbox[len(k.loop.outbox)-1]
}

// park sends a Wait and remembers it for the next marker.
func (c *connsrv) park(k *conn, index, beyond uint64, reply func(ipc.Type, []byte)) {
	c.lastReq++
	wait := &ipc.Wait{Head: ipc.Head{Epoch: c.epoch, Conn: k.id, Req: c.lastReq}, Index: index, Beyond: beyond}
	c.pending[c.lastReq] = &request{req: c.lastReq, conn: k, parked: wait, reply: reply}
	c.send(k.loop, outgoing{typ: ipc.TypeWait, conn: k.id, head: wait.Append(nil)})
}

// pull sends a Pull and remembers it for the next marker.
func (c *connsrv) pull(k *conn, p *ipc.Pull, reply func(ipc.Type, []byte)) {
	c.lastReq++
	p.Head = ipc.Head{Epoch: c.epoch, Conn: k.id, Req: c.lastReq}
	c.pending[c.lastReq] = &request{req: c.lastReq, conn: k, pull: p, reply: reply}
	c.send(k.loop, outgoing{typ: ipc.TypePull, conn: k.id, head: p.Append(nil)})
}

// take looks at one record of ring 54321.
func (c *connsrv) take(typ ipc.Type, b []byte) {
	if c.w.out != nil {
		h, _ := ipc.PeekHead(b)
		c.w.trace("    ring 54321 → type %d %+v", typ, h)
	}
	switch typ {
	case ipc.TypeMarker:
		m, err := ipc.DecodeMarker(b)
		c.w.must(err, "decode a marker")
		c.answerMarker(m)
		return
	case ipc.TypeTopicChanged:
		_, err := ipc.DecodeTopicChanged(b)
		c.w.must(err, "decode a topic changed")
		return
	case ipc.TypeIndexGone:
		_, err := ipc.DecodeIndexGone(b)
		c.w.must(err, "decode an index gone")
		return
	case ipc.TypeDefined:
		_, err := ipc.DecodeDefined(b)
		c.w.must(err, "decode a defined")
		return
	}
	if len(b) < ipc.HeadSize {
		c.w.fail("record of type %d with %d bytes from logicsrv", typ, len(b))
	}
	epoch, id, req := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if epoch != c.epoch {
		c.w.stats.oldEpoch++
		return
	}
	switch typ {
	case ipc.TypeDeliver:
		c.deliver(id, b)
		return
	case ipc.TypeRecall:
		c.recall(id, b)
		return
	case ipc.TypeCheckTxn:
		c.checkTxn(id, b)
		return
	case ipc.TypeSubClosed:
		c.subClosed(id, b)
	}
	r := c.pending[req]
	if req == 0 || r == nil {
		c.w.stats.unknownReply++
		return
	}
	delete(c.pending, req)
	r.reply(typ, b)
}

func (c *connsrv) find(id, sub uint64) (*conn, *subscription) {
	for _, k := range c.conns {
		if k.id != id {
			continue
		}
		for _, s := range k.subs {
			if s.sub == sub {
				return k, s
			}
		}
		return k, nil
	}
	return nil, nil
}

func (c *connsrv) deliver(id uint64, b []byte) {
	d, err := ipc.DecodeDeliver(b)
	c.w.must(err, "decode a delivery")
	k, s := c.find(id, d.Sub)
	if s == nil {
		c.w.stats.staleDelivery++ // its consumer has gone; logicsrv is about to hear of it
		return
	}
	c.w.delivered(s, &d)
	c.settleAtOnce(k, s, d.Index, d.First, d.Count)
}

// settleAtOnce passes the verdicts that are connsrv's: on what the filter does not match, and on
// all for a consumer that wants every delivery acknowledged.
func (c *connsrv) settleAtOnce(k *conn, s *subscription, index, first uint64, count uint32) {
	if s.closing {
		return // what it holds goes back
	}
	var skipped, taken []uint64
	for o := first; o < first+uint64(count); o++ {
		switch {
		case !c.w.matches(s.filter, index, o):
			skipped = append(skipped, o)
		case s.wants.AutoAck:
			taken = append(taken, o)
		}
	}
	if len(skipped) > 0 {
		c.w.stats.skipped += len(skipped)
		s.settle(c, k, index, skipped, ipc.VerdictSkip)
		if !s.wants.Puller {
			s.limit += uint64(len(skipped)) // what is skipped takes none of the client's credit
			c.w.tellCredit(k, s)
		}
	}
	if len(taken) > 0 {
		s.settle(c, k, index, taken, ipc.VerdictAck)
	}
}

// settle passes a verdict that nobody waits for.
func (s *subscription) settle(c *connsrv, k *conn, index uint64, offsets []uint64, v ipc.Verdict) {
	s.drop(index, offsets)
	o := c.tell(k, ipc.TypeAck, func(h ipc.Head) []byte {
		m := ipc.Ack{Head: h, Sub: s.sub, Queue: s.queue, Index: index, Verdict: v, Recalls: s.recalls, Ranges: ranges(offsets)}
		return m.Append(nil)
	})
	o.before = func() { c.w.verdictOffered(s, s.queue, index, offsets, v) }
	o.after = func() { c.w.verdictTaken(s.queue, index, offsets) }
}

// hold enters a message among those in hand.
func (s *subscription) hold(p place) {
	at, _ := slices.BinarySearchFunc(s.inHand, p, place.compare)
	s.inHand = slices.Insert(s.inHand, at, p)
}

// drop takes messages out of the hand.
func (s *subscription) drop(index uint64, offsets []uint64) {
	s.inHand = slices.DeleteFunc(s.inHand, func(p place) bool { return p.index == index && slices.Contains(offsets, p.base) })
}

// recall takes back what was held for too long. The verdicts of a connection that has ended may
// come too late as well.
func (c *connsrv) recall(id uint64, b []byte) {
	m, err := ipc.DecodeRecall(b)
	c.w.must(err, "decode a recall")
	_, s := c.find(id, m.Sub)
	if s == nil {
		s = c.left[subID{id, m.Sub}]
	}
	if s == nil {
		return
	}
	s.recalls++
	for _, r := range m.Ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			c.w.recalled(s, m.Index, o)
			s.drop(m.Index, []uint64{o})
		}
	}
}

func (c *connsrv) checkTxn(id uint64, b []byte) {
	m, err := ipc.DecodeCheckTxn(b)
	c.w.must(err, "decode a check")
	for _, k := range c.conns {
		if k.id != id {
			continue
		}
		if !slices.Contains(k.groups, m.Group) {
			c.w.fail("%s is asked about transaction %d of group %s, for which it does not answer", k.user.side().name, m.Txn, m.Group)
		}
		if u, ok := k.user.(user); ok {
			u.checked(&m)
		}
	}
}

func (c *connsrv) subClosed(id uint64, b []byte) {
	m, err := ipc.DecodeSubClosed(b)
	c.w.must(err, "decode the end of a consumer")
	k, s := c.find(id, m.Sub)
	if s == nil {
		return
	}
	k.subs = slices.DeleteFunc(k.subs, func(x *subscription) bool { return x == s })
	c.w.giveBack(s)
	s.owner.closed(s, errcode.Code(m.Code))
}

// answerMarker tells all soft state again, each loop its own, behind what the loop has sent
// so far.
func (c *connsrv) answerMarker(m ipc.Marker) {
	c.w.stats.markers++
	for _, l := range c.loops {
		for _, k := range c.conns {
			if k.loop == l {
				c.retell(k, m)
			}
		}
		if l.number == 0 {
			c.tellGiven(m)
		}
		end := ipc.ResyncEnd{Head: ipc.Head{Epoch: c.epoch}, Term: m.Term, Ask: m.Ask, Loop: uint32(l.number), Loops: uint32(len(c.loops))}
		c.send(l, outgoing{typ: ipc.TypeResyncEnd, head: end.Append(nil)})
		c.retellPulls(l)
		c.retellKept(l)
	}
}

// tellGiven tells up to where messages were given to somebody. All of it is told by the first loop.
func (c *connsrv) tellGiven(m ipc.Marker) {
	if failpoint.Broken("handed-not-told") {
		return
	}
	h := ipc.Handed{Head: ipc.Head{Epoch: c.epoch}, Term: m.Term, Ask: m.Ask}
	for key, next := range c.given {
		h.List = append(h.List, ipc.HandedUpTo{Queue: key.queue, Index: key.index, Next: next})
	}
	slices.SortFunc(h.List, func(a, b ipc.HandedUpTo) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Queue, b.Queue))
	})
	c.send(c.loops[0], outgoing{typ: ipc.TypeHanded, head: h.Append(nil)})
}

// retellPulls asks again for what was not answered. It comes behind the end of the loop's answer:
// a Pull that is read before it is void.
func (c *connsrv) retellPulls(l *loop) {
	for _, req := range sortedKeys(c.pending) {
		if r := c.pending[req]; r.conn.loop == l && r.pull != nil && !failpoint.Broken("pulls-not-retold") {
			c.send(l, outgoing{typ: ipc.TypePull, conn: r.conn.id, head: r.pull.Append(nil)})
			if r.ended {
				c.endPull(r)
			}
		}
	}
}

// retellKept tells a loop's requests again that may be parked: what was read of them before the
// ResyncEnd is void.
func (c *connsrv) retellKept(l *loop) {
	if failpoint.Broken("joins-not-retold") {
		return
	}
	for _, req := range sortedKeys(c.pending) {
		if r := c.pending[req]; r.again != nil && r.conn.loop == l {
			c.send(l, *r.again)
		}
	}
}

// endPull asks for the answer to a pull, whatever it is.
func (c *connsrv) endPull(r *request) {
	r.ended = true
	c.tell(r.conn, ipc.TypePullEnd, func(h ipc.Head) []byte {
		m := ipc.PullEnd{Head: h, Target: r.req}
		return m.Append(nil)
	})
}

func (c *connsrv) retell(k *conn, m ipc.Marker) {
	for _, s := range k.subs {
		if s.closing {
			continue
		}
		state := ipc.SubState{
			Head: ipc.Head{Epoch: c.epoch, Conn: k.id}, Term: m.Term, Ask: m.Ask,
			Sub: s.sub, Queue: s.queue, Limit: s.limit, Delivered: s.delivered, Consumer: s.wants, InHand: s.held(),
		}
		s.recalls = 0
		if failpoint.Broken("in-hand-not-retold") {
			state.InHand = nil
		}
		c.send(k.loop, outgoing{typ: ipc.TypeSubState, conn: k.id, head: state.Append(nil)})
	}
	for _, group := range k.groups {
		if !failpoint.Broken("members-not-retold") {
			t := ipc.TxnMember{Head: ipc.Head{Epoch: c.epoch, Conn: k.id}, Group: group, Join: true}
			c.send(k.loop, outgoing{typ: ipc.TypeTxnMember, conn: k.id, head: t.Append(nil)})
		}
	}
	if failpoint.Broken("waits-not-retold") {
		return
	}
	for _, req := range sortedKeys(c.pending) {
		if r := c.pending[req]; r.conn == k && r.parked != nil {
			c.send(k.loop, outgoing{typ: ipc.TypeWait, conn: k.id, head: r.parked.Append(nil)})
		}
	}
}

// held is what is in hand, as ranges of each index.
func (s *subscription) held() (out []ipc.Held) {
	for _, p := range s.inHand {
		n := len(out) - 1
		if n >= 0 && out[n].Index == p.index && out[n].Range.First+uint64(out[n].Range.Count) == p.base {
			out[n].Range.Count++
		} else {
			out = append(out, ipc.Held{Index: p.index, Range: ipc.Range{First: p.base, Count: 1}})
		}
	}
	return out
}

// ranges folds ascending offsets into ranges.
func ranges(offsets []uint64) (out []ipc.Range) {
	for _, o := range offsets {
		if n := len(out); n > 0 && out[n-1].First+uint64(out[n-1].Count) == o {
			out[n-1].Count++
		} else {
			out = append(out, ipc.Range{First: o, Count: 1})
		}
	}
	return out
}

// sortedKeys makes a walk over a map the same in every run.
func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
