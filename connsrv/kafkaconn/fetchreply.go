package kafkaconn

import (
	"encoding/binary"
	"math"

	"github.com/trimq/trimq/shmqueue"
)

// answerFetch queues the response to a fetch: its header, and between its parts the batches, from
// the log.
//
//	| throttleMS i32 | error i16, session i32, from 7 on | list of topics | tags |
//	topic:     | name string, id 16 from 13 on | list of partitions | tags |
//	partition: | number i32 | error i16 | highWatermark i64 | stableEnd i64 | start i64, from 5 on | list of aborted transactions
//	           | preferred replica i32, from 11 on | batches, as bytes | tags |
//
// Of a session's partitions only those are in it of which there is something new; c.keepFetch notes what was told.
func (c *Conn) answerFetch(k *call, bytes int) {
	f, flex := k.fetch, flexible(k.key, k.version)
	c.selectFetched(f)
	session := c.keepFetch(f)
	b := append(c.loop.Lane.Scratch(), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(k.correlation))
	b = appendTags(b, flex)
	b = binary.BigEndian.AppendUint32(b, 0)
	if k.version >= 7 {
		b = binary.BigEndian.AppendUint32(append(b, 0, 0), uint32(session))
	}
	var cuts []int // where the batches of partitions go into b
	b, cuts = c.appendTopics(b, flex, k)
	b = appendTags(b, flex)
	if len(b)-sizeBytes+bytes > math.MaxInt32 {
		c.fatal("the response to a fetch is too large", k.requestHead)
	} else {
		binary.BigEndian.PutUint32(b, uint32(len(b)-sizeBytes+bytes))
		c.sendFetched(f, b, cuts)
		c.loop.Lane.Counters.Add(shmqueue.ConnFetchedBytes, uint64(bytes))
	}
	c.release(f)
	c.link.SetDeadline(0)
	k.done = true
	c.flush()
}

// fetchedRun is partitions of one topic, one after the other, of which a response tells.
type fetchedRun struct {
	from, to int // of fetching.told
}

// selectFetched finds out of which partitions the response tells.
func (c *Conn) selectFetched(f *fetching) {
	f.told = make([]int, 0, len(f.parts))
	for i := range f.parts {
		p := &f.parts[i]
		p.end, p.stable, p.start = int64(c.loop.Lane.Ends[p.index]), int64(c.loop.Lane.StableEnd(p.index)), c.startOf(p.index)
		if p.code != codeNone && p.code != codeOffsetOutOfRange {
			p.end, p.stable = -1, -1
		}
		if !f.partial || p.read > 0 || p.code != codeNone || p.end != p.toldEnd || p.start != p.toldStart {
			f.told = append(f.told, i)
		}
	}
}

// runs groups the partitions of which a response tells by their topics.
func (f *fetching) runs() (list []fetchedRun) {
	for at, i := range f.told {
		p := &f.parts[i]
		if n := len(list); n > 0 {
			if last := &f.parts[f.told[at-1]]; last.topic == p.topic && last.id == p.id {
				list[n-1].to++
				continue
			}
		}
		list = append(list, fetchedRun{at, at + 1})
	}
	return list
}

// appendTopics appends the topics of a response; cuts is where the batches of each partition of fetching.told go.
func (c *Conn) appendTopics(b []byte, flex bool, k *call) (_ []byte, cuts []int) {
	f := k.fetch
	runs := f.runs()
	b = appendCount(b, flex, len(runs))
	for _, r := range runs {
		first := &f.parts[f.told[r.from]]
		if f.byID {
			b = append(b, first.id[:]...)
		} else {
			b = appendText(b, flex, first.topic)
		}
		b = appendCount(b, flex, r.to-r.from)
		for _, i := range f.told[r.from:r.to] {
			b = c.appendFetched(b, flex, k.version, f, &f.parts[i])
			cuts = append(cuts, len(b))
			b = appendTags(b, flex)
		}
		b = appendTags(b, flex)
	}
	return b, cuts
}

// appendFetched appends what stands before the batches of a partition.
func (c *Conn) appendFetched(b []byte, flex bool, version int16, f *fetching, p *fetchedPart) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(p.number))
	b = binary.BigEndian.AppendUint16(b, uint16(p.code))
	b = binary.BigEndian.AppendUint64(b, uint64(p.end))
	b = binary.BigEndian.AppendUint64(b, uint64(p.stable))
	if version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(p.start))
	}
	if f.committed {
		b = c.appendAborted(b, flex, p)
	} else {
		b = appendCount(b, flex, -1)
	}
	if version >= 11 {
		b = binary.BigEndian.AppendUint32(b, math.MaxUint32)
	}
	size := 0
	if p.read > 0 {
		size = c.loop.readings[p.read-1].Bytes
	}
	return appendCount(b, flex, size)
}

// appendAborted appends what a committed reader of a partition's batches has to know:
//
//	| list of: producer i64 | first offset i64 | tags |
func (c *Conn) appendAborted(b []byte, flex bool, p *fetchedPart) []byte {
	if p.read == 0 {
		return appendCount(b, flex, 0)
	}
	list := c.loop.Lane.Aborted(p.index, uint64(p.offset), c.loop.readings[p.read-1].End)
	b = appendCount(b, flex, len(list))
	for _, a := range list {
		b = binary.BigEndian.AppendUint64(b, uint64(a.ProducerID))
		b = appendTags(binary.BigEndian.AppendUint64(b, a.First), flex)
	}
	return b
}

// sendFetched queues the response, with the batches at their places.
func (c *Conn) sendFetched(f *fetching, b []byte, cuts []int) {
	from := 0
	for i, at := range f.told {
		r := f.parts[at].read
		if r == 0 {
			continue
		}
		copy(c.link.Append(cuts[i]-from), b[from:cuts[i]])
		from = cuts[i]
		c.loop.readings[r-1].Send(c.link)
	}
	copy(c.link.Append(len(b)-from), b[from:])
}
