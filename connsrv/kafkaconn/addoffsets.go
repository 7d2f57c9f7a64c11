package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/ipc"
)

// addOffsets makes a group part of a producer's transaction: positions of it may be committed with that.
func (c *Conn) addOffsets(k *call, m *kmsg.AddOffsetsToTxnRequest) {
	resp := kmsg.NewPtrAddOffsetsToTxnResponse()
	if m.Group == "" {
		resp.ErrorCode = codeInvalidGroupID
		c.finish(k, resp)
		return
	}
	c.ask(k, ipc.TypeTxnAdd, func(head ipc.Head, b []byte) []byte {
		record := ipc.TxnAdd{Head: head, Group: m.Group, Txnal: ipc.Txnal{ID: m.TransactionalID, ProducerID: m.ProducerID, Epoch: m.ProducerEpoch}}
		return record.Append(b)
	}, func(a answer) {
		_, err := decoded(c, a, ipc.DecodeDone)
		resp.ErrorCode = fencedCode(err, m.Version >= 2)
		c.finish(k, resp)
	})
}
