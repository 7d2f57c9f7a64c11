package amqpconn

import (
	"crypto/rand"
	"encoding/base64"
	"math"
	"slices"
	"sort"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// consumer is one consumer of a channel, or the one in whose hand is what the channel has got from
// a queue. session.Sub.Limit counts what the client lets us deliver: its prefetch and all that it
// has settled.
type consumer struct {
	session.Sub
	channel  *channel
	tag      []byte
	prefetch uint32 // 0: no limit
	window   uint32 // the channel's limit, where that bounds what it is given; 0: it does not
	noAck    bool
	ended    bool // basic.cancel was answered, but the client still holds some
	reply    bool // of direct reply-to: its queue has another name for clients
	quorum   bool // of a quorum queue: messages bear the number of earlier attempts
	name     string
	getting  *getting // a basic.get that is being answered
	parts    []part   // of a consumer of a stream
	given    uint64   // … which was given so many that it has not settled

	arguments amqp.Table
}

// unlimited is the credit of a consumer without prefetch.
const unlimited = math.MaxUint64

// maxSubs bounds the consumers of one connection.
const maxSubs = 1 << 16

// sub finds a consumer by its number.
func (c *Conn) sub(id uint64) *consumer {
	if i := c.subAt(id); i < len(c.subs) && c.subs[i].ID == id {
		return c.subs[i]
	}
	return nil
}

func (c *Conn) subAt(id uint64) int {
	return sort.Search(len(c.subs), func(i int) bool { return c.subs[i].ID >= id })
}

// addSub gives a consumer its number, which is above all others.
func (c *Conn) addSub(s *consumer) {
	c.lastSub++
	s.ID = c.lastSub
	c.subs = append(c.subs, s)
}

// dropSub forgets a consumer. What the client still acknowledges of it is done with.
func (c *Conn) dropSub(s *consumer) {
	s.Closing = true
	ch := s.channel
	if ch.tags[string(s.tag)] == s {
		delete(ch.tags, string(s.tag))
	}
	ch.pullers = slices.DeleteFunc(ch.pullers, func(x *consumer) bool { return x == s })
	ch.line = slices.DeleteFunc(ch.line, func(p parcel) bool { return p.sub == s })
	if s.isStream() {
		c.forgetWaits(s)
	}
	if i := c.subAt(s.ID); i < len(c.subs) && c.subs[i] == s {
		c.subs = slices.Delete(c.subs, i, i+1)
	}
	if len(c.subs) == 0 {
		c.subs = nil
	}
}

// consume makes a consumer.
func (ch *channel) consume(m *amqp.BasicConsume) {
	c := ch.conn
	if len(m.ConsumerTag) == 0 {
		m.ConsumerTag = newTag() // the method keeps it: carried out again, it is the same
	}
	tag := append([]byte(nil), m.ConsumerTag...)
	if is := ch.tags[string(tag)]; is != nil && is.Answered {
		ch.fail(m.Method(), wrong(amqp.NotAllowed, "attempt to reuse consumer tag '%s'", tag))
		return
	}
	name, ok := ch.queueOf(m.Method(), m.Queue)
	switch {
	case !ok:
	case name == replyQueue:
		ch.consumeReplies(m, tag)
	case len(c.subs) >= maxSubs && ch.tags[string(tag)] == nil:
		ch.fail(m.Method(), wrong(amqp.ResourceError, "a connection has %d consumers at most", maxSubs))
	default:
		ch.find(m.Method(), name, func(q *admin.QueueInfo) {
			if q == nil {
				ch.consumeStream(m, name, tag)
				return
			}
			ch.subscribe(m, name, &consumer{tag: tag}, q)
		})
	}
}

// newTag is a tag for a consumer whose client leaves it to us.
func newTag() []byte {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: the runtime ends the process instead
	return []byte("amq.ctag-" + base64.RawURLEncoding.EncodeToString(raw[:]))
}

// subscribe makes a consumer of a queue that was found.
func (ch *channel) subscribe(m *amqp.BasicConsume, name string, s *consumer, q *admin.QueueInfo) {
	priority := int64(0)
	if v, ok := m.Arguments.Get("x-priority"); ok {
		n, whole := v.Int()
		if !whole {
			ch.fail(m.Method(), wrong(amqp.PreconditionFailed, "invalid arg 'x-priority' for %s: \"expected integer, got %s\"", ch.conn.of("queue", name), v.Kind))
			return
		}
		priority = max(math.MinInt32, min(math.MaxInt32, n))
	}
	s.channel, s.noAck, s.prefetch, s.name = ch, m.NoAck, ch.prefetch, name
	s.Queue, s.Index, s.arguments = true, q.Queue, append(amqp.Table(nil), m.Arguments...)
	s.Consumer = ipc.Consumer{AutoAck: m.NoAck, Exclusive: m.Exclusive, Priority: int32(priority), Tag: string(s.tag)}
	if s.quorum = q.Settings.Type == admin.QuorumQueue; s.quorum && ch.shared > 0 {
		ch.fail(m.Method(), wrong(amqp.NotImplemented, "%s does not support global qos", ch.conn.of("queue", name)))
		return
	}
	s.Limit = unlimited
	switch {
	case s.noAck:
	case s.prefetch > 0:
		s.Limit = uint64(s.prefetch)
	case ch.shared > 0:
		s.window, s.Limit = ch.shared, uint64(ch.shared)
	}
	if is := ch.tags[string(s.tag)]; is != nil { // the method has come so far before a hand-over
		s = is
	} else {
		s.Told, _ = s.TopUp(ch.conn.lane.Rings)
		ch.addTagged(s)
	}
	ch.ask(ipc.TypeSubscribe, func(head ipc.Head, b []byte) []byte {
		record := ipc.Subscribe{Head: head, Sub: s.ID, Queue: s.Index, Limit: s.Told, Consumer: s.Consumer}
		return record.Append(b)
	}, func(a answer) { ch.subscribed(m, s, a) })
}

// addTagged enters a consumer that has a tag.
func (ch *channel) addTagged(s *consumer) {
	ch.conn.addSub(s)
	if ch.tags == nil {
		ch.tags = map[string]*consumer{}
	}
	ch.tags[string(s.tag)] = s
}

// subscribed takes the answer in, which comes before the first delivery.
func (ch *channel) subscribed(m *amqp.BasicConsume, s *consumer, a answer) {
	c := ch.conn
	if a.err != nil {
		c.dropSub(s)
		switch a.code() {
		case errcode.InUse:
			ch.fail(m.Method(), wrong(amqp.AccessRefused, "%s in exclusive use", c.of("queue", s.name)))
		case errcode.Locked:
			ch.fail(m.Method(), c.lockedQueue(s.name))
		case errcode.UnknownIndex:
			ch.fail(m.Method(), c.missing("queue", s.name))
		default:
			ch.fail(m.Method(), failed(a.err))
		}
		return
	}
	s.Answered = true
	told, err := ipc.DecodeSubscribed(a.payload)
	if c.undecodable(err) == nil {
		c.filter(s, told.Filter)
	}
	ch.answer(m.NoWait, &amqp.BasicConsumeOk{ConsumerTag: s.tag})
}

// filter has a consumer get what its queue's filter lets through.
func (c *Conn) filter(s *consumer, wanted ipc.Filter) {
	var err error
	s.Wanted = wanted
	if s.Filter, err = c.lane.Filter(wanted); err != nil {
		c.settings.Log.Error("a queue's filter cannot be read; everything passes", "queue", s.Index, "err", err)
	}
}

// retiring is the consumer that is being cancelled; nil: none is.
func (ch *channel) retiring() *consumer {
	for _, s := range ch.conn.subs {
		if s.channel == ch && s.ended && !s.Puller {
			return s
		}
	}
	return nil
}

// cancel ends a consumer. What the client holds of it stays in its hand.
func (ch *channel) cancel(m *amqp.BasicCancel) {
	s := ch.tags[string(m.ConsumerTag)]
	if s == nil {
		s = ch.retiring() // before a hand-over the method has come so far
	}
	done := &amqp.BasicCancelOk{ConsumerTag: append([]byte(nil), m.ConsumerTag...)}
	if s == nil {
		ch.answer(m.NoWait, done)
		return
	}
	delete(ch.tags, string(s.tag))
	if !s.Queue {
		ch.conn.dropSub(s)
		ch.answer(m.NoWait, done)
		return
	}
	ch.takeBack(s)
	s.ended = true
	ch.ask(ipc.TypeUnsubscribe, func(head ipc.Head, b []byte) []byte {
		record := ipc.Unsubscribe{Head: head, Sub: s.ID, Keep: true}
		return record.Append(b)
	}, func(answer) {
		ch.retired(s)
		ch.answer(m.NoWait, done)
	})
}

// retired makes a consumer that has ended one that only holds what it was given, or forgets it.
func (ch *channel) retired(s *consumer) {
	if s.Gaps() == 0 {
		ch.conn.endSub(s)
		return
	}
	s.Puller, s.Consumer = true, ipc.Consumer{Puller: true, Tag: s.Consumer.Tag}
}

// takeBack gives back what stands in line for a consumer and was not sent.
func (ch *channel) takeBack(s *consumer) {
	for i := range ch.line {
		if p := &ch.line[i]; p.sub == s && p.run.Count > 0 {
			ch.conn.putVerdict(s, p.run.Index, ipc.VerdictRequeue, []ipc.Range{{First: p.run.First, Count: p.run.Count}})
		}
	}
	ch.line = slices.DeleteFunc(ch.line, func(p parcel) bool { return p.sub == s })
}

// subClosed takes in that a consumer has ended whose client did not ask for it.
func (c *Conn) subClosed(m *ipc.SubClosed) {
	s := c.sub(m.Sub)
	if s == nil {
		return
	}
	ch := s.channel
	known := s.Answered && !s.ended && !s.Puller && !s.Closing
	c.dropSub(s)
	if known && c.cancels {
		ch.send(&amqp.BasicCancel{ConsumerTag: s.tag, NoWait: true})
	}
}

// topUp tells logicsrv a larger limit when it is time, unless the client is slow to read.
func (c *Conn) topUp(s *consumer) {
	if s.Puller || s.ended || s.Closing || c.link.Crowded() {
		return
	}
	if limit, tell := s.TopUp(c.lane.Rings); tell {
		record := ipc.Credit{Head: c.head(0), Sub: s.ID, Limit: limit}
		c.lane.PutLater(ipc.TypeCredit, record.Append(c.lane.Scratch()))
		s.Told = limit
	}
}
