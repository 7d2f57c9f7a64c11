package kafkaconn

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// A fetch reads partitions from the log, below the visible ends that logicsrv has told. Where too
// little is visible it is parked: for each of its partitions a Wait stands in logicsrv, which says
// when there is more. A Wait outlives its fetch: the next one of the connection, mostly of the same
// partitions, finds it there, and nothing is asked as long as nothing comes.
//
// Sessions are not kept: who asks for one is told that it has none, and names all its partitions
// each time, as the protocol allows.

// Bounds of a fetch.
const (
	maxFetchBytes  = 55 << 20 // of batches in one response, but for the first one
	maxFetchWaitMS = 10 * 60 * 1000
	// noWaitMS is up to which wait a fetch asks for the visible end instead of waiting for more.
	noWaitMS = 10
)

// fetching is a Fetch request.
type fetching struct {
	topics     []fetchedTopic
	parts      []fetchedPart // of all topics, one after the other
	maxBytes   int
	minBytes   int
	deadlineMS int64
	committed  bool
}

type fetchedTopic struct {
	name  string
	parts int
}

type fetchedPart struct {
	number   int32
	code     int16
	index    uint64
	offset   int64
	maxBytes int
	certain  bool // the visible end that is known is one of since the request came
	read     int  // of Loop.readings, counted from 1 on; 0: there is nothing
}

// fetch begins a fetch.
func (c *Conn) fetch(k *call, m *kmsg.FetchRequest) {
	// With epoch 0 or −1 all partitions are named, and what session it names does not matter: kafka-go
	// says −1.
	if m.Version >= 7 && m.SessionID != 0 && m.SessionEpoch > 0 {
		c.refuseFetch(k, codeFetchSessionNotFound)
		return
	}
	f := &fetching{
		maxBytes: maxFetchBytes, minBytes: int(m.MinBytes), committed: m.IsolationLevel == readsCommitted,
		deadlineMS: k.begunMS + int64(min(max(m.MaxWaitMillis, 0), maxFetchWaitMS)),
	}
	if m.MaxBytes > 0 {
		f.maxBytes = min(f.maxBytes, int(m.MaxBytes))
	}
	var list []wanted
	for i := range m.Topics {
		t := &m.Topics[i]
		f.topics = append(f.topics, fetchedTopic{t.Topic, len(t.Partitions)})
		for j := range t.Partitions {
			p := &t.Partitions[j]
			list = append(list, wanted{t.Topic, p.Partition})
			f.parts = append(f.parts, fetchedPart{
				number: p.Partition, offset: p.FetchOffset, maxBytes: max(0, int(p.PartitionMaxBytes)), code: epochCode(p.CurrentLeaderEpoch),
			})
		}
	}
	k.fetch = f
	c.resolve(k, list, func(err error) {
		for i := range f.parts {
			p := &f.parts[i]
			index, ok := c.loop.topics.byName[list[i].name].index(list[i].number)
			if p.index = index; !ok && p.code == codeNone {
				p.code = codeUnknownTopic
			}
		}
		c.askEnds(k)
		c.continueFetch(k)
	})
}

// epochCode compares the leader epoch that a client knows with ours; −1: it knows none.
func epochCode(epoch int32) int16 {
	if epoch > leaderEpoch {
		return codeUnknownLeaderEpoch
	}
	return codeNone
}

// refuseFetch answers a fetch as a whole.
func (c *Conn) refuseFetch(k *call, code int16) {
	resp := kmsg.NewPtrFetchResponse()
	resp.ErrorCode = code
	c.finish(k, resp)
}

// askEnds asks for visible ends where what is known does not do: the client is ahead of it, or does
// not wait for more.
func (c *Conn) askEnds(k *call) {
	f := k.fetch
	brief := f.deadlineMS-c.link.NowMS() <= noWaitMS
	for i := range f.parts {
		p := &f.parts[i]
		end := c.endFor(f, p)
		_, watching := c.watches[p.index]
		if p.code != codeNone || p.offset < 0 || uint64(p.offset) < end || uint64(p.offset) == end && (watching || !brief) {
			continue
		}
		c.askEndFor(k, f, p, func(_ uint64, err error) {
			p.certain = err == nil
			if is(err, errcode.UnknownIndex) {
				c.loop.topics.forgetIndex(p.index)
			}
			if p.code == codeNone {
				p.code = codeOf(err)
			}
			c.continueFetch(k)
		})
	}
}

// endFor is up to where a fetch can read a partition, as far as is known.
func (c *Conn) endFor(f *fetching, p *fetchedPart) uint64 {
	if !f.committed || p.offset < 0 {
		return c.loop.Lane.Ends[p.index]
	}
	end, _ := c.loop.Lane.Readable(p.index, uint64(p.offset))
	return end
}

