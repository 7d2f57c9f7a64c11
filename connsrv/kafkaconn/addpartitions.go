package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// addPartitions makes partitions part of a producer's transaction: all of them or none.
func (c *Conn) addPartitions(k *call, m *kmsg.AddPartitionsToTxnRequest) {
	var list []wanted
	for i := range m.Topics {
		for _, number := range m.Topics[i].Partitions {
			list = append(list, wanted{m.Topics[i].Topic, number})
		}
	}
	c.askResolved(k, list, func(done func(error)) {
		record := ipc.TxnAdd{Txnal: ipc.Txnal{ID: m.TransactionalID, ProducerID: m.ProducerID, Epoch: m.ProducerEpoch}}
		for _, w := range list {
			index, ok := c.loop.topics.byName[w.name].index(w.number)
			if !ok || !c.may(access.Write, w.name) {
				c.finish(k, c.added(m, codeNotAttempted))
				return
			}
			record.Parts = append(record.Parts, ipc.TxnPart{Index: index, Start: uint64(max(0, c.startOf(index)))})
		}
		if len(list) > ipc.MaxTxnPartitions {
			c.finish(k, c.added(m, codePolicyViolation))
			return
		}
		c.ask(k, ipc.TypeTxnAdd, func(head ipc.Head, b []byte) []byte {
			record.Head = head
			return record.Append(b)
		}, func(a answer) {
			_, err := decoded(c, a, ipc.DecodeDone)
			done(err)
		})
	}, func(err error) { c.finish(k, c.added(m, fencedCode(err, m.Version >= 2))) })
}

// added makes the response: a code for all partitions. Where none is added because some cannot be, those say why.
func (c *Conn) added(m *kmsg.AddPartitionsToTxnRequest, code int16) *kmsg.AddPartitionsToTxnResponse {
	resp := addedAll(m, code)
	for i := range resp.Topics {
		t := &resp.Topics[i]
		for j := range t.Partitions {
			_, ok := c.loop.topics.byName[t.Topic].index(t.Partitions[j].Partition)
			switch {
			case code != codeNotAttempted:
			case !ok:
				t.Partitions[j].ErrorCode = codeUnknownTopic
			case !c.may(access.Write, t.Topic):
				t.Partitions[j].ErrorCode = codeTopicDenied
			}
		}
	}
	return resp
}

// addedAll makes the response with one code for all partitions.
func addedAll(m *kmsg.AddPartitionsToTxnRequest, code int16) *kmsg.AddPartitionsToTxnResponse {
	resp := kmsg.NewPtrAddPartitionsToTxnResponse()
	for i := range m.Topics {
		t := kmsg.NewAddPartitionsToTxnResponseTopic()
		t.Topic = m.Topics[i].Topic
		for _, number := range m.Topics[i].Partitions {
			p := kmsg.NewAddPartitionsToTxnResponseTopicPartition()
			p.Partition, p.ErrorCode = number, code
			t.Partitions = append(t.Partitions, p)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// fencedCode is Kafka's code for an error about a transaction. Versions that do not know of fencing call it
// a wrong epoch.
func fencedCode(err error, known bool) int16 {
	if is(err, errcode.TxnalFenced) && !known {
		return codeInvalidProducerEpoch
	}
	return codeOf(err)
}
