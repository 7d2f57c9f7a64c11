package kafkaconn

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// What a share fetch has acquired becomes its response: whole batches from the log, and beside them
// which of their records are the member's. What retention has removed meanwhile is done with; what
// does not fit goes back.

// readShare reads what was acquired, and answers. Where batches shall be whole and of the last one
// only a part was acquired, the rest is asked for first.
func (c *Conn) readShare(k *call) {
	f := k.share
	slices.SortFunc(f.got, func(a, b shareRun) int {
		return cmp.Or(cmp.Compare(a.index, b.index), cmp.Compare(a.first, b.first))
	})
	c.learnAborted(k, func() {
		used, bytes := 0, 0
		for i := range f.got {
			c.readShareRun(f, &f.got[i], &used, &bytes)
		}
		if !f.strict && !f.aligned && c.align(k) {
			return
		}
		f.got = nil
		c.answerShare(k)
	})
}

// align asks for the rest of batches of which a part was acquired; false: there are none.
func (c *Conn) align(k *call) bool {
	f := k.share
	f.aligned = true
	for i := range f.told {
		t := &f.told[i]
		if len(t.acquired) == 0 {
			continue
		}
		last := t.acquired[len(t.acquired)-1]
		if rest := int(min(t.sent, c.loop.Lane.Ends[t.index])) - int(last.next); rest > 0 && f.session.queues[t.part.topic] == last.queue {
			f.pulls = append(f.pulls, &sharePull{topic: t.part.topic, m: ipc.PullFrom{
				Pull:    ipc.Pull{Queue: last.queue, Max: uint32(min(rest, maxShareLocks)), InvisibleMS: f.session.settings.lockMS},
				Indexes: []uint64{t.index},
			}})
		}
	}
	if len(f.pulls) == 0 {
		return false
	}
	for i := range f.told { // all is read again, with what comes
		t := &f.told[i]
		c.releaseShare([]shareReading{t.records})
		f.got = append(f.got, t.acquired...)
		t.records, t.acquired, t.sent, t.passed = shareReading{}, nil, 0, nil
	}
	f.gathering = true
	c.pullShare(k)
	return true
}

// readShareRun reads the batches of a run, as far as the response has room. used counts the readings
// of the loop that are in use, bytes what they hold.
func (c *Conn) readShareRun(f *sharing, run *shareRun, used, bytes *int) {
	p, known := c.loop.topics.byIndex[run.index]
	if !known {
		f.giveBack(run, ipc.VerdictUnsent, run.next)
		return
	}
	t := f.tell(sharePart{p.topic.id, p.number})
	t.index = run.index
	for run.first < run.next {
		if run.first >= t.sent {
			if !c.readShareBatches(f, t, run, used, bytes) {
				return
			}
			continue
		}
		next, passed := t.passes(run.first)
		if next = min(next, run.next); passed {
			f.giveBack(run, ipc.VerdictSkip, next)
			continue
		}
		part := *run
		part.next = next
		f.session.hold.add(part)
		t.acquired = append(t.acquired, part)
		run.first = part.next
	}
}

// readShareBatches reads the batches from the front of a run on; false: the run has no more to give.
func (c *Conn) readShareBatches(f *sharing, t *shareTold, run *shareRun, used, bytes *int) bool {
	if *bytes > 0 && *bytes >= f.maxBytes {
		f.giveBack(run, ipc.VerdictUnsent, run.next)
		return false
	}
	r := c.loop.readingAt(*used)
	err := c.readShared(r, f, run, max(1, f.maxBytes-*bytes))
	switch {
	case is(err, errcode.OffsetOutOfRange): // retention, or a hole that compaction has left
		next := run.next
		if start := uint64(c.startOf(run.index)); start > run.first {
			next = min(next, start)
		}
		f.giveBack(run, ipc.VerdictSkip, next)
		return run.first < run.next
	case err == nil && r.From > run.first: // compaction has left nothing there
		r.Release()
		f.giveBack(run, ipc.VerdictSkip, r.From)
		return run.first < run.next
	case err == nil && r.Bytes == 0: // nothing of it is committed
		r.Release()
		f.giveBack(run, ipc.VerdictSkip, min(run.next, r.End))
		return run.first < run.next
	case err != nil:
		t.code, t.text = codeOf(err), err.Error()
		f.giveBack(run, ipc.VerdictRequeue, run.next)
		return false
	case *bytes > 0 && r.Bytes > f.maxBytes-*bytes:
		r.Release()
		f.giveBack(run, ipc.VerdictUnsent, run.next)
		return false
	}
	if t.records.to == 0 {
		t.records.from = *used
	}
	if f.session.settings.committed {
		t.passOver(run.first, r)
	}
	*used++
	t.records.to, t.records.bytes, t.sent = *used, t.records.bytes+r.Bytes, r.End
	*bytes += r.Bytes
	return true
}

