package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
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
// Which partitions those are the request says, or the session that it continues (fetchsession.go).

// Bounds of a fetch.
const (
	maxFetchBytes  = 55 << 20 // of batches in one response, but for the first one
	maxFetchWaitMS = 10 * 60 * 1000
	// noWaitMS is up to which wait a fetch asks for the visible end instead of waiting for more.
	noWaitMS = 10
)

// fetching is a Fetch request.
type fetching struct {
	parts      []fetchedPart
	told       []int // the places of those of which the response tells, once it is made
	maxBytes   int
	minBytes   int
	deadlineMS int64
	committed  bool
	byID       bool // topics are named by their ids

	session *fetchSession // a copy, which takes the place of the session with the answer; nil: there is none
	partial bool          // it goes on with a session: the response tells only what is new
	ends    int32         // the session that ends with the answer; 0: none
}

// fetchedPart is a partition that is fetched, and what became of that.
type fetchedPart struct {
	sessionPart
	code    int16
	index   uint64
	certain bool // the visible end that is known is one of since the request came
	read    int  // of Loop.readings, counted from 1 on; 0: there is nothing

	end, stable, start int64 // as the response tells them
}

// topicIDFetch is the first version of Fetch that names topics by their ids.
const topicIDFetch = 13

// fetch begins a fetch.
func (c *Conn) fetch(k *call, m *kmsg.FetchRequest) {
	f := &fetching{
		maxBytes: maxFetchBytes, minBytes: int(m.MinBytes), committed: m.IsolationLevel == readsCommitted,
		deadlineMS: k.begunMS + int64(min(max(m.MaxWaitMillis, 0), maxFetchWaitMS)), byID: m.Version >= topicIDFetch,
	}
	if m.MaxBytes > 0 {
		f.maxBytes = min(f.maxBytes, int(m.MaxBytes))
	}
	if code := c.followFetch(f, m); code != codeNone {
		c.refuseFetch(k, code)
		return
	}
	k.fetch = f
	c.nameTopics(k, f.byID, len(f.parts), func(i int) (topicID, *string) { return f.parts[i].id, &f.parts[i].topic }, func(err error) {
		if err != nil {
			c.fetchFound(k, err)
			return
		}
		list := make([]wanted, 0, len(f.parts))
		for i := range f.parts {
			if p := &f.parts[i]; p.topic != "" {
				list = append(list, wanted{p.topic, p.number})
			}
		}
		c.resolve(k, list, func(err error) { c.fetchFound(k, err) })
	})
}

// fetchFound goes on with a fetch whose partitions have been looked up.
func (c *Conn) fetchFound(k *call, err error) {
	f := k.fetch
	for i := range f.parts {
		p := &f.parts[i]
		t := c.loop.topics.byName[p.topic]
		if f.byID {
			t = c.loop.topics.byID[p.id]
		}
		index, ok := t.index(p.number)
		switch p.index = index; {
		case ok:
		case err != nil: // nothing is known of it: the client shall ask again
			p.code = codeNotLeader
		case t == nil && f.byID:
			p.code = codeUnknownTopicID
		default:
			p.code = codeUnknownTopic
		}
		switch {
		case ok && !c.mayFetch(f, i):
			p.code, p.index = codeTopicDenied, 0
		case ok:
			p.code = epochCode(p.leaderEpoch)
		}
	}
	c.askEnds(k)
	c.continueFetch(k)
}

// mayFetch tells whether the client may read a partition's topic. Of neighbours of one topic the first is looked at.
func (c *Conn) mayFetch(f *fetching, i int) bool {
	if i > 0 && f.parts[i-1].topic == f.parts[i].topic && f.parts[i-1].index != 0 {
		return true
	}
	return c.may(access.Read, f.parts[i].topic)
}

// codeOf is what a fetch is told of an error about a partition.
func (f *fetching) codeOf(err error) int16 {
	if f.byID && is(err, errcode.UnknownIndex) {
		return codeUnknownTopicID
	}
	return codeOf(err)
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
				p.code = f.codeOf(err)
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
	c.askEnd(k, p.index, ipc.WaitNow, func(end uint64, err error) {
		if err == nil && f.committed && c.loop.Lane.Stables[p.index] != nil { // as it turns out
			c.askStable(k, p.index, uint64(p.offset), then)
			return
		}
		then(end, err)
	})
}

// askEnd asks for the visible end of an index: as it is now (ipc.WaitNow), or when all that is stored by now
// is visible (ipc.WaitStored).
func (c *Conn) askEnd(k *call, index, beyond uint64, then func(end uint64, err error)) {
	c.ask(k, ipc.TypeWait, func(head ipc.Head, b []byte) []byte {
		m := ipc.Wait{Head: head, Index: index, Beyond: beyond}
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
			if err := lane.Read(r, p.index, uint64(p.offset), end, min(max(0, int(p.maxBytes)), f.maxBytes-bytes)); err != nil {
				c.unread(f, p, err)
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
func (c *Conn) unread(f *fetching, p *fetchedPart, err error) {
	if p.code = f.codeOf(err); is(err, errcode.UnknownIndex) {
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
	f := c.line[0].fetch
	for i := range f.parts {
		if p := &f.parts[i]; p.index == index && p.code == codeNone && err != nil {
			p.code = f.codeOf(err)
		}
	}
	c.continueFetch(c.line[0])
}
