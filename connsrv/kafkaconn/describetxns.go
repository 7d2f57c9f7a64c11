package kafkaconn

import (
	"regexp"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// txnStates are Kafka's words for how the last transaction under an id stands. There is none for one that
// is prepared: nothing is.
var txnStates = map[admin.TxnalPhase]string{
	admin.TxnalNew: "Empty", admin.TxnalOpen: "Ongoing", admin.TxnalCommitted: "CompleteCommit", admin.TxnalAborted: "CompleteAbort",
}

// describeTransactions tells of transactional ids, and of the partitions of their open transactions.
func (c *Conn) describeTransactions(k *call, m *kmsg.DescribeTransactionsRequest) {
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	known := map[string]*admin.TxnalInfo{}
	if len(m.TransactionalIDs) == 0 {
		c.finish(k, resp)
		return
	}
	c.describe(k, admin.Describe{Kind: admin.KindTxnal, Names: m.TransactionalIDs}, func(d *admin.Description) {
		for i := range d.Txnals {
			known[d.Txnals[i].ID] = &d.Txnals[i]
		}
	}, func(err error) {
		for _, id := range m.TransactionalIDs {
			t := kmsg.NewDescribeTransactionsResponseTransactionState()
			t.TransactionalID, t.ProducerID, t.ProducerEpoch, t.StartTimestamp = id, -1, -1, -1
			switch info := known[id]; {
			case err != nil:
				t.ErrorCode = codeOf(err)
			case info == nil:
				t.ErrorCode = codeTxnIDNotFound
			default:
				fillTransaction(&t, info)
			}
			resp.TransactionStates = append(resp.TransactionStates, t)
		}
		c.finish(k, resp)
	})
}

// fillTransaction says what is known of an id.
func fillTransaction(t *kmsg.DescribeTransactionsResponseTransactionState, info *admin.TxnalInfo) {
	t.State, t.TimeoutMillis = txnStates[info.Phase], int32(info.TimeoutMS)
	t.ProducerID, t.ProducerEpoch = info.ProducerID, info.Epoch
	if info.Phase == admin.TxnalOpen {
		t.StartTimestamp = info.BegunMS
	}
	for _, p := range info.Parts {
		i := slices.IndexFunc(t.Topics, func(topic kmsg.DescribeTransactionsResponseTransactionStateTopic) bool { return topic.Topic == p.Topic })
		if i < 0 {
			topic := kmsg.NewDescribeTransactionsResponseTransactionStateTopic()
			topic.Topic = p.Topic
			t.Topics, i = append(t.Topics, topic), len(t.Topics)
		}
		t.Topics[i].Partitions = append(t.Topics[i].Partitions, int32(p.Number))
	}
}

// listTransactions lists transactional ids, all or those that filters let pass.
func (c *Conn) listTransactions(k *call, m *kmsg.ListTransactionsRequest) {
	resp := kmsg.NewPtrListTransactionsResponse()
	for _, state := range m.StateFilters {
		if !slices.Contains(allTxnStates, state) {
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, state)
		}
	}
	pattern, err := regexp.Compile("^(?:" + orEmpty(m.TransactionalIDPattern) + ")$")
	if err != nil {
		resp.ErrorCode = codeInvalidRegex
		c.finish(k, resp)
		return
	}
	nowMS := time.Now().UnixMilli()
	c.describe(k, admin.Describe{Kind: admin.KindTxnal}, func(d *admin.Description) {
		for i := range d.Txnals {
			if info := &d.Txnals[i]; wantedTransaction(m, info, nowMS) && (orEmpty(m.TransactionalIDPattern) == "" || pattern.MatchString(info.ID)) {
				t := kmsg.NewListTransactionsResponseTransactionState()
				t.TransactionalID, t.ProducerID, t.TransactionState = info.ID, info.ProducerID, txnStates[info.Phase]
				resp.TransactionStates = append(resp.TransactionStates, t)
			}
		}
	}, func(err error) {
		resp.ErrorCode = codeOf(err)
		c.finish(k, resp)
	})
}

// allTxnStates are the states that a filter may name, those among them in which nothing ever is here.
var allTxnStates = []string{
	"Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence",
}

// wantedTransaction tells whether the filters let an id pass. No filter lets all pass.
func wantedTransaction(m *kmsg.ListTransactionsRequest, info *admin.TxnalInfo, nowMS int64) bool {
	switch {
	case len(m.StateFilters) > 0 && !slices.Contains(m.StateFilters, txnStates[info.Phase]):
		return false
	case len(m.ProducerIDFilters) > 0 && !slices.Contains(m.ProducerIDFilters, info.ProducerID):
		return false
	}
	return m.DurationFilterMillis <= 0 || info.Phase == admin.TxnalOpen && nowMS-info.BegunMS > m.DurationFilterMillis
}

// describeProducers tells of the producers that partitions know.
func (c *Conn) describeProducers(k *call, m *kmsg.DescribeProducersRequest) {
	resp := kmsg.NewPtrDescribeProducersResponse()
	ask := admin.Describe{Kind: admin.KindProducers}
	var list []wanted
	for i := range m.Topics {
		ask.Names = append(ask.Names, m.Topics[i].Topic)
		for _, number := range m.Topics[i].Partitions {
			list = append(list, wanted{m.Topics[i].Topic, number})
		}
	}
	if len(list) == 0 {
		c.finish(k, resp)
		return
	}
	known := map[string][]admin.ProducerInfo{}
	c.resolve(k, list, func(error) {
		c.describe(k, ask, func(d *admin.Description) {
			for i := range d.Producers {
				known[d.Producers[i].Topic] = d.Producers[i].List
			}
		}, func(err error) {
			for i := range m.Topics {
				resp.Topics = append(resp.Topics, c.producersOf(&m.Topics[i], known[m.Topics[i].Topic], err))
			}
			c.finish(k, resp)
		})
	})
}

// producersOf lists the producers of a topic's partitions.
func (c *Conn) producersOf(ask *kmsg.DescribeProducersRequestTopic, known []admin.ProducerInfo, err error) kmsg.DescribeProducersResponseTopic {
	t := kmsg.NewDescribeProducersResponseTopic()
	t.Topic = ask.Topic
	for _, number := range ask.Partitions {
		p := kmsg.NewDescribeProducersResponseTopicPartition()
		p.Partition, p.ErrorCode = number, codeOf(err)
		if _, ok := c.loop.topics.byName[t.Topic].index(number); !ok && err == nil {
			p.ErrorCode = codeUnknownTopic
		}
		for i := range known {
			if info := &known[i]; int32(info.Partition) == number && p.ErrorCode == codeNone {
				a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
				a.ProducerID, a.ProducerEpoch, a.LastSequence, a.LastTimestamp = info.ProducerID, int32(info.Epoch), info.Sequence, info.UsedMS
				a.CoordinatorEpoch, a.CurrentTxnStartOffset = -1, -1
				if info.Open {
					a.CoordinatorEpoch, a.CurrentTxnStartOffset = 0, int64(info.First)
				}
				p.ActiveProducers = append(p.ActiveProducers, a)
			}
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t
}
