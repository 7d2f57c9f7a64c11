//go:build failpoints

package sim

import (
	"slices"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// teller is a transactional producer. It asks one thing after the other; when its connection is gone,
// or it is fenced, it begins again under its id.
type teller struct {
	party
	id        string
	bump      bool // its epoch rises with each end
	joins     bool // what it sends adds partitions and group to the transaction
	timeoutMS uint32
	producer  *producer // of its messages

	me      ipc.Txnal // what it was told last; an empty id: nothing
	begun   bool      // … and it may go on
	added   []uint64
	seq     map[uint64]int32
	deal    *deal
	number  uint64
	asking  bool
	least   uint64 // position that is committed for certain
	stopped bool
}

func (t *teller) settled() bool { return !t.asking }

func (t *teller) dropped() {
	t.conn, t.asking = nil, false
	t.lose()
}

// lose gives the transaction up: what becomes of it is not known, or found in the log.
func (t *teller) lose() {
	t.begun, t.added, t.deal = false, nil, nil
}

func (t *teller) tick() {
	r := t.w.rng
	if !t.stopped && t.conn != nil && r.IntN(t.w.plan.clientDeath) == 0 {
		t.die(t)
		return
	}
	if t.w.indexOf("till", 0) == 0 || t.w.indexOf("bank", 1) == 0 || t.asking || !t.ready(t) || t.stopped && t.deal == nil || t.w.full() {
		return
	}
	switch n := r.IntN(10); {
	case !t.begun:
		t.begin()
	case t.deal == nil && n == 0:
		t.lookAtPosition()
	case t.deal == nil:
		t.number++
		t.deal = &deal{teller: t.name, number: t.number, withGroup: r.IntN(2) == 0}
		t.w.bank.txns = append(t.w.bank.txns, t.deal)
		if t.joins {
			t.added = t.somePartitions()
			return
		}
		t.add()
	case t.stopped || n < 2:
		t.finish(r.IntN(3) > 0)
	case n < 3 && t.deal.withGroup && !t.deal.holdsGroup:
		t.hold()
	case n < 9:
		t.send(t.added[r.IntN(len(t.added))])
	}
}

// ask is one request; then is called unless it is refused.
func (t *teller) ask(typ ipc.Type, encode func(ipc.Head) []byte, body []byte, then func(b []byte)) *outgoing {
	t.asking = true
	stale := t.stale()
	return t.w.conn.ask(t.conn, typ, encode, body, func(got ipc.Type, b []byte) {
		t.asking = false
		if got == ipc.TypeError {
			code, text := t.refusal(b)
			t.refused(typ, code, text)
			return
		}
		if stale && typ != ipc.TypeInitTxnal && typ != ipc.TypeOffsets {
			t.w.fail("%s: epoch %d of %s was superseded before a request of type %d that succeeded", t.name, t.me.Epoch, t.id, typ)
		}
		then(b)
	})
}

// stale says that another teller has been told a later epoch of the id.
func (t *teller) stale() bool {
	now := t.w.bank.owners[t.id]
	return t.begun && (now.ProducerID > t.me.ProducerID || now.ProducerID == t.me.ProducerID && now.Epoch > t.me.Epoch)
}

// refused: it was fenced, by another or by time, or there is nothing open any more.
func (t *teller) refused(typ ipc.Type, code errcode.Code, text string) {
	t.w.trace("%s: a request of type %d is refused: %v %s", t.name, typ, code, text)
	t.w.stats.fenced++
	switch code {
	case errcode.TxnalFenced, errcode.ProducerFenced, errcode.TxnalUnknown, errcode.UnknownProducer, errcode.OutOfOrderSequence, errcode.TxnState:
	case errcode.LimitExceeded: // more than an entry takes
	default:
		t.w.fail("%s: a request of type %d is refused: %v %s", t.name, typ, code, text)
	}
	t.lose()
	if t.w.rng.IntN(2) == 0 {
		t.me = ipc.Txnal{}
	}
}

func (t *teller) begin() {
	m := ipc.InitTxnal{ID: t.id, TimeoutMS: t.timeoutMS, ProducerID: -1, Epoch: -1}
	if t.me.ID != "" && t.w.rng.IntN(2) == 0 {
		m.ProducerID, m.Epoch = t.me.ProducerID, t.me.Epoch
	}
	t.ask(ipc.TypeInitTxnal, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func(b []byte) {
		p, err := ipc.DecodeProducer(b)
		t.w.must(err, "decode a transactional producer")
		t.become(p.ProducerID, p.Epoch)
		t.begun, t.seq = true, map[uint64]int32{}
		t.w.trace("%s is producer %d epoch %d of %s", t.name, p.ProducerID, p.Epoch, t.id)
	})
}

// become takes over what it was told to be.
func (t *teller) become(pid int64, epoch int16) {
	t.me = ipc.Txnal{ID: t.id, ProducerID: pid, Epoch: epoch}
	now := t.w.bank.owners[t.id]
	if pid > now.ProducerID || pid == now.ProducerID && epoch > now.Epoch {
		t.w.bank.owners[t.id] = t.me
	}
}

// somePartitions are those of a transaction.
func (t *teller) somePartitions() (list []uint64) {
	r := t.w.rng
	for _, i := range r.Perm(len(bankSpec))[:1+r.IntN(len(bankSpec))] {
		list = append(list, t.w.indexOf(bankSpec[i].topic, bankSpec[i].partition))
	}
	return list
}

func (t *teller) add() {
	m := ipc.TxnAdd{Txnal: t.me}
	for _, index := range t.somePartitions() {
		m.Parts = append(m.Parts, ipc.TxnPart{Index: index})
	}
	if t.deal.withGroup {
		m.Group = bankGroup(t.name)
	}
	t.ask(ipc.TypeTxnAdd, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func([]byte) {
		for _, p := range m.Parts {
			t.added = append(t.added, p.Index)
		}
	})
	if t.added == nil {
		t.added = []uint64{m.Parts[0].Index} // nothing is sent before the answer
	}
}

func (t *teller) send(index uint64) {
	m := t.w.newDealt(t.producer, t.me.ProducerID, t.me.Epoch, t.seq[index])
	m.index = index
	m.level = ipc.Level(t.w.rng.IntN(4))
	d := t.deal
	d.messages = append(d.messages, m)
	t.seq[index] += int32(m.meta.Count)
	t.w.trace("%s sends %v in transaction %d", t.name, m, d.number)
	how := ipc.TxnalAdded
	if t.joins {
		how = ipc.TxnalJoins
	}
	o := t.ask(ipc.TypeAppend, func(h ipc.Head) []byte {
		a := ipc.Append{Head: h, Index: index, Level: m.level, Batch: m.meta, Txnal: how}
		return a.Append(nil)
	}, m.bytes, func(b []byte) {
		a, err := ipc.DecodeAppended(b)
		t.w.must(err, "decode an answer")
		m.base = a.Base
		t.w.acknowledged(m)
	})
	o.before = func() { m.offered = true }
}

// hold has a position committed with the transaction: its number.
func (t *teller) hold() {
	d := t.deal
	m := ipc.TxnOffsets{Txnal: t.me, Group: bankGroup(t.name), Generation: -1, Joins: t.joins, Offsets: []ipc.OffsetCommit{{Index: t.w.indexOf("bank", 0), Offset: d.number}}}
	t.ask(ipc.TypeTxnOffsets, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func([]byte) { d.holdsGroup = true })
}

func (t *teller) finish(commit bool) {
	d := t.deal
	m := ipc.TxnFinish{Txnal: t.me, Commit: commit, Bump: t.bump}
	o := t.ask(ipc.TypeTxnFinish, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func(b []byte) {
		p, err := ipc.DecodeProducer(b)
		t.w.must(err, "decode the end of a transaction")
		if t.bump != (p.Epoch == t.me.Epoch+1) {
			t.w.fail("%s: epoch %d behind the end of a transaction of epoch %d, rising: %t", t.name, p.Epoch, t.me.Epoch, t.bump)
		}
		if t.bump {
			t.become(p.ProducerID, p.Epoch)
			t.seq = map[uint64]int32{}
		}
		t.w.trace("%s: transaction %d has ended, committed: %t", t.name, d.number, commit)
		if d.committed, d.aborted = commit, !commit; commit && d.holdsGroup {
			t.least = d.number
		}
		t.deal, t.added = nil, nil
		t.w.follow()
		if !t.w.log.pending {
			t.w.checkDeal(d)
		}
	})
	o.before = func() { d.mayCommit = d.mayCommit || commit }
}

// checkDeal: the end that was answered is in the log, and durable.
func (w *world) checkDeal(d *deal) {
	for _, m := range d.messages {
		if !m.acked {
			continue
		}
		if f := w.fateOf(w.shadow(m.index), m.base, m.meta.ProducerID); !f.ended || f.committed != d.committed {
			w.fail("%v: its transaction was answered as committed: %t, in the log it is %+v", m, d.committed, f)
		}
	}
}

// lookAtPosition: the position is of a transaction that is committed, and none that was committed before
// is forgotten.
func (t *teller) lookAtPosition() {
	least := t.least
	m := ipc.FetchOffsets{Group: bankGroup(t.name), Indexes: []uint64{t.w.indexOf("bank", 0)}}
	t.ask(ipc.TypeOffsets, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func(b []byte) {
		list, err := ipc.DecodeOffsetList(b)
		t.w.must(err, "decode offsets")
		got := uint64(0)
		if len(list.Offsets) > 0 {
			got = list.Offsets[0].Offset
		}
		if got < least || got > t.number {
			t.w.fail("%s: the position is %d, %d was committed, %d transactions were begun", t.name, got, least, t.number)
		}
		at := slices.IndexFunc(t.w.bank.txns, func(d *deal) bool { return d.teller == t.name && d.number == got })
		if got > 0 && (!t.w.bank.txns[at].mayCommit || t.w.bank.txns[at].aborted) {
			t.w.fail("%s: the position is that of transaction %d, which was not committed", t.name, got)
		}
	})
}
