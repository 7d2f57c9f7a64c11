package core

import (
	"cmp"
	"slices"

	records "github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/wire"
)

// When a reply may leave, and what its entry must wait for. Each event raises the level of the
// turn's entry to the highest of two: what the answer was promised at, and what the index makes
// its messages visible at; persistsrv syncs for an entry of level disk. The answer itself waits
// for its own level alone:
//
//	append to a disk topic, asked for disk     entry: disk    answer: disk ≥ this LSN
//	append to a disk topic, asked for page     entry: disk    answer: page ≥ this LSN
//	append to a page topic                     entry: page    answer: page ≥ this LSN
//	append to a memory topic                   entry: memory  answer: once the entry is handed over
//	a refusal, a read                          readGate: whatever the state that it tells of needs
//	a delivery, a visible end                  at once: it tells of what is visible already

// turn collects what one turn decides. There are two: what EndTurn has handed out stays
// valid while the next turn is under way.
type turn struct {
	open    bool
	timeMS  int64 // of all that happens in it
	level   ipc.Level
	events  []byte
	applied int // bytes of events that the state has
	ops     []journal.IndexOp
	items   []journal.IndexItem
	bodies  []journal.Body
	refs    []journal.Ref
	inline  []byte    // bodies of our own
	control []byte    // memory for one
	floors  []*cursor // whose floor has moved
	limbos  []*limbo  // likewise
	out     []Output
	recs    []byte // records of out, back to back
	entry   journal.Entry

	order, moved []uint32 // for grouping bodies
	sorted       []journal.Body
}

// openTurn begins a turn unless one is under way. Its time is the first one told, and never
// falls behind an earlier entry's: replay sees the same times.
func (c *Core) openTurn(nowMS int64) {
	t := c.turn
	if t.open {
		return
	}
	t.open = true
	t.timeMS = max(nowMS, c.timeMS)
	if c.begunMS == 0 {
		c.begunMS = t.timeMS
		c.watchGroups()
	}
	if c.newRings && !failpoint.Broken("transients-stay") { // in the term's first entry, or a successor would not know of it any more
		c.newRings = false
		ev := journal.TransientsGone{Pos: journal.NoInput, Nonce: c.ringNonce}
		t.raise(ipc.LevelPage)
		t.events = ev.Append(t.events)
		c.applyNew()
	}
}

// empty forgets what the turn before the last one held. Outputs may gather before openTurn:
// those of Begin and Advance.
func (t *turn) empty() {
	t.level, t.applied = ipc.LevelUnset, 0
	t.events, t.ops, t.items, t.bodies, t.refs = t.events[:0], t.ops[:0], t.items[:0], t.bodies[:0], t.refs[:0]
	t.inline = t.inline[:0]
	t.floors, t.limbos, t.out, t.recs = t.floors[:0], t.limbos[:0], t.out[:0], t.recs[:0]
}

// TurnBytes is how many bytes the entry of the turn so far would take.
func (c *Core) TurnBytes() int { return c.turn.entrySize() }

// TurnFull asks for EndTurn before the next Step: the entry is about to outgrow its record.
func (c *Core) TurnFull() bool {
	t := c.turn
	return t.open && (t.entrySize() >= c.cfg.MaxEntryBytes/2 || len(t.recs) >= maxTurnOutputBytes)
}

// entrySize is what the parts of the entry take; its header is small beside MaxEntryBytes. A floor
// that has moved may become an op.
func (t *turn) entrySize() int {
	ops := len(t.ops) + len(t.floors) + len(t.limbos)
	return len(t.events) + len(t.inline) + journal.BodySize*len(t.bodies) + journal.ItemSize*len(t.items) + journal.OpSize*ops + journal.RefSize*len(t.refs)
}

// fits tells whether the entry takes so many bytes more. An entry that is empty takes whatever the
// limits of what it is made of allow.
func (c *Core) fits(bytes int) bool {
	size := c.turn.entrySize()
	return size == 0 || size+bytes <= c.cfg.MaxEntryBytes
}

// nextLSN is the LSN that the turn's entry will have.
func (c *Core) nextLSN() uint64 { return c.lsn + 1 }

// serialsPerMS is how many numbers of one kind may be given in a ms, on the average.
const serialsPerMS = 1_000_000

// serial is the next number of something whose event a power cut may take back though its number
// was told: a lease, a transaction. To count on would give it to somebody else, and who was told
// the first time would hold the other's; so numbers begin with the time.
func (t *turn) serial(last uint64) uint64 {
	if failpoint.Broken("serials-count-on") {
		return last + 1
	}
	return max(last+1, uint64(t.timeMS)*serialsPerMS)
}

// raise makes sure that the entry reaches this level. Every event is preceded by one.
func (t *turn) raise(level ipc.Level) { t.level = max(t.level, level) }

