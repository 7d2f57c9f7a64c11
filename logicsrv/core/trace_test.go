package core

import (
	"fmt"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
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
		names := [...]string{"", "create", "delete", "trim", "configure", "compact", "closing"}
		fmt.Fprintf(b, "  op %s index=%d", names[op.Kind], op.Index)
		if op.Kind == journal.OpTrim {
			fmt.Fprintf(b, " offset=%d", op.Offset)
		}
		if s := op.Settings; s.RetentionBytes != 0 || s.RetentionMS != 0 {
			fmt.Fprintf(b, " bytes=%d ms=%d", s.RetentionBytes, s.RetentionMS)
		}
		if s := op.Settings.Compaction; s.On {
			fmt.Fprintf(b, " %+v", s)
		}
		b.WriteByte('\n')
	}
	for _, it := range e.Items {
		fmt.Fprintf(b, "  item index=%d base=%d count=%d body=%d\n", it.Index, it.Base, it.Count, it.Body)
	}
	for i, body := range e.Bodies {
		fmt.Fprintf(b, "  body %d at=%d length=%d base=%d", i, body.RingPos, body.Length, body.Base)
		traceNote(b, body.Note)
	}
	for _, r := range e.Refs {
		fmt.Fprintf(b, "  ref index=%d base=%d count=%d of index=%d offset=%d before=%d", r.Index, r.Base, r.Count, r.Source, r.SourceOffset, r.Before)
		traceNote(b, r.Note)
	}
}

func traceNote(b *strings.Builder, note uint32) {
	if note > 0 {
		fmt.Fprintf(b, " note=%d", note)
	}
	b.WriteByte('\n')
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
		return fmt.Sprintf("routed exchange=%d count=%d to=%s%s%s", e.Exchange, e.Count, traceTargets(e.Targets, e.Full), traceSent(&e.Sent), producer(e.ProducerID, e.Epoch, e.BaseSeq))
	case journal.EvAcked:
		e, _ := journal.DecodeAcked(ev)
		return fmt.Sprintf("acked %s %s %s", tracePlace(e.Queue, e.Index), e.Reason, traceRanges(e.Ranges))
	case journal.EvReturned:
		e, _ := journal.DecodeReturned(ev)
		return fmt.Sprintf("returned %s %s %s", tracePlace(e.Queue, e.Index), e.Reason, traceRanges(e.Ranges))
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
	if ev.Type >= journal.EvLaneAdded && ev.Type <= journal.EvHanding {
		return traceQueueEvent(ev)
	}
	return traceThing(ev)
}

// traceThing shows the events that make and end things.
func traceThing(ev journal.Event) string {
	switch ev.Type {
	case journal.EvTopicCreated:
		e, _ := journal.DecodeTopicCreated(ev)
		configs := ""
		if len(e.Configs) > 0 {
			configs = " " + topicconf.Text(e.Configs)
		}
		return fmt.Sprintf("topic-created id=%d %s level=%s indexes=%v%s", e.ID, e.Name, levelNames[e.Level], e.Indexes, configs)
	case journal.EvTopicConfigured:
		e, _ := journal.DecodeTopicConfigured(ev)
		return fmt.Sprintf("topic-configured id=%d %s", e.ID, topicconf.Text(e.Configs))
	case journal.EvRecordsDeleted:
		e, _ := journal.DecodeRecordsDeleted(ev)
		return fmt.Sprintf("records-deleted %v", e.To)
	case journal.EvTopicDeleted:
		e, _ := journal.DecodeTopicDeleted(ev)
		return fmt.Sprintf("topic-deleted id=%d", e.ID)
	case journal.EvPartitionsAdded:
		e, _ := journal.DecodePartitionsAdded(ev)
		return fmt.Sprintf("partitions-added id=%d indexes=%v", e.ID, e.Indexes)
	case journal.EvExchangeCreated:
		e, _ := journal.DecodeExchangeCreated(ev)
		return fmt.Sprintf("exchange-created id=%d %s", e.ID, traceExchange(&e.Exchange))
	case journal.EvExchangeDeleted:
		e, _ := journal.DecodeExchangeDeleted(ev)
		return fmt.Sprintf("exchange-deleted id=%d", e.ID)
	case journal.EvQueueCreated:
		e, _ := journal.DecodeQueueCreated(ev)
		s := fmt.Sprintf("queue-created id=%d %s level=%s durable=%t", e.Queue, e.Name, levelNames[e.Level], e.Settings.Durable)
		if e.Settings.Exclusive {
			s += fmt.Sprintf(" owner=%d/%d", e.Owner.Epoch, e.Owner.Conn)
		}
		for _, at := range e.Starts {
			s += fmt.Sprintf(" %d@%d", at.Index, at.Offset)
		}
		return s
	case journal.EvQueueDeleted:
		e, _ := journal.DecodeQueueDeleted(ev)
		return fmt.Sprintf("queue-deleted id=%d messages=%d", e.Queue, e.Messages)
	case journal.EvBindingCreated:
		e, _ := journal.DecodeBindingCreated(ev)
		return "bound " + traceBinding(&e.Binding)
	case journal.EvBindingDeleted:
		e, _ := journal.DecodeBindingDeleted(ev)
		return "unbound " + traceBinding(&e.Binding)
	case journal.EvDefined:
		e, _ := journal.DecodeDefined(ev)
		s := "defined " + traceDefinition(&e.Definition)
		if e.Base > 0 {
			s += fmt.Sprintf(" ids from %d", e.Base)
		}
		return s
	case journal.EvUndefined:
		e, _ := journal.DecodeUndefined(ev)
		return "undefined " + traceDefinition(&e.Definition)
	}
	return traceGroupEvent(ev)
}

