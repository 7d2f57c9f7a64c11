package journal

// Bodies of the events in events_queues.go, in the terms of eventcodec.go. target is
// | index u64 | base u64 |, ranges is | count u32 | (first u64 | count u32)… | to the end of the body.
//
//	LaneAdded      | queue u64 | index u64 | priority u8 |
//	Died           | queue u64 | index u64 | conn u64 | sub u64 | reason u8 | 0 ×3 | ranges
//	DeadLettered   | queue u64 | index u64 | offset u64 | count u32 | weight u32 | full u32 | list of target | note | check u32 |
//	Leased         | epoch u64 | req u64 | queue u64 | lease u64 | untilMS i64 | list of (index u64 | first u64 | count u32) |
//	LeaseMoved     | queue u64 | index u64 | offset u64 | lease u64 | untilMS i64 |
//	Purged         | queue u64 | messages u64 | list of (index u64 | next u64 | list of (first u64 | count u32)) |
//	Sought         | queue u64 | list of (index u64 | offset u64) |
//	Delayed        | sent | later | list of dest u64 | note | check u32 |
//	Released       | limbo u64 | offset u64 | count u32 | weight u32 | ttlMS i64 | full u32 | list of target |
//	LimboAdded     | index u64 | class u8 |
//	TxnBegun       | txn u64 | group string | key string | checkMS i64 | owner |
//	TxnHeld        | txn u64 | partition u64 | mandatory bool | sent | later | note | check u32 |
//	TxnEnded       | txn u64 | committed bool | queues u32 |
//	TxnChecked     | txn u64 | nextMS i64 |
//	Joined         | queue u64 | conn u64 | sub u64 | tag string |
//	OwnerGone      | owner |
//	TransientsGone | nonce u64 |
//	Handing        | nonce u64 | epoch u64 |
//
//	sent   | exchange u64 | count u32 | baseSeq i32 | producer i64 | epoch i16 | weight u32 | ttlMS i64 |
//	later  | limbo u64 | offset u64 | dueMS i64 |
//	owner  | nonce u64 | epoch u64 | conn u64 |

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

// Limits of lists in these events, besides the bytes that are there.
const (
	maxListed = 1 << 20
	maxKept   = 1 << 24
)

func appendTargets(b []byte, targets []Target) []byte {
	b = wire.AppendUvarint(b, uint64(len(targets)))
	for i := range targets {
		b = wire.AppendU64(wire.AppendU64(b, targets[i].Index), targets[i].Base)
	}
	return b
}

// readTargets reads a list into the memory of targets.
func readTargets(c *wire.Cursor, targets []Target) []Target {
	for range c.Count(16, maxListed) {
		targets = append(targets, Target{c.U64(), c.U64()})
	}
	return targets
}

// Append appends the event, as do the methods of this name below.
func (ev *LaneAdded) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvLaneAdded, ev.Pos), ev.Queue)
	return endEvent(append(wire.AppendU64(b, ev.Index), ev.Priority), start)
}

// DecodeLaneAdded reads the event's body, as do the functions of such a name below.
func DecodeLaneAdded(ev Event) (LaneAdded, error) {
	if err := ev.expect(EvLaneAdded); err != nil {
		return LaneAdded{}, err
	}
	c := wire.Read(ev.Body)
	l := LaneAdded{ev.Pos, c.U64(), c.U64(), c.U8()}
	return l, eventErr(c.Done("lane added"))
}

// Append appends the event.
func (ev *Died) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvDied, ev.Pos), ev.Queue)
	b = wire.AppendU64(b, ev.Index)
	b = wire.AppendU64(wire.AppendU64(b, ev.Conn), ev.Sub)
	b = wire.AppendU32(b, uint32(ev.Reason))
	return endEvent(appendRanges(b, ev.Ranges), start)
}

// DecodeDied reads the event's body.
func DecodeDied(ev Event) (d Died, err error) { err = d.Decode(ev); return d, err }

