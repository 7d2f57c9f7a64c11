package core

import (
	"errors"
	"fmt"
	"math"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
	"github.com/trimq/trimq/protocol/wire"
)

// The reverse of snapshot.go. A checkpoint has a CRC in its envelope, so what comes here is what
// some core has written, most likely; all the same nothing is believed. Counts are compared with
// the bytes that are left before anything is allocated, ids with the last one in use, names with
// those that are taken, offsets with their limits; sets and lists must have their one form. The
// fuzz test holds that what loads can be written, and read, again.

// ErrCheckpoint is wrapped by every error of Load.
var ErrCheckpoint = errors.New("the checkpoint cannot be loaded")

// errState is what a checkpoint holds that no state does.
var errState = errors.New("holds what no state holds")

// Limits of lists in a checkpoint, besides the bytes that are left: no state exceeds them.
const (
	loadThings = 1 << 24
	// loadChunks bounds the chunks of all sets together: 1 GiB, for 68 billion offsets above
	// the floors of their queues. A few bytes can ask for that many.
	loadChunks = 1 << 26
)

// loader reads a checkpoint into a new core.
type loader struct {
	wire.Cursor
	c      *Core
	chunks uint64 // that may still be made
}

// Load returns the state that a checkpoint holds. blob is not kept.
func Load(cfg Config, blob []byte) (*Core, error) {
	return newLoader(cfg, blob).load()
}

// load reads the parts in the order in which they refer to each other. Each part checks what it
// reads against what is there already, so what loads is a state that a core could have reached.
func (l *loader) load() (*Core, error) {
	if err := l.head(); err != nil {
		return nil, err
	}
	l.topics()
	l.queues()
	l.exchanges()
	l.bindings()
	l.producers()
	l.groups()
	l.limbos()
	l.txns()
	l.groupSettings()
	l.definitions()
	l.txnals()
	l.c.handing = handing{l.U64(), l.Uvarint()}
	if err := l.Done("checkpoint"); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCheckpoint, err)
	}
	return l.c, nil
}

// newLoader begins at the front of a checkpoint.
func newLoader(cfg Config, blob []byte) *loader {
	return &loader{wire.Read(blob), New(cfg), loadChunks}
}

// ensure makes the load fail unless ok, which is returned.
func (l *loader) ensure(ok bool) bool {
	if !ok {
		l.Fail(errState)
	}
	return l.Err() == nil
}

// signed reads a number that fits in an int64.
func (l *loader) signed() int64 {
	v := l.Uvarint()
	l.ensure(v <= math.MaxInt64)
	return int64(v)
}

// small reads a number up to limit.
func (l *loader) small(limit uint64) uint64 {
	v := l.Uvarint()
	if !l.ensure(v <= limit) {
		return 0
	}
	return v
}

// head reads what the entry of the checkpoint left, and refuses other versions and shards.
func (l *loader) head() error {
	if string(l.Raw(len(snapshotMagic))) != snapshotMagic {
		return fmt.Errorf("%w: no magic", ErrCheckpoint)
	}
	if version := l.U16(); version != snapshotVersion {
		return fmt.Errorf("%w: version %d; this build reads %d", ErrCheckpoint, version, snapshotVersion)
	}
	l.Zero(2)
	s := &l.c.state
	s.lsn, s.term, s.nonce, s.pos = l.Uvarint(), l.Uvarint(), l.U64(), l.Uvarint()
	s.timeMS = l.signed()
	shard := l.Uvarint()
	s.lastID, s.lastPID, s.lastTxn = l.Uvarint(), l.signed(), l.Uvarint()
	l.c.lastDisk = s.lsn
	if l.Err() == nil && shard != uint64(l.c.cfg.Shard) {
		return fmt.Errorf("%w: of shard %d, not %d", ErrCheckpoint, shard, l.c.cfg.Shard)
	}
	l.ensure(l.c.inShard(s.lastID))
	return nil
}

// id reads an id that is in use.
func (l *loader) id() uint64 {
	v := l.Uvarint()
	l.ensure(v <= l.c.lastID && v > uint64(l.c.cfg.Shard)<<shardShift)
	return v
}

// level reads a level that an index can have: none is unset, none needs a cluster.
func (l *loader) level() ipc.Level {
	v := ipc.Level(l.U8())
	l.ensure(keepable(v))
	return v
}

// index enters an index of its own id.
func (l *loader) index(ix *index) bool {
	_, taken := l.c.indexes.get(ix.id)
	if !l.ensure(!taken && ix.next <= maxOffset) {
		return false
	}
	l.c.indexes.add(ix.id, ix)
	ix.visible = 0
	if ix.next > 0 { // visible once the cursor has reached the checkpoint
		l.c.appended(ix, l.c.lsn)
	}
	return true
}

// topics reads the topics with their partitions.
func (l *loader) topics() {
	c := l.c
	for range l.Count(24, loadThings) {
		t := &topic{name: l.String(), id: l.id()}
		copy(t.uuid[:], l.Raw(len(t.uuid)))
		t.level = l.level()
		t.configure(ipc.ReadHeaders(&l.Cursor))
		t.createdMS = l.signed()
		t.turn = uint32(l.small(math.MaxUint32))
		n := l.Count(2, loadThings)
		_, taken := c.dests[t.name]
		if !l.ensure(n > 0 && !taken && c.topicByID[t.id] == nil && topicconf.Sound(t.configs)) {
			return
		}
		t.partitions = make([]*index, 0, n)
		for range n {
			ix := &index{id: l.id(), level: t.level, next: l.Uvarint(), topic: t}
			if !l.index(ix) {
				return
			}
			t.partitions = append(t.partitions, ix)
		}
		c.partitions += n
		t.dest = &destination{name: t.name, topic: t}
		c.topics.add(t.name, t)
		c.topicByID[t.id], c.dests[t.name] = t, t.dest
	}
}

