package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Input is one record of ring 12345, in the order of the ring.
type Input struct {
	Pos        uint64   // ring position of the record: its identity, together with the ring's nonce
	PayloadPos uint64   // ring position of Payload's first byte; persistsrv finds a body there
	Type       ipc.Type // the record's type word
	Payload    []byte   // valid during Step only
	// Known is what the journal holds of this input (its events, encoded) when it is read
	// again after a restart. The core repeats the answer and decides nothing.
	Known []byte
	// Passed: the log has got beyond this position. What the input has changed is in Known, and
	// it can change nothing more: it may be old, and the state is of later.
	Passed bool
	// Refuse, if not empty, is why this input is given up undecided (the core died of it
	// before): it is rejected with errcode.Internal and this text, and the rejection journaled.
	Refuse string
}

// Output is one record for ring 54321. Outputs with equal Gate and Level must keep their order.
type Output struct {
	// Gate and Level: the record may leave once the cursor of Level has reached Gate, and not
	// before the entry of its own turn stands in ring 65432. LevelMemory waits for that alone.
	Gate   uint64
	Level  ipc.Level
	Type   ipc.Type
	Record []byte // valid until the next EndTurn
}

// state is the hard state: the fold of all events. apply.go alone changes it, live and on
// replay alike, and snapshot.go writes all of it and nothing else.
type state struct {
	lsn    uint64 // of the last entry
	term   uint64 // of the logicsrv that made it
	timeMS int64  // its time; never falls
	nonce  uint64 // of ring 12345 when it was made
	pos    uint64 // ring 12345 had been read up to here

	// What exists, each kind by the key that requests name it by, and in that order in a
	// checkpoint. Ids are never used twice.

	lastID    uint64 // indexes, topics and exchanges are numbered from one count
	lastPID   int64  // of idempotent producers
	indexes   registry[uint64, *index]
	topics    registry[string, *topic]
	queues    registry[string, *queue]
	exchanges registry[string, *exchange]
	groups    registry[string, *group]
	// groupSettings are those of groups that are not the broker's own; see group_settings.go.
	groupSettings registry[string, []admin.Setting]
	bindings      registry[string, *binding] // by identity
	producers     producers
	txns          registry[uint64, *txn] // open ones
	lastTxn       uint64
	ended         []endedTxn // the last ones, oldest first
	txnals        registry[string, *txnal]
	limbos        [256]*limbo // by class
	delayed       int         // batches that are held back until they are due
	handing       handing     // whose connections may hold messages

	definitions registry[string, *admin.Definition] // by identity

	// What follows from these.

	partitions int
	vhosts     map[string]*vhost
	topicByID  map[uint64]*topic
	exchByID   map[uint64]*exchange
	queueByID  map[uint64]*queue
	dests      map[string]*destination // queues and topics to which can be published, by name
	settings   map[admin.QueueSettings]*admin.QueueSettings
	shares     map[string]int // queues of share groups, by group
	destSets   map[string]*destSet
	owned      map[journal.Owner]int // queues and transactions of connections
	txnByKey   map[string]*txn
	doomed     []*queue
	doomedTxns []*txn
	graves     []*cursor // have dead messages whose notes have not been asked for
	timers     wheel[timed]
}

