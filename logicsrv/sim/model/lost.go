package model

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// What may have been given to somebody who is gone: it comes back with an attempt before anything is
// given out, so that what has none was never given to anybody.

// giver names a connsrv, whose connections hold messages; its zero value: nobody holds any.
type giver struct{ nonce, epoch uint64 }

// mayGive tells whether messages may be given out: it is known who holds what, and the log says on the
// disk that somebody may.
func (m *Model) mayGive() bool { return m.synced && m.handing.epoch != 0 && m.synceds >= m.handingLSN }

// handed: connsrv tells what it has given out.
func (m *Model) handed(in *Input) {
	h, err := ipc.DecodeHanded(in.Payload)
	m.must(err, "decode what was handed out")
	if !m.current(h.Epoch) || h.Term != m.marker.Term || h.Ask != m.marker.Ask || m.synced {
		return
	}
	for _, x := range h.List {
		if l := m.laneOf(x.Queue, x.Index); l != nil {
			l.given = max(l.given, x.Next)
		}
	}
}

// lose: for the first time in a term it is known who holds what. The rest of what was given out by
// the connsrv that is there, or by one that is gone, is in the hand of nobody who is there.
func (m *Model) lose() {
	if m.sure {
		return
	}
	m.sure = true
	if m.handing.epoch == 0 {
		return
	}
	told := m.handing == giver{m.ring, m.epoch}
	for _, id := range sorted(m.queues) {
		q := m.queues[id]
		nobody := &consumer{queue: q, gone: true, lost: true}
		for _, l := range q.lanes {
			upTo := l.had
			if told {
				upTo = min(upTo, l.given)
			}
			for _, x := range l.messages[:min(upTo, uint64(len(l.messages)))] {
				if x.attempts == 0 {
					m.take(x, nobody)
				}
			}
		}
	}
}

// handingNoted: the log says whose connections hold messages from now on.
func (m *Model) handingNoted(e *journal.Handing) {
	if m.judging() {
		m.judgeHanding(e)
	}
	if m.handing.epoch == 0 {
		m.handingLSN = m.lsn + 1
	}
	m.handing = giver{e.Nonce, e.Epoch}
}

func (m *Model) judgeHanding(e *journal.Handing) {
	if !m.synced || e.Epoch != 0 && (e.Nonce != m.ring || e.Epoch != m.epoch) {
		m.cfg.Fail("connections of epoch %d are said to hold messages, it is epoch %d", e.Epoch, m.epoch)
	}
	for _, id := range sorted(m.queues) {
		m.queues[id].each(func(x *message) {
			if x.is == held && (e.Epoch == 0 || x.holder.gone && x.holder.epoch < e.Epoch) {
				m.cfg.Fail("%v has not come back, and epoch %d is said to hold what is held", x, e.Epoch)
			}
		})
	}
}
