//go:build failpoints

package sim

import (
	"fmt"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/logicsrv/shell"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// traceTurn shows what a turn has read and decided.
func (w *world) traceTurn(t *shell.Turn) {
	if w.out == nil || len(t.Inputs) == 0 && t.Entry == nil && len(t.Outputs) == 0 {
		return
	}
	w.trace("    turn of term %d behind lsn=%d at %d, written=%d synced=%d", t.Term, t.LSN, t.NowMS, t.Written, t.Synced)
	for i := range t.Inputs {
		in := &t.Inputs[i]
		h, _ := ipc.PeekHead(in.Payload)
		w.trace("      in @%d type %d %+v %s", in.Pos, in.Type, h, inputText(in))
	}
	if t.Entry != nil {
		events := journal.Events(t.Entry.Events)
		for ev, ok := events.Next(); ok; ev, ok = events.Next() {
			w.trace("      event @%d %s", int64(ev.Pos), eventText(ev))
		}
	}
	for i := range t.Outputs {
		o := &t.Outputs[i]
		h, _ := ipc.PeekHead(o.Record)
		w.trace("      out type %d %+v, lsn %d of level %d %s", o.Type, h, o.Gate, o.Level, outputText(o))
	}
}

// inputText shows what connsrv says of consumers, for the order of that is what resyncs are about.
func inputText(in *core.Input) string {
	switch in.Type {
	case ipc.TypeSubscribe:
		s, _ := ipc.DecodeSubscribe(in.Payload)
		return fmt.Sprintf("sub %d queue %d limit %d %+v", s.Sub, s.Queue, s.Limit, s.Consumer)
	case ipc.TypeSubState:
		s, _ := ipc.DecodeSubState(in.Payload)
		return fmt.Sprintf("term %d ask %d sub %d queue %d limit %d delivered %d in hand %v", s.Term, s.Ask, s.Sub, s.Queue, s.Limit, s.Delivered, s.InHand)
	case ipc.TypeResyncEnd:
		e, _ := ipc.DecodeResyncEnd(in.Payload)
		return fmt.Sprintf("term %d ask %d loop %d of %d", e.Term, e.Ask, e.Loop, e.Loops)
	}
	return ""
}

// outputText shows what is given out.
func outputText(o *core.Output) string {
	switch o.Type {
	case ipc.TypeDeliver:
		d, _ := ipc.DecodeDeliver(o.Record)
		return fmt.Sprintf("sub %d index %d [%d, +%d)", d.Sub, d.Index, d.First, d.Count)
	case ipc.TypePulled:
		p, _ := ipc.DecodePulled(o.Record)
		return fmt.Sprintf("lease %d %+v", p.Lease, p.Runs)
	case ipc.TypeSubClosed:
		c, _ := ipc.DecodeSubClosed(o.Record)
		return fmt.Sprintf("sub %d %v %s", c.Sub, errcode.Code(c.Code), c.Text)
	case ipc.TypeRecall:
		r, _ := ipc.DecodeRecall(o.Record)
		return fmt.Sprintf("sub %d index %d %+v", r.Sub, r.Index, r.Ranges)
	}
	return ""
}

// eventText shows the events of queues, and of others their type.
func eventText(ev journal.Event) string {
	switch ev.Type {
	case journal.EvAppended:
		return text(ev, journal.DecodeAppended)
	case journal.EvRouted:
		return text(ev, journal.DecodeRouted)
	case journal.EvAcked:
		return text(ev, journal.DecodeAcked)
	case journal.EvDied:
		return text(ev, journal.DecodeDied)
	case journal.EvReturned:
		return text(ev, journal.DecodeReturned)
	case journal.EvDeadLettered:
		return text(ev, journal.DecodeDeadLettered)
	case journal.EvLeased:
		return text(ev, journal.DecodeLeased)
	case journal.EvLeaseMoved:
		return text(ev, journal.DecodeLeaseMoved)
	case journal.EvPurged:
		return text(ev, journal.DecodePurged)
	case journal.EvSought:
		return text(ev, journal.DecodeSought)
	case journal.EvDelayed:
		return text(ev, journal.DecodeDelayed)
	case journal.EvReleased:
		return text(ev, journal.DecodeReleased)
	case journal.EvTxnBegun:
		return text(ev, journal.DecodeTxnBegun)
	case journal.EvTxnHeld:
		return text(ev, journal.DecodeTxnHeld)
	case journal.EvTxnEnded:
		return text(ev, journal.DecodeTxnEnded)
	case journal.EvTxnChecked:
		return text(ev, journal.DecodeTxnChecked)
	case journal.EvQueueCreated:
		return text(ev, journal.DecodeQueueCreated)
	case journal.EvQueueDeleted:
		return text(ev, journal.DecodeQueueDeleted)
	case journal.EvLaneAdded:
		return text(ev, journal.DecodeLaneAdded)
	case journal.EvJoined:
		return text(ev, journal.DecodeJoined)
	case journal.EvHanding:
		return text(ev, journal.DecodeHanding)
	case journal.EvOwnerGone:
		return text(ev, journal.DecodeOwnerGone)
	case journal.EvRejected:
		return text(ev, journal.DecodeRejected)
	}
	return fmt.Sprintf("of type %d", ev.Type)
}

func text[T any](ev journal.Event, decode func(journal.Event) (T, error)) string {
	e, err := decode(ev)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%T %+v", e, e)
}