// Decode is DecodeDied into the memory that Ranges has.
func (d *Died) Decode(ev Event) error {
	ranges := d.Ranges[:0]
	*d = Died{Pos: ev.Pos}
	if err := ev.expect(EvDied); err != nil {
		return err
	}
	c := wire.Read(ev.Body)
	d.Queue, d.Index, d.Conn, d.Sub, d.Reason = c.U64(), c.U64(), c.U64(), c.U64(), ipc.Reason(c.U8())
	c.Zero(3)
	d.Ranges = decodeRanges(&c, ranges)
	if !d.Reason.Kills() {
		c.Fail(wire.ErrOutOfRange)
	}
	return eventErr(c.Done("died"))
}

// Append appends the event.
func (ev *DeadLettered) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvDeadLettered, ev.Pos), ev.Queue)
	b = wire.AppendU64(wire.AppendU64(b, ev.Index), ev.Offset)
	b = wire.AppendU32(wire.AppendU32(wire.AppendU32(b, ev.Count), ev.Weight), ev.Full)
	return endNoted(AppendNoteBody(appendTargets(b, ev.Targets), &ev.Note), start)
}

// DecodeDeadLettered reads the event's body.
func DecodeDeadLettered(ev Event) (DeadLettered, error) {
	body, err := expectNoted(ev, EvDeadLettered)
	if err != nil {
		return DeadLettered{}, err
	}
	c := wire.Read(body)
	d := DeadLettered{Pos: ev.Pos, Queue: c.U64(), Index: c.U64(), Offset: c.U64(), Count: c.U32(), Weight: c.U32(), Full: c.U32()}
	d.Targets = readTargets(&c, nil)
	d.Note = ReadNoteBody(&c)
	return d, eventErr(c.Done("dead-lettered"))
}

// Append appends the event.
func (ev *Leased) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(wire.AppendU64(beginEvent(b, EvLeased, ev.Pos), ev.Epoch), ev.Req)
	b = wire.AppendU64(b, ev.Queue)
	b = wire.AppendU64(wire.AppendU64(b, ev.Lease), uint64(ev.UntilMS))
	b = wire.AppendUvarint(b, uint64(len(ev.Runs)))
	for i := range ev.Runs {
		b = appendRange(wire.AppendU64(b, ev.Runs[i].Index), ev.Runs[i].Range)
	}
	return endEvent(b, start)
}

// DecodeLeased reads the event's body.
func DecodeLeased(ev Event) (Leased, error) {
	if err := ev.expect(EvLeased); err != nil {
		return Leased{}, err
	}
	c := wire.Read(ev.Body)
	l := Leased{Pos: ev.Pos, Epoch: c.U64(), Req: c.U64(), Queue: c.U64(), Lease: c.U64(), UntilMS: c.I64()}
	if n := c.Count(20, maxListed); n > 0 {
		l.Runs = make([]Run, n)
	}
	for i := range l.Runs {
		l.Runs[i] = Run{c.U64(), readRange(&c)}
	}
	return l, eventErr(c.Done("leased"))
}

// Append appends the event.
func (ev *LeaseMoved) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvLeaseMoved, ev.Pos), ev.Queue)
	b = wire.AppendU64(wire.AppendU64(b, ev.Index), ev.Offset)
	return endEvent(wire.AppendU64(wire.AppendU64(b, ev.Lease), uint64(ev.UntilMS)), start)
}

// DecodeLeaseMoved reads the event's body.
func DecodeLeaseMoved(ev Event) (LeaseMoved, error) {
	if err := ev.expect(EvLeaseMoved); err != nil {
		return LeaseMoved{}, err
	}
	c := wire.Read(ev.Body)
	l := LeaseMoved{ev.Pos, c.U64(), c.U64(), c.U64(), c.U64(), c.I64()}
	return l, eventErr(c.Done("lease moved"))
}

