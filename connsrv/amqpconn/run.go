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
// routing: it travels as one batch.
type run struct {
	channel  *channel
	routing  routing
	exchange []byte
	key      []byte
	headers  []byte // the field table, as it is routed by; nil: by none
	builder  batch.Builder
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
	x.listed = recordHeaders(x.listed[:0], in.properties, p)
	var key []byte
	if len(in.exchange) > 0 && len(in.key) > 0 {
		key = in.key
	}
	if body == nil {
		body = []byte{}
	}
	if !x.builder.Add(c.settings.UnixMS(), key, body, x.listed) {
		invariant.Fail("a message of %d bytes finds no room in an empty batch", size)
	}
	x.weight += uint32(len(body))
	if ch.mode == modeConfirm {
		ch.confirms.published++
	}
	return true
}

// takes tells whether a message travels with those that are there.
func (x *run) takes(ch *channel, r *routing, p *amqp.Properties) bool {
	in := ch.incoming
	return x.channel == ch && x.routing == *r && bytes.Equal(x.exchange, in.exchange) && bytes.Equal(x.key, in.key) &&
		(len(in.exchange) == 0 || bytes.Equal(x.headers, p.Headers))
}

// begin makes a run one of messages like this.
func (x *run) begin(ch *channel, r *routing, p *amqp.Properties) {
	in := ch.incoming
	x.channel, x.routing, x.weight = ch, *r, 0
	x.exchange = append(x.exchange[:0], in.exchange...)
	x.key = append(x.key[:0], in.key...)
	if x.headers = x.headers[:0]; len(in.exchange) > 0 {
		x.headers = append(x.headers, p.Headers...)
	}
	x.first = ch.confirms.published + 1
	x.builder.Reset()
}

// newRun gives an empty run.
func (l *Loop) newRun() *run {
	if n := len(l.runs); n > 0 {
		x := l.runs[n-1]
		l.runs = l.runs[:n-1]
		return x
	}
	x := &run{}
	x.builder.Reserve(0, maxRunBytes/4)
	return x
}

// keptRuns is how many runs a loop keeps for the next.
const keptRuns = 4

// recycle takes a run back, unless it has become large.
func (l *Loop) recycle(x *run) {
	x.channel = nil
	if len(l.runs) < keptRuns && x.builder.Len() <= maxRunBytes {
		l.runs = append(l.runs, x)
	}
}

// sending is what goes with publishes that are not answered.
type sending struct {
	channel *channel
	first   uint64 // number of the first, where they are confirmed; 0: they are not
	count   uint32
	kept    []byte // the batch, where it comes back if it is unroutable

	exchange, key string // for who gets it back, and for errors
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
	c.loop.recycle(x)
	return true
}

// putRun puts a run into the ring. That of a channel which has failed meanwhile is dropped, like
// all that was published behind a fault.
func (c *Conn) putRun(x *run) bool {
	if x.channel.closing {
		return true
	}
	b := x.builder.Seal(batch.None, batch.NoProducer, -1, -1)
	record := x.record(c.settings.UnixMS)
	size := record.Size()
	n := size + len(b)
	if n > c.lane.MaxRecord || len(b) > c.lane.MaxBatch {
		x.channel.fail(amqp.MethodBasicPublish, wrong(amqp.PreconditionFailed, "message of %d bytes with its properties, at most %d", len(b), c.lane.MaxBatch))
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
	copy(slot.Payload[size:], b)
	meta, err := batch.Inspect(b)
	if err != nil {
		invariant.Fail("a batch of ours is none: %v", err)
	}
	req := c.lane.Req()
	record.Head, record.Batch = c.head(req), meta
	record.Append(slot.Payload[:0])
	slot.Publish()
	c.sent(x, &record, n, b)
	return true
}

// record is what is said of a run in front of its batch.
func (x *run) record(unixMS func() int64) ipc.Publish {
	r := &x.routing
	m := ipc.Publish{
		Level: r.level, Mandatory: r.mandatory, Priority: r.priority, Weight: x.weight, Txn: r.txn, TTLMS: r.ttlMS,
		Exchange: x.channel.conn.full(string(x.exchange)), RoutingKey: string(x.key), Headers: routedBy(x.headers),
	}
	if len(x.exchange) == 0 {
		m.Exchange, m.RoutingKey = "", x.channel.conn.full(string(x.key))
	}
	if r.delayMS > 0 {
		m.DueMS = unixMS() + min(r.delayMS, 1<<60)
	}
	return m
}

// sent enters a run that stands in the ring.
func (c *Conn) sent(x *run, record *ipc.Publish, bytes int, b []byte) {
	count := record.Batch.Count
	s := sending{channel: x.channel, count: count, exchange: record.Exchange, key: string(x.key)}
	if x.channel.mode == modeConfirm {
		s.first = x.first
		x.channel.confirms.add(x.first, count)
	}
	if x.routing.mandatory {
		s.kept = append([]byte(nil), b...)
	}
	if c.sends == nil {
		c.sends = map[uint64]sending{}
	}
	c.sends[record.Req] = s
	c.pending.Add(session.Request{Req: record.Req, Bytes: uint32(bytes)})
	c.told = true
	c.lane.Counters.Add(shmqueue.ConnPublished, uint64(count))
	c.lane.Counters.Add(shmqueue.ConnCopiedBatches, 1)
}

// isSend tells whether a request is one of publishes.
func (c *Conn) isSend(req uint64) bool {
	_, ok := c.sends[req]
	return ok
}
