package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/ipc"
)

// txnOffsetCommit has positions of a group committed with a producer's transaction. What names a
// partition that is not there, or cannot be stored, is left out; the rest is taken, or refused, together.
func (c *Conn) txnOffsetCommit(k *call, m *kmsg.TxnOffsetCommitRequest) {
	resp := kmsg.NewPtrTxnOffsetCommitResponse()
	list := fillHeld(m, resp)
	c.askResolved(k, list, func(done func(error)) {
		offsets := c.heldOffsets(m, resp)
		if len(offsets) == 0 {
			c.finish(k, resp)
			return
		}
		c.ask(k, ipc.TypeTxnOffsets, func(head ipc.Head, b []byte) []byte {
			record := ipc.TxnOffsets{
				Head: head, Txnal: ipc.Txnal{ID: m.TransactionalID, ProducerID: m.ProducerID, Epoch: m.ProducerEpoch},
				Group: m.Group, Member: m.MemberID, Instance: orEmpty(m.InstanceID), Generation: -1, Joins: m.Version >= joiningOffsets, Offsets: offsets,
			}
			if m.Version >= 3 {
				record.Generation = m.Generation
			}
			return record.Append(b)
		}, func(a answer) {
			_, err := decoded(c, a, ipc.DecodeDone)
			done(err)
		})
	}, func(err error) { c.finish(k, heldResponse(m, resp, err)) })
}

// fillHeld makes the response, in which nothing has failed yet, and lists the partitions that are named.
func fillHeld(m *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) (list []wanted) {
	for i := range m.Topics {
		t := kmsg.NewTxnOffsetCommitResponseTopic()
		t.Topic = m.Topics[i].Topic
		for _, p := range m.Topics[i].Partitions {
			list = append(list, wanted{t.Topic, p.Partition})
			done := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			done.Partition = p.Partition
			t.Partitions = append(t.Partitions, done)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return list
}

// heldOffsets lists the positions that can be held, and says of the others why they cannot.
func (c *Conn) heldOffsets(m *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse) (offsets []ipc.OffsetCommit) {
	for i := range m.Topics {
		t := c.loop.topics.byName[m.Topics[i].Topic]
		for j := range m.Topics[i].Partitions {
			p, done := &m.Topics[i].Partitions[j], &resp.Topics[i].Partitions[j]
			index, ok := t.index(p.Partition)
			done.ErrorCode = commitCode(ok, p.Offset, orEmpty(p.Metadata))
			if ok && !c.may(access.Read, t.name) {
				done.ErrorCode = codeTopicDenied
			}
			if done.ErrorCode == codeNone {
				offsets = append(offsets, ipc.OffsetCommit{Index: index, Offset: uint64(p.Offset), Metadata: orEmpty(p.Metadata), Leader: leader(p.LeaderEpoch)})
			}
		}
	}
	return offsets
}

// heldResponse completes the response. A fenced producer has, to groups, a wrong epoch.
func heldResponse(m *kmsg.TxnOffsetCommitRequest, resp *kmsg.TxnOffsetCommitResponse, err error) *kmsg.TxnOffsetCommitResponse {
	code := fencedCode(err, false)
	if code != codeInvalidProducerEpoch {
		code = groupCode(m.Group, err)
	}
	for i := range resp.Topics {
		for j := range resp.Topics[i].Partitions {
			if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
				p.ErrorCode = code
			}
		}
	}
	return resp
}
