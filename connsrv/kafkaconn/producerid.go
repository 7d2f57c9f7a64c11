package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/ipc"
)

// initProducerID gives an idempotent producer its id, or another epoch.
func (c *Conn) initProducerID(k *call, m *kmsg.InitProducerIDRequest) {
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	if m.TransactionalID != nil {
		c.initTxnal(k, m, resp)
		return
	}
	record := ipc.InitProducer{ProducerID: -1, Epoch: -1}
	if m.Version >= 3 {
		record.ProducerID, record.Epoch = m.ProducerID, m.ProducerEpoch
	}
	c.ask(k, ipc.TypeInitProducer, func(head ipc.Head, b []byte) []byte {
		record.Head = head
		return record.Append(b)
	}, func(a answer) {
		r, err := decoded(c, a, ipc.DecodeProducer)
		if resp.ErrorCode = codeOf(err); err == nil {
			resp.ProducerID, resp.ProducerEpoch = r.ProducerID, r.Epoch
		}
		c.finish(k, resp)
	})
}
