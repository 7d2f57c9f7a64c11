//go:build failpoints

package sim

import (
	"fmt"
	"math/rand/v2"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// bank is what a history about transactional producers has: topics of their own, tellers who write to
// them in transactions, and auditors who read what is committed. What became of a batch is read from
// the log: the next control batch of its producer in its partition says so.

// The partitions of a bank.
var bankSpec = []struct {
	topic     string
	partition int
}{{"bank", 0}, {"bank", 1}, {"till", 0}}

// bankGroup is the group whose positions a teller commits.
func bankGroup(name string) string { return "group-" + name }

// bank is the state of one.
type bank struct {
	broker *producer         // whose control batches are
	stable map[uint64]uint64 // the highest stable end told, by index
	owners map[string]ipc.Txnal
	txns   []*deal
}

// deal is one transaction as its teller knows it.
type deal struct {
	teller     string
	number     uint64 // among the teller's; the position that it commits
	messages   []*message
	mayCommit  bool // a commit may be in ring 12345
	committed  bool // … and was answered
	aborted    bool // an abort was answered, or it can only have been aborted
	withGroup  bool
	holdsGroup bool // the positions are held for certain
}

// makeBank draws whether a history has one; nil: it has none.
func makeBank(seed uint64, themed bool) *bank {
	r := rand.New(rand.NewPCG(seed, 0x62616e6b))
	if themed || r.IntN(2) == 0 {
		return nil
	}
	return &bank{stable: map[uint64]uint64{}, owners: map[string]ipc.Txnal{}}
}

// castBank puts its clients together.
func (w *world) castBank() {
	if w.bank == nil {
		return
	}
	r := w.rng
	w.bank.broker = &producer{party: party{w: w, name: "broker"}}
	ids := []string{"ann", "bob", "ann"}
	for i := range 1 + r.IntN(3) { // two have one id between them, and fence each other
		t := &teller{party: party{w: w, name: fmt.Sprintf("teller%d", i)}, id: ids[i], bump: r.IntN(2) == 0, timeoutMS: uint32(300 + r.IntN(3000))}
		t.joins = t.bump && r.IntN(3) > 0
		t.producer = &producer{party: t.party}
		w.clients = append(w.clients, t)
	}
	w.addProducer(&producer{topic: "bank", partition: 0, idempotent: r.IntN(2) == 0})
	for _, p := range bankSpec {
		a := &auditor{party: party{w: w, name: fmt.Sprintf("auditor-%s-%d", p.topic, p.partition)}, topic: p.topic, partition: p.partition}
		w.clients = append(w.clients, a)
	}
}

// prepareBank creates its topics.
func (w *world) prepareBank(a *administrator) {
	if w.bank != nil {
		a.topic("bank", 2, ipc.LevelDisk)
		a.topic("till", 1, ipc.LevelPage)
	}
}

// newDealt makes a message that is part of a transaction.
func (w *world) newDealt(owner *producer, pid int64, epoch int16, seq int32) *message {
	m := w.newMessage(owner, pid, epoch, seq)
	delete(w.byCRC, m.meta.CRC)
	m.bytes[batch.OffAttributes+1] |= 0x10
	batch.PatchProducer(m.bytes, pid, epoch, seq) // computes the CRC again
	m.meta.CRC = batch.Header(m.bytes).CRC()
	w.byCRC[m.meta.CRC] = m
	m.dealt = true
	return m
}

// controlOf makes a message of a control batch that is stored; nil: it is none.
func (w *world) controlOf(stored []byte, lsn uint64) *message {
	if len(stored) < batch.HeaderSize || !batch.Header(stored).Control() {
		return nil
	}
	commit, err := batch.ParseControl(stored)
	h := batch.Header(stored)
	if err != nil || w.bank == nil || h.CRC() != batch.Checksum(stored) {
		w.fail("entry lsn=%d has a control batch that cannot be read: %v", lsn, err)
	}
	m := &message{owner: w.bank.broker, control: 1, meta: ipc.BatchMeta{
		Count: uint32(h.Count()), CRC: h.CRC(), ProducerID: h.ProducerID(), Epoch: h.ProducerEpoch(), Length: uint32(len(stored)),
	}}
	if commit {
		m.control = 2
	}
	return m
}

// fate is what became of a batch.
type fate struct {
	ended     bool
	committed bool
	lsn       uint64 // of the control batch
	base      uint64 // its offset
}

// fateOf finds it in the log.
func (w *world) fateOf(x *shadowIndex, base uint64, pid int64) fate {
	for i := range x.batches {
		b := &x.batches[i]
		if b.base > base && b.m.control > 0 && b.m.meta.ProducerID == pid {
			return fate{true, b.m.control == 2, b.lsn, b.base}
		}
	}
	return fate{}
}

// checkEnds: an entry that ends a transaction ends it in all its partitions, and for the epoch that
// made it.
func (w *world) checkEnds(bodies []*message, lsn uint64) {
	for _, m := range bodies {
		if m.control == 0 {
			continue
		}
		w.stats.controls++
		for _, p := range bankSpec {
			x := w.shadow(w.indexOf(p.topic, p.partition))
			for i := range x.batches {
				b := &x.batches[i]
				if !b.m.dealt || b.m.meta.ProducerID != m.meta.ProducerID {
					continue
				}
				switch f := w.fateOf(x, b.base, m.meta.ProducerID); {
				case !f.ended:
					w.fail("entry lsn=%d ends the transaction of producer %d, %v is still open", lsn, m.meta.ProducerID, b.m)
				case f.lsn == lsn && f.committed && b.m.meta.Epoch != m.meta.Epoch && b.m.meta.Epoch != m.meta.Epoch-1:
					w.fail("entry lsn=%d commits for epoch %d what epoch %d has sent: %v", lsn, m.meta.Epoch, b.m.meta.Epoch, b.m)
				}
			}
		}
	}
}

// judgeBank holds what tellers were told against the log.
func (w *world) judgeBank() {
	if w.bank == nil {
		return
	}
	for _, d := range w.bank.txns {
		w.judgeDeal(d)
	}
}

func (w *world) judgeDeal(d *deal) {
	ended := 0
	for _, m := range d.messages {
		if m.lsn == 0 {
			continue // it was lost, or never taken
		}
		f := w.fateOf(w.shadow(m.index), m.base0(), m.meta.ProducerID)
		switch {
		case !f.ended:
			w.fail("%v is in a transaction that never ends", m)
		case f.committed && (d.aborted || !d.mayCommit):
			w.fail("%v is committed, transaction %d of %s was not", m, d.number, d.teller)
		case !f.committed && (d.committed || m.seen && w.shadow(m.index).level >= diskLevel):
			w.fail("%v is aborted, transaction %d of %s is committed: %t, its message seen: %t", m, d.number, d.teller, d.committed, m.seen)
		}
		if f.committed {
			ended++
		}
	}
	if d.committed {
		w.stats.deals++
	}
	if ended > 0 && ended < len(d.messages) && d.committed {
		w.fail("transaction %d of %s is committed, %d of its %d messages are there", d.number, d.teller, ended, len(d.messages))
	}
}

// base0 is where an append is stored.
func (m *message) base0() uint64 { return m.places[0].base }

// full says that connsrv refuses messages.
func (w *world) full() bool {
	return w.ringB.Word(shmqueue.WordStatus).Load()&shmqueue.StatusDiskFull != 0
}