// closeTurn makes the entry, and turns to the other buffer.
func (c *Core) closeTurn(nonce, pos uint64) (*journal.Entry, []Output) {
	t := c.turn
	c.trimIndexes()
	c.dropGone()
	// The buffer that the next turn fills is the one handed out last time, whose results are
	// no longer in use now; this turn's stay valid meanwhile.
	t.open = false
	c.turnNumber++
	c.turn = &c.turns[0]
	if t == c.turn {
		c.turn = &c.turns[1]
	}
	c.turn.empty()
	if len(t.events)+len(t.ops) == 0 {
		if len(t.items)+len(t.bodies)+len(t.refs) != 0 {
			invariant.Fail("a turn without events has %d items, %d references", len(t.items), len(t.refs))
		}
		return nil, t.out
	}
	t.groupBodies()
	if t.level == ipc.LevelUnset {
		invariant.Fail("entry %d has events and no level", c.nextLSN())
	}
	if nonce == c.nonce {
		pos = max(pos, c.pos) // inputs read again lie below what was reached
	}
	t.entry = journal.Entry{
		LSN: c.nextLSN(), Term: c.ownTerm, Shard: c.cfg.Shard, Level: max(t.level, ipc.LevelMemory),
		Nonce: nonce, Pos: pos, TimeMS: t.timeMS,
		Events: t.events, Ops: t.ops, Items: t.items, Bodies: t.bodies, Refs: t.refs, Inline: t.inline,
	}
	c.commit(&t.entry)
	return &t.entry, t.out
}

// trimIndexes tells persistsrv which messages of queues are no longer needed: in steps of
// trimStep, and once more when a queue has run empty.
func (c *Core) trimIndexes() {
	for _, k := range c.turn.floors {
		if k.gone() {
			continue
		}
		floor := k.keptFrom(c.turn.timeMS)
		if floor <= k.trimmed || (floor-k.trimmed < trimStep && floor != k.ix.next) {
			continue
		}
		k.trimmed = floor
		c.turn.raise(ipc.LevelMemory)
		c.turn.ops = append(c.turn.ops, journal.IndexOp{Kind: journal.OpTrim, Index: k.ix.id, Offset: floor})
	}
	for _, l := range c.turn.limbos {
		if l.floor-l.trimmed >= trimStep || l.floor == l.ix.next && l.floor > l.trimmed {
			l.trimmed = l.floor
			c.turn.ops = append(c.turn.ops, journal.IndexOp{Kind: journal.OpTrim, Index: l.ix.id, Offset: l.floor})
		}
	}
}

// trimStep is how many messages a queue's floor moves before persistsrv is told.
const trimStep = 1024

// addRef makes records that are stored already part of another index: count of them, from an
// offset of their index on. note is where the entry says how; 0: as their index has it.
func (t *turn) addRef(to journal.Target, source, offset uint64, count, note uint32) {
	t.refs = append(t.refs, journal.Ref{
		Index: to.Index, Base: to.Base, Source: source, SourceOffset: offset, Count: count, Note: note,
		Before: uint32(len(t.items)), MaxTimeMS: -1,
	})
}

// addBody appends a body for the indexes that items will name. note is where the entry says how
// it was published; 0: nowhere.
func (t *turn) addBody(in *Input, bodyOff int, m *ipc.BatchMeta, base uint64, note uint32) (body uint32) {
	t.bodies = append(t.bodies, journal.Body{
		RingPos: in.PayloadPos + uint64(bodyOff), Length: m.Length, CRC: m.CRC, Base: base, Note: note,
	})
	return uint32(len(t.bodies) - 1)
}

// addInline appends a body of our own, which stands in the entry itself.
func (t *turn) addInline(b []byte, base uint64) (body uint32) {
	t.bodies = append(t.bodies, journal.Body{
		RingPos: journal.InlineAt(len(t.inline)), Length: uint32(len(b)), CRC: records.Header(b).CRC(), Base: base,
	})
	start := len(t.inline)
	t.inline = wire.AppendPad8(append(t.inline, b...), start)
	return uint32(len(t.bodies) - 1)
}

// groupBodies brings bodies of one index side by side, so that a fetch reads few, large
// ranges of the log. A body's first item is the index that it is grouped by; items keep
// their order, in which the offsets of an index rise.
func (t *turn) groupBodies() {
	if grouped(t.items) {
		return
	}
	// A body's items stand together, and bodies with items come in order; every body has one.
	t.order = t.order[:0]
	for i := range t.items {
		if i == 0 || t.items[i].Body != t.items[i-1].Body {
			t.order = append(t.order, uint32(i)) // the first item of each body
		}
	}
	if len(t.order) != len(t.bodies) {
		invariant.Fail("%d bodies with items, %d bodies", len(t.order), len(t.bodies))
	}
	slices.SortStableFunc(t.order, func(a, b uint32) int {
		return cmp.Compare(t.items[a].Index, t.items[b].Index)
	})
	t.sorted = t.sorted[:0]
	for _, item := range t.order {
		t.sorted = append(t.sorted, t.bodies[t.items[item].Body])
	}
	// Where each body has gone: order now says which item led to the i-th; turn it round.
	t.moved = append(t.moved[:0], t.order...)
	for i, item := range t.order {
		t.moved[t.items[item].Body] = uint32(i)
	}
	for i := range t.items {
		t.items[i].Body = t.moved[t.items[i].Body]
	}
	t.bodies, t.sorted = t.sorted, t.bodies
}