// set reads offsets above a floor and below next.
func (l *loader) set(set *offsetSet, floor, next uint64) {
	top := min(next, floor+maxSpan/2)
	switch l.U8() {
	case setEmpty:
	case setRuns:
		at := floor
		for range l.Count(2, loadThings) {
			first := at + l.small(maxOffset)
			next := first + l.small(maxOffset)
			// Runs do not touch each other, nor the floor: there is one form of a set.
			if !l.ensure(first > at && next > first && next <= top && l.afford(set, first, next)) {
				return
			}
			set.add(first, next)
			at = next
		}
		l.ensure(!set.empty())
	case setBitmap:
		// The words are in the checkpoint, so it pays for what they take in memory.
		base := l.Uvarint()
		words := l.Count(1, maxSpan/64)
		if !l.ensure(base%64 == 0 && base < top && uint64(words) <= (top-base+63)/64 && words > 0 && words*8 <= l.Left()) {
			return
		}
		set.load(base, l.Raw(8*words))
		l.ensure(!set.empty())
		if l.Err() == nil {
			l.ensure(set.nextSet(0) > floor && set.end() <= top)
		}
	default:
		l.ensure(false)
	}
}

// afford takes the chunks that a set needs for [first, next) from those that may be made.
func (l *loader) afford(s *offsetSet, first, next uint64) bool {
	from, to := first/chunkOffsets, (next-1)/chunkOffsets+1
	if len(s.chunks) > 0 {
		from = s.first + uint64(len(s.chunks))
	}
	n := to - min(from, to)
	if n > l.chunks {
		return false
	}
	l.chunks -= n
	return true
}

// exchanges reads all but the predeclared ones, which New has made.
func (l *loader) exchanges() {
	for range l.Count(9, loadThings) {
		id, spec := l.id(), admin.ReadExchange(&l.Cursor)
		_, taken := l.c.exchanges.get(spec.Name)
		if !l.ensure(spec.Type.Known() && !taken && l.c.exchByID[id] == nil) {
			return
		}
		l.c.addExchange(newExchange(id, spec))
	}
}

// definitions reads what is defined, in place of what New has defined, and finds out what counts for
// queues and exchanges.
func (l *loader) definitions() {
	c := l.c
	c.definitions, c.vhosts = newRegistry[string, *admin.Definition](), map[string]*vhost{}
	last := ""
	for range l.Count(5, loadThings) {
		d := admin.ReadDefinition(&l.Cursor)
		id := d.Identity()
		if !l.ensure(id > last) {
			return
		}
		last = id
		c.enterDefinition(&d)
	}
	if !l.ensure(c.vhosts[admin.DefaultVHost] != nil) {
		return
	}
	for _, q := range c.queues.all {
		c.govern(q)
	}
	for _, x := range c.exchanges.all {
		c.governExchange(x)
	}
}

// bindings binds again what was bound, by the code that applies the event.
func (l *loader) bindings() {
	for range l.Count(8, loadThings) {
		m := admin.ReadBinding(&l.Cursor)
		if l.Err() != nil {
			return
		}
		if err := l.c.applyBindingCreated(&m); err != nil {
			l.Fail(err)
			return
		}
	}
}

// producers reads the producers, oldest use first, and so restores the order of use.
func (l *loader) producers() {
	t := &l.c.producers
	for range l.Count(4, loadThings) {
		p := l.producer()
		if p == nil {
			return
		}
		t.touch(p, p.used)
	}
}

// producer reads one; nil: there is an error.
func (l *loader) producer() *producer {
	p := &producer{id: l.signed(), epoch: int16(l.small(math.MaxInt16)), used: l.signed()}
	n := l.Count(5, loadThings)
	if !l.ensure(l.c.producers.byID[p.id] == nil && p.id <= l.c.lastPID) {
		return nil
	}
	if n > 0 {
		p.lanes = make([]lane, 0, min(n, 1024))
	}
	for range n {
		if !l.lane(p) {
			return nil
		}
	}
	l.c.producers.byID[p.id] = p
	return p
}

// lane reads one lane of a producer. One without a batch does not exist.
func (l *loader) lane(p *producer) bool {
	k := lane{to: l.Uvarint(), epoch: int16(l.small(math.MaxInt16)), next: int32(l.small(math.MaxInt32)), accepted: l.Uvarint()}
	n := l.Count(3, keptBatches)
	for i := range n {
		k.kept[i] = keptBatch{int32(l.small(math.MaxInt32)), int32(l.small(math.MaxInt32)), l.Uvarint()}
	}
	k.n = uint8(n)
	if !l.ensure(n > 0 && (len(p.lanes) == 0 || p.lanes[len(p.lanes)-1].to < k.to)) {
		return false
	}
	p.lanes = append(p.lanes, k)
	l.c.producers.lanesTo[k.to]++
	return true
}
