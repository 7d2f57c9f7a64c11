package nativeconn

import (
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/shmqueue"
)

// beginDirect takes the header and prefix of a PRODUCE whose batch is large: the batch
// itself goes from the socket into the ring.
func (c *Conn) beginDirect(h native.Header, rest []byte) (used int, want session.Want) {
	const front = native.FrameHeaderSize + native.ProduceSize
	if len(rest) < front {
		return 0, session.Want{Bytes: front}
	}
	c.lane.Counters.Add(shmqueue.ConnRequests, 1)
	m, err := native.DecodeProduce(rest[native.FrameHeaderSize:front])
	if err != nil {
		c.refuse(h, err)
		c.skip = h.BodyLen()
		return native.FrameHeaderSize, want
	}
	c.direct, c.directBody = h, m
	return front, session.Want{Bytes: h.BodyLen() - native.ProduceSize, Direct: true}
}

// Space claims the record for a large batch.
func (c *Conn) Space(n int) []byte {
	slot, ok := c.claim(ipc.AppendSize+n, ipc.TypeAppend)
	if !ok {
		return nil
	}
	c.slot = slot
	return slot.Payload[ipc.AppendSize:]
}

// Filled publishes the record, if its batch is sound.
func (c *Conn) Filled() {
	slot := c.slot
	c.slot = shmqueue.Slot{}
	c.finishAppend(c.direct, c.directBody, slot)
	c.lane.Counters.Add(shmqueue.ConnDirectBatches, 1)
	c.lane.Ring() // logicsrv may begin while we read the next one
}

// Abandon gives the record up.
func (c *Conn) Abandon() {
	c.slot.Discard()
	c.slot = shmqueue.Slot{}
}

// claim takes room for a record with a batch, within the connection's share of the ring.
func (c *Conn) claim(n int, typ ipc.Type) (shmqueue.Slot, bool) {
	if held := c.pending.Bytes(); held > 0 && held+n > c.share || c.inFlight() >= c.window {
		c.shareWait = true
		return shmqueue.Slot{}, false
	}
	return c.lane.Claim(c.link, n, typ)
}

// finishAppend checks the batch in a claimed record, and publishes or discards it.
func (c *Conn) finishAppend(h native.Header, m native.Produce, slot shmqueue.Slot) {
	meta, err := validate(slot.Payload[ipc.AppendSize:])
	if err != nil {
		slot.Discard()
		c.lane.Counters.Add(shmqueue.ConnCorruptBatches, 1)
		c.refuse(h, err)
		return
	}
	req := c.lane.Req()
	record := ipc.Append{Head: c.head(req), Index: m.Index, Level: m.Level, Txn: m.Txn, Batch: meta}
	b := record.Append(slot.Payload[:0])
	invariant.Check(len(b) == ipc.AppendSize, "encoded append of %d bytes", len(b))
	slot.Publish()
	c.batchPut(h, req, m.Txn, meta, len(slot.Payload))
}

// batchPut enters a request whose record is published.
func (c *Conn) batchPut(h native.Header, req, txn uint64, meta ipc.BatchMeta, bytes int) {
	c.add(h, session.Request{Req: req, Bytes: uint32(bytes), InTxn: txn != 0})
	c.lane.Counters.Add(shmqueue.ConnProducedMessages, uint64(meta.Count))
	c.lane.Counters.Add(shmqueue.ConnProducedBytes, uint64(meta.Length))
}

// produce copies a small batch into the ring.
func (c *Conn) produce(h native.Header, body []byte) bool {
	if len(body) < native.ProduceSize {
		c.refuse(h, errcode.New(errcode.Malformed, "PRODUCE body of %d bytes", len(body)))
		return true
	}
	m, err := native.DecodeProduce(body[:native.ProduceSize])
	if err != nil {
		c.refuse(h, err)
		return true
	}
	slot, ok := c.claim(ipc.AppendSize+len(body)-native.ProduceSize, ipc.TypeAppend)
	if !ok {
		return false
	}
	copy(slot.Payload[ipc.AppendSize:], body[native.ProduceSize:])
	c.lane.Counters.Add(shmqueue.ConnCopiedBatches, 1)
	c.finishAppend(h, m, slot)
	return true
}

// publish copies a batch for an exchange into the ring.
func (c *Conn) publish(h native.Header, body []byte) bool {
	m, off, err := native.DecodePublish(body)
	if err != nil {
		c.refuse(h, err)
		return true
	}
	messages := body[off:]
	record := ipc.Publish{
		Level: m.Level, Mandatory: m.Mandatory, TTLMS: m.TTLMS, Priority: m.Priority, Txn: m.Txn, DueMS: c.due(m.DelayMS),
		Exchange: m.Exchange, RoutingKey: m.RoutingKey, Headers: m.Headers,
	}
	size := record.Size()
	most := min(c.maxBatch(), c.settings.MaxFrame-noteRoom-off)
	if len(messages) > most || size+len(messages) > c.lane.MaxRecord {
		c.refuse(h, errcode.New(errcode.BatchTooLarge, "batch of %d bytes, at most %d", len(messages), most))
		return true
	}
	slot, ok := c.claim(size+len(messages), ipc.TypePublish)
	if !ok {
		return false
	}
	// Checked where it lies: what is checked is what is stored.
	stored := slot.Payload[size:]
	copy(stored, messages)
	if record.Batch, err = validate(stored); err != nil {
		slot.Discard()
		c.lane.Counters.Add(shmqueue.ConnCorruptBatches, 1)
		c.refuse(h, err)
		return true
	}
	record.Weight = weight(m.Weight, stored)
	req := c.lane.Req()
	record.Head = c.head(req)
	b := record.Append(slot.Payload[:0])
	if len(b) != size {
		invariant.Fail("encoded publish of %d bytes, not %d", len(b), size)
	}
	slot.Publish()
	c.lane.Counters.Add(shmqueue.ConnCopiedBatches, 1)
	c.lane.Counters.Add(shmqueue.ConnPublished, uint64(record.Batch.Count))
	c.batchPut(h, req, record.Txn, record.Batch, len(slot.Payload))
	return true
}

// noteRoom is what a DELIVER has around a batch, less what PUBLISH had: with the note that its
// exchange, key and headers make, which take no more than they did there, the batch must fit a
// frame too.
const noteRoom = native.FrameHeaderSize + native.DeliverSize + 8

// due is the Unix time at which a message that was delayed for so long is to be seen; 0: at once.
// It is taken as the message is read: the ring may be read again later. A time beyond all bounds
// stays beyond them.
func (c *Conn) due(delayMS uint64) int64 {
	if delayMS == 0 {
		return 0
	}
	return c.settings.UnixMS() + int64(min(delayMS, 1<<60))
}

// weight is what a batch counts for in queues with a limit of bytes: what the client says, but no
// more than can be in it. One that exaggerates would push others' messages out.
func weight(said uint32, b []byte) uint32 {
	if batch.Header(b).Codec() == batch.None {
		return uint32(min(uint64(said), uint64(len(b)-batch.HeaderSize)))
	}
	return min(said, batch.DefaultLimit)
}

// validate checks a batch. One that says of itself that it is part of a transaction is Kafka's: here it is
// the request that says so.
func validate(b []byte) (ipc.BatchMeta, error) {
	meta, err := batch.Validate(b)
	if err == nil && batch.Header(b).Transactional() {
		err = errcode.New(errcode.InvalidBatch, "a batch of a transactional producer, which the native protocol has none of")
	}
	return meta, err
}