func appendRange(b []byte, r ipc.Range) []byte {
	return wire.AppendU32(wire.AppendU64(b, r.First), r.Count)
}

func readRange(c *wire.Cursor) ipc.Range { return ipc.Range{First: c.U64(), Count: c.U32()} }

// Append appends the event.
func (ev *Purged) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvPurged, ev.Pos), ev.Queue)
	b = wire.AppendUvarint(wire.AppendU64(b, ev.Messages), uint64(len(ev.Indexes)))
	for i := range ev.Indexes {
		x := &ev.Indexes[i]
		b = wire.AppendU64(wire.AppendU64(b, x.Index), x.Next)
		b = wire.AppendUvarint(b, uint64(len(x.Kept)))
		for _, r := range x.Kept {
			b = appendRange(b, r)
		}
	}
	return endEvent(b, start)
}

// DecodePurged reads the event's body.
func DecodePurged(ev Event) (Purged, error) {
	if err := ev.expect(EvPurged); err != nil {
		return Purged{}, err
	}
	c := wire.Read(ev.Body)
	p := Purged{Pos: ev.Pos, Queue: c.U64(), Messages: c.U64()}
	if n := c.Count(17, maxListed); n > 0 {
		p.Indexes = make([]PurgedIndex, n)
	}
	for i := range p.Indexes {
		x := &p.Indexes[i]
		x.Index, x.Next = c.U64(), c.U64()
		if n := c.Count(12, maxKept); n > 0 {
			x.Kept = make([]ipc.Range, n)
		}
		for k := range x.Kept {
			x.Kept[k] = readRange(&c)
		}
	}
	return p, eventErr(c.Done("purged"))
}

// Append appends the event.
func (ev *Sought) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvSought, ev.Pos), ev.Queue)
	b = wire.AppendUvarint(b, uint64(len(ev.To)))
	for _, to := range ev.To {
		b = wire.AppendU64(wire.AppendU64(b, to.Index), to.Offset)
	}
	return endEvent(b, start)
}

// DecodeSought reads the event's body.
func DecodeSought(ev Event) (Sought, error) {
	if err := ev.expect(EvSought); err != nil {
		return Sought{}, err
	}
	c := wire.Read(ev.Body)
	s := Sought{Pos: ev.Pos, Queue: c.U64()}
	if n := c.Count(16, maxListed); n > 0 {
		s.To = make([]admin.SeekTo, n)
	}
	for i := range s.To {
		s.To[i] = admin.SeekTo{Index: c.U64(), Offset: c.U64()}
	}
	return s, eventErr(c.Done("sought"))
}

func (s *Sent) append(b []byte) []byte {
	b = wire.AppendU32(wire.AppendU64(b, s.Exchange), s.Count)
	b = wire.AppendU64(wire.AppendU32(b, uint32(s.BaseSeq)), uint64(s.ProducerID))
	b = wire.AppendU32(wire.AppendU16(b, uint16(s.Epoch)), s.Weight)
	return wire.AppendU64(b, uint64(s.TTLMS))
}

func readSent(c *wire.Cursor) Sent {
	return Sent{c.U64(), c.U32(), c.I32(), c.I64(), c.I16(), c.U32(), c.I64()}
}

func (l *Later) append(b []byte) []byte {
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(b, l.Limbo), l.Offset), uint64(l.DueMS))
}

func readLater(c *wire.Cursor) Later { return Later{c.U64(), c.U64(), c.I64()} }

// Append appends the event.
func (ev *Delayed) Append(b []byte) []byte {
	start := len(b)
	b = ev.Sent.append(beginEvent(b, EvDelayed, ev.Pos))
	b = wire.AppendUvarint(ev.Later.append(b), uint64(len(ev.Dests)))
	for _, d := range ev.Dests {
		b = wire.AppendU64(b, d)
	}
	return endNoted(AppendNoteBody(b, &ev.Note), start)
}

