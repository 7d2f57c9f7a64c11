package core

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/hash"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
	"github.com/trimq/trimq/protocol/wire"
)

// index is what offsets belong to: a partition of a topic, messages of a queue, or what is held
// back. One of topic, cursor and limbo is set.
type index struct {
	// Hard state.

	id     uint64
	level  ipc.Level // what a message waits for before it is visible
	next   uint64    // offset that the next message gets
	topic  *topic
	cursor *cursor
	limbo  *limbo
	txns   *partitionTxns // of a partition: what is derived in it is, too; nil: there were none

	// Derived and soft state, see visibility.go and waits.go.

	visible    uint64    // offsets below may be read. Invariant: visible <= next
	wasVisible uint64    // … when the turn shownTurn began
	shownTurn  uint64    // the last turn in which visible has moved
	markLSN    uint64    // the entry of the last mark
	markAt     uint64    // its number
	gone       bool      // deleted; marks may still refer to it
	waits      *wait     // parked on it
	views      []*cursor // of queues over its topic
}

// owner is the queue whose messages the index holds; nil: it is a partition, or in limbo.
func (ix *index) owner() *queue {
	if ix.cursor == nil {
		return nil
	}
	return ix.cursor.queue
}

// A topic's partitions are indexes of their own, with offsets of their own: there is no order
// between them, and nothing that a batch for one of them has to wait for in another. The list
// only grows, so a partition's number is its place in it for ever.

// topic is a named list of partitions.
type topic struct {
	id         uint64
	uuid       [16]byte
	name       string
	level      ipc.Level
	configs    []ipc.Header       // what somebody has set, as package topicconf has it
	set        topicconf.Settings // what that means
	createdMS  int64
	turn       uint32 // counts the batches routed here, for those without a key
	partitions []*index
	dest       *destination
	views      []*queue // queues over it
}

// choose picks the partition of a routed batch: by hash of its key, in turn without one.
func (t *topic) choose(key []byte) *index {
	n := uint32(len(t.partitions))
	if len(key) == 0 {
		return t.partitions[t.turn%n]
	}
	return t.partitions[hash.Partition(key, n)]
}

// topicUUID tells a topic from a later one of the same name. Core has no randomness, so it
// is made of numbers that never come together again.
func topicUUID(shard uint32, id, term uint64, timeMS int64) (uuid [16]byte) {
	seed := wire.AppendU64(wire.AppendU64(wire.AppendU64(wire.AppendU32(nil, shard), id), term), uint64(timeMS))
	binary.BigEndian.PutUint64(uuid[:8], hash.Murmur3(seed))
	binary.BigEndian.PutUint64(uuid[8:], hash.Murmur3(append(seed, 1)))
	uuid[6] = uuid[6]&0x0f | 0x80 // version 8: a scheme of our own
	uuid[8] = uuid[8]&0x3f | 0x80 // the usual variant
	return uuid
}

// settings is what persistsrv is told of one of the topic's partitions.
func (t *topic) settings(index uint64) ipc.IndexSettings {
	return keeping(index, &t.set)
}

// keeping is what persistsrv is told of an index of a topic with these settings.
func keeping(index uint64, set *topicconf.Settings) ipc.IndexSettings {
	s := ipc.IndexSettings{Index: index, RetentionBytes: set.RetentionBytes, RetentionMS: set.RetentionMS}
	if set.Compact {
		s.Compaction = ipc.Compaction{
			On: true, DirtyPPM: set.DirtyPPM, MinLagMS: set.MinLagMS, MaxLagMS: set.MaxLagMS,
			TombstoneMS: set.TombstoneMS, ClosingMS: set.ClosingMS, ClosingBytes: set.ClosingBytes,
		}
	}
	return s
}

// configure gives the topic its configuration.
func (t *topic) configure(configs []ipc.Header) {
	t.configs, t.set = configs, topicconf.Read(configs)
}
