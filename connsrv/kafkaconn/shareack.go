package kafkaconn

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// What members of share groups say of the records that they have acquired. Each partition's
// acknowledgements are taken as a whole or not at all, and answered when they are as safe as the
// topic is.

// The kinds of acknowledgements.
const (
	shareGap     = 0 // there is no record at this offset, or it is one of Kafka's own
	shareAccept  = 1
	shareRelease = 2
	shareReject  = 3
	shareRenew   = 4 // the lock begins anew
)

// shareVerdicts are our words for theirs.
var shareVerdicts = map[int8]ipc.Verdict{
	shareGap: ipc.VerdictSkip, shareAccept: ipc.VerdictAck, shareRelease: ipc.VerdictRequeue, shareReject: ipc.VerdictReject,
}

// partAcks is what is said of one partition.
type partAcks struct {
	part    sharePart
	batches []kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch
}

// shareAcks lists the acknowledgements of a share fetch.
func shareAcks(m *kmsg.ShareFetchRequest) (list []partAcks) {
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			if len(p.AcknowledgementBatches) == 0 {
				continue
			}
			a := partAcks{part: sharePart{m.Topics[i].TopicID, p.Partition}}
			for _, b := range p.AcknowledgementBatches {
				a.batches = append(a.batches, kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch{
					FirstOffset: b.FirstOffset, LastOffset: b.LastOffset, AcknowledgeTypes: b.AcknowledgeTypes,
				})
			}
			list = append(list, a)
		}
	}
	return list
}

// topicsOf lists the topics of acknowledgements.
func topicsOf(list []partAcks) (ids []topicID) {
	for i := range list {
		if !slices.Contains(ids, list[i].part.topic) {
			ids = append(ids, list[i].part.topic)
		}
	}
	return ids
}

// shareAcknowledge settles what a member has acquired.
func (c *Conn) shareAcknowledge(k *call, m *kmsg.ShareAcknowledgeRequest) {
	resp := kmsg.NewPtrShareAcknowledgeResponse()
	s, code, text := c.shareSessionFor(m.GroupID, m.MemberID, m.ShareSessionEpoch, false)
	if code != codeNone {
		resp.ErrorCode, resp.ErrorMessage = code, &text
		c.finish(k, resp)
		return
	}
	var acks []partAcks
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			acks = append(acks, partAcks{sharePart{m.Topics[i].TopicID, p.Partition}, p.AcknowledgementBatches})
		}
	}
	c.knowTopics(k, topicsOf(acks), func(err error) {
		c.acknowledge(k, s, acks, func(done []shareTold) {
			c.keepShare(s, m.ShareSessionEpoch == shareEpochFinal)
			resp.AcquisitionLockTimeoutMillis, resp.ErrorCode, resp.ErrorMessage = int32(s.settings.lockMS), codeOf(err), textOf(err)
			for i := range done {
				acknowledged(resp, &done[i])
			}
			c.finish(k, resp)
		})
	})
}

// acknowledged enters what has become of one partition's acknowledgements.
func acknowledged(resp *kmsg.ShareAcknowledgeResponse, t *shareTold) {
	at := slices.IndexFunc(resp.Topics, func(r kmsg.ShareAcknowledgeResponseTopic) bool { return r.TopicID == t.part.topic })
	if at < 0 {
		topic := kmsg.NewShareAcknowledgeResponseTopic()
		topic.TopicID = t.part.topic
		at, resp.Topics = len(resp.Topics), append(resp.Topics, topic)
	}
	p := kmsg.NewShareAcknowledgeResponseTopicPartition()
	p.Partition, p.ErrorCode, p.ErrorMessage = t.part.number, t.ackCode, orNull(t.ackText)
	resp.Topics[at].Partitions = append(resp.Topics[at].Partitions, p)
}

// acknowledge settles acknowledgements; then gets what has become of each partition's.
func (c *Conn) acknowledge(k *call, s *shareSession, acks []partAcks, then func([]shareTold)) {
	done := make([]shareTold, len(acks))
	all := newTally(func() { then(done) })
	for i := range acks {
		t := &done[i]
		t.part, t.acked = acks[i].part, true
		all.begin()
		c.settle(k, s, &acks[i], func(code int16, text string) {
			t.ackCode, t.ackText = code, text
			all.done()
		})
	}
	all.done()
}

// settle passes the verdicts on one partition.
func (c *Conn) settle(k *call, s *shareSession, a *partAcks, then func(code int16, text string)) {
	t := c.loop.topics.byID[a.part.topic]
	index, ok := t.index(a.part.number)
	switch {
	case t == nil:
		then(codeUnknownTopicID, "there is no topic with this id")
		return
	case !ok:
		then(codeUnknownTopic, "there is no such partition")
		return
	}
	if text := checkAcks(a.batches); text != "" {
		then(codeInvalidRequest, text)
		return
	}
	for _, b := range a.batches {
		if !s.hold.covers(index, uint64(b.FirstOffset), uint64(b.LastOffset)+1) {
			then(codeInvalidRecordState, fmt.Sprintf("of the records from %d to %d some are not acquired", b.FirstOffset, b.LastOffset))
			return
		}
	}
	c.passVerdicts(k, s, s.verdicts(index, a.batches), then)
}