// askEndFor asks for the end as it is now, and where a committed reader has to know it for what was
// aborted.
func (c *Conn) askEndFor(k *call, f *fetching, p *fetchedPart, then func(end uint64, err error)) {
	if f.committed && c.loop.Lane.Stables[p.index] != nil {
		c.askStable(k, p.index, uint64(p.offset), then)
		return
	}
	c.askEnd(k, p.index, func(end uint64, err error) {
		if err == nil && f.committed && c.loop.Lane.Stables[p.index] != nil { // as it turns out
			c.askStable(k, p.index, uint64(p.offset), then)
			return
		}
		then(end, err)
	})
}

// askEnd asks for the visible end of an index as it is now.
func (c *Conn) askEnd(k *call, index uint64, then func(end uint64, err error)) {
	c.ask(k, ipc.TypeWait, func(head ipc.Head, b []byte) []byte {
		m := ipc.Wait{Head: head, Index: index, Beyond: ipc.WaitNow}
		return m.Append(b)
	}, func(a answer) {
		m, err := c.endTold(a)
		then(m.End, err)
	})
}

// askStable asks for the stable end of an index as it is now.
func (c *Conn) askStable(k *call, index, from uint64, then func(stable uint64, err error)) {
	c.ask(k, ipc.TypeWaitStable, func(head ipc.Head, b []byte) []byte {
		m := ipc.WaitStable{Head: head, Index: index, Beyond: ipc.WaitNow, From: from}
		return m.Append(b)
	}, func(a answer) {
		m, err := c.endTold(a)
		then(m.Stable, err)
	})
}

// endTold takes in what logicsrv answers to a Wait of either kind.
func (c *Conn) endTold(a answer) (m ipc.Stable, err error) {
	if a.typ == ipc.TypeStable {
		if m, err = decoded(c, a, ipc.DecodeStable); err == nil {
			c.loop.Lane.Told(&m)
		}
		return m, err
	}
	v, err := decoded(c, a, ipc.DecodeVisible)
	if err == nil {
		c.loop.Lane.ToldVisible(&v)
	}
	return ipc.Stable{Head: v.Head, Index: v.Index, End: v.End, Stable: v.End}, err
}

// continueFetch answers a fetch if there is enough, or something went wrong, or its time is over.
func (c *Conn) continueFetch(k *call) {
	f := k.fetch
	if k.done || k.open > 0 || c.state == stateClosed {
		return
	}
	over := len(f.parts) == 0 || c.link.NowMS() >= f.deadlineMS || c.state == stateDraining
	bytes, failed := c.readParts(f)
	if bytes >= f.minBytes || failed || over {
		c.answerFetch(k, bytes)
		return
	}
	c.release(f)
	c.watch(f)
	c.link.SetDeadline(f.deadlineMS)
}

// readParts reads all partitions of a fetch within its limits. The first batch of all is whole,
// whatever its size.
func (c *Conn) readParts(f *fetching) (bytes int, failed bool) {
	lane, used := c.loop.Lane, 0
	for i := range f.parts {
		p := &f.parts[i]
		p.read = 0
		end := c.endFor(f, p)
		switch {
		case p.code != codeNone:
		case p.offset < 0 || uint64(p.offset) > lane.Ends[p.index] && p.certain:
			p.code = codeOffsetOutOfRange
		case uint64(p.offset) >= end || bytes >= f.maxBytes:
		default:
			if used == len(c.loop.readings) {
				c.loop.readings = append(c.loop.readings, session.Reading{})
			}
			r := &c.loop.readings[used]
			if err := lane.Read(r, p.index, uint64(p.offset), end, min(p.maxBytes, f.maxBytes-bytes)); err != nil {
				c.unread(p, err)
			} else if bytes > 0 && r.Bytes > f.maxBytes-bytes {
				r.Release()
			} else {
				used++
				p.read, bytes = used, bytes+r.Bytes
			}
		}
		failed = failed || p.code != codeNone
	}
	return bytes, failed
}

// unread says why a partition cannot be read.
func (c *Conn) unread(p *fetchedPart, err error) {
	if p.code = codeOf(err); is(err, errcode.UnknownIndex) {
		c.loop.topics.forgetIndex(p.index)
	}
}

// release gives what was read back.
func (c *Conn) release(f *fetching) {
	for i := range f.parts {
		if p := &f.parts[i]; p.read > 0 {
			c.loop.readings[p.read-1].Release()
			p.read = 0
		}
	}
}

// watch has a Wait stand for each partition of a parked fetch, and takes those back that are for
// others.
func (c *Conn) watch(f *fetching) {
	if c.watches == nil {
		c.watches = map[uint64]uint64{}
	}
	lane := c.loop.Lane
	mine := make(map[uint64]bool, len(f.parts))
	for i := range f.parts {
		index := f.parts[i].index
		if mine[index] = true; c.watches[index] != 0 {
			continue
		}
		req := lane.Req()
		c.watches[index] = req
		c.pending.Add(session.Request{Req: req, Command: ofWatch, Correlation: index})
		lane.PutLater(c.watchRecord(req, index))
		lane.Counters.Add(shmqueue.ConnWaits, 1)
		c.told = true
	}
	for index, req := range c.watches {
		if !mine[index] {
			c.unwatch(index, req)
		}
	}
}

