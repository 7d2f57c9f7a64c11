package trimq

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The fake's queues: their messages, who has them, and where they go back to.

type fakeQueue struct {
	admin.QueueInfo
	cursors []*fakeCursor // in the order of deliveries
	owner   *fakeConn     // it is exclusive to
	pulls   []*fakePull   // that wait, oldest first
}

// fakeCursor is a queue's view of one index.
type fakeCursor struct {
	ix       *fakeIndex
	number   uint32   // priority or partition
	acked    rangeSet // done with
	rejected rangeSet // of acked
	hands    map[fakeHolder]*rangeSet
	leases   map[uint64]fakeLease
	attempts map[uint64]uint16
}

type fakeHolder struct {
	c   *fakeConn
	sub uint64
}

type fakeLease struct {
	id      uint64
	untilMS int64
}

type fakePull struct {
	native.Pull
	c *fakeConn
	h native.Header
}

type fakeSub struct {
	native.Subscribe
	c    *fakeConn
	sent uint64 // messages or bytes
	next uint64
	q    *fakeQueue
}

func (f *fake) newCursor(q *fakeQueue, ix *fakeIndex, number uint32) *fakeCursor {
	k := &fakeCursor{ix: ix, number: number, hands: map[fakeHolder]*rangeSet{}, leases: map[uint64]fakeLease{}, attempts: map[uint64]uint16{}}
	q.cursors = append(q.cursors, k)
	if q.Settings.Topic == "" {
		slices.SortFunc(q.cursors, func(a, b *fakeCursor) int { return cmp.Compare(b.number, a.number) })
	}
	return k
}

func (f *fake) createQueue(c *fakeConn, body []byte) ([]byte, error) {
	m, err := admin.DecodeCreateQueue(body)
	if err != nil {
		return nil, err
	}
	if q := f.queues[m.Name]; q != nil {
		switch {
		case q.locked(c):
			return nil, errcode.New(errcode.Locked, "%s", m.Name)
		case !reflect.DeepEqual(q.Settings, m.QueueSettings):
			return nil, errcode.New(errcode.Inequivalent, "%s", m.Name)
		}
		return reply(&admin.Created{Index: q.Queue, Existed: true, Name: q.Name}, nil)
	}
	if m.Name == "" {
		m.Name = fmt.Sprintf("amq.gen-%d", len(f.indexes))
	}
	q := &fakeQueue{QueueInfo: admin.QueueInfo{Name: m.Name, Queue: f.newIndex(), Settings: m.QueueSettings}}
	if m.Exclusive {
		q.owner = c
	}
	if m.Topic == "" {
		f.newCursor(q, f.indexes[q.Queue], 0)
	} else if f.topics[m.Topic] == nil {
		return nil, errcode.New(errcode.NotFound, "%s", m.Topic)
	}
	f.queues[m.Name] = q
	f.follow(q)
	for i, k := range q.cursors {
		switch {
		case m.From == admin.FromLatest:
			k.acked.add(0, k.ix.next)
		case i < len(m.Offsets):
			k.acked.add(0, m.Offsets[i])
		}
	}
	return reply(&admin.Created{Index: q.Queue, Name: q.Name}, nil)
}

// follow gives a queue over a topic its partitions.
func (f *fake) follow(q *fakeQueue) {
	if t := f.topics[q.Settings.Topic]; t != nil {
		for n := len(q.cursors); n < len(t.Partitions); n++ {
			f.newCursor(q, f.indexes[t.Partitions[n].Index], uint32(n))
		}
	}
}

// cursorFor finds the cursor of a priority, made where there is none.
func (f *fake) cursorFor(q *fakeQueue, priority uint8) *fakeCursor {
	number := uint32(min(priority, q.Settings.MaxPriority))
	for _, k := range q.cursors {
		if k.number == number {
			return k
		}
	}
	return f.newCursor(q, f.indexes[f.newIndex()], number)
}

func (q *fakeQueue) cursor(index uint64) *fakeCursor {
	for _, k := range q.cursors {
		if k.ix.id == index {
			return k
		}
	}
	return nil
}

func (f *fake) queueByID(id uint64) *fakeQueue {
	for _, q := range f.queues {
		if q.Queue == id {
			return q
		}
	}
	return nil
}

func (q *fakeQueue) locked(c *fakeConn) bool { return q.owner != nil && q.owner != c }

// full tells whether the queue takes no more.
func (q *fakeQueue) full() bool {
	most := q.Settings.MaxMessages
	return most.Given && q.Settings.Overflow == admin.RejectPublish && q.cursors[0].ix.next >= most.N
}

