package kafkaconn

import (
	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// A Produce request is taken in part by part, so that its batches need not be gathered:
//
//	request:    | tags of the header | transactionalID string, may be null | acks i16 | timeoutMS i32 | list of topics | tags |
//	topic:      | name string, id 16 from version 13 on | list of partitions | tags |
//	partition:  | number i32 | batch bytes, may be null | tags |
//
// From version 9 on, strings, lists and bytes begin with uvarint length + 1, and there are tags.

// stage is the part that comes next.
type stage uint8

const (
	stageHead stage = iota
	stageTopic
	stagePartition
	stageBatch
	stageBatchTags
	stageTopicTags
	stageTags
	stageEnd
)

// intake is the Produce request that is coming in.
type intake struct {
	k        *call
	stage    stage
	flexible bool
	left     int // bytes of the request still to come
	skip     int // … of which so many, in front, are of no interest
	topics   int // to come
	parts    int // of the topic, to come
	topic    *topic
	asking   bool   // logicsrv, for a topic: everything waits
	asked    string // for which topic it is asked, or was
	batch    int    // bytes of the batch that comes next
}

// directBytes is the size from which a batch goes from the socket straight into the ring.
// Smaller ones are read many at a time and copied.
const directBytes = 32 << 10

// beginProduce begins a Produce request.
func (c *Conn) beginProduce(h requestHead, idBytes int, b []byte) (used int, want session.Want) {
	if !apiOf(h.key).serves(h.version) {
		c.fatal("a version of Produce that is not served", h)
		return len(b), want
	}
	if len(b) < headFixed+idBytes {
		return 0, session.Want{Bytes: headFixed + idBytes}
	}
	c.loop.Lane.Counters.Add(shmqueue.ConnRequests, 1)
	c.established()
	k := c.begin(h, "")
	k.produce = &produced{}
	c.intake = &intake{k: k, left: sizeBytes + h.size - headFixed - idBytes, flexible: flexible(h.key, h.version)}
	return headFixed + idBytes, want
}

// takeIn takes the next part of a Produce request.
func (c *Conn) takeIn(b []byte) (used int, want session.Want) {
	in := c.intake
	switch {
	case in.asking:
		return 0, session.Want{Pause: true}
	case in.skip > 0:
		n := min(in.skip, len(b))
		in.skip -= n
		return c.took(n), want
	case in.stage == stageBatch:
		return c.takeBatch(b)
	}
	r := reader{b: b[:min(len(b), in.left)], total: in.left}
	pause := c.takePart(&r)
	switch {
	case r.fault == short && len(r.b) < 2*maxText:
		return 0, session.Want{Bytes: len(r.b) + 1}
	case r.fault != sound:
		c.fatal("a Produce request cannot be read", in.k.requestHead)
		return len(b), want
	case pause:
		return 0, session.Want{Pause: true}
	}
	return c.took(r.at), want
}

// took counts bytes of a Produce request, and ends it behind the last one.
func (c *Conn) took(n int) int {
	in := c.intake
	in.left -= n
	if in.stage == stageEnd && in.skip == 0 {
		if in.left != 0 {
			c.fatal("a Produce request is longer than its parts", in.k.requestHead)
		}
		c.intake = nil
		in.k.produce.whole = true
		c.producedSome(in.k)
	}
	return n
}

// takePart reads the part that comes next, and goes to the next stage unless there is a fault.
// pause: the part shall be shown again when logicsrv has told of its topic.
func (c *Conn) takePart(r *reader) (pause bool) {
	in := c.intake
	switch in.stage {
	case stageHead:
		c.takeHead(r)
	case stageTopic:
		pause = c.takeTopic(r)
	case stagePartition:
		pause = c.takePartition(r)
	default:
		r.tags(in.flexible)
	}
	if r.fault == sound && !pause {
		in.advance()
	}
	return pause
}

// advance goes to the next stage; where there are no tags, behind those.
func (in *intake) advance() {
	switch in.stage {
	case stageHead, stageTopicTags:
		if in.stage = stageTags; in.topics > 0 {
			in.stage = stageTopic
		}
	case stageTopic, stageBatchTags:
		if in.stage = stageTopicTags; in.parts > 0 {
			in.stage = stagePartition
		}
	case stagePartition:
		if in.stage = stageBatch; in.batch == 0 {
			in.stage = stageBatchTags
		}
	default: // the next one is the one behind it
		in.stage++
	}
	if !in.flexible && in.stage >= stageBatchTags && in.stage < stageEnd {
		in.advance()
	}
}

// takeHead reads what holds for all batches.
func (c *Conn) takeHead(r *reader) {
	in := c.intake
	r.tags(in.flexible)
	txn := r.text(in.flexible)
	acks := r.i16()
	r.i32() // the time-out: what stands in the ring is not given up
	in.topics = r.count(in.flexible, 3)
	if r.fault == sound {
		in.k.produce.transactional, in.k.produce.txnalID = txn != nil, string(txn)
		in.k.produce.setAcks(acks)
		if txn != nil && !c.may(access.Write, in.k.produce.txnalID) {
			in.k.produce.refusal = codeTxnDenied
		}
	}
}

// takeTopic reads which topic comes next.
func (c *Conn) takeTopic(r *reader) (pause bool) {
	in := c.intake
	var name []byte
	if in.byID() {
		name = r.take(len(topicID{}))
	} else {
		name = r.text(in.flexible)
	}
	parts := r.count(in.flexible, 5)
	if r.fault != sound {
		return false
	}
	t := c.topicOf(in, string(name))
	if t == nil && in.asked != string(name) {
		c.askFor(string(name))
		return true
	}
	if t == nil && in.topic != nil && in.named() == string(name) { // the catalogue has forgotten it since
		t = in.topic
	}
	in.topic, in.parts = t, parts
	in.topics--
	told := producedTopic{parts: parts}
	switch {
	case in.byID():
		copy(told.id[:], name)
	case t != nil:
		told.name = t.name
	default:
		told.name = string(name)
	}
	in.k.produce.topics = append(in.k.produce.topics, told)
	return false
}

// byID tells whether the request names topics by their ids.
func (in *intake) byID() bool { return in.k.version >= topicIDProduce }

// named is the topic that came last, as the request names it.
func (in *intake) named() string {
	if in.byID() {
		return string(in.topic.id[:])
	}
	return in.topic.name
}

// topicOf finds a topic in the catalogue, by its name or id as the request has it.
func (c *Conn) topicOf(in *intake, named string) *topic {
	if !in.byID() {
		return c.loop.topics.byName[named]
	}
	var id topicID
	copy(id[:], named)
	return c.loop.topics.byID[id]
}

// askFor has the topic that comes next looked up, by its name or id, and holds the request up so long.
func (c *Conn) askFor(named string) {
	in := c.intake
	in.asking, in.asked = true, named
	then := func([]admin.TopicInfo, error) {
		in.asking, in.topic = false, c.topicOf(in, named)
		c.link.Resume()
	}
	if in.byID() {
		var id topicID
		copy(id[:], named)
		c.describeByID(in.k, []topicID{id}, then)
		return
	}
	c.describeTopics(in.k, []string{named}, then)
}

// takePartition reads what stands before a batch, and finds out whether it is taken.
func (c *Conn) takePartition(r *reader) (pause bool) {
	in := c.intake
	number := r.i32()
	n := max(0, r.length(in.flexible, true))
	if n > r.total-r.at && r.fault == sound {
		r.fault = malformed
	}
	if r.fault != sound {
		return false
	}
	index, ok := in.topic.index(number)
	if !ok && in.topic != nil && in.asked != in.named() { // it may have been added since
		c.askFor(in.named())
		return true
	}
	part := producedPart{number: number, index: index, base: -1, timeMS: -1}
	if part.code = c.refusal(in.k, in.topic, ok, n); part.code == codeNone {
		in.batch = n
	} else {
		in.batch, in.skip = 0, n
	}
	in.parts--
	in.k.produce.parts = append(in.k.produce.parts, part)
	return false
}

// refusal is why a batch of n bytes is not taken, as far as can be seen before it has come.
func (c *Conn) refusal(k *call, t *topic, known bool, n int) int16 {
	p, unknown := k.produce, int16(codeUnknownTopic)
	if t == nil {
		unknown = k.unknownTopic()
	}
	switch {
	case p.refusal != codeNone:
		return p.refusal
	case !known:
		return unknown
	case !c.may(access.Write, t.name):
		return codeTopicDenied
	case internal(t.name):
		return codeInvalidTopic
	case n == 0:
		return codeInvalidRecord
	case n > min(t.maxBatch(), c.loop.Lane.MaxBatch, c.loop.Lane.MaxRecord-ipc.AppendSize):
		return codeMessageTooLarge
	case c.loop.Lane.DiskFull():
		c.loop.Lane.Counters.Add(shmqueue.ConnDiskFull, 1)
		return codeStorage
	}
	return codeNone
}

// takeBatch brings a batch into the ring: a small one from the bytes that are here.
func (c *Conn) takeBatch(b []byte) (used int, want session.Want) {
	in := c.intake
	switch {
	case in.batch >= directBytes:
		return 0, session.Want{Bytes: in.batch, Direct: true}
	case len(b) < in.batch:
		return 0, session.Want{Bytes: in.batch}
	}
	dst := c.Space(in.batch)
	if dst == nil {
		return 0, session.Want{Pause: true}
	}
	c.loop.Lane.Counters.Add(shmqueue.ConnCopiedBatches, 1)
	n := copy(dst, b)
	c.store()
	return n, want
}

// Space claims the record for a batch, within the connection's share of the ring.
func (c *Conn) Space(n int) []byte {
	lane := c.loop.Lane
	share := min(c.settings.WindowBytes, int(lane.Capacity/4))
	if held := c.pending.Bytes(); held > 0 && held+n+ipc.AppendSize > share {
		c.shareWait = true
		return nil
	}
	slot, ok := lane.Claim(c.link, ipc.AppendSize+n, ipc.TypeAppend)
	if !ok {
		return nil
	}
	c.slot = slot
	return slot.Payload[ipc.AppendSize:]
}

// Filled puts a large batch into the ring, if it is sound.
func (c *Conn) Filled() {
	c.loop.Lane.Counters.Add(shmqueue.ConnDirectBatches, 1)
	c.store()
	c.loop.Lane.Ring() // logicsrv may begin while we read the next one
}

// Abandon gives the record up.
func (c *Conn) Abandon() {
	c.slot.Discard()
	c.slot = shmqueue.Slot{}
}

// store publishes the record whose batch has come, or discards it.
func (c *Conn) store() {
	in, slot := c.intake, c.slot
	c.slot = shmqueue.Slot{}
	invariant.Check(len(slot.Payload)-ipc.AppendSize == in.batch, "a record of %d bytes for a batch of %d", len(slot.Payload), in.batch)
	c.append(in.k, len(in.k.produce.parts)-1, slot)
	n := in.batch
	in.advance()
	c.took(n)
}
