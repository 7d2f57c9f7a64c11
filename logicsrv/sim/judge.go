//go:build failpoints

package sim

import (
	"bytes"
	"slices"

	"github.com/trimq/trimq/logicsrv/shell"
	"github.com/trimq/trimq/logicsrv/sim/model"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Limits of transactions of producer groups, small so that histories reach them.
const (
	maxChecks = 3
	maxTxnMS  = 5000
)

// newModel makes the judge of what queues do.
func (w *world) newModel() *model.Model {
	return model.New(model.Config{
		Fail:    w.fail,
		Held:    func(queue, index, offset uint64) bool { return w.hand[spot{queue, place{index, offset}}] != nil },
		Matches: w.matches, Gone: w.isGone, Answers: w.answers, TxnChecks: maxChecks, TxnMaxMS: maxTxnMS,
	})
}

// answers tells whether somebody has been there for long, in peace, who knows how transactions of a
// producer group shall end.
func (w *world) answers(group string) bool {
	if w.calm && w.conn != nil {
		for _, k := range w.conn.conns {
			if slices.Contains(k.groups, group) && w.now-max(w.calmMS, k.joinedMS) > longMS {
				return true
			}
		}
	}
	return false
}

// longMS is longer than anything takes when there are no faults.
const longMS = 2000

// turned shows the model a turn of logicsrv.
func (w *world) turned(t *shell.Turn) {
	s := &w.shown
	s.Inputs, s.Outputs = s.Inputs[:0], s.Outputs[:0]
	for i := range t.Inputs {
		in := &t.Inputs[i]
		s.Inputs = append(s.Inputs, model.Input{Pos: in.Pos, Type: in.Type, Payload: in.Payload})
	}
	for i := range t.Outputs {
		s.Outputs = append(s.Outputs, model.Output{Type: t.Outputs[i].Type, Record: t.Outputs[i].Record})
	}
	s.Term, s.Nonce, s.LSN, s.NowMS, s.Written, s.Synced, s.Entry = t.Term, t.Nonce, t.LSN, t.NowMS, t.Written, t.Synced, t.Entry
	w.traceTurn(t)
	w.must(w.underWay.sent(t.Outputs), "decode a delivery")
	w.noteDecided(t)
	w.model.Turn(s)
}

// noteDecided notes what has been sought, and in which entry messages of the theme were routed. One whose queues go in the same
// turn is acknowledged, and in no index any more.
func (w *world) noteDecided(t *shell.Turn) {
	if w.theme == nil || t.Entry == nil {
		return
	}
	routed := map[uint64]bool{}
	events := journal.Events(t.Entry.Events)
	for ev, ok := events.Next(); ok; ev, ok = events.Next() {
		routed[ev.Pos] = routed[ev.Pos] || ev.Type == journal.EvRouted
		if ev.Type == journal.EvSought {
			e, err := journal.DecodeSought(ev)
			w.must(err, "decode a seek")
			for _, to := range e.To {
				w.sought(e.Queue, to)
			}
		}
	}
	for i := range t.Inputs {
		var p ipc.Publish
		if in := &t.Inputs[i]; in.Type != ipc.TypePublish || !routed[in.Pos] {
			continue
		} else if _, err := p.Decode(in.Payload); err != nil {
			w.fail("decode a publish: %v", err)
		}
		if m := w.byCRC[p.Batch.CRC]; m != nil {
			m.decided = t.Entry.LSN
		}
	}
}

// dropped tells whether a message is in no index for its queues went in the turn in which it came.
func (w *world) dropped(m *message) bool { return m.decided != 0 && w.log.deletes[m.decided] }

// compareEvents holds an entry of the log against the turn that made it.
func (w *world) compareEvents(e *journal.Entry) {
	if known := w.model.Events(e.LSN); !bytes.Equal(known, e.Events) {
		w.fail("entry lsn=%d holds other events than the turn that made it", e.LSN)
	}
}