func (q *fakeQueue) describe() admin.QueueInfo {
	d := q.QueueInfo
	for _, k := range q.cursors {
		d.Ready += k.ix.next - k.acked.count()
		for _, h := range k.hands {
			d.Unacked += h.count()
		}
		d.Leased += uint64(len(k.leases))
		d.Settled += k.acked.count()
		d.Indexes = append(d.Indexes, admin.QueueIndex{Index: k.ix.id, Number: k.number, Next: k.ix.next, Visible: k.ix.next})
	}
	d.Ready -= d.Unacked + d.Leased
	d.Pulls = uint32(len(q.pulls))
	return d
}

func (f *fake) describeConsumers(q *fakeQueue) (all []admin.ConsumerInfo) {
	for _, s := range f.subscriptions() {
		if s.q == q {
			all = append(all, admin.ConsumerInfo{Queue: q.Name, Conn: 1, Sub: s.Sub, Active: true, Credit: s.Limit - s.sent, Consumer: ipc.Consumer{
				AutoAck: s.AutoAck, Exclusive: s.Exclusive, Priority: s.Priority, AckTimeoutMS: s.AckTimeoutMS, Tag: s.Tag,
			}})
		}
	}
	return all
}

// endQueue deletes a queue and tells its consumers.
func (f *fake) endQueue(q *fakeQueue) {
	f.indexes[q.Queue] = nil
	delete(f.queues, q.Name)
	for _, s := range f.subscriptions() {
		if s.q == q {
			delete(s.c.subs, s.Sub)
			s.c.write(native.AppendFrame(nil, native.CmdSubClosed, 0, 0, &native.SubClosed{Sub: s.Sub, Code: errcode.NotFound}))
		}
	}
	for _, p := range q.pulls {
		p.c.open--
		p.c.write(response(p.h, nil, errcode.New(errcode.UnknownIndex, "%s", q.Name)))
	}
}

// setBack purges a queue, or seeks in it.
func (f *fake) setBack(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
	purge, _ := admin.DecodePurge(body)
	seek, _ := admin.DecodeSeek(body)
	name := purge.Name
	if cmd == native.CmdSeek {
		name = seek.Name
	}
	q := f.queues[name]
	switch {
	case q == nil:
		return nil, errcode.New(errcode.NotFound, "%s", name)
	case q.locked(c):
		return nil, errcode.New(errcode.Locked, "%s", name)
	}
	made := admin.Created{Index: q.Queue, Name: name}
	if cmd == native.CmdPurge {
		for _, k := range q.cursors {
			for o := range k.ix.next {
				if k.ready(o) {
					made.Messages += k.acked.add(o, o+1)
				}
			}
		}
		return reply(&made, nil)
	}
	for _, to := range seek.To {
		k := q.cursor(to.Index)
		switch {
		case k == nil:
			return nil, errcode.New(errcode.UnknownIndex, "%d", to.Index)
		case to.Offset > k.ix.next:
			return nil, errcode.New(errcode.OffsetOutOfRange, "%d of %d", to.Offset, k.ix.next)
		}
	}
	for _, to := range seek.To {
		k := q.cursor(to.Index)
		k.acked.remove(to.Offset, math.MaxUint64)
		k.acked.add(0, to.Offset)
	}
	return reply(&made, nil)
}

func (f *fake) consume(c *fakeConn, cmd native.Command, body []byte) ([]byte, error) {
	switch cmd {
	case native.CmdSubscribe:
		return nil, f.subscribe(c, body)
	case native.CmdUnsubscribe:
		m, err := native.DecodeUnsubscribe(body)
		delete(c.subs, m.Sub)
		return nil, err
	case native.CmdCredit:
		m, err := native.DecodeCredit(body)
		if s := c.subs[m.Sub]; s != nil {
			s.Limit = max(s.Limit, m.Limit)
		}
		f.pump()
		return nil, err
	}
	m, err := native.DecodeAck(body, nil)
	if err != nil {
		return nil, err
	}
	return nil, f.ack(c, &m)
}

