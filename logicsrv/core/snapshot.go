package core

// The checkpoint: all hard state and nothing else, in one fixed order, so that equal states
// have equal bytes (digest.go rests on that). Little-endian; v is a uvarint, str and list
// begin with a uvarint length; ids within a list are told as the difference to the one
// before (dv).
//
//	| "TMQS" | version u16 | 0 u16 |
//	| lsn v | term v | nonce u64 | pos v | timeMS v | shard v | lastID v | lastPID v | lastTxn v |
//	| list of topics      in order of name:
//	|     name str | id v | uuid 16 | level u8 | list of (key str | value str) | createdMS v | turn v
//	|     | list of partitions: (id v | next v) |
//	| list of queues      in order of name, see snapshot_queues.go
//	| list of exchanges   in order of name, the predeclared ones left out: id v | admin.CreateExchange |
//	| list of bindings    in order: admin.CreateBinding |
//	| list of producers   the one used longest ago first:
//	|     id v | epoch v | used v | list of lanes: (to v | epoch v | next v | accepted v | list of (first v | last v | result v)) |
//	| list of groups      in order of name, see group_snapshot.go
//	| limbos and transactions, see snapshot_queues.go
//	| settings of groups, see group_settings.go
//	| list of definitions in order of identity: admin.Definition
//	| transactional producers, see snapshot_txnal.go
//	| handing: nonce u64 | epoch v
//
//	set     | 0 |                                              empty
//	        | 1 | list of runs: (gap v | length v) |           gap from the floor, then from the run before
//	        | 2 | base v | list of word u64 |                  bitmap from offset base, a multiple of 64
//
// The smaller form of a set is taken, runs if equal. What a CRC covers is the matter of the
// envelope, journal.AppendCheckpoint. Version ladder: 1, never released; 2; 3: share
// groups, settings of groups, arguments of queues, exchanges and bindings, definitions,
// transactional producers, handing; 4, the one read: leader epochs of committed offsets, further keys of what a transaction holds.

import (
	"math/bits"

	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/wire"
)

const (
	snapshotMagic   = "TMQS"
	snapshotVersion = 4
)

// Forms of a set.
const (
	setEmpty  = 0
	setRuns   = 1
	setBitmap = 2
)

// Forms of a set are chosen by size. Ten thousand messages of which each third is done with are
// 1,250 bytes of bitmap, or 4,200 of runs; one poisoned message below a million that are done
// with is six bytes of runs, or 125,000 of bitmap.

// Checkpoint appends the hard state to dst. REQUIRES: between EndTurn and the next Step.
func (c *Core) Checkpoint(dst []byte) []byte {
	invariant.Check(!c.turn.open, "checkpoint within a turn behind lsn=%d", c.lsn)
	b := append(dst, snapshotMagic...)
	b = wire.AppendU16(wire.AppendU16(b, snapshotVersion), 0)
	b = wire.AppendUvarint(wire.AppendUvarint(b, c.lsn), c.term)
	b = wire.AppendU64(b, c.nonce)
	b = wire.AppendUvarint(wire.AppendUvarint(b, c.pos), uint64(c.timeMS))
	b = wire.AppendUvarint(b, uint64(c.cfg.Shard))
	b = wire.AppendUvarint(wire.AppendUvarint(wire.AppendUvarint(b, c.lastID), uint64(c.lastPID)), c.lastTxn)
	b = c.appendTopics(b)
	b = c.appendQueues(b)
	b = c.appendExchanges(b)
	b = c.appendProducers(b)
	b = c.appendGroups(b)
	b = c.appendTxnals(c.appendDefinitions(c.appendSettings(c.appendTxns(c.appendLimbos(b)))))
	return wire.AppendUvarint(wire.AppendU64(b, c.handing.nonce), c.handing.epoch)
}

// appendDefinitions encodes what is defined. What follows from it for queues is found again.
func (c *Core) appendDefinitions(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.definitions.len()))
	for _, d := range c.definitions.all {
		b = d.Append(b)
	}
	return b
}

// appendTopics encodes topics with their partitions. The count of routed batches is in it: after
// a restart those without a key go on taking turns where they were.
func (c *Core) appendTopics(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.topics.len()))
	for _, t := range c.topics.all {
		b = wire.AppendUvarint(wire.AppendString(b, t.name), t.id)
		b = append(append(b, t.uuid[:]...), byte(t.level))
		b = ipc.AppendHeaders(b, t.configs)
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(t.createdMS)), uint64(t.turn))
		b = wire.AppendUvarint(b, uint64(len(t.partitions)))
		for _, ix := range t.partitions {
			b = wire.AppendUvarint(wire.AppendUvarint(b, ix.id), ix.next)
		}
	}
	return b
}

