package journal

// The sections that the ring form and the disk form of an entry share. They are drawn at
// the top of entry.go.

import (
	"fmt"

	"github.com/trimq/trimq/protocol/ipc"
)

// counts are the sizes of the sections, as a header tells them.
type counts struct{ events, ops, items, bodies, refs uint64 }

func (e *Entry) putCounts(b []byte) {
	le.PutUint32(b[0:], uint32(len(e.Events)))
	le.PutUint32(b[4:], uint32(len(e.Ops)))
	le.PutUint32(b[8:], uint32(len(e.Items)))
	le.PutUint32(b[12:], uint32(len(e.Bodies)))
	le.PutUint32(b[16:], uint32(len(e.Refs)))
}

func readCounts(b []byte) counts {
	return counts{
		uint64(le.Uint32(b)), uint64(le.Uint32(b[4:])),
		uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[16:])),
	}
}

// bytes is the size of all sections.
func (n *counts) bytes() uint64 {
	return n.events + n.ops*OpSize + n.items*ItemSize + n.bodies*BodySize + n.refs*RefSize
}

// appendSections appends all sections but the references, which differ in the two forms.
func (e *Entry) appendSections(b []byte) []byte {
	b = append(b, e.Events...)
	for i := range e.Ops {
		b = e.Ops[i].append(b)
	}
	for i := range e.Items {
		b = e.Items[i].append(b)
	}
	for i := range e.Bodies {
		b = e.Bodies[i].append(b)
	}
	return b
}

// decodeSections reads sections that fill b exactly; only after the lengths were compared
// does it allocate. onDisk says which form the references have.
func (e *Entry) decodeSections(n counts, b []byte, onDisk bool) error {
	e.Events, e.Ops, e.Items, e.Bodies, e.Refs = nil, e.Ops[:0], e.Items[:0], e.Bodies[:0], e.Refs[:0]
	if e.Level > ipc.LevelQuorum {
		return fmt.Errorf("%w: level %d", ErrEntry, e.Level)
	}
	if n.events%8 != 0 || n.bytes() != uint64(len(b)) {
		return fmt.Errorf("%w: %d bytes for %d of events, %d ops, %d items, %d bodies, %d refs",
			ErrEntry, len(b), n.events, n.ops, n.items, n.bodies, n.refs)
	}
	if n.events > 0 {
		e.Events = b[:n.events:n.events]
	}
	b = b[n.events:]
	for i := uint64(0); i < n.ops; i, b = i+1, b[OpSize:] {
		op, err := readOp(b)
		if err != nil {
			return err
		}
		e.Ops = append(e.Ops, op)
	}
	for i := uint64(0); i < n.items; i, b = i+1, b[ItemSize:] {
		it := readItem(b)
		if uint64(it.Body) >= n.bodies {
			return fmt.Errorf("%w: item of body %d among %d", ErrEntry, it.Body, n.bodies)
		}
		e.Items = append(e.Items, it)
	}
	for i := uint64(0); i < n.bodies; i, b = i+1, b[BodySize:] {
		x := readBody(b)
		if !e.holdsNote(x.Note) {
			return fmt.Errorf("%w: body %d with its note at %d, events of %d bytes", ErrEntry, i, x.Note, n.events)
		}
		e.Bodies = append(e.Bodies, x)
	}
	return e.decodeRefs(b, onDisk)
}

func (op *IndexOp) append(b []byte) []byte {
	var e [OpSize]byte
	e[0] = byte(op.Kind)
	le.PutUint64(e[8:], op.Index)
	s, c := &op.Settings, &op.Settings.Compaction
	words := [3]uint64{op.Offset, uint64(s.RetentionBytes), uint64(s.RetentionMS)}
	switch op.Kind {
	case OpCompact:
		words = [3]uint64{uint64(c.DirtyPPM), uint64(c.MinLagMS), uint64(c.MaxLagMS)}
	case OpClosing:
		words = [3]uint64{uint64(c.ClosingBytes), uint64(c.TombstoneMS), uint64(c.ClosingMS)}
	}
	for i, w := range words {
		le.PutUint64(e[16+8*i:], w)
	}
	return append(b, e[:]...)
}

// readOp gives the settings the op's own index, which is not encoded twice.
func readOp(b []byte) (IndexOp, error) {
	op := IndexOp{Kind: OpKind(b[0]), Index: le.Uint64(b[8:])}
	op.Settings.Index = op.Index
	first, second, third := le.Uint64(b[16:]), int64(le.Uint64(b[24:])), int64(le.Uint64(b[32:]))
	c := &op.Settings.Compaction
	switch {
	case op.Kind < OpCreate || op.Kind > OpClosing || le.Uint64(b)>>8 != 0:
		return op, fmt.Errorf("%w: op of kind %d", ErrEntry, op.Kind)
	case op.Kind == OpCompact:
		c.On, c.DirtyPPM, c.MinLagMS, c.MaxLagMS = true, int64(first), second, third
	case op.Kind == OpClosing:
		c.On, c.ClosingBytes, c.TombstoneMS, c.ClosingMS = true, int64(first), second, third
	default:
		op.Offset, op.Settings.RetentionBytes, op.Settings.RetentionMS = first, second, third
	}
	return op, nil
}

func (it *IndexItem) append(b []byte) []byte {
	var e [ItemSize]byte
	le.PutUint64(e[0:], it.Index)
	le.PutUint64(e[8:], it.Base)
	le.PutUint64(e[16:], uint64(it.MaxTimeMS))
	le.PutUint32(e[24:], it.Count)
	le.PutUint32(e[28:], it.Body)
	return append(b, e[:]...)
}

func readItem(b []byte) IndexItem {
	return IndexItem{
		Index: le.Uint64(b), Base: le.Uint64(b[8:]), MaxTimeMS: int64(le.Uint64(b[16:])),
		Count: le.Uint32(b[24:]), Body: le.Uint32(b[28:]),
	}
}

func (x *Body) append(b []byte) []byte {
	var e [BodySize]byte
	le.PutUint64(e[0:], x.RingPos)
	le.PutUint64(e[8:], x.Base)
	le.PutUint32(e[16:], x.Length)
	le.PutUint32(e[20:], x.CRC)
	le.PutUint32(e[24:], uint32(x.Epoch))
	le.PutUint32(e[28:], x.Note)
	return append(b, e[:]...)
}

func readBody(b []byte) Body {
	return Body{
		RingPos: le.Uint64(b), Base: le.Uint64(b[8:]),
		Length: le.Uint32(b[16:]), CRC: le.Uint32(b[20:]), Epoch: int32(le.Uint32(b[24:])), Note: le.Uint32(b[28:]),
	}
}
