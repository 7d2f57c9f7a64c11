//go:build failpoints

package sim

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
)

// message is one RecordBatch that a producer has made, and all that is known of it.
type message struct {
	id      uint64
	owner   *producer
	order   int // among the messages of its owner; grows
	madeMS  int64
	bytes   []byte
	meta    ipc.BatchMeta
	records []batch.Record // of bytes; nil: nobody has looked

	index uint64 // of an append; 0: it is published
	level ipc.Level
	base  uint64 // of the acknowledged append
	// queues is how many indexes the acknowledgement of a publish has named.
	queues uint32

	dueMS   int64        // nobody sees it before
	txn     *transaction // that it is part of; nil: none
	dealt   bool         // it is part of a transactional producer's transaction
	seen    bool         // an auditor has read it as committed
	control uint8        // a control batch: 1 abort, 2 commit
	apart   bool         // it is held back first, and where it comes to is not told

	offered bool // it may stand in ring 12345
	again   bool // it was sent once more to an exchange that may have gone in between, with what it knew of producers
	acked   bool
	refused bool
	lost    bool // acknowledged below disk, and gone in a power cut

	decided  uint64 // LSN of the entry in which it was routed last; 0: not known
	lsn      uint64 // of the entry that holds it; 0: none that we have read
	position uint64 // of its body in the log
	places   []place
	// deletes is how many indexes the same entry deletes: what it stores there is left out.
	deletes int
}

// place is where a message is stored.
type place struct{ index, base uint64 }

// compare orders places by index and offset.
func (p place) compare(o place) int {
	return cmp.Or(cmp.Compare(p.index, o.index), cmp.Compare(p.base, o.base))
}

// share is a partition as a group sees it.
type share struct {
	group string
	index uint64
}

func (m *message) String() string {
	return fmt.Sprintf("message %d (producer %s #%d, index %d, level %d, %d records, lsn %d)",
		m.id, m.owner.name, m.order, m.index, m.level, m.meta.Count, m.lsn)
}

// newMessage makes a batch of records that bear the message's id and bytes that follow from it.
func (w *world) newMessage(owner *producer, pid int64, epoch int16, seq int32) *message {
	w.nextMessage++
	m := &message{id: w.nextMessage, owner: owner, order: owner.made, madeMS: w.now}
	owner.made++
	w.builder.Reset()
	count := 1 + w.rng.IntN(3)
	for i := range count {
		size := w.rng.IntN(64)
		if w.rng.IntN(40) == 0 {
			size = w.rng.IntN(w.plan.maxBody)
		}
		w.value = binary.LittleEndian.AppendUint64(w.value[:0], m.id)
		for len(w.value) < size {
			w.value = append(w.value, byte(m.id*31+uint64(len(w.value)*7+i)))
		}
		key, deletion := w.laundry.key(i)
		value := w.value
		if deletion {
			value = nil
		}
		w.builder.Add(w.now, key, value, nil)
	}
	m.bytes = bytes.Clone(w.builder.Seal(batch.None, pid, epoch, seq))
	meta, err := batch.Validate(m.bytes)
	w.must(err, "validate a batch of our own")
	m.meta = meta
	w.messages = append(w.messages, m)
	w.byCRC[meta.CRC] = m
	return m
}

// messageOf finds the message that a stored body claims to be, and checks every byte that the
// broker has no business to change.
func (w *world) messageOf(stored []byte, lsn uint64) *message {
	meta, err := batch.Validate(stored)
	if err != nil {
		w.fail("body in entry lsn=%d is no valid batch: %v", lsn, err)
	}
	var rd batch.Reader
	var rec batch.Record
	if err := rd.Reset(stored); err != nil || !rd.Next(&rec) || len(rec.Value) < 8 {
		w.fail("body in entry lsn=%d cannot be read: %v", lsn, err)
	}
	id := binary.LittleEndian.Uint64(rec.Value)
	if id == 0 || id > uint64(len(w.messages)) {
		w.fail("body in entry lsn=%d bears the id %d that nobody sent", lsn, id)
	}
	m := w.messages[id-1]
	if !bytes.Equal(stored[batch.OffMagic:], m.bytes[batch.OffMagic:]) || meta.Length != m.meta.Length {
		w.fail("%v is stored with other bytes in entry lsn=%d", m, lsn)
	}
	return m
}
