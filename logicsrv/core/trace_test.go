package core

import (
	"fmt"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

var levelNames = [...]string{"unset", "memory", "page", "disk", "quorum"}

// traceEntry shows everything that is in an entry.
func traceEntry(b *strings.Builder, e *journal.Entry) {
	if e == nil {
		return
	}
	fmt.Fprintf(b, "entry lsn=%d term=%d level=%s pos=%d\n", e.LSN, e.Term, levelNames[e.Level], e.Pos)
	traceEvents(b, e.Events)
	for _, op := range e.Ops {
		names := [...]string{"", "create", "delete", "trim", "configure"}
		fmt.Fprintf(b, "  op %s index=%d", names[op.Kind], op.Index)
		if op.Kind == journal.OpTrim {
			fmt.Fprintf(b, " offset=%d", op.Offset)
		}
		if s := op.Settings; s.RetentionBytes != 0 || s.RetentionMS != 0 {
			fmt.Fprintf(b, " bytes=%d ms=%d", s.RetentionBytes, s.RetentionMS)
		}
		b.WriteByte('\n')
	}
	for _, it := range e.Items {
		fmt.Fprintf(b, "  item index=%d base=%d count=%d body=%d\n", it.Index, it.Base, it.Count, it.Body)
	}
	for i, body := range e.Bodies {
		fmt.Fprintf(b, "  body %d at=%d length=%d base=%d\n", i, body.RingPos, body.Length, body.Base)
	}
}

func traceEvents(b *strings.Builder, events []byte) {
	r := journal.Events(events)
	for ev, ok := r.Next(); ok; ev, ok = r.Next() {
		pos := fmt.Sprint(ev.Pos)
		if ev.Pos == journal.NoInput {
			pos = "-"
		}
		fmt.Fprintf(b, "  @%s %s\n", pos, traceEvent(ev))
	}
	if r.Err() != nil {
		fmt.Fprintf(b, "  %v\n", r.Err())
	}
}

// traceEvent shows one event without its position.
func traceEvent(ev journal.Event) string {
	producer := func(pid int64, epoch int16, seq int32) string {
		if pid == journal.NoProducer {
			return ""
		}
		return fmt.Sprintf(" producer=%d/%d seq=%d", pid, epoch, seq)
	}
	switch ev.Type {
	case journal.EvAppended:
		e, _ := journal.DecodeAppended(ev)
		return fmt.Sprintf("appended index=%d base=%d count=%d%s", e.Index, e.Base, e.Count, producer(e.ProducerID, e.Epoch, e.BaseSeq))
	case journal.EvRouted:
		e, _ := journal.DecodeRouted(ev)
		var to []string
		for _, t := range e.Targets {
			to = append(to, fmt.Sprintf("%d:%d", t.Index, t.Base))
		}
		return fmt.Sprintf("routed exchange=%d count=%d to=[%s]%s", e.Exchange, e.Count, strings.Join(to, " "), producer(e.ProducerID, e.Epoch, e.BaseSeq))
	case journal.EvAcked:
		e, _ := journal.DecodeAcked(ev)
		return fmt.Sprintf("acked index=%d verdict=%d %s", e.Index, e.Verdict, traceRanges(e.Ranges))
	case journal.EvReturned:
		e, _ := journal.DecodeReturned(ev)
		return fmt.Sprintf("returned index=%d %s", e.Index, traceRanges(e.Ranges))
	case journal.EvProducerCreated:
		e, _ := journal.DecodeProducerCreated(ev)
		return fmt.Sprintf("producer-created %d/%d", e.ProducerID, e.Epoch)
	case journal.EvProducersExpired:
		e, _ := journal.DecodeProducersExpired(ev)
		return fmt.Sprintf("producers-expired %v", e.IDs)
	case journal.EvOffsetsCommitted:
		e, _ := journal.DecodeOffsetsCommitted(ev)
		return fmt.Sprintf("committed group=%s %s", e.Group, traceOffsets(e.Offsets))
	case journal.EvRejected:
		e, _ := journal.DecodeRejected(ev)
		return fmt.Sprintf("rejected %s: %s", e.Code, e.Text)
	case journal.EvDuplicate:
		e, _ := journal.DecodeDuplicate(ev)
		return fmt.Sprintf("duplicate index=%d base=%d queues=%d", e.Index, int64(e.Base), e.Queues)
	case journal.EvUnchanged:
		e, _ := journal.DecodeUnchanged(ev)
		return fmt.Sprintf("unchanged index=%d", e.Index)
	}
	return traceThing(ev)
}

// traceThing shows the events that make and end things.
func traceThing(ev journal.Event) string {
	switch ev.Type {
	case journal.EvTopicCreated:
		e, _ := journal.DecodeTopicCreated(ev)
		return fmt.Sprintf("topic-created id=%d %s level=%s indexes=%v", e.ID, e.Name, levelNames[e.Level], e.Indexes)
	case journal.EvTopicDeleted:
		e, _ := journal.DecodeTopicDeleted(ev)
		return fmt.Sprintf("topic-deleted id=%d", e.ID)
	case journal.EvPartitionsAdded:
		e, _ := journal.DecodePartitionsAdded(ev)
		return fmt.Sprintf("partitions-added id=%d indexes=%v", e.ID, e.Indexes)
	case journal.EvExchangeCreated:
		e, _ := journal.DecodeExchangeCreated(ev)
		return fmt.Sprintf("exchange-created id=%d %s type=%d", e.ID, e.Name, e.Type)
	case journal.EvExchangeDeleted:
		e, _ := journal.DecodeExchangeDeleted(ev)
		return fmt.Sprintf("exchange-deleted id=%d", e.ID)
	case journal.EvQueueCreated:
		e, _ := journal.DecodeQueueCreated(ev)
		return fmt.Sprintf("queue-created index=%d %s level=%s durable=%t", e.Index, e.Name, levelNames[e.Level], e.Durable)
	case journal.EvQueueDeleted:
		e, _ := journal.DecodeQueueDeleted(ev)
		return fmt.Sprintf("queue-deleted index=%d", e.Index)
	case journal.EvBindingCreated:
		e, _ := journal.DecodeBindingCreated(ev)
		return "bound " + traceBinding(&e.Binding)
	case journal.EvBindingDeleted:
		e, _ := journal.DecodeBindingDeleted(ev)
		return "unbound " + traceBinding(&e.Binding)
	}
	return traceGroupEvent(ev)
}

func traceBinding(b *admin.CreateBinding) string {
	s := fmt.Sprintf("%s <- %s key=%q", b.Exchange, b.Queue, b.RoutingKey)
	for _, h := range b.Headers {
		s += fmt.Sprintf(" %s:%s", h.Key, h.Value)
	}
	if b.MatchAny {
		s += " any"
	}
	return s
}

func traceRanges(ranges []ipc.Range) string {
	var parts []string
	for _, r := range ranges {
		parts = append(parts, fmt.Sprintf("%d+%d", r.First, r.Count))
	}
	return "[" + strings.Join(parts, " ") + "]"
}

func traceOffsets(offsets []ipc.OffsetCommit) string {
	var parts []string
	for _, o := range offsets {
		part := fmt.Sprintf("%d:%d", o.Index, o.Offset)
		if o.Metadata != "" {
			part += "(" + o.Metadata + ")"
		}
		parts = append(parts, part)
	}
	return "[" + strings.Join(parts, " ") + "]"
}

// traceOutputs shows every output with its gate.
func traceOutputs(b *strings.Builder, out []Output) {
	for _, o := range out {
		gate := "at once"
		if o.Gate != 0 || o.Level != ipc.LevelMemory {
			gate = fmt.Sprintf("%s>=%d", levelNames[o.Level], o.Gate)
		}
		fmt.Fprintf(b, "-> %s: %s\n", gate, traceOutput(o))
	}
}

func traceOutput(o Output) string {
	h, _ := ipc.PeekHead(o.Record)
	who := fmt.Sprintf("conn=%d", h.Conn)
	if h.Req != 0 {
		who += fmt.Sprintf(" req=%d", h.Req)
	}
	duplicate := func(v bool) string {
		if v {
			return " duplicate"
		}
		return ""
	}
	switch o.Type {
	case ipc.TypeMarker:
		m, _ := ipc.DecodeMarker(o.Record)
		return fmt.Sprintf("marker term=%d ask=%d", m.Term, m.Ask)
	case ipc.TypeError:
		m, _ := ipc.DecodeError(o.Record)
		return fmt.Sprintf("error %s %s: %s", who, errcode.Code(m.Code), m.Text)
	case ipc.TypeAppended:
		m, _ := ipc.DecodeAppended(o.Record)
		return fmt.Sprintf("appended %s index=%d base=%d%s", who, m.Index, int64(m.Base), duplicate(m.Duplicate))
	case ipc.TypePublished:
		m, _ := ipc.DecodePublished(o.Record)
		return fmt.Sprintf("published %s queues=%d%s", who, m.Queues, duplicate(m.Duplicate))
	case ipc.TypeProducer:
		m, _ := ipc.DecodeProducer(o.Record)
		return fmt.Sprintf("producer %s %d/%d", who, m.ProducerID, m.Epoch)
	case ipc.TypeVisible:
		m, _ := ipc.DecodeVisible(o.Record)
		return fmt.Sprintf("visible %s index=%d end=%d", who, m.Index, m.End)
	case ipc.TypeSubscribed:
		m, _ := ipc.DecodeSubscribed(o.Record)
		return fmt.Sprintf("subscribed %s sub=%d", who, m.Sub)
	case ipc.TypeSubClosed:
		m, _ := ipc.DecodeSubClosed(o.Record)
		return fmt.Sprintf("sub-closed %s sub=%d %s %s", who, m.Sub, errcode.Code(m.Code), m.Text)
	case ipc.TypeDeliver:
		m, _ := ipc.DecodeDeliver(o.Record)
		return fmt.Sprintf("deliver %s sub=%d index=%d [%d,%d) attempts=%d", who, m.Sub, m.Index, m.First, m.First+uint64(m.Count), m.Attempts)
	case ipc.TypeAcked:
		return "acked " + who
	case ipc.TypeCommitted:
		return "committed " + who
	case ipc.TypeOffsetList:
		m, _ := ipc.DecodeOffsetList(o.Record)
		return fmt.Sprintf("offsets %s %s", who, traceOffsets(m.Offsets))
	case ipc.TypeIndexGone:
		m, _ := ipc.DecodeIndexGone(o.Record)
		return fmt.Sprintf("index-gone %d", m.Index)
	case ipc.TypeAdminReply:
		return traceAdminReply(who, o.Record)
	}
	return traceGroupOutput(who, o)
}

func traceAdminReply(who string, record []byte) string {
	m, _ := ipc.DecodeAdminReply(record)
	cmd := admin.Command(m.Command)
	if cmd != admin.CmdDescribe {
		r, err := admin.DecodeCreated(m.Body)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s %s index=%d existed=%t", admin.Text(cmd), who, r.Index, r.Existed)
	}
	d, err := admin.DecodeDescription(m.Body)
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("describe %s more=%t missing=%q", who, d.More, d.Missing)
	for _, t := range d.Topics {
		s += fmt.Sprintf("\n     topic %s level=%s %v", t.Name, levelNames[t.Level], t.Partitions)
	}
	for _, x := range d.Exchanges {
		s += fmt.Sprintf("\n     exchange %q type=%d bindings=%d", x.Name, x.Type, x.Bindings)
	}
	for _, q := range d.Queues {
		s += fmt.Sprintf("\n     queue %s index=%d ready=%d unacked=%d floor=%d next=%d consumers=%d", q.Name, q.Index, q.Ready, q.Unacked, q.Floor, q.Next, q.Consumers)
	}
	for _, k := range d.Bindings {
		binding := admin.CreateBinding(k)
		s += "\n     " + traceBinding(&binding)
	}
	s += traceGroups(&d)
	for _, g := range d.Groups {
		s += fmt.Sprintf("\n     group %s %s", g.Name, traceOffsets(g.Offsets))
	}
	return s
}
