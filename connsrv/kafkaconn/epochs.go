package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// offsetForLeaderEpoch tells where a leader epoch has ended. There is one only, and it goes on.
func (c *Conn) offsetForLeaderEpoch(k *call, m *kmsg.OffsetForLeaderEpochRequest) {
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	var list []wanted
	for i := range m.Topics {
		t := kmsg.NewOffsetForLeaderEpochResponseTopic()
		t.Topic = m.Topics[i].Topic
		for _, p := range m.Topics[i].Partitions {
			list = append(list, wanted{t.Topic, p.Partition})
			ends := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			ends.Partition, ends.LeaderEpoch, ends.EndOffset = p.Partition, -1, -1
			ends.ErrorCode = epochCode(p.CurrentLeaderEpoch)
			t.Partitions = append(t.Partitions, ends)
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.resolve(k, list, func(error) {
		all := newTally(func() { c.finish(k, resp) })
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				all.begin()
				c.findEpochEnd(k, resp.Topics[i].Topic, m.Topics[i].Partitions[j].LeaderEpoch, &resp.Topics[i].Partitions[j], all.done)
			}
		}
		all.done()
	})
}

// findEpochEnd finds the end of an epoch in one partition, and then calls done.
func (c *Conn) findEpochEnd(k *call, name string, epoch int32, p *kmsg.OffsetForLeaderEpochResponseTopicPartition, done func()) {
	index, ok := c.loop.topics.byName[name].index(p.Partition)
	switch {
	case !c.maySee(name):
		p.ErrorCode = codeTopicDenied
	case p.ErrorCode != codeNone:
	case !ok:
		p.ErrorCode = codeUnknownTopic
	case epoch != leaderEpoch: // nothing was ever written in it
	default:
		c.askEnd(k, index, ipc.WaitNow, func(end uint64, err error) {
			if is(err, errcode.UnknownIndex) {
				c.loop.topics.forgetIndex(index)
			}
			if p.ErrorCode = codeOf(err); err == nil {
				p.LeaderEpoch, p.EndOffset = leaderEpoch, int64(end)
			}
			done()
		})
		return
	}
	done()
}
