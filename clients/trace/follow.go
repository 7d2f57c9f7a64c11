package trace

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Place is one message in one queue or partition.
type Place struct{ Index, Offset uint64 }

// Step is one thing that happened to a message.
type Step struct {
	TimeMS  int64  `json:"timeMS"` // Unix time of the log entry
	LSN     uint64 `json:"lsn"`
	Message string `json:"message"` // in which place; empty: in all
	What    string `json:"what"`
}

// settling is a queue that is done with the message in a place.
type settling struct {
	queue uint64
	at    Place
}

// story follows one message, which may be in several places at once.
type story struct {
	names  *Names
	emit   func(Step)
	places map[Place]bool
	done   map[settling]bool
	groups map[string]bool // that have read past it
	txn    uint64          // that it is part of
	lsn    uint64
	timeMS int64
}

func newStory(names *Names, emit func(Step)) *story {
	return &story{names: names, emit: emit, places: map[Place]bool{}, done: map[settling]bool{}, groups: map[string]bool{}}
}

// entry tells what an entry of the log did to the message.
func (s *story) entry(e *journal.Entry) error {
	s.lsn, s.timeMS = e.LSN, e.TimeMS
	r := journal.Events(e.Events)
	for ev, ok := r.Next(); ok; ev, ok = r.Next() {
		if err := s.names.learn(ev); err != nil {
			return err
		}
		if err := s.event(ev); err != nil {
			return err
		}
	}
	return r.Err()
}

func (s *story) tell(p Place, format string, args ...any) {
	s.emit(Step{TimeMS: s.timeMS, LSN: s.lsn, Message: s.names.message(p), What: fmt.Sprintf(format, args...)})
}

// in yields the places of the message in an index, of which the offset is wanted.
func (s *story) in(index uint64, wanted func(offset uint64) bool, f func(Place)) {
	var found []Place
	for p := range s.places {
		if p.Index == index && wanted(p.Offset) {
			found = append(found, p)
		}
	}
	slices.SortFunc(found, comparePlaces)
	for _, p := range found {
		f(p)
	}
}

func inRanges(ranges []ipc.Range) func(uint64) bool {
	return func(offset uint64) bool {
		return slices.ContainsFunc(ranges, func(r ipc.Range) bool { return offset >= r.First && offset-r.First < uint64(r.Count) })
	}
}

func inBatch(first uint64, count uint32) func(uint64) bool {
	return inRanges([]ipc.Range{{First: first, Count: count}})
}

// event tells what an event did to the message.
func (s *story) event(ev journal.Event) error {
	switch ev.Type {
	case journal.EvAcked:
		e, err := journal.DecodeAcked(ev)
		s.in(e.Index, inRanges(e.Ranges), func(p Place) { s.settled(p, e.Queue, e.Reason, e.Conn, e.Sub) })
		return err
	case journal.EvReturned:
		e, err := journal.DecodeReturned(ev)
		s.in(e.Index, inRanges(e.Ranges), func(p Place) { s.tell(p, "%sback in the queue: %s", s.of(p, e.Queue), returns[e.Reason]) })
		return err
	case journal.EvDied:
		e, err := journal.DecodeDied(ev)
		s.in(e.Index, inRanges(e.Ranges), func(p Place) { s.tell(p, "dead: %s%s", e.Reason, s.by(e.Conn, e.Sub)) })
		return err
	case journal.EvLeased:
		e, err := journal.DecodeLeased(ev)
		for _, run := range e.Runs {
			s.in(run.Index, inRanges([]ipc.Range{run.Range}), func(p Place) {
				s.tell(p, "%spulled, invisible until %s", s.of(p, e.Queue), clock(e.UntilMS))
			})
		}
		return err
	case journal.EvLeaseMoved:
		e, err := journal.DecodeLeaseMoved(ev)
		s.in(e.Index, inBatch(e.Offset, 1), func(p Place) { s.tell(p, "invisible until %s", clock(e.UntilMS)) })
		return err
	case journal.EvOffsetsCommitted:
		e, err := journal.DecodeOffsetsCommitted(ev)
		s.committed(&e)
		return err
	}
	return s.moved(ev)
}