// watchRecord is the Wait for an index: for what the fetch at the front of the line wants, if it is there.
func (c *Conn) watchRecord(req, index uint64) (ipc.Type, []byte) {
	lane := c.loop.Lane
	m := ipc.Wait{Head: c.head(req), Index: index, Beyond: lane.Ends[index]}
	if len(c.line) > 0 && c.line[0].fetch != nil && c.line[0].fetch.committed {
		parts := c.line[0].fetch.parts
		if i := slices.IndexFunc(parts, func(p fetchedPart) bool { return p.index == index && p.offset >= 0 }); i >= 0 {
			offset := uint64(parts[i].offset)
			end, stable := lane.Readable(index, offset)
			if stable {
				m := ipc.WaitStable{Head: m.Head, Index: index, Beyond: offset, From: offset}
				return ipc.TypeWaitStable, m.Append(lane.Scratch())
			}
			m.Beyond = end
		}
	}
	return ipc.TypeWait, m.Append(lane.Scratch())
}

// unwatch takes a Wait back.
func (c *Conn) unwatch(index, req uint64) {
	delete(c.watches, index)
	c.pending.Take(req)
	m := ipc.Unwait{Head: c.head(0), Target: req}
	c.loop.Lane.PutLater(ipc.TypeUnwait, m.Append(c.loop.Lane.Scratch()))
}

// watched takes the answer to a Wait in: more is visible, or the index is gone.
func (c *Conn) watched(index uint64, a answer) {
	delete(c.watches, index)
	_, err := c.endTold(a)
	if err != nil {
		c.loop.topics.forgetIndex(index)
	}
	if len(c.line) == 0 || c.line[0].fetch == nil {
		return
	}
	for i := range c.line[0].fetch.parts {
		if p := &c.line[0].fetch.parts[i]; p.index == index && p.code == codeNone && err != nil {
			p.code = codeOf(err)
		}
	}
	c.continueFetch(c.line[0])
}

// answerFetch queues the response to a fetch: its header, and between its parts the batches, from
// the log.
//
//	| throttleMS i32 | error i16, session i32, from 7 on | list of topics | tags |
//	topic:     | name string | list of partitions | tags |
//	partition: | number i32 | error i16 | highWatermark i64 | stableEnd i64 | start i64, from 5 on | list of aborted transactions
//	           | preferred replica i32, from 11 on | batches, as bytes | tags |
func (c *Conn) answerFetch(k *call, bytes int) {
	f, flex := k.fetch, flexible(k.key, k.version)
	b := append(c.loop.Lane.Scratch(), 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(k.correlation))
	b = appendTags(b, flex)
	b = binary.BigEndian.AppendUint32(b, 0)
	if k.version >= 7 {
		b = append(b, 0, 0, 0, 0, 0, 0)
	}
	b = appendCount(b, flex, len(f.topics))
	var cuts []int // where the batches of partitions go into b
	n := 0
	for _, t := range f.topics {
		b = appendCount(appendText(b, flex, t.name), flex, t.parts)
		for range t.parts {
			b = c.appendFetched(b, flex, k.version, f, &f.parts[n])
			cuts = append(cuts, len(b))
			b = appendTags(b, flex)
			n++
		}
		b = appendTags(b, flex)
	}
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

// appendFetched appends what stands before the batches of a partition.
func (c *Conn) appendFetched(b []byte, flex bool, version int16, f *fetching, p *fetchedPart) []byte {
	end, stable, start := int64(c.loop.Lane.Ends[p.index]), int64(c.loop.Lane.StableEnd(p.index)), c.startOf(p.index)
	if p.code != codeNone && p.code != codeOffsetOutOfRange {
		end, stable = -1, -1
	}
	b = binary.BigEndian.AppendUint32(b, uint32(p.number))
	b = binary.BigEndian.AppendUint16(b, uint16(p.code))
	b = binary.BigEndian.AppendUint64(b, uint64(end))
	b = binary.BigEndian.AppendUint64(b, uint64(stable))
	if version >= 5 {
		b = binary.BigEndian.AppendUint64(b, uint64(start))
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
	for i := range f.parts {
		r := f.parts[i].read
		if r == 0 {
			continue
		}
		copy(c.link.Append(cuts[i]-from), b[from:cuts[i]])
		from = cuts[i]
		c.writeSpans(&c.loop.readings[r-1])
	}
	copy(c.link.Append(len(b)-from), b[from:])
}

// writeSpans queues the ranges of the log. Where one batch lies in several indexes, its base offset
// is that of another one and is replaced on the way out. Of a batch that is in this index in part
// only, that part goes out, from memory.
func (c *Conn) writeSpans(r *session.Reading) {
	for i := range r.Spans {
		s := &r.Spans[i]
		if cut := r.Cut(i); cut != nil {
			copy(c.link.Append(len(cut)), cut)
			continue
		}
		skip := 0
		if s.Rebase {
			skip = 8
			binary.BigEndian.PutUint64(c.link.Append(skip), s.Base)
		}
		c.link.WriteRange(s.Seg, s.Off+int64(skip), s.Len-skip)
	}
}