// checkAcks says what is wrong with the acknowledgements of a partition, whoever has acquired what.
func checkAcks(batches []kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch) string {
	last := int64(-1)
	for _, b := range batches {
		n := len(b.AcknowledgeTypes)
		switch {
		case b.FirstOffset < 0 || b.LastOffset < b.FirstOffset || b.FirstOffset <= last:
			return "acknowledgements stand in order of offset, and have a first and a last one"
		case b.LastOffset-b.FirstOffset >= 1<<31:
			return "an acknowledgement of so many offsets"
		case n != 1 && int64(n) != b.LastOffset-b.FirstOffset+1:
			return "an acknowledgement has one type, or one for each offset"
		case slices.ContainsFunc(b.AcknowledgeTypes, func(t int8) bool { return t < shareGap || t > shareRenew }):
			return "there is no such type of acknowledgement"
		}
		last = b.LastOffset
	}
	return ""
}

// shareVerdict is a verdict on runs of one lease, or the renewal of it.
type shareVerdict struct {
	kind    int8        // of acknowledgement, where a member has passed it
	verdict ipc.Verdict // where it is our own
	of      shareRun    // queue, index and lease count
	runs    []shareRun
}

// verdicts gathers acknowledgements by lease and kind. What is settled is no longer held; what is
// renewed is.
func (s *shareSession) verdicts(index uint64, batches []kmsg.ShareAcknowledgeRequestTopicPartitionAcknowledgementBatch) (list []shareVerdict) {
	enter := func(kind int8, first, next uint64) {
		runs := s.hold.within(index, first, next)
		if kind != shareRenew {
			runs = s.hold.take(index, first, next)
		}
		for _, r := range runs {
			at := slices.IndexFunc(list, func(v shareVerdict) bool {
				return v.kind == kind && v.of.lease == r.lease && len(v.runs) < maxShareRanges
			})
			if at < 0 {
				at, list = len(list), append(list, shareVerdict{kind: kind, of: r})
			}
			list[at].runs = append(list[at].runs, r)
		}
	}
	for _, b := range batches {
		first, next := uint64(b.FirstOffset), uint64(b.LastOffset)+1
		if len(b.AcknowledgeTypes) == 1 {
			enter(b.AcknowledgeTypes[0], first, next)
			continue
		}
		for i := 0; i < len(b.AcknowledgeTypes); {
			j := i + 1
			for j < len(b.AcknowledgeTypes) && b.AcknowledgeTypes[j] == b.AcknowledgeTypes[i] {
				j++
			}
			enter(b.AcknowledgeTypes[i], first+uint64(i), first+uint64(j))
			i = j
		}
	}
	return list
}

// passVerdicts passes verdicts to logicsrv; then gets the first refusal.
func (c *Conn) passVerdicts(k *call, s *shareSession, list []shareVerdict, then func(code int16, text string)) {
	code, text := int16(codeNone), ""
	all := newTally(func() { then(code, text) })
	done := func(err error) {
		if err != nil && code == codeNone {
			if code, text = codeOf(err), err.Error(); is(err, errcode.LeaseExpired) || is(err, errcode.OffsetOutOfRange) {
				code = codeInvalidRecordState
			}
		}
		all.done()
	}
	for i := range list {
		if v := &list[i]; v.kind == shareRenew {
			for _, r := range v.runs {
				c.renew(k, s, r, all, done)
			}
		} else {
			all.begin()
			c.passVerdict(k, v, done)
		}
	}
	all.done()
}

// passVerdict passes one verdict.
func (c *Conn) passVerdict(k *call, v *shareVerdict, done func(error)) {
	m := ipc.Ack{Queue: v.of.queue, Index: v.of.index, Lease: v.of.lease, Verdict: shareVerdicts[v.kind]}
	for i := range v.runs {
		m.Ranges = append(m.Ranges, v.runs[i].span())
	}
	c.ask(k, ipc.TypeAck, func(head ipc.Head, b []byte) []byte {
		m.Head = head
		return m.Append(b)
	}, func(a answer) {
		_, err := decoded(c, a, ipc.DecodeDone)
		done(err)
	})
}

// renew begins the lock of a run anew, offset by offset as leases are moved.
func (c *Conn) renew(k *call, s *shareSession, run shareRun, all *tally, done func(error)) {
	run.untilMS = c.link.NowMS() + int64(s.settings.lockMS)
	s.hold.add(run)
	for offset := run.first; offset < run.next; offset++ {
		all.begin()
		c.ask(k, ipc.TypeExtend, func(head ipc.Head, b []byte) []byte {
			m := ipc.Extend{Head: head, Queue: run.queue, Index: run.index, Offset: offset, Lease: run.lease, InvisibleMS: s.settings.lockMS}
			return m.Append(b)
		}, func(a answer) {
			_, err := decoded(c, a, ipc.DecodeDone)
			done(err)
		})
	}
}