// appendSet encodes the offsets above floor that are in the set, in the smaller form.
func appendSet(b []byte, floor uint64, s *offsetSet) []byte {
	if s.empty() {
		return append(b, setEmpty)
	}
	start := len(b)
	// The form must follow from the members alone, never from how the chunks came about.
	first, end := s.nextSet(0), s.end()
	base := first &^ 63
	words := (end - base + 63) / 64
	bitmapSize := 8 * words
	n := s.countRuns()
	if 2*n > bitmapSize { // a run takes two bytes at least
		return s.appendBitmap(append(b, setBitmap), base, words)
	}
	b = wire.AppendUvarint(append(b, setRuns), n)
	last := floor
	for first, next := range s.runs {
		b = wire.AppendUvarint(wire.AppendUvarint(b, first-last), next-first)
		last = next
		if uint64(len(b)-start) > bitmapSize { // gaps of more than 127 made them longer
			return s.appendBitmap(append(b[:start], setBitmap), base, words)
		}
	}
	return b
}

// countRuns is how many runs of members there are.
func (s *offsetSet) countRuns() (n uint64) {
	last := uint64(0) // membership of the offset before
	for i := range s.chunks {
		k := &s.chunks[i]
		if k.bits == nil {
			full := uint64(0)
			if k.n > 0 {
				full = 1
			}
			n += full &^ last
			last = full
			continue
		}
		for _, word := range k.bits {
			n += uint64(bits.OnesCount64(word &^ (word<<1 | last)))
			last = word >> 63
		}
	}
	return n
}

// end is the offset behind the highest member. REQUIRES: not empty.
func (s *offsetSet) end() uint64 {
	from := (s.first + uint64(len(s.chunks)) - 1) * chunkOffsets
	last := s.nextSet(from)
	for {
		next := s.nextClear(last)
		if last = s.nextSet(next); last == noOffset {
			return next
		}
	}
}

// appendBitmap encodes words of 64 offsets each, from base on.
func (s *offsetSet) appendBitmap(b []byte, base, words uint64) []byte {
	b = wire.AppendUvarint(wire.AppendUvarint(b, base), words)
	for i := range words {
		b = wire.AppendU64(b, s.word(base+64*i))
	}
	return b
}

// word is the membership of the 64 offsets from x on; x is a multiple of 64 within the span.
func (s *offsetSet) word(x uint64) uint64 {
	k := &s.chunks[x/chunkOffsets-s.first]
	switch {
	case k.n == 0:
		return 0
	case k.bits == nil:
		return ^uint64(0)
	}
	return k.bits[x%chunkOffsets/64]
}

// appendExchanges encodes exchanges and then, in one list, all bindings: they refer to queues and
// topics, which stand before them.
func (c *Core) appendExchanges(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.clientExchanges()))
	for _, x := range c.exchanges.all {
		if !x.predeclared {
			b = x.spec.Append(wire.AppendUvarint(b, x.id))
		}
	}
	b = wire.AppendUvarint(b, uint64(c.bindings.len()))
	for _, k := range c.bindings.all {
		m := k.info()
		b = m.Append(b)
	}
	return b
}

// appendProducers encodes producers without a transactional id, in order of last use: that order decides who is forgotten, so
// it is state.
func (c *Core) appendProducers(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(len(c.producers.byID)-c.txnals.len()))
	for p := c.producers.oldest; p != nil; p = p.newer {
		b = p.append(b)
	}
	return b
}

// append encodes one producer.
func (p *producer) append(b []byte) []byte {
	b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(p.id)), uint64(p.epoch))
	b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(p.used)), uint64(len(p.lanes)))
	for i := range p.lanes {
		l := &p.lanes[i]
		b = wire.AppendUvarint(wire.AppendUvarint(b, l.to), uint64(l.epoch))
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(l.next)), l.accepted)
		b = wire.AppendUvarint(b, uint64(l.n))
		for _, k := range l.kept[:l.n] {
			b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(k.first)), uint64(k.last))
			b = wire.AppendUvarint(b, k.result)
		}
	}
	return b
}
