//go:build failpoints

package sim

import "github.com/trimq/trimq/protocol/ipc"

// auditor reads what is committed in one partition: up to the stable end, but for what it is told was
// aborted.
type auditor struct {
	party
	topic     string
	partition int

	pos     uint64
	waiting bool
}

func (a *auditor) settled() bool {
	index := a.w.indexOf(a.topic, a.partition)
	return index == 0 || a.pos == a.w.shadow(index).next
}

func (a *auditor) dropped() { a.conn, a.waiting = nil, false }

func (a *auditor) tick() {
	r := a.w.rng
	if !a.w.calm && a.conn != nil && r.IntN(a.w.plan.clientDeath) == 0 {
		a.die(a)
		return
	}
	index := a.w.indexOf(a.topic, a.partition)
	if index == 0 || a.waiting || !a.ready(a) {
		return
	}
	if !a.w.calm && r.IntN(30) == 0 {
		a.pos = uint64(r.IntN(int(a.pos) + 1)) // once more
	}
	a.waiting = true
	m := ipc.WaitStable{Index: index, Beyond: a.pos, From: a.pos}
	if r.IntN(4) == 0 && !a.w.calm {
		m.Beyond = ipc.WaitNow
	}
	o := a.w.conn.ask(a.conn, ipc.TypeWaitStable, func(h ipc.Head) []byte {
		m.Head = h
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		a.waiting = false
		if typ != ipc.TypeStable {
			code, text := a.refusal(b)
			a.w.fail("%s cannot wait on index %d: %v %s", a.name, index, code, text)
		}
		s, err := ipc.DecodeStable(b)
		a.w.must(err, "decode a stable end")
		if s.Index != index || s.Stable > s.End || s.Stable <= a.pos && m.Beyond == a.pos || s.From > a.pos && s.Stable > a.pos {
			a.w.fail("%s at %d is told %+v of index %d", a.name, a.pos, s, index)
		}
		a.audit(&s)
	})
	a.w.conn.keep(o)
}

// audit holds what is told against the log.
func (a *auditor) audit(s *ipc.Stable) {
	w := a.w
	w.trace("%s: index %d ends at %d, is stable up to %d; from %d to %d aborted: %v", a.name, s.Index, s.End, s.Stable, s.From, s.To, s.Aborted)
	if s.Stable < w.bank.stable[s.Index] {
		w.fail("index %d is stable up to %d, it was up to %d", s.Index, s.Stable, w.bank.stable[s.Index])
	}
	w.bank.stable[s.Index] = s.Stable
	w.observed(s.Index, s.End)
	w.follow()
	end := min(s.Stable, s.To)
	if w.log.pending || a.pos >= end {
		return
	}
	x := w.shadow(s.Index)
	for i := range x.batches {
		if b := &x.batches[i]; b.base >= a.pos && b.base < end && b.m.dealt {
			a.look(s, x, b)
		}
	}
	a.auditWashed(s, end)
	w.stats.audited += int(end - a.pos)
	a.pos = end
}

// look holds what is told of one batch against what became of it.
func (a *auditor) look(s *ipc.Stable, x *shadowIndex, b *shadowBatch) {
	told := false
	for _, t := range s.Aborted {
		told = told || t.ProducerID == b.m.meta.ProducerID && t.First <= b.base && b.base < t.Last
	}
	f := a.w.fateOf(x, b.base, b.m.meta.ProducerID)
	switch {
	case !f.ended:
		a.w.fail("%v at %d is stable, and its transaction open", b.m, b.base)
	case f.committed == told:
		a.w.fail("%v at %d is told as aborted: %t, in the log it is committed: %t", b.m, b.base, told, f.committed)
	case x.level >= diskLevel && f.lsn > a.w.syncedNow():
		a.w.fail("%v at %d is stable by lsn %d, synced is %d", b.m, b.base, f.lsn, a.w.syncedNow())
	}
	b.m.seen = b.m.seen || f.committed
}

// powerCut forgets what need not survive it.
func (a *auditor) powerCut() {
	if a.topic == "till" {
		index := a.w.indexOf(a.topic, a.partition)
		delete(a.w.bank.stable, index)
		a.pos = 0
	}
}
