package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/ipc"
)

// The first versions whose clients leave it to the broker what belongs to a transaction, and which epoch is next
// (KIP-890, "transactions v2").
const (
	joiningProduce = 12 // its batches add their partitions to the transaction
	joiningOffsets = 5  // TxnOffsetCommit adds its group
	bumpingEndTxn  = 5
)

// endTxn commits a producer's transaction or aborts it. When it is answered it is done: there is no time
// at which it has been prepared and not finished. From the version of KIP-890 on the producer goes on with the next
// epoch, so that nothing that it has sent for this transaction can become part of the next one.
func (c *Conn) endTxn(k *call, m *kmsg.EndTxnRequest) {
	resp := kmsg.NewPtrEndTxnResponse()
	c.ask(k, ipc.TypeTxnFinish, func(head ipc.Head, b []byte) []byte {
		record := ipc.TxnFinish{
			Head: head, Commit: m.Commit, Bump: m.Version >= bumpingEndTxn, Txnal: ipc.Txnal{ID: m.TransactionalID, ProducerID: m.ProducerID, Epoch: m.ProducerEpoch},
		}
		return record.Append(b)
	}, func(a answer) {
		r, err := decoded(c, a, ipc.DecodeProducer)
		if resp.ErrorCode = fencedCode(err, m.Version >= 2); err == nil {
			resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.Epoch
		}
		c.finish(k, resp)
	})
}

// initTxnal gives a transactional producer its id and epoch. What its predecessor left open is aborted
// with that.
func (c *Conn) initTxnal(k *call, m *kmsg.InitProducerIDRequest, resp *kmsg.InitProducerIDResponse) {
	record := ipc.InitTxnal{ID: *m.TransactionalID, TimeoutMS: uint32(max(0, m.TransactionTimeoutMillis)), ProducerID: -1, Epoch: -1}
	if m.Version >= 3 {
		record.ProducerID, record.Epoch = m.ProducerID, m.ProducerEpoch
	}
	c.ask(k, ipc.TypeInitTxnal, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		r, err := decoded(c, a, ipc.DecodeProducer)
		if resp.ErrorCode = fencedCode(err, m.Version >= 4); err == nil {
			resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.Epoch
		}
		c.finish(k, resp)
	})
}