// traceExchange leaves out what most exchanges are not.
func traceExchange(x *admin.CreateExchange) string {
	s := fmt.Sprintf("%s type=%s", x.Name, x.Type)
	for _, is := range []struct {
		so   bool
		text string
	}{
		{!x.Durable, " transient"}, {x.AutoDelete, " auto-delete"}, {x.Internal, " internal"},
		{x.Delayed, " delayed"}, {x.Arguments != "", " arguments=" + x.Arguments},
		{x.Alternate != "", " alternate=" + x.Alternate}, {x.HashHeader != "", " hash-header=" + x.HashHeader},
	} {
		if is.so {
			s += is.text
		}
	}
	return s
}

func traceBinding(b *admin.CreateBinding) string {
	s := fmt.Sprintf("%s <- %s key=%q", b.Exchange, b.Queue, b.RoutingKey)
	if b.ToExchange {
		s = fmt.Sprintf("%s <- exchange %s key=%q", b.Exchange, b.Queue, b.RoutingKey)
	}
	for _, h := range b.Headers {
		s += fmt.Sprintf(" %s:%s", h.Key, h.Value)
	}
	for _, name := range b.Present {
		s += " " + name
	}
	if b.MatchAny {
		s += " any"
	}
	if b.WithX {
		s += " with-x"
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
		if o.Leader != 0 {
			part += fmt.Sprintf("@%d", o.Leader)
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
		return fmt.Sprintf("published %s queues=%d%s%s", who, m.Queues, traceFull(m.Full), duplicate(m.Duplicate))
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
	case ipc.TypeTopicChanged:
		m, _ := ipc.DecodeTopicChanged(o.Record)
		return fmt.Sprintf("topic-changed %s", m.Topic)
	case ipc.TypeDefined:
		m, _ := ipc.DecodeDefined(o.Record)
		return fmt.Sprintf("defined, change %d", m.Count)
	case ipc.TypeAdminReply:
		return traceAdminReply(who, o.Record)
	}
	return traceQueueOutput(who, o)
}

// traceQueueOutput shows outputs about pulls, time-outs and transactions.
func traceQueueOutput(who string, o Output) string {
	switch o.Type {
	case ipc.TypeRecall:
		m, _ := ipc.DecodeRecall(o.Record)
		return fmt.Sprintf("recall %s sub=%d index=%d %s", who, m.Sub, m.Index, traceRanges(m.Ranges))
	case ipc.TypePulled:
		m, _ := ipc.DecodePulled(o.Record)
		s := fmt.Sprintf("pulled %s queue=%d", who, m.Queue)
		if m.Lease > 0 {
			s += fmt.Sprintf(" lease=%d until=%d", m.Lease, m.UntilMS)
		}
		for _, r := range m.Runs {
			s += fmt.Sprintf(" index=%d [%d,%d) attempts=%d", r.Index, r.First, r.First+uint64(r.Count), r.Attempts)
		}
		return s
	case ipc.TypeExtended:
		return "extended " + who
	case ipc.TypeTxnBegun:
		m, _ := ipc.DecodeTxnBegun(o.Record)
		return fmt.Sprintf("txn-begun %s txn=%d", who, m.Txn)
	case ipc.TypeTxnEnded:
		m, _ := ipc.DecodeTxnEnded(o.Record)
		return fmt.Sprintf("txn-ended %s committed=%t queues=%d", who, m.Committed, m.Queues)
	case ipc.TypeCheckTxn:
		m, _ := ipc.DecodeCheckTxn(o.Record)
		return fmt.Sprintf("check-txn %s txn=%d group=%s key=%s checks=%d", who, m.Txn, m.Group, m.Key, m.Checks)
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
		s := fmt.Sprintf("%s %s index=%d existed=%t", admin.Text(cmd), who, r.Index, r.Existed)
		if r.Messages > 0 {
			s += fmt.Sprintf(" messages=%d", r.Messages)
		}
		return s
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
		s += fmt.Sprintf("\n     exchange %s bindings=%d", traceExchange(&x.CreateExchange), x.Bindings)
		if x.Exchanges > 0 {
			s += fmt.Sprintf(" to-exchanges=%d", x.Exchanges)
		}
		if x.Policy != "" {
			s += " policy=" + x.Policy
		}
		if x.Published > 0 {
			s += fmt.Sprintf(" published=%d reached=%d", x.Published, x.Reached)
		}
	}
	for _, q := range d.Queues {
		s += fmt.Sprintf("\n     queue %s id=%d ready=%d unacked=%d leased=%d dead=%d settled=%d consumers=%d pulls=%d %v", q.Name, q.Queue, q.Ready, q.Unacked, q.Leased, q.Dead, q.Settled, q.Consumers, q.Pulls, q.Indexes)
		s += traceGoverned(&q)
	}
	for _, k := range d.Consumers {
		s += fmt.Sprintf("\n     consumer of %s %d/%d %q active=%t credit=%d held=%d delivered=%d", k.Queue, k.Conn, k.Sub, k.Consumer.Tag, k.Active, k.Credit, k.Held, k.Delivered)
	}
	for _, x := range d.Txns {
		s += fmt.Sprintf("\n     txn %d of %q key=%q batches=%d checks=%d next=%d", x.Txn, x.Group, x.Key, x.Batches, x.Checks, x.CheckMS)
	}
	for _, k := range d.Bindings {
		binding := admin.CreateBinding(k)
		s += "\n     " + traceBinding(&binding)
	}
	s += traceGroups(&d)
	for i := range d.Definitions {
		s += "\n     " + traceDefinition(&d.Definitions[i])
	}
	for _, g := range d.Groups {
		s += fmt.Sprintf("\n     group %s %s", g.Name, traceOffsets(g.Offsets))
	}
	return s
}

func traceTargets(targets []journal.Target, full uint32) string {
	var to []string
	for _, t := range targets {
		to = append(to, fmt.Sprintf("%d:%d", t.Index, t.Base))
	}
	return "[" + strings.Join(to, " ") + "]" + traceFull(full)
}

func traceFull(full uint32) string {
	if full == 0 {
		return ""
	}
	return fmt.Sprintf(" full=%d", full)
}

func traceSent(s *journal.Sent) (out string) {
	if s.TTLMS != ipc.NoTTL {
		out += fmt.Sprintf(" ttl=%d", s.TTLMS)
	}
	if s.Weight > 0 {
		out += fmt.Sprintf(" weight=%d", s.Weight)
	}
	return out
}

// tracePlace names a queue, and its index where that is another number.
func tracePlace(queue, index uint64) string {
	if queue == index {
		return fmt.Sprintf("queue=%d", queue)
	}
	return fmt.Sprintf("queue=%d index=%d", queue, index)
}

func traceNoteBody(n *ipc.Note) string {
	s := fmt.Sprintf("exchange=%q key=%q", n.Exchange, n.Key)
	if n.Priority > 0 {
		s += fmt.Sprintf(" priority=%d", n.Priority)
	}
	for _, d := range n.Deaths {
		s += fmt.Sprintf(" death(%s %s count=%d first=%d exchange=%q keys=%q)", d.Queue, d.Reason, d.Count, d.FirstMS, d.Exchange, d.Keys)
	}
	return s
}

// traceQueueEvent shows the events of what messages go through in queues.
func traceQueueEvent(ev journal.Event) string {
	switch ev.Type {
	case journal.EvLaneAdded:
		e, _ := journal.DecodeLaneAdded(ev)
		return fmt.Sprintf("lane-added queue=%d index=%d priority=%d", e.Queue, e.Index, e.Priority)
	case journal.EvDied:
		e, _ := journal.DecodeDied(ev)
		return fmt.Sprintf("died %s %s %s", tracePlace(e.Queue, e.Index), e.Reason, traceRanges(e.Ranges))
	case journal.EvDeadLettered:
		e, _ := journal.DecodeDeadLettered(ev)
		return fmt.Sprintf("dead-lettered %s %d+%d to=%s %s", tracePlace(e.Queue, e.Index), e.Offset, e.Count, traceTargets(e.Targets, e.Full), traceNoteBody(&e.Note))
	case journal.EvLeased:
		e, _ := journal.DecodeLeased(ev)
		return fmt.Sprintf("leased queue=%d lease=%d until=%d %v", e.Queue, e.Lease, e.UntilMS, e.Runs)
	case journal.EvLeaseMoved:
		e, _ := journal.DecodeLeaseMoved(ev)
		return fmt.Sprintf("lease-moved %s offset=%d lease=%d until=%d", tracePlace(e.Queue, e.Index), e.Offset, e.Lease, e.UntilMS)
	case journal.EvPurged:
		e, _ := journal.DecodePurged(ev)
		return fmt.Sprintf("purged queue=%d messages=%d %v", e.Queue, e.Messages, e.Indexes)
	case journal.EvSought:
		e, _ := journal.DecodeSought(ev)
		return fmt.Sprintf("sought queue=%d %v", e.Queue, e.To)
	case journal.EvDelayed:
		e, _ := journal.DecodeDelayed(ev)
		return fmt.Sprintf("delayed until=%d limbo=%d offset=%d count=%d to=%v%s", e.DueMS, e.Limbo, e.Offset, e.Count, e.Dests, traceSent(&e.Sent))
	case journal.EvReleased:
		e, _ := journal.DecodeReleased(ev)
		return fmt.Sprintf("released limbo=%d offset=%d count=%d to=%s", e.Limbo, e.Offset, e.Count, traceTargets(e.Targets, e.Full))
	case journal.EvLimboAdded:
		e, _ := journal.DecodeLimboAdded(ev)
		return fmt.Sprintf("limbo-added index=%d class=%d", e.Index, e.Class)
	case journal.EvTxnBegun:
		e, _ := journal.DecodeTxnBegun(ev)
		return fmt.Sprintf("txn-begun txn=%d group=%q key=%q check=%d conn=%d", e.Txn, e.Group, e.Key, e.CheckMS, e.Owner.Conn)
	case journal.EvTxnHeld:
		e, _ := journal.DecodeTxnHeld(ev)
		return fmt.Sprintf("txn-held txn=%d limbo=%d offset=%d count=%d partition=%d %s", e.Txn, e.Limbo, e.Offset, e.Count, e.Partition, traceNoteBody(&e.Note))
	case journal.EvTxnEnded:
		e, _ := journal.DecodeTxnEnded(ev)
		return fmt.Sprintf("txn-ended txn=%d committed=%t queues=%d", e.Txn, e.Committed, e.Queues)
	case journal.EvTxnChecked:
		e, _ := journal.DecodeTxnChecked(ev)
		return fmt.Sprintf("txn-checked txn=%d next=%d", e.Txn, e.NextMS)
	case journal.EvJoined:
		e, _ := journal.DecodeJoined(ev)
		return fmt.Sprintf("joined queue=%d consumer=%d/%d %q", e.Queue, e.Conn, e.Sub, e.Tag)
	case journal.EvOwnerGone:
		e, _ := journal.DecodeOwnerGone(ev)
		return fmt.Sprintf("owner-gone epoch=%d conn=%d", e.Owner.Epoch, e.Owner.Conn)
	case journal.EvTransientsGone:
		return "transients-gone"
	case journal.EvHanding:
		e, _ := journal.DecodeHanding(ev)
		return fmt.Sprintf("handing epoch=%d", e.Epoch)
	}
	return fmt.Sprintf("event of type %d", ev.Type)
}
