package kafkaconn

import (
	"encoding/binary"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// produced is what becomes of a Produce request.
type produced struct {
	level         ipc.Level
	silent        bool // acks=0: there is no response
	transactional bool // it bears a transactional id
	txnalID       string
	whole         bool  // all of it has come
	refusal       int16 // of all its batches
	topics        []producedTopic
	parts         []producedPart // of all topics, one after the other
}

type producedTopic struct {
	name  string
	id    topicID // by which it was named, from version 13 on
	parts int
}

type producedPart struct {
	number int32
	code   int16
	index  uint64
	base   int64 // offset of the first record; −1: unknown
	count  int32 // records of the batch under way; after a hand-over 0, and nobody knows
	timeMS int64 // at which its topic says that it came; −1: the records keep the times of their creation
	text   string
	bad    []badRecord // those for which the batch was refused
}

// setAcks finds the level that the response waits for: the topic's own for acks=all, the page cache
// for the leader's alone.
func (p *produced) setAcks(acks int16) {
	switch acks {
	case -1:
		p.level = ipc.LevelUnset
	case 1:
		p.level = ipc.LevelPage
	case 0:
		p.level, p.silent = ipc.LevelMemory, true
	default:
		p.refusal = codeInvalidRequiredAcks
	}
}

// append checks the batch in a claimed record, and publishes or discards it.
func (c *Conn) append(k *call, place int, slot shmqueue.Slot) {
	part := &k.produce.parts[place]
	stored := slot.Payload[ipc.AppendSize:]
	meta, err := batch.Validate(stored)
	if err != nil {
		part.code, part.text = codeOf(err), err.Error()
		c.loop.Lane.Counters.Add(shmqueue.ConnCorruptBatches, 1)
	} else if h := batch.Header(stored); h.Transactional() != k.produce.transactional {
		part.code, part.text = codeInvalidTxnState, "a batch of a transaction in a request without a transactional id, or the other way round"
	} else if h.Codec() == batch.Zstd && k.version < 7 {
		part.code = codeUnsupportedCodec
	} else if h.LogAppendTime() && !c.intake.topic.set.LogAppendTime {
		part.code, part.text = codeInvalidTimestamp, "the time at which a batch came is not the producer's to say"
	} else if set := &c.intake.topic.set; set.Compact || set.LimitsTime() {
		c.loop.checkRecords(stored, set, c.settings.Clock(), part)
	}
	if part.code != codeNone {
		slot.Discard()
		return
	}
	if c.intake.topic.set.LogAppendTime {
		part.timeMS = c.settings.Clock()
		batch.Stamp(stored, &meta, part.timeMS)
	}
	req := c.loop.Lane.Req()
	record := ipc.Append{Head: c.head(req), Index: part.index, Level: k.produce.level, Batch: meta, Txnal: k.txnal()}
	b := record.Append(slot.Payload[:0])
	invariant.Check(len(b) == ipc.AppendSize, "encoded append of %d bytes", len(b))
	slot.Publish()
	k.open++
	part.count = int32(meta.Count)
	c.pending.Add(session.Request{
		Req: req, Bytes: uint32(len(slot.Payload)), Command: ofBatch, Correlation: uint64(k.number)<<32 | uint64(place),
	})
	if record.Txnal == ipc.TxnalJoins {
		c.tellStart(k, &record)
	}
	c.loop.Lane.Counters.Add(shmqueue.ConnProducedMessages, uint64(meta.Count))
	c.loop.Lane.Counters.Add(shmqueue.ConnProducedBytes, uint64(meta.Length))
}

// txnal says how the batches of a Produce request stand to transactions. From the version on in which
// clients leave it to the broker to add partitions, it is done with the first batch.
func (k *call) txnal() ipc.AppendTxnal {
	switch {
	case !k.produce.transactional:
		return ipc.TxnalNone
	case k.version >= joiningProduce:
		return ipc.TxnalJoins
	}
	return ipc.TxnalAdded
}

// tellStart has logicsrv know where the log of a partition begins to which a transaction has added itself, where that
// has moved since it was told last: what was aborted below is forgotten. Who adds partitions by a request of their own
// tells it with that.
func (c *Conn) tellStart(k *call, to *ipc.Append) {
	start := c.startOf(to.Index)
	if start <= 0 || c.loop.starts[to.Index] == uint64(start) {
		return
	}
	c.loop.starts[to.Index] = uint64(start)
	m := ipc.TxnAdd{
		Head: c.head(0), Txnal: ipc.Txnal{ID: k.produce.txnalID, ProducerID: to.Batch.ProducerID, Epoch: to.Batch.Epoch},
		Parts: []ipc.TxnPart{{Index: to.Index, Start: uint64(start)}},
	}
	c.loop.Lane.PutLater(ipc.TypeTxnAdd, m.Append(c.loop.Lane.Scratch()))
}

// topicIDProduce is the first version of Produce that names topics by their ids.
const topicIDProduce = 13

// unknownTopic is what a Produce request is told of a topic that is not there.
func (k *call) unknownTopic() int16 {
	if k.version >= topicIDProduce {
		return codeUnknownTopicID
	}
	return codeUnknownTopic
}

// codeDuplicate says of a batch that it is stored, nobody knows where any longer.
const codeDuplicate = 46

// stored takes in what has become of a batch.
func (c *Conn) stored(k *call, place int, a answer) {
	part := &k.produce.parts[place]
	k.open--
	m, err := decoded(c, a, ipc.DecodeAppended)
	switch {
	case is(err, errcode.UnknownIndex):
		c.loop.topics.forgetIndex(part.index)
		part.code = k.unknownTopic()
	case err != nil:
		part.code, part.text = codeOf(err), err.Error()
	case m.Duplicate && m.Base == ^uint64(0):
		part.code = codeDuplicate
	default:
		part.base = int64(m.Base)
		c.seen(k, part, &m)
	}
	c.producedSome(k)
}

// seen notes that a batch is visible which is as safe as its topic is: who has been answered and fetches
// is told of no high watermark below it. A duplicate may be one whose first answer is still to come.
func (c *Conn) seen(k *call, part *producedPart, m *ipc.Appended) {
	if k.produce.level == ipc.LevelUnset && !m.Duplicate {
		c.loop.Lane.Ends.Raise(part.index, m.Base+uint64(part.count))
	}
}

// producedSome answers a Produce request once all is known. One that wants no answer is told of an
// error by the end of the connection, as Kafka does it.
func (c *Conn) producedSome(k *call) {
	if !k.produce.whole || k.open > 0 || c.state == stateClosed {
		return
	}
	if k.produce.silent {
		for i := range k.produce.parts {
			if k.produce.parts[i].code != codeNone {
				c.fatal("a batch was refused, and acks=0", k.requestHead)
				return
			}
		}
	}
	k.done = true
	c.flush()
}

// sendProduced queues the response to a Produce request:
//
//	| list of topics | throttleMS i32 | tags |
//	topic:     | name string, id 16 from 13 on | list of partitions | tags |
//	partition: | number i32 | error i16 | baseOffset i64 | logAppendTime i64 | startOffset i64, from 5 on
//	           | list of record errors, error text, from 8 on | tags |
func (c *Conn) sendProduced(k *call) {
	if k.produce.silent {
		return
	}
	flex := flexible(k.key, k.version)
	b := append(c.loop.Lane.Scratch(), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(k.correlation))
	if flex {
		b = append(b, 0)
	}
	b = appendCount(b, flex, len(k.produce.topics))
	parts := k.produce.parts
	for i := range k.produce.topics {
		t := &k.produce.topics[i]
		if k.version >= topicIDProduce {
			b = append(b, t.id[:]...)
		} else {
			b = appendText(b, flex, t.name)
		}
		b = appendCount(b, flex, t.parts)
		for ; t.parts > 0; t.parts-- {
			b = c.appendPart(b, flex, k.version, &parts[0])
			parts = parts[1:]
		}
		b = appendTags(b, flex)
	}
	b = appendTags(binary.BigEndian.AppendUint32(b, 0), flex)
	binary.BigEndian.PutUint32(b, uint32(len(b)-sizeBytes))
	copy(c.link.Append(len(b)), b)
}

// appendPart appends the response about one batch.
func (c *Conn) appendPart(b []byte, flex bool, version int16, p *producedPart) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(p.number))
	b = binary.BigEndian.AppendUint16(b, uint16(p.code))
	b = binary.BigEndian.AppendUint64(b, uint64(p.base))
	b = binary.BigEndian.AppendUint64(b, uint64(p.timeMS))
	if version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(c.startOf(p.index)))
	}
	if version >= 8 {
		b = appendBadRecords(b, flex, p.bad)
		if p.text == "" {
			b = appendNull(b, flex)
		} else {
			b = appendText(b, flex, p.text)
		}
	}
	return appendTags(b, flex)
}

// startOf is the earliest offset of an index; −1: it is not known.
func (c *Conn) startOf(index uint64) int64 {
	if index == 0 {
		return -1
	}
	start, err := c.loop.Lane.StartOf(index)
	if err != nil {
		return -1
	}
	return int64(start)
}