func (f *fake) subscribe(c *fakeConn, body []byte) error {
	m, err := native.DecodeSubscribe(body)
	if err != nil {
		return err
	}
	if f.indexes[m.Index] == nil {
		return errcode.New(errcode.UnknownIndex, "%d", m.Index)
	}
	s := &fakeSub{Subscribe: m, next: m.Offset, c: c}
	if m.Kind == native.SubQueue {
		s.q = f.queueByID(m.Index)
		switch {
		case s.q == nil:
			return errcode.New(errcode.UnknownIndex, "%d", m.Index)
		case s.q.locked(c):
			return errcode.New(errcode.Locked, "%s", s.q.Name)
		case m.Exclusive && len(f.describeConsumers(s.q)) > 0:
			return errcode.New(errcode.InUse, "%s", s.q.Name)
		}
	}
	c.subs[m.Sub] = s
	return nil
}

// ack passes a verdict: of a subscription that holds all of it, of one that the connection does
// not have, or with a lease.
func (f *fake) ack(c *fakeConn, m *native.Ack) error {
	q := f.queueByID(m.Queue)
	if q == nil || q.cursor(m.Index) == nil {
		return errcode.New(errcode.UnknownIndex, "%d of %d", m.Index, m.Queue)
	}
	k := q.cursor(m.Index)
	mine := c.subs[m.Sub] != nil || m.Sub != 0 && c.pullers[q] == m.Sub
	switch {
	case m.Lease != 0 && !k.leased(m.Lease, m.Ranges):
		return errcode.New(errcode.LeaseExpired, "%d", m.Lease)
	case m.Lease == 0 && !mine && m.Verdict == ipc.VerdictRequeue:
		return errcode.New(errcode.UnknownSubscription, "%d", m.Sub)
	case m.Lease == 0 && mine && !k.holds(fakeHolder{c, m.Sub}, m.Ranges):
		return errcode.New(errcode.InvalidArgument, "not all of it is in hand")
	}
	k.settle(m.Verdict, m.Ranges)
	return nil
}

// holds tells whether somebody has all of the ranges in hand, or had until somebody else
// settled them.
func (k *fakeCursor) holds(who fakeHolder, ranges []ipc.Range) bool {
	for _, r := range ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			if !k.hands[who].has(o) && !k.acked.has(o) {
				return false
			}
		}
	}
	return true
}

func (k *fakeCursor) leased(lease uint64, ranges []ipc.Range) bool {
	for _, r := range ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			if k.leases[o].id != lease {
				return false
			}
		}
	}
	return true
}

func (k *fakeCursor) settle(v ipc.Verdict, ranges []ipc.Range) {
	for _, r := range ranges {
		first, next := r.First, r.First+uint64(r.Count)
		if v == ipc.VerdictRequeue {
			k.giveBack(first, next)
			continue
		}
		if v == ipc.VerdictReject {
			k.rejected.add(first, next)
		}
		k.acked.add(first, next)
		for _, h := range k.hands {
			h.remove(first, next)
		}
		for o := first; o < next; o++ {
			delete(k.leases, o)
		}
	}
}

// giveBack takes [first, next) out of all hands and leases, one attempt more.
func (k *fakeCursor) giveBack(first, next uint64) {
	for o := first; o < next; o++ {
		_, had := k.leases[o]
		delete(k.leases, o)
		for _, h := range k.hands {
			had = h.remove(o, o+1) == 1 || had
		}
		if had {
			k.attempts[o]++
		}
	}
}

// recall takes [first, next) of an index back from whoever has it, as an acknowledgement time-out
// does.
func (f *fake) recall(queue string, index, first, next uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	k := f.queues[queue].cursor(index)
	for who, h := range k.hands {
		m := native.Recall{Sub: who.sub, Index: index}
		h.split(first, next, func(a, b uint64, held bool) {
			if held {
				m.Ranges = append(m.Ranges, ipc.Range{First: a, Count: uint32(b - a)})
			}
		})
		for _, r := range m.Ranges {
			k.giveBack(r.First, r.First+uint64(r.Count))
		}
		if len(m.Ranges) > 0 {
			who.c.write(native.AppendFrame(nil, native.CmdRecall, 0, 0, &m))
		}
	}
	f.pump()
}

// leaveQueues gives back what an ended connection has.
func (f *fake) leaveQueues(c *fakeConn) {
	for _, q := range f.queues {
		for _, k := range q.cursors {
			for who, h := range k.hands {
				if who.c == c {
					for _, s := range slices.Clone(h.list) {
						k.giveBack(s.first, s.next)
					}
					delete(k.hands, who)
				}
			}
		}
		q.pulls = slices.DeleteFunc(q.pulls, func(p *fakePull) bool { return p.c == c })
		if q.owner == c {
			f.endQueue(q)
		}
	}
}

