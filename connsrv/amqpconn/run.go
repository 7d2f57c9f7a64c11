package amqpconn

import (
	"bytes"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// run is what was published in one pass over the socket, one after the other and with the same
// routing: it travels as one batch. It is kept until it is answered: what reaches nothing is
// returned, and some is published again in another way (again.go).
type run struct {
	channel  *channel
	routing  routing
	exchange []byte
	key      []byte
	more     []string // keys besides, as the core has them
	headers  []byte   // the field table, as it is routed by; nil: by none
	left     bool     // messages have headers by which it is not routed, for nobody is known to look at them
	single   bool     // it was refused as a part of more, and is published again by itself
	builder  batch.Builder
	sealed   []byte // the batch; the run's own memory once it stands in the ring, before that the builder's
	own      []byte // memory for it
	weight   uint32
	first    uint64 // number of the first publish on the channel, from 1 on, where they are confirmed
	listed   []batch.RecordHeader
}

// Bounds of a run.
const (
	maxRunBytes   = 256 << 10 // a larger message makes a run of its own
	maxRunRecords = 4096
)

// addTo adds a message to the run, or to a new one behind it; false: there is no room for that.
func (ch *channel) addTo(r *routing, p *amqp.Properties, body []byte) bool {
	c, in := ch.conn, ch.incoming
	size := len(body) + len(in.properties)
	if c.run != nil && !(c.run.takes(ch, r, p) && c.run.builder.Len()+size <= maxRunBytes && c.run.builder.Count() < maxRunRecords) {
		if !c.flush() {
			return false
		}
	}
	if c.run == nil {
		c.run = c.loop.newRun()
		c.run.begin(ch, r, p)
	}
	x := c.run
	x.add(c.settings.UnixMS(), in.properties, p, body)
	if ch.mode == modeConfirm {
		ch.confirms.published++
	}
	return true
}

// add adds a message to the batch. REQUIRES: there is room.
func (x *run) add(timeMS int64, properties []byte, p *amqp.Properties, body []byte) {
	x.listed = recordHeaders(x.listed[:0], properties, p)
	if body == nil {
		body = []byte{}
	}
	if !x.builder.Add(timeMS, x.recordKey(), body, x.listed) {
		invariant.Fail("a message of %d bytes finds no room in a batch", len(body))
	}
	x.weight += uint32(len(body))
	x.left = x.left || x.headers == nil && len(p.Headers) > 0
}

// recordKey is the key of the run's records: the routing key, but through the default exchange, where
// that names a queue. nil: they have none.
func (x *run) recordKey() []byte {
	if len(x.exchange) == 0 || len(x.key) == 0 {
		return nil
	}
	return x.key
}

// takes tells whether a message travels with those that are there.
func (x *run) takes(ch *channel, r *routing, p *amqp.Properties) bool {
	in := ch.incoming
	return x.channel == ch && x.routing == *r && bytes.Equal(x.exchange, in.exchange) && bytes.Equal(x.key, in.key) &&
		len(x.more) == 0 && len(in.more) == 0 && (x.headers == nil || bytes.Equal(x.headers, p.Headers))
}

// begin makes a run one of messages like this.
func (x *run) begin(ch *channel, r *routing, p *amqp.Properties) {
	in := ch.incoming
	x.restart(ch, r, in.exchange, in.key, ch.conn.loop.headersOf(ch, in.exchange, in.key, p))
	x.more = in.more
	x.first = ch.confirms.published + 1
}

// restart empties a run.
func (x *run) restart(ch *channel, r *routing, exchange, key, headers []byte) {
	x.channel, x.routing, x.weight = ch, *r, 0
	x.exchange = append(x.exchange[:0], exchange...)
	x.key = append(x.key[:0], key...)
	x.headers, x.more, x.left, x.single = nil, nil, false, false
	if headers != nil {
		x.headers = append([]byte{}, headers...)
	}
	x.builder.Reset()
	x.sealed = nil
}

// headersOf are the headers by which messages for an exchange have to be routed; nil: nothing that
// looks at them is known behind it. Within a transaction nothing is found out before its end.
func (l *Loop) headersOf(ch *channel, exchange, key []byte, p *amqp.Properties) []byte {
	if !l.byHeaders[ch.conn.way(exchange, key)] && ch.tx.number == 0 {
		return nil
	}
	if p.Headers == nil {
		return []byte{}
	}
	return p.Headers
}

// way names in byHeaders what messages are published to: an exchange or, behind the default one, a queue.
func (c *Conn) way(exchange, key []byte) string {
	if len(exchange) == 0 {
		return "=" + c.full(string(key))
	}
	return c.full(string(exchange))
}

// newRun gives an empty run.
func (l *Loop) newRun() *run {
	x := &run{}
	if n := len(l.runs); n > 0 {
		x = l.runs[n-1]
		l.runs = l.runs[:n-1]
	}
	if n := len(l.builders); n > 0 {
		x.builder = l.builders[n-1]
		l.builders = l.builders[:n-1]
	} else {
		x.builder.Reserve(0, maxRunBytes/4)
	}
	return x
}

// What a loop keeps for the next runs. Builders are few, because a run needs one only until it stands in
// the ring; the batches of all that is not answered yet are kept in memory of their size.
const (
	keptBuilders = 16
	keptRuns     = 1024
	keptRunBytes = 4 << 10 // of one
)

// settled gives the memory of the builder to the next run, and keeps the batch in memory of its size. What
// fills more than half of what a builder begins with stays where it is.
func (l *Loop) settled(x *run) {
	if len(x.sealed) <= maxRunBytes/8 {
		x.own = append(x.own[:0], x.sealed...)
		x.sealed = x.own
		l.spare(x)
		return
	}
	x.builder = batch.Builder{} // the batch lies in its memory
}

// spare takes the builder of a run.
func (l *Loop) spare(x *run) {
	if n := x.builder.Len(); 0 < n && n <= 2*maxRunBytes && len(l.builders) < keptBuilders {
		x.builder.Reset()
		l.builders = append(l.builders, x.builder)
	}
	x.builder = batch.Builder{}
}

// recycle takes a run back.
func (l *Loop) recycle(x *run) {
	l.spare(x)
	if x.channel, x.sealed = nil, nil; cap(x.own) > keptRunBytes {
		x.own = nil
	}
	if len(l.runs) < keptRuns {
		l.runs = append(l.runs, x)
	}
}

// sending is what goes with publishes that are not answered.
type sending struct {
	channel *channel
	first   uint64 // number of the first, where they are confirmed; 0: they are not
	count   uint32
	run     *run
}

// flush puts the run into the ring; false: there is no room, it goes when there is some.
func (c *Conn) flush() bool {
	x := c.run
	if x == nil {
		return true
	}
	if !c.putRun(x) {
		c.stuck = true
		return false
	}
	c.stuck, c.run = false, nil
	return true
}

// putRun puts a run into the ring. That of a channel which has failed meanwhile is dropped, like
// all that was published behind a fault.
func (c *Conn) putRun(x *run) bool {
	if x.channel.closing {
		c.loop.recycle(x)
		return true
	}
	record := x.record(c.settings.UnixMS)
	size := record.Size()
	n := size + x.builder.Len()
	if n > c.lane.MaxRecord {
		x.channel.fail(amqp.MethodBasicPublish, wrong(amqp.PreconditionFailed, "message of %d bytes with its properties, at most %d", n, c.lane.MaxRecord))
		c.loop.recycle(x)
		return true
	}
	if held := c.pending.Bytes(); held > 0 && held+n > c.share || c.pending.Len() >= c.settings.WindowRequests {
		c.short = true
		return false
	}
	slot, ok := c.lane.Claim(&c.wake, n, ipc.TypePublish)
	if !ok {
		return false
	}
	x.sealed = x.builder.Seal(batch.None, batch.NoProducer, -1, -1)
	x.encode(&record, c.head(c.lane.Req()), slot.Payload, size)
	slot.Publish()
	c.loop.settled(x)
	if x.channel.mode == modeConfirm {
		x.channel.confirms.add(x.first, record.Batch.Count)
		c.lane.Counters.Add(shmqueue.ConnAwaitConfirm, uint64(record.Batch.Count))
	}
	c.sent(x, &record, n)
	return true
}

// encode fills the memory of a record, of which the first size bytes are in front of the batch.
func (x *run) encode(record *ipc.Publish, head ipc.Head, b []byte, size int) {
	meta, err := batch.Inspect(x.sealed)
	if err != nil {
		invariant.Fail("a batch of ours is none: %v", err)
	}
	record.Head, record.Batch = head, meta
	record.Append(b[:0])
	copy(b[size:], x.sealed)
}

// record is what is said of a run in front of its batch.
func (x *run) record(unixMS func() int64) ipc.Publish {
	r, c := &x.routing, x.channel.conn
	m := ipc.Publish{
		Level: r.level, Mandatory: r.mandatory, Priority: r.priority, Weight: x.weight, Txn: r.txn, TTLMS: r.ttlMS,
		Exchange: c.full(string(x.exchange)), RoutingKey: string(x.key), Headers: routedBy(x.headers), MoreKeys: x.more,
		DelayedOnly: true, Whole: !x.single, NoHeaders: x.left, Keyless: x.recordKey() == nil,
	}
	if len(x.exchange) == 0 {
		m.Exchange, m.RoutingKey = "", c.full(string(x.key))
	}
	if r.delayMS > 0 {
		m.DueMS = unixMS() + min(r.delayMS, 1<<60)
	}
	return m
}

// sent enters a run that stands in the ring.
func (c *Conn) sent(x *run, record *ipc.Publish, bytes int) {
	s := sending{channel: x.channel, count: record.Batch.Count, run: x}
	if x.channel.mode == modeConfirm {
		s.first = x.first
	}
	if c.sends == nil {
		c.sends = map[uint64]sending{}
	}
	c.sends[record.Req] = s
	x.channel.sending++
	c.pending.Add(session.Request{Req: record.Req, Bytes: uint32(bytes)})
	c.told = true
	c.lane.Counters.Add(shmqueue.ConnPublished, uint64(s.count))
	c.lane.Counters.Add(shmqueue.ConnCopiedBatches, 1)
	if n := min(c.pending.Bytes()/gatherPart, maxGather); n >= minGather && n >= 2*c.gathers {
		c.gathers = n
		c.link.Gather(n)
	}
}

// Who publishes faster than it is answered is read in larger pieces: a client writes each message by itself,
// and being woken for each costs both sides more than all else about it. An answer makes us look at what
// has come meanwhile, so that nothing waits longer than for the answer to what went before it.
const (
	minGather  = 8 << 10
	maxGather  = 64 << 10
	gatherPart = 2 // of what is under way, one in so many gathers at most
)

// look is called behind an answer.
func (c *Conn) look() {
	if c.gathers > 0 && c.pending.Bytes() < minGather*gatherPart/2 {
		c.gathers = 0
		c.link.Gather(0)
		return
	}
	c.link.Look()
}

// isSend tells whether a request is one of publishes.
func (c *Conn) isSend(req uint64) bool {
	_, ok := c.sends[req]
	return ok
}