// grouped tells whether the first items of the bodies are in order of index already, which
// is so for one producer and one partition.
func grouped(items []journal.IndexItem) bool {
	last := -1
	for i := range items {
		if i > 0 && items[i].Body == items[i-1].Body {
			continue
		}
		if last >= 0 && items[i].Index < items[last].Index {
			return false
		}
		last = i
	}
	return true
}

// gate is when a reply may leave.
type gate struct {
	lsn   uint64
	level ipc.Level
}

// atOnce is the gate of what reveals nothing that could be lost.
var atOnce = gate{0, ipc.LevelMemory}

// ownGate is that of a reply to an input whose event is in this turn.
func (c *Core) ownGate(level ipc.Level) gate { return gate{c.nextLSN(), level} }

// readGate is the gate of a reply that reveals the state as it is now, reads and refusals:
// what it saw must not be lost in a power cut any more. Where all that has to be synced has
// been, the page cache is enough, for it survives any process.
func (c *Core) readGate() gate {
	unsynced := c.lastDisk > c.synced
	switch t := c.turn; {
	// There will be an entry, and what was seen may be in it. It carries the reply: raising
	// it to disk makes sure that somebody syncs.
	case len(t.events) > 0 && (unsynced || t.level >= ipc.LevelDisk):
		t.raise(ipc.LevelDisk)
		return gate{c.nextLSN(), ipc.LevelDisk}
	case len(t.events) > 0:
		return gate{c.nextLSN(), ipc.LevelPage}
	// No entry yet, perhaps none at all. What was seen is in earlier ones, of which the last
	// that has to be synced is lastDisk; later ones are in ring 65432 at least, and promised
	// no more.
	case unsynced:
		return gate{c.lastDisk, ipc.LevelDisk}
	default:
		return gate{c.lsn, ipc.LevelPage}
	}
}

// pastGate is the gate of an answer that an earlier entry, it is not known which, holds.
func (c *Core) pastGate(level ipc.Level) gate {
	switch {
	case level >= ipc.LevelDisk:
		return gate{c.lastDisk, ipc.LevelDisk}
	case level == ipc.LevelPage:
		return gate{c.lsn, ipc.LevelPage}
	default:
		return gate{c.lsn, ipc.LevelMemory}
	}
}

// sent makes an output of the record that was just encoded behind recs, as returned by the
// Append of its type: t.sent(g, typ, m.Append(t.recs)).
func (t *turn) sent(g gate, typ ipc.Type, recs []byte) {
	start := len(t.recs)
	t.recs = recs
	t.out = append(t.out, Output{g.lsn, g.level, typ, recs[start:len(recs):len(recs)]})
}

// reject refuses the input with an event, since it could have changed hard state: it must
// be refused again after a restart.
func (c *Core) reject(h ipc.Head, code errcode.Code, text string) {
	t := c.turn
	invariant.Check(code != errcode.OK, "input at %d rejected as ok", c.in.Pos)
	ev := journal.Rejected{Pos: c.in.Pos, Code: code, Text: text}
	t.raise(ipc.LevelMemory)
	if !failpoint.Broken("reject-not-journaled") {
		t.events = ev.Append(t.events)
	}
	c.stats.Rejected++
	c.refuse(h, code, text)
}

// refuse refuses an input that could not have changed hard state.
func (c *Core) refuse(h ipc.Head, code errcode.Code, text string) {
	if h.Req == 0 {
		return
	}
	m := ipc.Error{Head: h, Code: uint16(code), Text: text}
	c.turn.sent(c.readGate(), ipc.TypeError, m.Append(c.turn.recs))
}

// malformed refuses an input that cannot be decoded: a property of its bytes alone, so it
// needs no event to be refused again.
func (c *Core) malformed() {
	c.stats.Malformed++
	h, ok := ipc.PeekHead(c.in.Payload)
	if !ok || h.Req == 0 {
		return
	}
	m := ipc.Error{Head: h, Code: uint16(errcode.Malformed), Text: "the record cannot be decoded"}
	c.turn.sent(atOnce, ipc.TypeError, m.Append(c.turn.recs))
}