func (f *fake) subscriptions() (all []*fakeSub) {
	for c := range f.conns {
		for _, s := range c.subs {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b *fakeSub) int { return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.Sub, b.Sub)) })
	return all
}

// pump delivers what may be delivered. REQUIRES: f.mu held.
func (f *fake) pump() {
	for _, s := range f.subscriptions() {
		if s.q != nil {
			f.pumpQueue(s)
		} else {
			f.pumpTopic(s.c, s)
		}
	}
	for _, q := range f.queues {
		q.pulls = slices.DeleteFunc(q.pulls, f.servePull)
	}
}

func (f *fake) pumpTopic(c *fakeConn, s *fakeSub) {
	ix := f.indexes[s.Index]
	for ix != nil && s.sent < s.Limit {
		out := ix.read(s.next, 1)
		if len(out) == 0 {
			return
		}
		i := slices.IndexFunc(ix.runs, func(r fakeRun) bool { return r.next > s.next })
		r := ix.runs[i]
		m := native.Deliver{Sub: s.Sub, Index: s.Index, Base: r.base, First: s.next, Count: uint32(r.next - s.next)}
		s.next = r.next
		s.sent += uint64(len(out))
		c.deliver(0, &m, nil, out)
	}
}

func (c *fakeConn) deliver(corr uint64, m *native.Deliver, note *ipc.Note, b []byte) {
	var n []byte
	if note != nil {
		n = note.Append(nil)
	}
	m.NoteBytes = uint32(len(n))
	out := native.AppendHeader(nil, native.CmdDeliver, 0, corr, native.DeliverSize+len(n)+len(b))
	c.write(append(append(m.Append(out), n...), b...))
}

// fakeReady is a run of messages that can be delivered together.
type fakeReady struct {
	k   *fakeCursor
	run fakeRun
	m   native.Deliver
}

// nextReady finds the first messages of a queue that are ready, at most so many.
func (f *fake) nextReady(q *fakeQueue, most uint64) (fakeReady, bool) {
	f.follow(q)
	for _, k := range q.cursors {
		for _, r := range k.ix.runs {
			for o := r.base; o < r.next && most > 0; o++ {
				n := uint64(0)
				for o+n < r.next && n < most && k.ready(o+n) && k.attempts[o+n] == k.attempts[o] {
					n++
				}
				if n > 0 {
					return fakeReady{k, r, native.Deliver{Index: k.ix.id, Base: r.base, First: o, Count: uint32(n), Attempts: k.attempts[o]}}, true
				}
			}
		}
	}
	return fakeReady{}, false
}

func (f *fake) pumpQueue(s *fakeSub) {
	for s.sent < s.Limit {
		at, ok := f.nextReady(s.q, s.Limit-s.sent)
		if !ok {
			return
		}
		at.m.Sub = s.Sub
		s.sent += uint64(at.m.Count)
		f.handOver(at, fakeHolder{s.c, s.Sub}, s.AutoAck, 0)
	}
}

// handOver delivers messages into a hand.
func (f *fake) handOver(at fakeReady, who fakeHolder, autoAck bool, corr uint64) {
	first, next := at.m.First, at.m.First+uint64(at.m.Count)
	switch {
	case autoAck:
		at.k.acked.add(first, next)
	default:
		if at.k.hands[who] == nil {
			at.k.hands[who] = &rangeSet{}
		}
		at.k.hands[who].add(first, next)
	}
	f.show(at, who.c, corr)
}

func (f *fake) show(at fakeReady, c *fakeConn, corr uint64) {
	b := append([]byte(nil), at.run.b...)
	b[7] ^= 0xff // the base inside is another queue's
	c.deliver(corr, &at.m, at.run.note, b)
}

func (k *fakeCursor) ready(o uint64) bool {
	if k.acked.has(o) || k.leases[o].id != 0 {
		return false
	}
	for _, h := range k.hands {
		if h.has(o) {
			return false
		}
	}
	return true
}

func (r *rangeSet) has(o uint64) (in bool) {
	if r == nil {
		return false
	}
	r.split(o, o+1, func(_, _ uint64, is bool) { in = is })
	return in
}

