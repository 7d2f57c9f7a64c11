package trimq

import (
	"bytes"
	"fmt"
	"math"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Parcel is messages of a queue that came together: neighbours, out of one batch, with all that is
// known of them. What it tells of their routing may be shared with other parcels: do not change it.
type Parcel struct {
	Queue    string
	Index    uint64   // one of the queue's: a queue with priorities has one for each, one over a topic has its partitions
	Messages []Record // their Offset is the place in the index
	Attempts uint16   // how often they were delivered before; 0: the first time

	// How they were published. Messages that were produced to a topic have none of this.
	Exchange       string
	RoutingKey     string
	RoutingHeaders []RoutingHeader
	Priority       uint8
	Deaths         []Death // what led them here through dead-letter exchanges, the latest first

	first, next uint64
	s           *slab
	headers     []Header
	reader      batch.Reader
}

// Death tells of a message's death in a queue.
type Death = ipc.Death

// Reason says what messages die of.
type Reason = ipc.Reason

// What messages die of.
const (
	ReasonRejected      = ipc.ReasonRejected
	ReasonExpired       = ipc.ReasonExpired
	ReasonMaxLength     = ipc.ReasonMaxLength
	ReasonDeliveryLimit = ipc.ReasonDeliveryLimit
)

// Redelivered tells whether they were delivered before.
func (d *Parcel) Redelivered() bool { return d.Attempts > 0 }

// delivered is a DELIVER that has arrived.
type delivered struct {
	m     native.Deliver
	batch []byte // aliases s
	s     *slab
	note  *ipc.Note // shared
	err   error     // the note cannot be read
}

// arrive takes a DELIVER in and keeps its slab. An error: it is not the protocol.
func arrive(body []byte, s *slab, notes *noteMemory) (*delivered, error) {
	m, note, b, err := native.DecodeDeliver(body)
	if err != nil {
		return nil, protocolError("%w", err)
	}
	in := &delivered{m: m, batch: b, s: s}
	before := m.First - m.Base // messages in the batch; its base lies below 0 where those are none of the queue's
	if m.Count == 0 || in.next() < m.First || before > math.MaxInt32 {
		return nil, protocolError("DELIVER of %d messages from %d, base %d", m.Count, m.First, m.Base)
	}
	in.note, in.err = notes.read(note)
	s.retain()
	return in, nil
}

// next is the offset behind the messages.
func (in *delivered) next() uint64 { return in.m.First + uint64(in.m.Count) }

// part is a delivery of some of its messages.
func (in *delivered) part(first, next uint64) *delivered {
	in.s.retain()
	p := *in
	p.m.First, p.m.Count = first, uint32(next-first)
	return &p
}

// without is what is left of a delivery when [first, next) is taken out: parts of it, in order.
func (in *delivered) without(first, next uint64) (left []*delivered) {
	if in.m.First < first {
		left = append(left, in.part(in.m.First, min(first, in.next())))
	}
	if next < in.next() {
		left = append(left, in.part(max(next, in.m.First), in.next()))
	}
	in.s.release()
	return left
}

// open checks and unpacks a delivery. The parcel owns its memory then, also with an error.
func (d *Parcel) open(in *delivered, queue string) error {
	d.s, d.Queue, d.Index, d.Attempts = in.s, queue, in.m.Index, in.m.Attempts
	d.first, d.next = in.m.First, in.next()
	if in.err != nil {
		return in.err
	}
	n := in.note
	d.Exchange, d.RoutingKey, d.RoutingHeaders, d.Priority, d.Deaths = n.Exchange, n.Key, n.Headers, n.Priority, n.Deaths
	err := d.reader.Reset(in.batch)
	if err == nil {
		if batch.Header(in.batch).Codec() != batch.None {
			d.reader.TakeBuffer() // the messages are to outlive the reader's next batch
		}
		d.reader.Rebase(in.m.Base)
		d.Messages = appendRecords(d.Messages, &d.headers, &d.reader, d.first, d.next)
		err = d.reader.Err()
	}
	if err == nil && len(d.Messages) != int(in.m.Count) {
		err = fmt.Errorf("%d messages instead of %d", len(d.Messages), in.m.Count)
	}
	if err != nil {
		return corrupt(err)
	}
	return nil
}

// release gives the memory back; false: that has been done.
func (d *Parcel) release() bool {
	if d.s == nil {
		return false
	}
	d.s.release()
	clear(d.headers)
	*d = Parcel{Messages: d.Messages[:0], headers: d.headers[:0], reader: d.reader}
	return true
}

// noteMemory remembers the latest note, since most messages of a queue came the same way. Its
// owner's lock guards it.
type noteMemory struct {
	raw  []byte
	note *ipc.Note
}

var noNote ipc.Note

// read decodes a note. What it returns is shared.
func (k *noteMemory) read(raw []byte) (*ipc.Note, error) {
	if len(raw) == 0 {
		return &noNote, nil
	}
	if k.note != nil && bytes.Equal(raw, k.raw) {
		return k.note, nil
	}
	n, err := native.DecodeNote(raw)
	if err != nil {
		return nil, protocolError("%w", err)
	}
	k.raw, k.note = append(k.raw[:0], raw...), &n
	return k.note, nil
}
