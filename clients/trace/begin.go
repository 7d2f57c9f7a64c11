package trace

import (
	"fmt"
	"strings"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// begin tells of the log entry that stored the message: its batch, and the event of that. What else
// the entry says of the message, behind that event, is told as with other entries.
func (s *story) begin(e *journal.Entry, o Origin) error {
	s.lsn, s.timeMS = e.LSN, e.TimeMS
	for _, it := range e.Items {
		if it.Body == uint32(o.Body) {
			s.places[Place{it.Index, it.Base + uint64(o.Record)}] = true
		}
	}
	if len(s.places) == 0 || o.Record >= countOf(e, o.Body) {
		return fmt.Errorf("batch %d, record %d: %w", o.Body, o.Record, ErrNotFound)
	}
	r := journal.Events(e.Events)
	told := false
	for ev, ok := r.Next(); ok; ev, ok = r.Next() {
		if err := s.names.learn(ev); err != nil {
			return err
		}
		var err error
		if told {
			err = s.event(ev)
		} else {
			told, err = s.published(ev)
		}
		if err != nil {
			return err
		}
	}
	return r.Err()
}

func countOf(e *journal.Entry, body int) uint32 {
	for _, it := range e.Items {
		if it.Body == uint32(body) {
			return it.Count
		}
	}
	return 0
}

// published tells how the message came, if this is the event that says so.
func (s *story) published(ev journal.Event) (told bool, err error) {
	switch ev.Type {
	case journal.EvAppended:
		e, err := journal.DecodeAppended(ev)
		if !s.isIn(e.Index, e.Base, e.Count) {
			return false, err
		}
		s.all("produced%s", producer(e.ProducerID, e.Epoch, e.BaseSeq))
	case journal.EvRouted:
		e, err := journal.DecodeRouted(ev)
		if len(e.Targets) == 0 || !s.isIn(e.Targets[0].Index, e.Targets[0].Base, e.Count) {
			return false, err
		}
		s.sent("published", ev, &e.Sent, "")
		if e.Full > 0 {
			s.all("%d queues did not take it: they were full", e.Full)
		}
	case journal.EvDelayed:
		e, err := journal.DecodeDelayed(ev)
		if !s.isIn(e.Limbo, e.Offset, e.Count) {
			return false, err
		}
		s.sent("published", ev, &e.Sent, ", held back until "+clock(e.DueMS))
	case journal.EvTxnHeld:
		e, err := journal.DecodeTxnHeld(ev)
		if !s.isIn(e.Limbo, e.Offset, e.Count) {
			return false, err
		}
		s.txn = e.Txn
		s.sent("published", ev, &e.Sent, fmt.Sprintf(", in transaction %d", e.Txn))
	default:
		return false, nil
	}
	for _, p := range s.sorted() {
		if !s.names.limbos[p.Index] {
			s.tell(p, "stored")
		}
	}
	return true, nil
}

func (s *story) isIn(index, base uint64, count uint32) bool {
	for p := range s.places {
		if p.Index == index && inBatch(base, count)(p.Offset) {
			return true
		}
	}
	return false
}

// all tells what concerns the message as such.
func (s *story) all(format string, args ...any) {
	s.emit(Step{TimeMS: s.timeMS, LSN: s.lsn, What: fmt.Sprintf(format, args...)})
}

// sent tells of a message that went through an exchange, or is to go through one.
func (s *story) sent(how string, ev journal.Event, e *journal.Sent, more string) {
	note, err := journal.DecodeNote(ev)
	if err != nil {
		s.all("%s; the note is damaged%s", how, more)
		return
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s to ", how)
	if note.Exchange == "" {
		fmt.Fprintf(&b, "the default exchange with key %q", note.Key)
	} else {
		fmt.Fprintf(&b, "exchange %q with key %q", note.Exchange, note.Key)
	}
	for _, h := range note.Headers {
		fmt.Fprintf(&b, " %s=%s", h.Key, h.Value)
	}
	if note.Priority > 0 {
		fmt.Fprintf(&b, ", priority %d", note.Priority)
	}
	if e.TTLMS != ipc.NoTTL {
		fmt.Fprintf(&b, ", for %v", time.Duration(e.TTLMS)*time.Millisecond)
	}
	s.all("%s%s%s", b.String(), producer(e.ProducerID, e.Epoch, e.BaseSeq), more)
}

// producer names an idempotent producer, and the sequence number of the batch.
func producer(id int64, epoch int16, seq int32) string {
	if id == journal.NoProducer {
		return ""
	}
	return fmt.Sprintf(" by producer %d, epoch %d, in the batch with sequence %d", id, epoch, seq)
}

// clock is a time for people.
func clock(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05.000") }