// Core is the state of one shard. It is used by one goroutine.
type Core struct {
	cfg Config
	state

	// Derived: follows from the hard state and the cursors.

	written, synced uint64
	lastDisk        uint64 // the last entry that has to be synced
	handingLSN      uint64 // nothing is delivered before this entry is synced
	toPage, toDisk  marks

	// Soft: empty at the start of a term, told again by connsrv.

	begun     bool
	ownTerm   uint64
	ask       uint64 // number of the latest marker
	epoch     uint64 // connsrv's; 0: not known yet
	told      [maxLoops]bool
	toldLoops uint32
	resynced  bool // the latest marker has been answered by all loops
	sure      bool // … and one before it was, in this term: what is in hand is known
	ending    bool // the process ends in order
	conns     map[uint64]*conn
	consumers map[subID]*consumer
	waits     map[uint64]*wait // by request
	freeWaits *wait
	pulls     map[uint64]*pull // by request
	leasedTo  map[asker]bool   // pulls that have had leases when the term began
	answered  map[asker]bool   // pulls that were answered from the log, though their leases may be over
	redeemed  []redeemed       // settled by commits that connsrv does not know of yet
	txnGroups map[string]*txnGroup
	joining   []joiner         // wait for the end of the resync
	joined    []journal.Joined // of whom the log is to tell yet
	returning []returning      // hold what goes back to their queues
	notes     []Noted          // have been read and wait for the end of the turn
	dirty     []*queue         // may have something to deliver
	over      []*queue         // hold more than they may
	late      []*cursor        // something that has expired may have become visible
	begunMS   int64            // time of the term's first turn
	newRings  bool             // since the last entry: what is not durable is to go
	stats     Stats

	lobbies       registry[string, *lobby] // of classic groups, by name
	parkedOf      map[uint64]int           // parked requests of groups, by connection
	readTo, tail  uint64                   // how far ring 12345 has been read, and is filled
	topicsChanged bool                     // some groups need a new target
	changes       uint64                   // of definitions, since the term began

	endedInReplay []uint64 // indexes that connsrv may not have been told are gone

	// The turn, and what decide works with.

	turns      [2]turn
	turn       *turn
	turnNumber uint64
	ringNonce  uint64   // of ring 12345 now
	room       room     // of the turn
	in         Input    // the one being decided
	asking     ipc.Head // of the command being decided

	targets  []*index
	placing  placing
	giver    giver
	routing  uint64 // counts routings, so that a destination is reached once in each
	routeKey string
	walk     []*exchange // that the message being routed goes through
	matched  bool        // a binding of the one that it is in
	// headersSeen: an exchange on its way looks at headers.
	headersSeen bool
	hit         func(*destination)
	emptied     []*exchange // that end with what is being applied
	scratch     []byte
	publish     ipc.Publish
	msg         message
	ack         ipc.Ack
	ranges      []ipc.Range
	recalled    []ipc.Range

	dueBatches []dueBatch
	routed     journal.Routed
	acked      journal.Acked
	returned   journal.Returned
	died       journal.Died
	released   journal.Released
}

// New returns the state before the first entry.
func New(cfg Config) *Core {
	c := &Core{cfg: cfg.orDefault()}
	c.state = state{
		indexes:   newRegistry[uint64, *index](),
		topics:    newRegistry[string, *topic](),
		queues:    newRegistry[string, *queue](),
		exchanges: newRegistry[string, *exchange](),
		groups:    newRegistry[string, *group](),

		groupSettings: newRegistry[string, []admin.Setting](),
		shares:        make(map[string]int),
		bindings:      newRegistry[string, *binding](),
		producers:     newProducers(),
		topicByID:     make(map[uint64]*topic),
		exchByID:      make(map[uint64]*exchange),
		dests:         make(map[string]*destination),
		txns:          newRegistry[uint64, *txn](),
		txnals:        newRegistry[string, *txnal](),
		queueByID:     make(map[uint64]*queue),
		settings:      make(map[admin.QueueSettings]*admin.QueueSettings),
		destSets:      make(map[string]*destSet),
		owned:         make(map[journal.Owner]int),
		txnByKey:      make(map[string]*txn),

		definitions: newRegistry[string, *admin.Definition](),
		vhosts:      make(map[string]*vhost),
	}
	c.lastID = uint64(cfg.Shard) << shardShift
	c.lastPID = int64(cfg.Shard) << shardShift
	c.predefine()
	c.predeclare()
	c.conns = make(map[uint64]*conn)
	c.consumers = make(map[subID]*consumer)
	c.waits = make(map[uint64]*wait)
	c.pulls = make(map[uint64]*pull)
	c.txnGroups = make(map[string]*txnGroup)
	c.lobbies, c.parkedOf = newRegistry[string, *lobby](), make(map[uint64]int)
	c.turn = &c.turns[0]
	c.hit = func(d *destination) {
		c.matched = true
		c.reach(d, c.routeKey)
	}
	return c
}