// DecodeDelayed reads the event's body.
func DecodeDelayed(ev Event) (Delayed, error) {
	body, err := expectNoted(ev, EvDelayed)
	if err != nil {
		return Delayed{}, err
	}
	c := wire.Read(body)
	d := Delayed{Pos: ev.Pos, Sent: readSent(&c), Later: readLater(&c)}
	d.Dests = decodeIndexes(&c)
	d.Note = ReadNoteBody(&c)
	return d, eventErr(c.Done("delayed"))
}

// Append appends the event.
func (ev *Released) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvReleased, ev.Pos), ev.Limbo)
	b = wire.AppendU32(wire.AppendU32(wire.AppendU64(b, ev.Offset), ev.Count), ev.Weight)
	b = wire.AppendU32(wire.AppendU64(b, uint64(ev.TTLMS)), ev.Full)
	return endEvent(appendTargets(b, ev.Targets), start)
}

// DecodeReleased reads the event's body.
func DecodeReleased(ev Event) (r Released, err error) { err = r.Decode(ev); return r, err }

// Decode is DecodeReleased into the memory that Targets has.
func (r *Released) Decode(ev Event) error {
	targets := r.Targets[:0]
	*r = Released{Pos: ev.Pos}
	if err := ev.expect(EvReleased); err != nil {
		return err
	}
	c := wire.Read(ev.Body)
	r.Limbo, r.Offset, r.Count, r.Weight = c.U64(), c.U64(), c.U32(), c.U32()
	r.TTLMS, r.Full = c.I64(), c.U32()
	r.Targets = readTargets(&c, targets)
	return eventErr(c.Done("released"))
}

// Append appends the event.
func (ev *LimboAdded) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvLimboAdded, ev.Pos), ev.Index)
	return endEvent(append(b, ev.Class), start)
}

// DecodeLimboAdded reads the event's body.
func DecodeLimboAdded(ev Event) (LimboAdded, error) {
	if err := ev.expect(EvLimboAdded); err != nil {
		return LimboAdded{}, err
	}
	c := wire.Read(ev.Body)
	l := LimboAdded{ev.Pos, c.U64(), c.U8()}
	return l, eventErr(c.Done("limbo added"))
}

func (o *Owner) append(b []byte) []byte {
	return wire.AppendU64(wire.AppendU64(wire.AppendU64(b, o.Nonce), o.Epoch), o.Conn)
}

func readOwner(c *wire.Cursor) Owner { return Owner{c.U64(), c.U64(), c.U64()} }

// Append appends the event.
func (ev *TxnBegun) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvTxnBegun, ev.Pos), ev.Txn)
	b = wire.AppendString(wire.AppendString(b, ev.Group), ev.Key)
	return endEvent(ev.Owner.append(wire.AppendU64(b, uint64(ev.CheckMS))), start)
}

// DecodeTxnBegun reads the event's body.
func DecodeTxnBegun(ev Event) (TxnBegun, error) {
	if err := ev.expect(EvTxnBegun); err != nil {
		return TxnBegun{}, err
	}
	c := wire.Read(ev.Body)
	t := TxnBegun{ev.Pos, c.U64(), c.String(), c.String(), c.I64(), readOwner(&c)}
	return t, eventErr(c.Done("txn begun"))
}

// Append appends the event.
func (ev *TxnHeld) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvTxnHeld, ev.Pos), ev.Txn)
	b = wire.AppendBool(wire.AppendU64(b, ev.Partition), ev.Mandatory)
	b = ev.Later.append(ev.Sent.append(b))
	return endNoted(AppendNoteBody(b, &ev.Note), start)
}

// DecodeTxnHeld reads the event's body.
func DecodeTxnHeld(ev Event) (TxnHeld, error) {
	body, err := expectNoted(ev, EvTxnHeld)
	if err != nil {
		return TxnHeld{}, err
	}
	c := wire.Read(body)
	t := TxnHeld{Pos: ev.Pos, Txn: c.U64(), Partition: c.U64(), Mandatory: c.Bool(), Sent: readSent(&c), Later: readLater(&c)}
	t.Note = ReadNoteBody(&c)
	return t, eventErr(c.Done("txn held"))
}

