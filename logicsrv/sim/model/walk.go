package model

import (
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// In which order a turn is judged. Events stand in the order in which they were decided, and say
// which input they belong to, unless none caused them. Those without stand before or behind the
// event of the input that was decided with them (the parts of a commit come before its end, the
// deaths of a requeue behind it), or at the end of the turn. So an input is looked at when the first
// event comes that is not of an earlier one.

// walk goes through inputs and events.
func (m *Model) walk(t *Turn) {
	m.events = m.events[:0]
	if t.Entry != nil {
		r := journal.Events(t.Entry.Events)
		for ev, ok := r.Next(); ok; ev, ok = r.Next() {
			m.events = append(m.events, ev)
		}
		m.must(r.Err(), "read the events of a turn")
	}
	next := 0
	last := journal.NoInput // of an input with an event
	for i, ev := range m.events {
		if ofGroup(ev.Type) && ev.Pos != journal.NoInput && ev.Pos == last {
			continue // an input of a group has as many events as it needs
		}
		if m.trails(ev) {
			m.event(ev)
			m.clearDoubts()
			continue
		}
		pos, refused := m.causeOf(i)
		for next < len(t.Inputs) && t.Inputs[next].Pos < pos {
			m.input(&t.Inputs[next])
			next++
		}
		if next < len(t.Inputs) && t.Inputs[next].Pos == pos && m.cause == nil {
			m.prepare(&t.Inputs[next], refused)
		}
		m.event(ev)
		m.clearDoubts()
		if ev.Pos != journal.NoInput {
			if next == len(t.Inputs) || t.Inputs[next].Pos != ev.Pos {
				m.cfg.Fail("an event of type %d belongs to position %d, where no input of this turn lies", ev.Type, ev.Pos)
			}
			m.answered(&t.Inputs[next], ev)
			m.cause, last = nil, ev.Pos
			next++
		}
	}
	m.cause = nil
	for ; next < len(t.Inputs); next++ {
		m.input(&t.Inputs[next])
	}
}

// ofGroup tells whether an event is about a consumer group. What they do is no matter of this model.
func ofGroup(typ journal.EventType) bool {
	return typ >= journal.EvGroupMember && typ <= journal.EvGroupUnsettled || typ == journal.EvOffsetsCommitted ||
		typ == journal.EvShareMember || typ == journal.EvGroupConfigured
}

// trails tells whether an event says what has become of messages that the input before it has put
// back, or of a batch that was refused.
func (m *Model) trails(ev journal.Event) bool {
	var queue, index uint64
	var ranges []ipc.Range
	var why ipc.Reason
	switch {
	case ev.Pos != journal.NoInput:
		return false
	case ev.Type == journal.EvDied:
		decoded(m, ev, journal.DecodeDied, func(e *journal.Died) { queue, index, why, ranges = e.Queue, e.Index, e.Reason, e.Ranges })
	case ev.Type == journal.EvAcked:
		decoded(m, ev, journal.DecodeAcked, func(e *journal.Acked) { queue, index, why, ranges = e.Queue, e.Index, e.Reason, e.Ranges })
	}
	l := m.laneOf(queue, index)
	if l == nil || len(ranges) == 0 || ranges[0].First >= uint64(len(l.messages)) {
		return false
	}
	x := l.messages[ranges[0].First]
	if why == ipc.ReasonMaxLength {
		return x.condemned && x.is == ready
	}
	return x.asked == m.number && (why == ipc.ReasonExpired || why == ipc.ReasonDeliveryLimit)
}

// causeOf is the position of the input up to which all have been decided when event i was, and
// whether that one was refused.
func (m *Model) causeOf(i int) (pos uint64, refused bool) {
	for _, ev := range m.events[i:] {
		if ev.Pos != journal.NoInput {
			return ev.Pos, ev.Type == journal.EvRejected
		}
	}
	return journal.NoInput, false
}

// prepare decodes the input that the next events belong to, and notes what it allows.
func (m *Model) prepare(in *Input, refused bool) {
	switch in.Type {
	case ipc.TypeAck:
		a, err := ipc.DecodeAck(in.Payload)
		m.must(err, "decode a verdict")
		m.cause = &a
		if !refused {
			m.asksBack(&a)
		}
		m.learns(a.Head, a.Sub, a.Queue, a.Index, a.Ranges, a.Verdict)
	case ipc.TypeExtend:
		x, err := ipc.DecodeExtend(in.Payload)
		m.must(err, "decode an extension")
		m.cause = &x
		if l := m.laneOf(x.Queue, x.Index); l != nil && !refused && x.InvisibleMS == 0 && x.Offset < uint64(len(l.messages)) {
			l.messages[x.Offset].asked = m.number
		}
	case ipc.TypePublish:
		p := &ipc.Publish{}
		_, err := p.Decode(in.Payload)
		m.must(err, "decode a publish")
		m.cause = p
	case ipc.TypeAppend:
		a, _, err := ipc.DecodeAppend(in.Payload)
		m.must(err, "decode an append")
		m.cause = &a
	case ipc.TypePull:
		p, err := ipc.DecodePull(in.Payload)
		m.must(err, "decode a pull")
		m.current(p.Epoch)
		m.cause = &p
	case ipc.TypeBeginTxn:
		b, err := ipc.DecodeBeginTxn(in.Payload)
		m.must(err, "decode the beginning of a transaction")
		m.current(b.Epoch)
		m.cause = &b
	case ipc.TypeEndTxn:
		e, err := ipc.DecodeEndTxn(in.Payload)
		m.must(err, "decode the end of a transaction")
		m.cause = &e
		for _, v := range e.Verdicts {
			if e.Commit {
				m.learns(e.Head, v.Sub, v.Queue, v.Index, []ipc.Range{v.Range}, v.Verdict)
			}
		}
	case ipc.TypeAdmin:
		m.cause = m.command(in)
	default:
		m.cause = in
	}
}

// input looks at an input that has left no event.
func (m *Model) input(in *Input) {
	if ev, known := m.answers[in.Pos]; known && m.turn.Nonce == m.nonce && leavesEvent(in.Type) {
		if h, ok := ipc.PeekHead(in.Payload); ok && in.Type == ipc.TypePull {
			m.again[asks(h)] = true
		}
		m.answered(in, ev) // decided before a restart, and answered again
		return
	}
	switch in.Type {
	case ipc.TypeHello:
		m.hello(in)
	case ipc.TypeSubscribe:
		m.subscribe(in)
	case ipc.TypeUnsubscribe:
		m.unsubscribe(in)
	case ipc.TypeCredit:
		m.credit(in)
	case ipc.TypeConnClosed:
		m.connClosed(in)
	case ipc.TypeSubState:
		m.subState(in)
	case ipc.TypeHanded:
		m.handed(in)
	case ipc.TypeResyncEnd:
		m.resyncEnd(in)
	case ipc.TypePull:
		m.pullNow(in)
	case ipc.TypePullEnd:
		m.pullEnd(in)
	case ipc.TypeTxnMember:
		m.txnMember(in)
	case ipc.TypeAdmin:
		m.describe(in)
	default:
		if leavesEvent(in.Type) {
			m.cfg.Fail("an input of type %d at %d has left no event", in.Type, in.Pos)
		}
	}
}

// leavesEvent tells whether an input of this type leaves an event.
func leavesEvent(typ ipc.Type) bool {
	switch typ {
	case ipc.TypeAppend, ipc.TypePublish, ipc.TypeAck, ipc.TypeCommit, ipc.TypeInitProducer, ipc.TypeExtend,
		ipc.TypeBeginTxn, ipc.TypeEndTxn, ipc.TypeAdmin, ipc.TypePull:
		return true
	}
	return false
}

// question names a request: connsrv's successor numbers its own from 1 on again.
type question struct{ epoch, req uint64 }

func asks(h ipc.Head) question { return question{h.Epoch, h.Req} }

// readOutputs finds the answers of the turn by the request that they answer.
func (m *Model) readOutputs(t *Turn) {
	m.told, m.used = map[question]*Output{}, map[question]bool{}
	for i := range t.Outputs {
		o := &t.Outputs[i]
		if o.Type == ipc.TypeMarker || o.Type == ipc.TypeIndexGone || o.Type == ipc.TypeTopicChanged || o.Type == ipc.TypeDefined || len(o.Record) < ipc.HeadSize {
			continue
		}
		h, ok := ipc.PeekHead(o.Record)
		if ok && h.Req != 0 {
			m.told[asks(h)] = o
		}
	}
}

// reply is the answer to a request of this turn; nil: there is none.
func (m *Model) reply(h ipc.Head) *Output {
	if h.Req == 0 {
		return nil
	}
	m.used[asks(h)] = true
	return m.told[asks(h)]
}

// refused tells whether an answer is a refusal, and why.
func (m *Model) refused(o *Output) (errcode.Code, bool) {
	if o == nil || o.Type != ipc.TypeError {
		return 0, false
	}
	e, err := ipc.DecodeError(o.Record)
	m.must(err, "decode a refusal")
	return errcode.Code(e.Code), true
}

// judgeOutputs looks at what is told, answers that were looked at left out.
func (m *Model) judgeOutputs(t *Turn) {
	for i := range t.Outputs {
		o := &t.Outputs[i]
		switch o.Type {
		case ipc.TypeDeliver:
			m.deliver(o)
		case ipc.TypePulled:
			m.pulledLate(o)
		case ipc.TypeRecall:
			m.recall(o)
		case ipc.TypeSubClosed:
			m.subClosed(o)
		case ipc.TypeCheckTxn:
			m.checkTxn(o)
		case ipc.TypeMarker:
			k, err := ipc.DecodeMarker(o.Record)
			m.must(err, "decode a marker")
			m.marker, m.synced = k, false
			clear(m.loops)
		}
	}
}