// shardShift is where the shard stands in the ids of indexes, topics, exchanges and
// producers, so that those of several shards never meet.
const shardShift = 48

// LSN is that of the last entry in the state.
func (c *Core) LSN() uint64 { return c.lsn }

// Term is that of the logicsrv which made the last entry; a new one's must be higher.
func (c *Core) Term() uint64 { return c.term }

// Position tells how far ring 12345 had been read when the last entry was made.
func (c *Core) Position() (nonce, pos uint64) { return c.nonce, c.pos }

// Begin ends recovery: soft state is empty and asked for with the term's first Marker. nonce is
// that of ring 12345: where it is another than that of the last entry, the rings were made anew,
// and what is not durable goes. REQUIRES: the log is written up to LSN.
func (c *Core) Begin(term, nonce, written, synced uint64) {
	invariant.Check(!c.begun, "term %d begins within term %d", term, c.ownTerm)
	invariant.Check(term > c.term, "term %d begins behind an entry of term %d: it must be above Term()", term, c.term)
	c.begun, c.ownTerm, c.ringNonce = true, term, nonce
	c.newRings = c.lsn > 0 && c.nonce != nonce
	c.showUpTo(written, synced)
	c.turnNumber++
	// Our predecessor may have died between these deletions and telling of them.
	for _, id := range c.endedInReplay {
		m := ipc.IndexGone{Index: id}
		c.turn.sent(gate{c.lastDisk, ipc.LevelDisk}, ipc.TypeIndexGone, m.Append(c.turn.recs))
	}
	c.endedInReplay = nil
	c.turn.floors = c.turn.floors[:0] // replay has noted them too; the first ack notes them again
	c.turn.limbos = c.turn.limbos[:0]
	c.answered = map[asker]bool{}
	c.noteRecovered()
	if !c.newRings {
		c.notePulls()
	}
	c.sendMarker()
}

// Step takes one input in: decide, then apply what was decided. It never fails: what
// cannot be decoded is answered with errcode.Malformed.
func (c *Core) Step(nowMS int64, in Input) {
	invariant.Check(c.begun, "step before begin")
	c.openTurn(nowMS)
	c.in = in
	c.learnEpoch()
	c.stats.Inputs++
	// What is decided is applied before the next input is looked at: within a turn each input
	// sees what the ones before it have done, as if every input were a turn of its own.
	switch {
	case c.knownOutcome():
		c.answerAgain()
	case in.Refuse != "":
		h, _ := ipc.PeekHead(in.Payload)
		c.reject(h, errcode.Internal, in.Refuse)
	case c.cfg.tooLong(&c.in):
		h, _ := ipc.PeekHead(in.Payload)
		c.reject(h, errcode.LimitExceeded, fmt.Sprintf("a request of %d bytes; at most %d are allowed", len(in.Payload), c.cfg.MaxEntryBytes/2))
	default:
		c.decide()
	}
	c.applyNew()
	c.in = Input{}
}

