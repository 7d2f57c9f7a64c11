package kafkaconn

import (
	"encoding/binary"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// call is a request whose response has not been queued yet. Calls stand in line in the order in
// which they came, and are answered in that order.
type call struct {
	requestHead
	number   uint32 // of the call, counted from 0 on
	clientID string
	begunMS  int64 // when it came
	done     bool
	open     int // answers of logicsrv that are still to come

	req     kmsg.Request  // any other than a Produce request
	produce *produced     // a Produce request
	fetch   *fetching     // a Fetch request
	share   *sharing      // a ShareFetch request
	asks    []ask         // what was asked of logicsrv
	unasked int           // of asks: asked before a hand-over, and not again yet
	resp    kmsg.Response // the answer, once done
}

// ask is a question to logicsrv.
type ask struct {
	req    uint64 // 0: answered
	typ    ipc.Type
	record []byte
	then   func(answer) // nil: it was asked before a hand-over, and not again yet
	had    *reply       // the answer, kept for a hand-over as long as the call goes on
}

// reply is a record of logicsrv that answers a question.
type reply struct {
	typ     ipc.Type
	payload []byte
}

// answer is logicsrv's answer to a question, valid while it is looked at.
type answer struct {
	typ     ipc.Type // of the record; of a refusal it is not told
	payload []byte
	err     error // a refusal
}

// The kinds of requests to logicsrv, as session.Request.Command has them.
const (
	ofAsk   = 1 // Correlation: number of the call | place of the question in it
	ofBatch = 2 // … | place of the batch in it
	ofWatch = 3 // the index that is watched
)

// begin puts a call at the end of the line.
func (c *Conn) begin(h requestHead, clientID string) *call {
	k := &call{requestHead: h, number: c.calls, clientID: clientID, begunMS: c.link.NowMS()}
	c.calls++
	c.line = append(c.line, k)
	return k
}

// callOf finds a call by its number; nil: it was answered.
func (c *Conn) callOf(number uint32) *call {
	if len(c.line) == 0 {
		return nil
	}
	if i := number - c.line[0].number; int64(i) < int64(len(c.line)) {
		return c.line[i]
	}
	return nil
}

// mayBegin tells whether a request of an API may begin before those in line are answered.
func (c *Conn) mayBegin(key int16) bool {
	if len(c.line) == 0 {
		return true
	}
	return key == int16(kmsg.Produce) && c.line[0].produce != nil && len(c.line) < c.settings.WindowRequests
}

// finish answers a call with a response, as soon as those before it are answered.
func (c *Conn) finish(k *call, resp kmsg.Response) {
	c.censor(k, resp)
	k.done, k.resp = true, resp
	c.flush()
}

// flush queues the responses of all calls at the front of the line that are done.
func (c *Conn) flush() {
	n := 0
	for ; n < len(c.line) && c.line[n].done; n++ {
		k := c.line[n]
		switch {
		case c.state == stateClosed:
		case k.produce != nil:
			c.sendProduced(k)
		case k.resp != nil:
			c.send(k, k.resp)
		}
		c.line[n] = nil
	}
	if n == 0 {
		return
	}
	if c.line = c.line[n:]; len(c.line) == 0 {
		c.line = nil // an idle connection holds no table
	}
	c.link.Resume()
	c.closeIfDrained()
}

// send queues a response.
func (c *Conn) send(k *call, resp kmsg.Response) {
	resp.SetVersion(k.version)
	b := append(c.loop.Lane.Scratch(), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(k.correlation))
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		b = append(b, 0)
	}
	b = resp.AppendTo(b)
	binary.BigEndian.PutUint32(b, uint32(len(b)-sizeBytes))
	copy(c.link.Append(len(b)), b)
}

// again tells the questions that logicsrv has parked, and must be told again after a Marker.
func again(typ ipc.Type) bool {
	return typ == ipc.TypeWait || typ == ipc.TypeWaitStable || typ == ipc.TypeGroupJoin || typ == ipc.TypeGroupSync || typ == ipc.TypePullFrom
}

// ask puts a question to logicsrv, and has then called with its answer. The record's room in the
// ring is not waited for: a connection has few of them under way.
func (c *Conn) ask(k *call, typ ipc.Type, encode func(head ipc.Head, b []byte) []byte, then func(answer)) {
	if k.unasked > 0 && c.recall(k, typ, encode, then) {
		return
	}
	req := c.loop.Lane.Req()
	record := encode(c.head(req), c.loop.Lane.Scratch())
	if len(record) > c.loop.Lane.MaxRecord {
		then(answer{err: errcode.New(errcode.LimitExceeded, "the request makes a record of %d bytes, at most %d", len(record), c.loop.Lane.MaxRecord)})
		return
	}
	k.asks = append(k.asks, ask{req: req, typ: typ, record: slices.Clone(record), then: then})
	k.open++
	c.pending.Add(session.Request{Req: req, Command: ofAsk, Correlation: uint64(k.number)<<32 | uint64(len(k.asks)-1)})
	c.loop.Lane.PutLater(typ, record)
	c.told = true
}

// Reply takes a record of logicsrv in.
func (c *Conn) Reply(typ ipc.Type, payload []byte) {
	if c.state == stateClosed {
		return
	}
	head, ok := ipc.PeekHead(payload)
	r, found := c.pending.Take(head.Req)
	if !ok || !found {
		c.loop.Lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
		return
	}
	if c.shareWait {
		c.shareWait = false
		c.link.Resume()
	}
	record := reply{typ, payload}
	if r.Command == ofWatch {
		c.watched(r.Correlation, record.answer())
		return
	}
	k, place := c.callOf(uint32(r.Correlation>>32)), uint32(r.Correlation)
	switch {
	case k == nil: // of a request that never came as a whole
	case r.Command == ofBatch:
		c.stored(k, int(place), record.answer())
	default:
		c.answered(k, int(place), record)
	}
}

// answer is what a record says.
func (r reply) answer() answer {
	if r.typ != ipc.TypeError {
		return answer{typ: r.typ, payload: r.payload}
	}
	m, err := ipc.DecodeError(r.payload)
	if err == nil {
		err = errcode.New(errcode.Code(m.Code), "%s", m.Text)
	}
	return answer{err: err}
}

// answered takes the answer to a question in.
func (c *Conn) answered(k *call, place int, r reply) {
	k.asks[place].req = 0
	if then := k.asks[place].then; then != nil {
		k.open--
		then(r.answer())
	}
	if !k.done && c.state != stateClosed {
		k.asks[place].had = &reply{r.typ, slices.Clone(r.payload)}
	}
	c.recallAll()
}

// decoded reads an answer with one of package ipc's decoders; an answer of another form is a bug of
// ours, and shows in the log.
func decoded[T any](c *Conn, a answer, decode func([]byte) (T, error)) (m T, err error) {
	if a.err != nil {
		return m, a.err
	}
	if m, err = decode(a.payload); err != nil {
		c.settings.Log.Error("a reply of logicsrv cannot be decoded", "err", err)
		return m, errcode.New(errcode.Internal, "the broker's answer cannot be read")
	}
	return m, nil
}
