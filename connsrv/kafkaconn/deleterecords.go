package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// toEnd is the offset with which a client asks for all that is visible to be deleted.
const toEnd = -1

// deleteRecords lets partitions begin later, each by itself.
func (c *Conn) deleteRecords(k *call, m *kmsg.DeleteRecordsRequest) {
	resp := kmsg.NewPtrDeleteRecordsResponse()
	var list []wanted
	for i := range m.Topics {
		t := kmsg.NewDeleteRecordsResponseTopic()
		t.Topic = m.Topics[i].Topic
		for _, p := range m.Topics[i].Partitions {
			list = append(list, wanted{t.Topic, p.Partition})
			begins := kmsg.NewDeleteRecordsResponseTopicPartition()
			begins.Partition, begins.LowWatermark = p.Partition, -1
			t.Partitions = append(t.Partitions, begins)
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.resolve(k, list, func(error) {
		all := newTally(func() { c.finish(k, resp) })
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				all.begin()
				c.deleteBelow(k, resp.Topics[i].Topic, m.Topics[i].Partitions[j].Offset, &resp.Topics[i].Partitions[j], all.done)
			}
		}
		all.done()
	})
}

// deleteBelow lets one partition begin at an offset, and then calls done.
func (c *Conn) deleteBelow(k *call, name string, offset int64, p *kmsg.DeleteRecordsResponseTopicPartition, done func()) {
	t := c.loop.topics.byName[name]
	index, ok := t.index(p.Partition)
	switch {
	case !c.may(access.Configure, name):
		p.ErrorCode = codeTopicDenied
	case !ok:
		p.ErrorCode = codeUnknownTopic
	case !t.set.Delete:
		p.ErrorCode = codePolicyViolation // as Kafka has it: it is compaction that deletes
	case offset < toEnd:
		p.ErrorCode = codeOffsetOutOfRange
	case offset == toEnd:
		c.askEnd(k, index, ipc.WaitNow, func(end uint64, err error) {
			if err != nil {
				p.ErrorCode = codeOf(err)
				done()
				return
			}
			c.beginAt(k, index, end, p, done)
		})
		return
	default:
		c.beginAt(k, index, uint64(offset), p, done)
		return
	}
	done()
}

// beginAt has logicsrv decide it, and reads then where the partition begins.
func (c *Conn) beginAt(k *call, index, offset uint64, p *kmsg.DeleteRecordsResponseTopicPartition, done func()) {
	body := &admin.DeleteRecords{To: []admin.SeekTo{{Index: index, Offset: offset}}}
	c.admin(k, admin.CmdDeleteRecords, body, func(_ []byte, err error) {
		if is(err, errcode.UnknownIndex) {
			c.loop.topics.forgetIndex(index)
		}
		if p.ErrorCode = codeOf(err); err == nil {
			p.LowWatermark = max(int64(offset), c.startOf(index))
		}
		done()
	})
}