// decide turns the input into events in the turn's buffer and replies. It changes no hard
// state; soft state it may.
func (c *Core) decide() {
	switch c.in.Type {
	case ipc.TypeAppend:
		c.decideAppend()
	case ipc.TypePublish:
		c.decidePublish()
	case ipc.TypeAck:
		c.decideAck()
	case ipc.TypeWait:
		c.decideWait()
	case ipc.TypeCredit:
		c.decideCredit()
	case ipc.TypeCommit:
		c.decideCommit()
	case ipc.TypeOffsets:
		c.decideOffsets()
	case ipc.TypeInitProducer:
		c.decideInitProducer()
	case ipc.TypeAdmin:
		c.decideAdmin()
	case ipc.TypeUnwait:
		c.decideUnwait()
	case ipc.TypeSubscribe:
		c.decideSubscribe()
	case ipc.TypeUnsubscribe:
		c.decideUnsubscribe()
	case ipc.TypeConnClosed:
		c.decideConnClosed()
	case ipc.TypeHello:
		c.decideHello()
	case ipc.TypeSubState:
		c.decideSubState()
	case ipc.TypeHanded:
		c.decideHanded()
	case ipc.TypeResyncEnd:
		c.decideResyncEnd()
	case ipc.TypePull, ipc.TypePullFrom:
		c.decidePull()
	case ipc.TypePullEnd:
		c.decidePullEnd()
	case ipc.TypeExtend:
		c.decideExtend()
	case ipc.TypeBeginTxn:
		c.decideBeginTxn()
	case ipc.TypeEndTxn:
		c.decideEndTxn()
	case ipc.TypeTxnMember:
		c.decideTxnMember()
	case ipc.TypeGroupHeartbeat:
		c.decideGroupHeartbeat(admin.GroupModern)
	case ipc.TypeShareHeartbeat:
		c.decideGroupHeartbeat(admin.GroupShare)
	case ipc.TypeGroupJoin:
		c.decideGroupJoin()
	case ipc.TypeGroupSync:
		c.decideGroupSync()
	case ipc.TypeGroupBeat:
		c.decideGroupBeat()
	case ipc.TypeGroupLeave:
		c.decideGroupLeave()
	case ipc.TypeGroupCommit:
		c.decideGroupCommit()
	case ipc.TypeInitTxnal:
		c.decideInitTxnal()
	case ipc.TypeTxnAdd:
		c.decideTxnAdd()
	case ipc.TypeTxnOffsets:
		c.decideTxnOffsets()
	case ipc.TypeTxnFinish:
		c.decideTxnFinish()
	case ipc.TypeWaitStable:
		c.decideWaitStable()
	case ipc.TypeSkip:
	default:
		c.malformed()
	}
}

// Tail tells how far ring 12345 is filled: nobody is out for being silent before all that may be
// his has been read.
func (c *Core) Tail(pos uint64) { c.tail = pos }

// Advance tells that persistsrv has moved its cursors: messages become visible, waits are
// answered, queues may deliver. Its outputs come with the next EndTurn. Before Begin it only
// keeps the marks of a long replay few.
func (c *Core) Advance(written, synced uint64) { c.showUpTo(written, synced) }

// EndTurn closes the turn: entry is nil where nothing happened that must be kept. pos is
// how far ring 12345, with its nonce, has been read. Both results are valid until the next
// EndTurn.
func (c *Core) EndTurn(nowMS int64, nonce, pos uint64) (entry *journal.Entry, out []Output) {
	invariant.Check(c.begun, "turn ends before begin")
	c.openTurn(nowMS)
	c.tellHanding()
	// In this order: what came back is ready, what the clock asks for is done, then what is ready
	// is handed out, and what is still too much, or too late, goes.
	c.room = c.roomLeft()
	c.readTo = pos
	c.tellJoined()
	c.expireProducers()
	c.deleteDoomed()
	c.applyReturns()
	c.fire()
	c.retargetStale()
	c.buryNoted()
	c.deliverDirty()
	c.expireLate()
	c.dropHeads()
	return c.closeTurn(nonce, pos)
}

// Busy says that a turn without any input would still have something to do.
func (c *Core) Busy() bool {
	if _, due := c.handingDue(); due {
		return true
	}
	return c.topicsChanged || len(c.returning) > 0 || len(c.notes) > 0 || len(c.doomed) > 0 || len(c.doomedTxns) > 0 || len(c.joined) > 0 ||
		c.mayHand() && len(c.dirty) > 0 || c.resynced && (len(c.timers.late) > 0 || len(c.over) > 0)
}

// Settings lists what persistsrv needs to know of every index, in order of index.
func (c *Core) Settings() []ipc.IndexSettings {
	out := make([]ipc.IndexSettings, 0, c.indexes.len())
	for id, ix := range c.indexes.all {
		s := ipc.IndexSettings{Index: id}
		if ix.topic != nil {
			s = ix.topic.settings(id)
		}
		out = append(out, s)
	}
	return out
}
