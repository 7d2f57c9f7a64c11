package model

import (
	"bytes"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Config says what the model cannot know by itself.
type Config struct {
	// Fail ends the history; it does not return.
	Fail func(format string, args ...any)
	// Held tells whether a live client holds a message: known to the clients when logicsrv has
	// been started anew and does not know yet.
	Held func(queue, index, offset uint64) bool
	// Matches tells whether a queue's filter lets a message pass.
	Matches func(filter string, index, offset uint64) bool
	// Gone tells whether compaction has removed a record.
	Gone func(index, offset uint64) bool

	// Answers tells whether somebody has been there for long who answers for a producer group.
	Answers func(group string) bool

	TxnChecks int   // so many checks without a decision roll a transaction back
	TxnMaxMS  int64 // … or so much time
}

// Turn is one turn of logicsrv. Nothing of it is kept but the entry's events, which are copied.
type Turn struct {
	Term            uint64
	Nonce           uint64 // of ring 12345
	LSN             uint64 // of the last entry before it
	NowMS           int64
	Written, Synced uint64 // cursors as logicsrv knows them
	Inputs          []Input
	Entry           *journal.Entry // nil: none
	Outputs         []Output
}

// Input is a record of ring 12345, Output one for ring 54321.
type Input struct {
	Pos     uint64
	Type    ipc.Type
	Payload []byte
}

type Output struct {
	Type   ipc.Type
	Record []byte
}

// patience is in how many turns something must be done that is due, for a turn has a limit.
const patience = 12

// Model is all queues of a broker.
type Model struct {
	cfg  Config
	Seen [Rules]int

	hard
	soft
	entries []entry // all that count, in order of LSN

	turn     *Turn  // that is being judged; nil: entries are folded
	folded   *entry // the one that is folded
	number   uint64
	cause    any // the input that the present events belong to, decoded; nil: none
	told     map[question]*Output
	used     map[question]bool   // answers that have been looked at
	freed    []*heldBatch        // released in this turn
	recalled map[*message]taking // taken from whom in this turn, for it was held for too long
	events   []journal.Event
	doubts   []doubt
	routes   router
}

// entry is what is kept of an entry of the log.
type entry struct {
	lsn, nonce uint64
	timeMS     int64
	events     []byte
}

// hard is the fold of all entries.
type hard struct {
	lsn    uint64
	nonce  uint64
	timeMS int64

	queues    map[uint64]*queue
	lanes     map[uint64]*lane // of queues with messages of their own
	topics    map[uint64]*topic
	parts     map[uint64]*partition
	exchanges map[string]*exchange
	bindings  []binding
	// definitions are vhosts and policies, by their identity.
	definitions map[string]admin.Definition
	limbo       map[place]*heldBatch
	delayed     []*heldBatch // not released
	txns        map[uint64]*txn
	ends        map[uint64]ending
	answers     map[uint64]journal.Event // the event of each input, by its position under nonce
	came        uint64                   // counts batches in limbo
	handing     giver                    // whose connections hold messages
	handingLSN  uint64                   // nothing is given out before this entry is synced
}

// place is an offset of an index.
type place struct{ index, offset uint64 }

// soft is what is known of connections in one term.
type soft struct {
	term, ring            uint64 // ring 12345's nonce
	epoch                 uint64
	synced                bool
	marker                ipc.Marker // the latest
	loops                 map[uint32]bool
	consumers             map[subID]*consumer
	joining               []joiner
	again                 map[question]bool // pulls that were answered from the log
	redeemed              map[redeemed]bool
	members               map[string]map[uint64]bool
	written, synceds      uint64
	wasWritten, wasSynced uint64 // when the turn began
	booted                bool   // the rings are new, and no turn was seen since
	sure                  bool   // it is known who holds what, or was before a Hello
}

// redeemed is a message that a commit has settled for a consumer.
type redeemed struct {
	of subID
	at place
}

// subID names a consumer within an epoch.
type subID struct{ conn, sub uint64 }

// New makes the model of a broker that has nothing.
func New(cfg Config) *Model {
	m := &Model{cfg: cfg}
	m.hard = newHard()
	return m
}

func newHard() hard {
	root := admin.Definition{Kind: admin.DefVHost, Name: admin.DefaultVHost}
	return hard{
		definitions: map[string]admin.Definition{root.Identity(): root},
		queues:      map[uint64]*queue{}, lanes: map[uint64]*lane{}, topics: map[uint64]*topic{}, parts: map[uint64]*partition{},
		exchanges: predeclared(), limbo: map[place]*heldBatch{}, txns: map[uint64]*txn{}, ends: map[uint64]ending{},
		answers: map[uint64]journal.Event{},
	}
}

func newSoft(term, ring uint64) soft {
	return soft{
		term: term, ring: ring, loops: map[uint32]bool{}, consumers: map[subID]*consumer{}, members: map[string]map[uint64]bool{},
		again: map[question]bool{}, redeemed: map[redeemed]bool{},
	}
}

// Turn judges one turn.
func (m *Model) Turn(t *Turn) {
	m.enter(t)
	m.turn = t
	m.number++
	m.freed, m.recalled = m.freed[:0], map[*message]taking{}
	m.readOutputs(t)
	m.walk(t)
	m.settleDoubts()
	m.judgeOutputs(t)
	m.after(t)
	m.turn = nil
	if e := t.Entry; e != nil {
		m.entries = append(m.entries, entry{e.LSN, e.Nonce, e.TimeMS, bytes.Clone(e.Events)})
		m.lsn, m.timeMS = e.LSN, e.TimeMS
		m.keepAnswers(&m.entries[len(m.entries)-1])
	}
}

// enter brings the model to where the turn begins.
func (m *Model) enter(t *Turn) {
	if t.Term != m.term || t.Nonce != m.ring { // after a boot a term may come again whose entries are lost
		m.newTerm(t)
	}
	if t.LSN != m.lsn {
		m.cfg.Fail("a turn goes on from lsn=%d, the last one was lsn=%d", t.LSN, m.lsn)
	}
	if e := t.Entry; e != nil && (e.LSN != t.LSN+1 || e.TimeMS != max(t.NowMS, m.timeMS)) {
		m.cfg.Fail("entry lsn=%d of time %d comes behind lsn=%d at %d", e.LSN, e.TimeMS, t.LSN, t.NowMS)
	}
	m.wasWritten, m.wasSynced = m.written, m.synceds
	m.written, m.synceds = max(m.written, t.Written), max(m.synceds, t.Synced)
}

// newTerm forgets what is told again, and what the log has lost.
func (m *Model) newTerm(t *Turn) {
	if t.LSN > m.lsn {
		m.cfg.Fail("term %d begins at lsn=%d, the last entry was lsn=%d", t.Term, t.LSN, m.lsn)
	}
	if t.LSN < m.lsn {
		m.fold(t.LSN)
	}
	m.soft = newSoft(t.Term, t.Nonce)
	m.booted = m.lsn > 0 && m.nonce != t.Nonce
	for _, id := range sorted(m.queues) {
		m.queues[id].forget(t.NowMS)
	}
}

// forget is what a new term means for a queue: who uses it is not known, nor who holds what.
func (q *queue) forget(nowMS int64) {
	q.consumers, q.pullers, q.pulls, q.active = nil, nil, nil, nil
	q.unusedMS = nowMS
	q.late, q.idle, q.heavy = 0, 0, 0
	for _, l := range q.lanes {
		l.had, l.given = uint64(len(l.messages)), 0
	}
	q.each(func(x *message) {
		x.late = 0
		if x.is == held {
			x.is, x.holder = ready, nil
		}
	})
}

// fold makes the state anew from the entries up to an LSN.
func (m *Model) fold(lsn uint64) {
	m.entries = slices.DeleteFunc(m.entries, func(e entry) bool { return e.lsn > lsn })
	m.hard = newHard()
	m.turn = nil
	for i := range m.entries {
		e := &m.entries[i]
		m.lsn, m.timeMS, m.folded = e.lsn-1, e.timeMS, e
		events := journal.Events(e.events)
		for ev, ok := events.Next(); ok; ev, ok = events.Next() {
			m.event(ev)
		}
		m.lsn = e.lsn
		m.keepAnswers(e)
	}
}

// keepAnswers remembers how the inputs of an entry were decided.
func (m *Model) keepAnswers(e *entry) {
	if e.nonce != m.nonce {
		m.nonce = e.nonce
		clear(m.answers)
	}
	events := journal.Events(e.events)
	for ev, ok := events.Next(); ok; ev, ok = events.Next() {
		if _, known := m.answers[ev.Pos]; ev.Pos != journal.NoInput && !known {
			m.answers[ev.Pos] = ev
		}
	}
}

// Events are those of an entry that the model knows, to be compared with what the log holds; nil:
// it knows none such.
func (m *Model) Events(lsn uint64) []byte {
	i, ok := slices.BinarySearchFunc(m.entries, lsn, func(e entry, lsn uint64) int { return int(e.lsn) - int(lsn) })
	if !ok {
		return nil
	}
	return m.entries[i].events
}

// now is the time of the turn, or of the entry that is folded.
func (m *Model) now() int64 {
	if m.turn == nil {
		return m.timeMS
	}
	return max(m.turn.NowMS, m.timeMS)
}

// nonceNow is that of the rings in which the inputs of the turn are, or of the entry that is folded.
func (m *Model) nonceNow() uint64 {
	if m.turn == nil {
		return m.folded.nonce
	}
	return m.turn.Nonce
}

// must is for what cannot be decoded.
func (m *Model) must(err error, what string) {
	if err != nil {
		m.cfg.Fail("%s: %v", what, err)
	}
}

// visible tells whether a message may be seen at these cursors.
func (l *lane) visible(x *message, written, synced uint64) bool {
	if l.queue.level >= ipc.LevelDisk {
		return x.lsn <= synced
	}
	return x.lsn <= written
}

func (m *Model) isVisible(x *message) bool  { return x.lane.visible(x, m.written, m.synceds) }
func (m *Model) wasVisible(x *message) bool { return x.lane.visible(x, m.wasWritten, m.wasSynced) }

// sorted are the keys of a map in order, so that a walk over it is the same every time.
func sorted[V any](all map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(all))
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