// giveBack has a verdict of ours passed with the answer, on the front of a run, which nobody gets.
func (f *sharing) giveBack(run *shareRun, v ipc.Verdict, next uint64) {
	part := *run
	part.next = next
	f.back = append(f.back, shareVerdict{verdict: v, of: part})
	run.first = next
}

// answerShare queues the response to a share fetch:
//
//	| throttleMS i32 | error i16 | text | lockMS i32 | list of topics | list of nodes | tags |
//	topic:     | id 16 | list of partitions | tags |
//	partition: | number i32 | error i16 | text | acknowledge error i16 | text | leader: (node i32 | epoch i32 | tags)
//	           | batches, as bytes | list of (first i64 | last i64 | delivered i16 | tags) | tags |
func (c *Conn) answerShare(k *call) {
	f := k.share
	b := append(c.loop.Lane.Scratch(), 0, 0, 0, 0)
	b = appendTags(binary.BigEndian.AppendUint32(b, uint32(k.correlation)), true)
	b = append(b, 0, 0, 0, 0, 0, 0)
	b = appendNull(b, true)
	b = binary.BigEndian.AppendUint32(b, uint32(f.session.settings.lockMS))
	topics := f.toldTopics()
	b = appendCount(b, true, len(topics))
	var cuts []int
	var order []*shareTold
	bytes := 0
	for _, id := range topics {
		b = append(b, id[:]...)
		parts := f.toldOf(id)
		b = appendCount(b, true, len(parts))
		for _, t := range parts {
			b = appendShareTold(b, t)
			cuts, order = append(cuts, len(b)), append(order, t)
			bytes += t.records.bytes
			b = appendAcquired(b, t.acquired)
		}
		b = appendTags(b, true)
	}
	b = appendTags(appendCount(b, true, 0), true)
	if len(b)-sizeBytes+bytes > math.MaxInt32 {
		c.fatal("the response to a share fetch is too large", k.requestHead)
	} else {
		binary.BigEndian.PutUint32(b, uint32(len(b)-sizeBytes+bytes))
		c.sendShare(b, cuts, order)
		c.loop.Lane.Counters.Add(shmqueue.ConnFetchedBytes, uint64(bytes))
	}
	for _, t := range order {
		c.releaseShare([]shareReading{t.records})
	}
	for _, v := range f.back {
		c.putVerdict(v.verdict, v.of.queue, v.of.index, v.of.lease, []ipc.Range{v.of.span()})
	}
	f.session.turn++
	c.keepShare(f.session, f.final)
	k.done = true
	c.flush()
}

// toldTopics lists the topics of which something is told.
func (f *sharing) toldTopics() (ids []topicID) {
	for i := range f.told {
		if id := f.told[i].part.topic; f.told[i].worth() && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// toldOf lists what is told of a topic.
func (f *sharing) toldOf(id topicID) (list []*shareTold) {
	for i := range f.told {
		if t := &f.told[i]; t.part.topic == id && t.worth() {
			list = append(list, t)
		}
	}
	return list
}

// worth tells whether there is anything to be told of a partition.
func (t *shareTold) worth() bool {
	return t.code != codeNone || t.acked || len(t.acquired) > 0
}

// appendShareTold appends what stands before the batches of a partition.
func appendShareTold(b []byte, t *shareTold) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(t.part.number))
	b = appendRefusal(b, t.code, t.text)
	b = appendRefusal(b, t.ackCode, t.ackText)
	b = binary.BigEndian.AppendUint32(b, nodeID)
	b = appendTags(binary.BigEndian.AppendUint32(b, leaderEpoch), true)
	return appendCount(b, true, t.records.bytes)
}

// appendRefusal appends an error code with its text, which is null where there is none.
func appendRefusal(b []byte, code int16, text string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	if code == codeNone || text == "" {
		return appendNull(b, true)
	}
	return appendText(b, true, text)
}

// appendAcquired appends which records are the member's.
func appendAcquired(b []byte, runs []shareRun) []byte {
	b = appendCount(b, true, len(runs))
	for _, r := range runs {
		b = binary.BigEndian.AppendUint64(b, r.first)
		b = binary.BigEndian.AppendUint64(b, r.next-1)
		b = binary.BigEndian.AppendUint16(b, uint16(min(int(r.attempts)+1, math.MaxInt16)))
		b = appendTags(b, true)
	}
	return appendTags(b, true)
}

// sendShare queues the response, with the batches at their places.
func (c *Conn) sendShare(b []byte, cuts []int, order []*shareTold) {
	from := 0
	for i, t := range order {
		if t.records.bytes == 0 {
			continue
		}
		copy(c.link.Append(cuts[i]-from), b[from:cuts[i]])
		from = cuts[i]
		for j := t.records.from; j < t.records.to; j++ {
			c.loop.readings[j].Send(c.link)
		}
	}
	copy(c.link.Append(len(b)-from), b[from:])
}