// pull takes messages, or waits for them; it answers by itself.
func (f *fake) pull(c *fakeConn, h native.Header, body []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	m, err := native.DecodePull(body)
	q := f.queueByID(m.Queue)
	switch {
	case err != nil:
	case q == nil:
		err = errcode.New(errcode.UnknownIndex, "%d", m.Queue)
	case q.locked(c):
		err = errcode.New(errcode.Locked, "%s", q.Name)
	}
	if err != nil {
		c.open--
		c.write(response(h, nil, err))
		return
	}
	p := &fakePull{m, c, h}
	if f.servePull(p) {
		return
	}
	q.pulls = append(q.pulls, p)
	f.after(time.Duration(m.WaitMS)*time.Millisecond, func() {
		if i := slices.Index(q.pulls, p); i >= 0 {
			q.pulls = slices.Delete(q.pulls, i, i+1)
			f.answerPull(p, 0, 0, 0)
		}
	})
}

// pullUnheard carries a pull out of which the answer is lost.
func (f *fake) pullUnheard(c *fakeConn, h native.Header, body []byte) error {
	m, err := native.DecodePull(body)
	if err == nil && f.queueByID(m.Queue) != nil {
		f.servePull(&fakePull{m, &fakeConn{nc: c.nc, pullers: map[*fakeQueue]uint64{}, ended: true}, h})
	}
	return err
}

// servePull gives a pull what is ready; false: nothing is.
func (f *fake) servePull(p *fakePull) bool {
	q := f.queueByID(p.Queue)
	var took []fakeReady
	left := uint64(p.Max)
	if p.InvisibleMS > 0 {
		f.lease++
	}
	untilMS := time.Now().UnixMilli() + int64(p.InvisibleMS)
	for left > 0 {
		at, ok := f.nextReady(q, left)
		if !ok {
			break
		}
		left -= uint64(at.m.Count)
		took = append(took, at)
		f.takePulled(p, q, at, untilMS)
	}
	if len(took) == 0 {
		return false
	}
	lease := uint64(0)
	if p.InvisibleMS > 0 {
		lease = f.lease
		f.after(time.Duration(p.InvisibleMS)*time.Millisecond, func() { f.expire(q) })
	}
	if !p.c.ended {
		f.answerPull(p, lease, untilMS, uint32(uint64(p.Max)-left))
	}
	return true
}

func (f *fake) takePulled(p *fakePull, q *fakeQueue, at fakeReady, untilMS int64) {
	first, next := at.m.First, at.m.First+uint64(at.m.Count)
	switch {
	case p.InvisibleMS > 0:
		for o := first; o < next; o++ {
			at.k.leases[o] = fakeLease{f.lease, untilMS}
		}
	case !p.AutoAck && p.c.ended: // it had them for no time
		at.k.attempts[first]++
		return
	default:
		if p.c.pullers[q] == 0 {
			p.c.pullers[q] = native.PullerBit | uint64(len(p.c.pullers)+1)
		}
		at.m.Sub = p.c.pullers[q]
		f.handOver(at, fakeHolder{p.c, at.m.Sub}, p.AutoAck, p.h.Correlation)
		return
	}
	if !p.c.ended {
		f.show(at, p.c, p.h.Correlation)
	}
}

func (f *fake) answerPull(p *fakePull, lease uint64, untilMS int64, count uint32) {
	r := native.PullReply{Lease: lease, UntilMS: untilMS, Count: count}
	p.c.open--
	p.c.write(response(p.h, r.Append(nil), nil))
}

// expire gives back what has been leased for long enough.
func (f *fake) expire(q *fakeQueue) {
	now := time.Now().UnixMilli()
	for _, k := range q.cursors {
		for o, l := range k.leases {
			if l.untilMS <= now {
				k.giveBack(o, o+1)
			}
		}
	}
}

// expireAll ends all leases of a queue now.
func (f *fake) expireAll(queue string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.queues[queue].cursors {
		k.giveBack(0, k.ix.next)
	}
	f.pump()
}

func (f *fake) extend(body []byte) error {
	m, err := native.DecodeExtend(body)
	if err != nil {
		return err
	}
	q := f.queueByID(m.Queue)
	if q == nil || q.cursor(m.Index) == nil {
		return errcode.New(errcode.UnknownIndex, "%d of %d", m.Index, m.Queue)
	}
	k := q.cursor(m.Index)
	if k.leases[m.Offset].id != m.Lease {
		return errcode.New(errcode.LeaseExpired, "%d", m.Lease)
	}
	if m.InvisibleMS == 0 {
		k.giveBack(m.Offset, m.Offset+1)
		return nil
	}
	k.leases[m.Offset] = fakeLease{m.Lease, time.Now().UnixMilli() + int64(m.InvisibleMS)}
	f.after(time.Duration(m.InvisibleMS)*time.Millisecond, func() { f.expire(q) })
	return nil
}