// Append appends the event.
func (ev *TxnEnded) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvTxnEnded, ev.Pos), ev.Txn)
	return endEvent(wire.AppendU32(wire.AppendBool(b, ev.Committed), ev.Queues), start)
}

// DecodeTxnEnded reads the event's body.
func DecodeTxnEnded(ev Event) (TxnEnded, error) {
	if err := ev.expect(EvTxnEnded); err != nil {
		return TxnEnded{}, err
	}
	c := wire.Read(ev.Body)
	t := TxnEnded{ev.Pos, c.U64(), c.Bool(), c.U32()}
	return t, eventErr(c.Done("txn ended"))
}

// Append appends the event.
func (ev *TxnChecked) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvTxnChecked, ev.Pos), ev.Txn)
	return endEvent(wire.AppendU64(b, uint64(ev.NextMS)), start)
}

// DecodeTxnChecked reads the event's body.
func DecodeTxnChecked(ev Event) (TxnChecked, error) {
	if err := ev.expect(EvTxnChecked); err != nil {
		return TxnChecked{}, err
	}
	c := wire.Read(ev.Body)
	t := TxnChecked{ev.Pos, c.U64(), c.I64()}
	return t, eventErr(c.Done("txn checked"))
}

// Append appends the event.
func (ev *Joined) Append(b []byte) []byte {
	start := len(b)
	b = wire.AppendU64(beginEvent(b, EvJoined, ev.Pos), ev.Queue)
	b = wire.AppendU64(wire.AppendU64(b, ev.Conn), ev.Sub)
	return endEvent(wire.AppendString(b, ev.Tag), start)
}

// DecodeJoined reads the event's body.
func DecodeJoined(ev Event) (Joined, error) {
	if err := ev.expect(EvJoined); err != nil {
		return Joined{}, err
	}
	c := wire.Read(ev.Body)
	j := Joined{ev.Pos, c.U64(), c.U64(), c.U64(), c.String()}
	return j, eventErr(c.Done("joined"))
}

// Append appends the event.
func (ev *OwnerGone) Append(b []byte) []byte {
	start := len(b)
	return endEvent(ev.Owner.append(beginEvent(b, EvOwnerGone, ev.Pos)), start)
}

// DecodeOwnerGone reads the event's body.
func DecodeOwnerGone(ev Event) (OwnerGone, error) {
	if err := ev.expect(EvOwnerGone); err != nil {
		return OwnerGone{}, err
	}
	c := wire.Read(ev.Body)
	o := OwnerGone{ev.Pos, readOwner(&c)}
	return o, eventErr(c.Done("owner gone"))
}

// Append appends the event.
func (ev *TransientsGone) Append(b []byte) []byte {
	return appendIDEvent(b, EvTransientsGone, ev.Pos, ev.Nonce)
}

// DecodeTransientsGone reads the event's body.
func DecodeTransientsGone(ev Event) (TransientsGone, error) {
	nonce, err := decodeIDEvent(ev, EvTransientsGone, "transients gone")
	return TransientsGone{ev.Pos, nonce}, err
}

// Append appends the event.
func (ev *Handing) Append(b []byte) []byte {
	start := len(b)
	return endEvent(wire.AppendU64(wire.AppendU64(beginEvent(b, EvHanding, ev.Pos), ev.Nonce), ev.Epoch), start)
}

// DecodeHanding reads the event's body.
func DecodeHanding(ev Event) (Handing, error) {
	if err := ev.expect(EvHanding); err != nil {
		return Handing{}, err
	}
	c := wire.Read(ev.Body)
	h := Handing{ev.Pos, c.U64(), c.U64()}
	return h, eventErr(c.Done("handing"))
}
