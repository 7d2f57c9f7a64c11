package kafkaconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// stubTxns is what a stub is told of transactions, and what it tells of partitions with some.
type stubTxns struct {
	inits    []ipc.InitTxnal
	adds     []ipc.TxnAdd
	offsets  []ipc.TxnOffsets
	finishes []ipc.TxnFinish
	appends  []ipc.Append
	stable   map[uint64]*ipc.Stable // by index
	known    admin.Description      // of transactions
	waits    []ipc.WaitStable
}

// takeTxn answers what is asked about transactions.
func (s *stub) takeTxn(typ ipc.Type, b []byte) {
	t := &s.txns
	switch typ {
	case ipc.TypeInitTxnal:
		m := take1(s, &t.inits, b, ipc.DecodeInitTxnal)
		s.reply(ipc.TypeProducer, (&ipc.Producer{Head: m.Head, ProducerID: 8, Epoch: m.Epoch + 1}).Append(nil))
	case ipc.TypeTxnAdd:
		if m := take1(s, &t.adds, b, ipc.DecodeTxnAdd); m.Req != 0 {
			s.reply(ipc.TypeAcked, (&ipc.Done{Head: m.Head}).Append(nil))
		}
	case ipc.TypeTxnOffsets:
		m := take1(s, &t.offsets, b, ipc.DecodeTxnOffsets)
		s.reply(ipc.TypeAcked, (&ipc.Done{Head: m.Head}).Append(nil))
	case ipc.TypeTxnFinish:
		m := take1(s, &t.finishes, b, ipc.DecodeTxnFinish)
		if m.Bump {
			m.Txnal.Epoch++
		}
		s.reply(ipc.TypeProducer, (&ipc.Producer{Head: m.Head, ProducerID: m.ProducerID, Epoch: m.Txnal.Epoch}).Append(nil))
	case ipc.TypeWaitStable:
		m, err := ipc.DecodeWaitStable(b)
		must(s.tb, err)
		t.waits = append(slices.DeleteFunc(t.waits, func(w ipc.WaitStable) bool { return w.Req == m.Req }), m)
		s.answerStable()
	default:
		s.tb.Errorf("a record of type %d", typ)
	}
}

// stableAt says that an index is stable up to an offset, and what was aborted in it.
func (s *stub) stableAt(index, stable uint64, aborted ...ipc.AbortedTxn) {
	if s.txns.stable == nil {
		s.txns.stable = map[uint64]*ipc.Stable{}
	}
	s.txns.stable[index] = &ipc.Stable{Stable: stable, Aborted: aborted}
	s.answerStable()
}

// answerStable answers the waits for what is stable.
func (s *stub) answerStable() {
	for i := 0; i < len(s.txns.waits); i++ {
		w := s.txns.waits[i]
		known := s.txns.stable[w.Index]
		if w.Beyond != ipc.WaitNow && known.Stable <= w.Beyond {
			continue
		}
		s.txns.waits = slices.Delete(s.txns.waits, i, i+1)
		i = -1
		m := *known
		m.Head, m.Index, m.End, m.From, m.To = w.Head, w.Index, s.indexes[w.Index].next, min(w.From, m.Stable), m.Stable
		s.reply(ipc.TypeStable, m.Append(nil))
	}
}

// describeTxns tells what the test has said of transactions; false: something else is asked for.
func (s *stub) describeTxns(m *ipc.Admin, ask *admin.Describe) bool {
	if ask.Kind < admin.KindTxnal || ask.Kind > admin.KindHeld {
		return false
	}
	d := s.txns.known
	d.Kind = ask.Kind
	s.answer(m, &d)
	return true
}
