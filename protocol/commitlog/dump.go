package commitlog

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/trimq/trimq/protocol/journal"
)

// DumpOptions says what Dump prints.
type DumpOptions struct {
	FromLSN uint64
	Max     int  // entries; 0: all
	Events  bool // decode the events
	Items   bool // list index changes, index items and bodies
}

// Dump prints the log as text, one entry a line. Damage is printed where it lies and does not
// end the listing. The log may be written to at the same time.
func Dump(fsys FS, w io.Writer, o DumpOptions) error {
	r, err := NewReader(fsys, o.FromLSN)
	if err != nil {
		return err
	}
	defer r.Close()
	segment := ""
	for n := 0; o.Max == 0 || n < o.Max; n++ {
		e, p, err := r.Next()
		var d *Damage
		switch {
		case err == io.EOF:
			if t := r.Torn(); t != nil {
				_, err := fmt.Fprintf(w, "the log ends at position %d: %v\n", t.Position, t.Why)
				return err
			}
			return nil
		case errors.As(err, &d):
			if _, err := fmt.Fprintln(w, d); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		if p.Segment != segment {
			segment = p.Segment
			if _, err := fmt.Fprintln(w, segment); err != nil {
				return err
			}
		}
		if err := dumpEntry(w, e, p, o); err != nil {
			return err
		}
	}
	return nil
}

func dumpEntry(w io.Writer, e *journal.Entry, p Place, o DumpOptions) error {
	_, err := fmt.Fprintf(w, "lsn=%d position=%d length=%d head=%d synced=%d term=%d shard=%d level=%d time=%d nonce=%#x input=%d events=%d ops=%d items=%d bodies=%d refs=%d\n",
		e.LSN, p.Position, p.Length, p.HeadLen, p.Synced, e.Term, e.Shard, e.Level, e.TimeMS, e.Nonce, e.Pos,
		len(e.Events), len(e.Ops), len(e.Items), len(e.Bodies), len(e.Refs))
	if err == nil && o.Events {
		err = dumpEvents(w, e.Events)
	}
	if err == nil && o.Items {
		err = dumpItems(w, e, p)
	}
	return err
}

func dumpItems(w io.Writer, e *journal.Entry, p Place) error {
	for i := range e.Ops {
		if err := dumpOp(w, &e.Ops[i]); err != nil {
			return err
		}
	}
	for i, ref := range e.InOrder() {
		show := dumpItem
		if ref {
			show = dumpRef
		}
		if err := show(w, e, i); err != nil {
			return err
		}
	}
	for i, b := range e.Bodies {
		if _, err := fmt.Fprintf(w, "    body %d position=%d length=%d base=%d epoch=%d crc=%08x ring=%d note=%d\n",
			i, p.Position+e.BodyOffset(i), b.Length, b.Base, b.Epoch, b.CRC, b.RingPos, journal.NotePosition(p.Position, b.Note)); err != nil {
			return err
		}
	}
	return nil
}

func dumpOp(w io.Writer, op *journal.IndexOp) (err error) {
	c := &op.Settings.Compaction
	switch op.Kind {
	case journal.OpCompact:
		_, err = fmt.Fprintf(w, "    compact index=%d dirty_ppm=%d min_lag_ms=%d max_lag_ms=%d\n", op.Index, c.DirtyPPM, c.MinLagMS, c.MaxLagMS)
	case journal.OpClosing:
		_, err = fmt.Fprintf(w, "    closing index=%d bytes=%d ms=%d tombstones_ms=%d\n", op.Index, c.ClosingBytes, c.ClosingMS, c.TombstoneMS)
	default:
		name := map[journal.OpKind]string{
			journal.OpCreate: "create", journal.OpDelete: "delete", journal.OpTrim: "trim", journal.OpConfigure: "configure",
		}[op.Kind]
		_, err = fmt.Fprintf(w, "    %s index=%d offset=%d retention_bytes=%d retention_ms=%d\n",
			name, op.Index, op.Offset, op.Settings.RetentionBytes, op.Settings.RetentionMS)
	}
	return err
}

func dumpItem(w io.Writer, e *journal.Entry, i int) error {
	it := &e.Items[i]
	_, err := fmt.Fprintf(w, "    item index=%d base=%d count=%d body=%d max_time=%d\n", it.Index, it.Base, it.Count, it.Body, it.MaxTimeMS)
	return err
}

func dumpRef(w io.Writer, e *journal.Entry, i int) error {
	r := &e.Refs[i]
	leads := fmt.Sprintf("position=%d length=%d skip=%d", r.Position, r.Length, r.Skip)
	for _, f := range []struct {
		flag uint32
		name string
	}{{journal.RefRebase, "rebase"}, {journal.RefPartial, "partial"}, {journal.RefDamaged, "damaged"}} {
		if r.Flags&f.flag != 0 {
			leads += " " + f.name
		}
	}
	_, err := fmt.Fprintf(w, "    ref index=%d base=%d count=%d source=%d offset=%d max_time=%d %s note=%d\n",
		r.Index, r.Base, r.Count, r.Source, r.SourceOffset, r.MaxTimeMS, leads, r.NotePosition)
	return err
}

func dumpEvents(w io.Writer, b []byte) error {
	r := journal.Events(b)
	for {
		ev, ok := r.Next()
		if !ok {
			break
		}
		if _, err := fmt.Fprintf(w, "    %s\n", eventText(ev)); err != nil {
			return err
		}
	}
	if err := r.Err(); err != nil {
		_, err := fmt.Fprintf(w, "    %v\n", err)
		return err
	}
	return nil
}

// shown makes a decoder of one event into one that any event can be shown by.
func shown[T any](decode func(journal.Event) (T, error)) func(journal.Event) (any, error) {
	return func(ev journal.Event) (any, error) { return decode(ev) }
}

var eventDecoders = map[journal.EventType]func(journal.Event) (any, error){
	journal.EvAppended:         shown(journal.DecodeAppended),
	journal.EvRouted:           shown(journal.DecodeRouted),
	journal.EvAcked:            shown(journal.DecodeAcked),
	journal.EvReturned:         shown(journal.DecodeReturned),
	journal.EvProducerCreated:  shown(journal.DecodeProducerCreated),
	journal.EvOffsetsCommitted: shown(journal.DecodeOffsetsCommitted),
	journal.EvRejected:         shown(journal.DecodeRejected),
	journal.EvDuplicate:        shown(journal.DecodeDuplicate),
	journal.EvUnchanged:        shown(journal.DecodeUnchanged),
	journal.EvTopicCreated:     shown(journal.DecodeTopicCreated),
	journal.EvTopicDeleted:     shown(journal.DecodeTopicDeleted),
	journal.EvPartitionsAdded:  shown(journal.DecodePartitionsAdded),
	journal.EvExchangeCreated:  shown(journal.DecodeExchangeCreated),
	journal.EvExchangeDeleted:  shown(journal.DecodeExchangeDeleted),
	journal.EvQueueCreated:     shown(journal.DecodeQueueCreated),
	journal.EvQueueDeleted:     shown(journal.DecodeQueueDeleted),
	journal.EvBindingCreated:   shown(journal.DecodeBindingCreated),
	journal.EvBindingDeleted:   shown(journal.DecodeBindingDeleted),
	journal.EvProducersExpired: shown(journal.DecodeProducersExpired),
	journal.EvLaneAdded:        shown(journal.DecodeLaneAdded),
	journal.EvDied:             shown(journal.DecodeDied),
	journal.EvDeadLettered:     shown(journal.DecodeDeadLettered),
	journal.EvLeased:           shown(journal.DecodeLeased),
	journal.EvLeaseMoved:       shown(journal.DecodeLeaseMoved),
	journal.EvPurged:           shown(journal.DecodePurged),
	journal.EvSought:           shown(journal.DecodeSought),
	journal.EvDelayed:          shown(journal.DecodeDelayed),
	journal.EvReleased:         shown(journal.DecodeReleased),
	journal.EvLimboAdded:       shown(journal.DecodeLimboAdded),
	journal.EvTxnBegun:         shown(journal.DecodeTxnBegun),
	journal.EvTxnHeld:          shown(journal.DecodeTxnHeld),
	journal.EvTxnEnded:         shown(journal.DecodeTxnEnded),
	journal.EvTxnChecked:       shown(journal.DecodeTxnChecked),
	journal.EvJoined:           shown(journal.DecodeJoined),
	journal.EvOwnerGone:        shown(journal.DecodeOwnerGone),
	journal.EvTransientsGone:   shown(journal.DecodeTransientsGone),
	journal.EvHanding:          shown(journal.DecodeHanding),
	journal.EvDefined:          shown(journal.DecodeDefined),
	journal.EvUndefined:        shown(journal.DecodeUndefined),
	journal.EvGroupMember:      shown(journal.DecodeGroupMember),
	journal.EvTopicConfigured:  shown(journal.DecodeTopicConfigured),
	journal.EvRecordsDeleted:   shown(journal.DecodeRecordsDeleted),
	journal.EvShareMember:      shown(journal.DecodeShareMember),
	journal.EvGroupConfigured:  shown(journal.DecodeGroupConfigured),
	journal.EvGroupTarget:      shown(journal.DecodeGroupTarget),
	journal.EvGroupAssigned:    shown(journal.DecodeGroupAssigned),
	journal.EvGroupAway:        shown(journal.DecodeGroupAway),
	journal.EvGroupMemberGone:  shown(journal.DecodeGroupMemberGone),
	journal.EvGroupGeneration:  shown(journal.DecodeGroupGeneration),
	journal.EvGroupSynced:      shown(journal.DecodeGroupSynced),
	journal.EvGroupReplaced:    shown(journal.DecodeGroupReplaced),
	journal.EvGroupDeleted:     shown(journal.DecodeGroupDeleted),
	journal.EvGroupUnsettled:   shown(journal.DecodeGroupUnsettled),
	journal.EvTxnalSet:         shown(journal.DecodeTxnalSet),
	journal.EvTxnAdded:         shown(journal.DecodeTxnAdded),
	journal.EvTxnOffsetsHeld:   shown(journal.DecodeTxnOffsetsHeld),
	journal.EvTxnFinished:      shown(journal.DecodeTxnFinished),
	journal.EvTxnalsExpired:    shown(journal.DecodeTxnalsExpired),
	journal.EvOffsetsDeleted:   shown(journal.DecodeOffsetsDeleted),
}

// eventText shows an event as its Go struct without the package.
func eventText(ev journal.Event) string {
	decode := eventDecoders[ev.Type]
	if decode == nil {
		return fmt.Sprintf("event of unknown type %d at input %d, %d bytes", ev.Type, ev.Pos, len(ev.Body))
	}
	v, err := decode(ev)
	if err != nil {
		return fmt.Sprintf("event of type %d at input %d: %v", ev.Type, ev.Pos, err)
	}
	name := strings.TrimPrefix(fmt.Sprintf("%T", v), "journal.")
	return name + strings.TrimPrefix(fmt.Sprintf("%+v", v), "&")
}