// moved tells how the message came into further places, and how places end.
func (s *story) moved(ev journal.Event) error {
	switch ev.Type {
	case journal.EvDeadLettered:
		e, err := journal.DecodeDeadLettered(ev)
		s.in(e.Index, inBatch(e.Offset, e.Count), func(p Place) {
			if len(e.Targets) == 0 {
				s.tell(p, "dropped: there is no dead-letter exchange for it, or it reaches no queue")
			} else {
				s.tell(p, "dead-lettered to exchange %q with key %q", e.Note.Exchange, e.Note.Key)
			}
			s.spread(p, e.Offset, e.Targets)
		})
		return err
	case journal.EvReleased:
		e, err := journal.DecodeReleased(ev)
		s.in(e.Limbo, inBatch(e.Offset, e.Count), func(p Place) { s.spread(p, e.Offset, e.Targets) })
		return err
	case journal.EvPurged:
		e, err := journal.DecodePurged(ev)
		for _, x := range e.Indexes {
			kept := inRanges(x.Kept)
			s.in(x.Index, func(offset uint64) bool { return offset < x.Next && !kept(offset) }, func(p Place) {
				if !s.done[settling{e.Queue, p}] {
					s.settledFor(p, e.Queue, "purged")
				}
			})
		}
		return err
	case journal.EvSought:
		e, err := journal.DecodeSought(ev)
		s.sought(&e)
		return err
	case journal.EvQueueDeleted:
		e, err := journal.DecodeQueueDeleted(ev)
		s.end(func(p Place) bool { return s.names.owners[p.Index] == e.Queue }, "the queue was deleted")
		return err
	case journal.EvTopicDeleted:
		e, err := journal.DecodeTopicDeleted(ev)
		s.end(func(p Place) bool { return s.names.owners[p.Index] == e.ID }, "the topic was deleted")
		return err
	case journal.EvTxnEnded:
		e, err := journal.DecodeTxnEnded(ev)
		if s.txn == e.Txn && s.txn != 0 && !e.Committed {
			s.end(func(Place) bool { return true }, "the transaction was rolled back")
		}
		return err
	}
	return nil
}

// spread enters the places into which a message has come from one.
func (s *story) spread(from Place, first uint64, targets []journal.Target) {
	delete(s.places, from)
	for _, t := range targets {
		p := Place{t.Index, t.Base + from.Offset - first}
		s.places[p] = true
		s.tell(p, "stored")
	}
}

// end tells that places of the message are no more.
func (s *story) end(gone func(Place) bool, how string) {
	for _, p := range s.sorted() {
		if gone(p) {
			s.tell(p, "%s", how)
			delete(s.places, p)
		}
	}
}

func (s *story) sorted() []Place { return slices.SortedFunc(maps.Keys(s.places), comparePlaces) }

func comparePlaces(a, b Place) int {
	return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Offset, b.Offset))
}

// of names the queue that an event is about where the place does not: one over a topic.
func (s *story) of(p Place, queue uint64) string {
	if queue == p.Index || s.names.places[p.Index] == "" {
		return ""
	}
	name, ok := s.names.queues[queue]
	if !ok || len(s.names.places[p.Index]) >= len(name) && s.names.places[p.Index][:len(name)] == name {
		return ""
	}
	return fmt.Sprintf("queue %s: ", name)
}

// by names a consumer.
func (s *story) by(conn, sub uint64) string {
	if conn == 0 {
		return ""
	}
	if tag := s.names.consumers[consumer{conn, sub}]; tag != "" {
		return fmt.Sprintf(" by %s (connection %d, subscription %d)", tag, conn, sub)
	}
	return fmt.Sprintf(" by connection %d, subscription %d", conn, sub)
}

// settled tells that a queue is done with the message.
func (s *story) settled(p Place, queue uint64, reason ipc.Reason, conn, sub uint64) {
	s.settledFor(p, queue, endings[reason]+s.by(conn, sub))
}

func (s *story) settledFor(p Place, queue uint64, how string) {
	s.done[settling{queue, p}] = true
	s.tell(p, "%s%s", s.of(p, queue), how)
}

// committed tells that a group has read past the message, once for each group.
func (s *story) committed(e *journal.OffsetsCommitted) {
	for _, o := range e.Offsets {
		s.in(o.Index, func(offset uint64) bool { return offset < o.Offset }, func(p Place) {
			if !s.groups[e.Group] {
				s.groups[e.Group] = true
				s.tell(p, "group %s has read past it (offset %d committed)", e.Group, o.Offset)
			}
		})
	}
}

func (s *story) sought(e *journal.Sought) {
	for _, to := range e.To {
		s.in(to.Index, func(uint64) bool { return true }, func(p Place) {
			delete(s.done, settling{e.Queue, p})
			if p.Offset < to.Offset {
				s.done[settling{e.Queue, p}] = true
				s.tell(p, "queue %s was set to offset %d, behind it", s.names.queue(e.Queue), to.Offset)
			} else {
				s.tell(p, "queue %s was set back to offset %d: it is ready again unless somebody holds it", s.names.queue(e.Queue), to.Offset)
			}
		})
	}
}

var endings = map[ipc.Reason]string{
	ipc.ReasonAcked: "acknowledged", ipc.ReasonRejected: "rejected and dropped", ipc.ReasonSkipped: "passed over: the filter does not match",
	ipc.ReasonExpired: "expired", ipc.ReasonMaxLength: "dropped: the queue was full", ipc.ReasonDeliveryLimit: "dropped: it had come back too often",
}

var returns = map[ipc.Reason]string{
	ipc.ReasonRequeued: "its consumer put it back", ipc.ReasonTimeout: "its consumer held it for too long",
	ipc.ReasonEnded: "its consumer ended", ipc.ReasonLeaseOver: "its visibility time-out is over", ipc.ReasonUnsent: "it had not been sent",
	ipc.ReasonLost: "who may have had it is gone",
}
