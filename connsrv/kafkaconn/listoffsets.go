package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Times of ListOffsets that are none.
const (
	timeLatest        = -1
	timeEarliest      = -2
	timeMax           = -3 // from version 7 on: the record with the latest time
	timeEarliestLocal = -4 // from 8 on: of what is not in a remote store
	timeLatestTiered  = -5 // from 9 on: the last one in a remote store
	timePendingUpload = -6 // from 11 on: the first one that is on its way there
)

// sinceVersion is the version of ListOffsets from which on a time that is none is understood.
var sinceVersion = map[int64]int16{timeMax: 7, timeEarliestLocal: 8, timeLatestTiered: 9, timePendingUpload: 11}

// listOffsets finds offsets by time. Each visible end is asked for: all answers are bounded by it. What is stored
// by then is waited for: a producer that asks for less than its topic's level (acks=1) was told of it before it is visible.
func (c *Conn) listOffsets(k *call, m *kmsg.ListOffsetsRequest) {
	resp := kmsg.NewPtrListOffsetsResponse()
	var list []wanted
	for i := range m.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = m.Topics[i].Topic
		for _, p := range m.Topics[i].Partitions {
			list = append(list, wanted{t.Topic, p.Partition})
			found := kmsg.NewListOffsetsResponseTopicPartition()
			found.Partition, found.Timestamp, found.Offset, found.LeaderEpoch = p.Partition, -1, -1, -1
			if found.ErrorCode = epochCode(p.CurrentLeaderEpoch); m.Version < sinceVersion[p.Timestamp] {
				found.ErrorCode = codeUnsupportedVersion
			}
			t.Partitions = append(t.Partitions, found)
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.resolve(k, list, func(err error) {
		all := newTally(func() { c.finish(k, resp) })
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				all.begin()
				c.findOffset(k, m.IsolationLevel == readsCommitted, resp.Topics[i].Topic, m.Topics[i].Partitions[j].Timestamp, &resp.Topics[i].Partitions[j], all.done)
			}
		}
		all.done()
	})
}

// readsCommitted is the isolation level of those who read committed messages alone.
const readsCommitted = 1

// findOffset finds one offset, below the stable end if that is wanted, and then calls done.
func (c *Conn) findOffset(k *call, committed bool, name string, timeMS int64, p *kmsg.ListOffsetsResponseTopicPartition, done func()) {
	index, ok := c.loop.topics.byName[name].index(p.Partition)
	switch {
	case p.ErrorCode != codeNone:
	case !c.maySee(name):
		p.ErrorCode = codeTopicDenied
	case !ok:
		p.ErrorCode = codeUnknownTopic
	default:
		c.askEnd(k, index, ipc.WaitStored, func(end uint64, err error) {
			if committed {
				end = c.loop.Lane.StableEnd(index)
			}
			if err == nil {
				err = c.offsetAt(index, timeMS, end, p)
			}
			if is(err, errcode.UnknownIndex) {
				c.loop.topics.forgetIndex(index)
			}
			p.ErrorCode = codeOf(err)
			done()
		})
		return
	}
	done()
}

// offsetAt fills in the offset of a time, given the visible end.
func (c *Conn) offsetAt(index uint64, timeMS int64, end uint64, p *kmsg.ListOffsetsResponseTopicPartition) error {
	switch {
	case timeMS == timeLatest:
		p.Offset, p.LeaderEpoch = int64(end), leaderEpoch
		return nil
	case timeMS == timeEarliest, timeMS == timeEarliestLocal:
		start, err := c.loop.Lane.StartOf(index)
		p.Offset, p.LeaderEpoch = int64(start), leaderEpoch
		return err
	case timeMS == timeLatestTiered, timeMS == timePendingUpload:
		return nil // there is no remote store
	case timeMS == timeMax:
		latest, err := c.loop.Lane.LatestTime(index, end)
		if err != nil || latest < 0 {
			return err
		}
		timeMS = latest
	case timeMS < 0:
		return errcode.New(errcode.InvalidArgument, "a time of %d", timeMS)
	}
	found, ok, err := c.byTime(index, timeMS, end)
	if err == nil && ok {
		p.Offset, p.Timestamp, p.LeaderEpoch = int64(found.offset), found.timeMS, leaderEpoch
	}
	return err
}
