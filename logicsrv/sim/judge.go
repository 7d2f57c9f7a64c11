//go:build failpoints

package sim

import (
	"bytes"

	"github.com/trimq/trimq/logicsrv/shell"
	"github.com/trimq/trimq/logicsrv/sim/model"
	"github.com/trimq/trimq/protocol/journal"
)

// newModel makes the judge of what queues do.
func (w *world) newModel() *model.Model {
	return model.New(model.Config{
		Fail:      w.fail,
		Held:      func(index, offset uint64) bool { return w.hand[place{index, offset}] != nil },
		Matches:   func(filter string, index, offset uint64) bool { return true },
		TxnChecks: 15, TxnMaxMS: 3 * 24 * 60 * 60 * 1000,
	})
}

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
	w.model.Turn(s)
}

// compareEvents holds an entry of the log against the turn that made it.
func (w *world) compareEvents(e *journal.Entry) {
	if known := w.model.Events(e.LSN); !bytes.Equal(known, e.Events) {
		w.fail("entry lsn=%d holds other events than the turn that made it", e.LSN)
	}
}
