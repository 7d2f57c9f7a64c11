package core

// The parts of a checkpoint that are about queues, limbo and transactions, in the terms of
// snapshot.go. A run is | first dv | length v |: the distance from the floor, then from the end of
// the run before. A time to live is told plus one, 0 being none.
//
//	| list of queues in order of name:
//	|     name str | id v | level u8 | settings (admin) | owner, of an exclusive one | used bool | doomed bool | lease v
//	|     | list of cursors in order of number:
//	|         index v | number v | next v, of an index of its own | floor v | set | list of attempts: (run | attempts v)
//	|         | list of leases: (run | lease v | until v | epoch v | req v) | list of dead: (run | reason u8)
//	|         | list of deadlines: (run | due v) | list of weights: (run | bytes v) | list of ages: (timeMS v | next v)
//	| list of limbos in order of class:
//	|     class u8 | index v | next v | floor v | set
//	|     | list of delayed: (run | due v | ttl v | weight v | priority u8 | list of dest v)
//	| list of transactions in order of number:
//	|     id v | group str | key str | owner | begun v | check v | next v | checks v | doomed bool
//	|     | list of parts: (offset v | count v | weight v | ttl v | partition v | exchange v | note (journal))
//	| list of transactions that have ended: (id v | committed bool | queues v)
//
//	owner   | nonce u64 | epoch v | conn v |

import (
	"math"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/wire"
)

// runWriter encodes runs of offsets, each by its distance from the one before.
type runWriter struct {
	b    []byte
	last uint64
}

func (w *runWriter) run(first, next uint64) {
	w.b = wire.AppendUvarint(wire.AppendUvarint(w.b, first-w.last), next-first)
	w.last = next
}

func (w *runWriter) number(v uint64) { w.b = wire.AppendUvarint(w.b, v) }

// list begins a list of runs above a floor.
func (w *runWriter) list(n int, floor uint64) {
	w.number(uint64(n))
	w.last = floor
}

// appendQueues encodes queues: a few numbers and sets of offsets, whatever they hold.
func (c *Core) appendQueues(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.queues.len()))
	for _, q := range c.queues.all {
		b = wire.AppendUvarint(wire.AppendString(b, q.name), q.id)
		b = q.declared.AppendSettings(append(b, byte(q.level)))
		if q.set.Exclusive {
			b = appendOwner(b, &q.owner)
		}
		b = wire.AppendUvarint(wire.AppendBool(wire.AppendBool(b, q.used), q.doomed), q.lease)
		b = wire.AppendUvarint(b, uint64(len(q.cursors)))
		for _, k := range q.cursors {
			b = k.append(b)
		}
	}
	return b
}

func appendOwner(b []byte, o *journal.Owner) []byte {
	return wire.AppendUvarint(wire.AppendUvarint(wire.AppendU64(b, o.Nonce), o.Epoch), o.Conn)
}

func (k *cursor) append(b []byte) []byte {
	b = wire.AppendUvarint(wire.AppendUvarint(b, k.ix.id), uint64(k.number))
	if k.queue.topic == nil {
		b = wire.AppendUvarint(b, k.ix.next)
	}
	w := runWriter{b: appendSet(wire.AppendUvarint(b, k.floor), k.floor, &k.acked)}
	w.list(len(k.attempts), k.floor)
	for _, r := range k.attempts {
		w.run(r.first, r.next)
		w.number(uint64(r.attempts))
	}
	w.list(len(k.leases.list), k.floor)
	for _, r := range k.leases.list {
		w.run(r.first, r.next)
		w.number(r.v.lease)
		w.number(uint64(r.v.until))
		w.number(r.v.asker.epoch)
		w.number(r.v.asker.req)
	}
	w.list(len(k.dead.list), k.floor)
	for _, r := range k.dead.list {
		w.run(r.first, r.next)
		w.b = append(w.b, byte(r.v.reason))
	}
	w.list(len(k.expiry.runs), k.floor)
	for _, r := range k.expiry.runs {
		w.run(r.first, r.next)
		w.number(uint64(r.due))
	}
	w.list(len(k.sizes), k.floor)
	for _, r := range k.sizes {
		w.run(r.first, r.next)
		w.number(r.bytes)
	}
	w.number(uint64(len(k.ages)))
	for _, a := range k.ages {
		w.number(uint64(a.timeMS))
		w.number(a.next)
	}
	return w.b
}

// appendLimbos encodes what is held back until it is due.
func (c *Core) appendLimbos(b []byte) []byte {
	n := 0
	for _, l := range c.limbos {
		if l != nil {
			n++
		}
	}
	b = wire.AppendUvarint(b, uint64(n))
	for _, l := range c.limbos {
		if l == nil {
			continue
		}
		b = wire.AppendUvarint(wire.AppendUvarint(append(b, l.class), l.ix.id), l.ix.next)
		w := runWriter{b: appendSet(wire.AppendUvarint(b, l.floor), l.floor, &l.done)}
		w.list(l.alive, l.floor)
		for i := range l.held {
			if h := &l.held[i]; h.count > 0 {
				w.run(h.offset, h.offset+uint64(h.count))
				w.number(uint64(h.due))
				w.number(uint64(h.ttlMS + 1))
				w.number(uint64(h.weight))
				w.b = append(w.b, h.prio)
				w.number(uint64(len(h.dests.ids)))
				for _, id := range h.dests.ids {
					w.number(id)
				}
			}
		}
		b = w.b
	}
	return b
}

// appendTxns encodes open transactions, and those that have ended.
func (c *Core) appendTxns(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.txns.len()))
	for _, x := range c.txns.all {
		b = wire.AppendString(wire.AppendString(wire.AppendUvarint(b, x.id), x.group), x.key)
		b = wire.AppendUvarint(appendOwner(b, &x.owner), uint64(x.begunMS))
		b = wire.AppendUvarint(wire.AppendUvarint(b, uint64(x.checkMS)), uint64(x.nextMS))
		b = wire.AppendBool(wire.AppendUvarint(b, uint64(x.checks)), x.doomed)
		b = wire.AppendUvarint(b, uint64(len(x.parts)))
		for i := range x.parts {
			p := &x.parts[i]
			for _, v := range [...]uint64{p.offset, uint64(p.count), uint64(p.weight), uint64(p.ttlMS + 1), p.partition, p.exchange} {
				b = wire.AppendUvarint(b, v)
			}
			b = journal.AppendNoteBody(b, &p.note)
		}
	}
	b = wire.AppendUvarint(b, uint64(len(c.ended)))
	for _, e := range c.ended {
		b = wire.AppendUvarint(wire.AppendBool(wire.AppendUvarint(b, e.id), e.committed), uint64(e.queues))
	}
	return b
}

// runReader reads what a runWriter has written: runs in order, within bounds.
type runReader struct {
	l    *loader
	last uint64
	top  uint64
	n    int
}

// list begins a list of runs from floor on, below top.
func (l *loader) list(floor, top uint64, minBytes int) *runReader {
	return &runReader{l: l, last: floor, top: top, n: l.Count(minBytes, loadThings)}
}

// run reads the next one; false: it is no run.
func (r *runReader) run() (first, next uint64, ok bool) {
	first = r.last + r.l.small(maxOffset)
	next = first + r.l.small(maxOffset)
	ok = r.l.ensure(next > first && next <= r.top)
	r.last = next
	return first, next, ok
}

// queues reads the queues.
func (l *loader) queues() {
	c := l.c
	for range l.Count(50, loadThings) {
		q := &queue{name: l.String(), id: l.id(), level: l.level()}
		set := admin.ReadSettings(&l.Cursor)
		if set.Exclusive {
			q.owner = l.owner()
		}
		q.used, q.doomed, q.lease = l.Bool(), l.Bool(), l.Uvarint()
		_, taken := c.queues.get(q.name)
		_, topical := c.topics.get(set.Topic)
		if !l.ensure(!taken && c.dests[q.name] == nil && c.queueByID[q.id] == nil && (set.Topic == "" || topical)) {
			return
		}
		q.declared = c.intern(&set)
		q.set = q.declared
		if !l.cursors(q) {
			return
		}
		if q.doomed {
			c.doomed = append(c.doomed, q)
		}
	}
}

func (l *loader) owner() journal.Owner {
	return journal.Owner{Nonce: l.U64(), Epoch: l.Uvarint(), Conn: l.Uvarint()}
}

// cursors reads how far a queue has got in its indexes, and enters it.
func (l *loader) cursors(q *queue) bool {
	c := l.c
	n := l.Count(10, loadThings)
	if q.set.Topic != "" {
		t, _ := c.topics.get(q.set.Topic)
		if _, taken := c.indexes.get(q.id); !l.ensure(n == len(t.partitions) && !taken) {
			return false
		}
		c.addQueue(q, nil)
		for i := range n {
			k := c.addView(q, t.partitions[i], uint32(i))
			if !l.ensure(l.Uvarint() == k.ix.id && l.Uvarint() == uint64(i)) || !l.cursor(k) {
				return false
			}
		}
		return true
	}
	last := uint64(0)
	for i := range n {
		ix := &index{id: l.id(), level: q.level}
		number := l.small(math.MaxUint8)
		ix.next = l.Uvarint()
		if !l.ensure((i == 0) == (ix.id == q.id) && number <= uint64(q.set.MaxPriority) && (i == 0 && number == 0 || i > 0 && number > last)) || !l.index(ix) {
			return false
		}
		last = number
		k := &q.own
		if i == 0 {
			c.addQueue(q, ix)
		} else {
			k = &cursor{queue: q, ix: ix, number: uint32(number)}
			ix.cursor = k
			q.cursors = append(q.cursors, k)
		}
		if !l.cursor(k) {
			return false
		}
	}
	return l.ensure(n > 0)
}

// cursor reads what a queue has done with in one index.
func (l *loader) cursor(k *cursor) bool {
	k.floor = l.Uvarint()
	if !l.ensure(k.floor <= k.ix.next) {
		return false
	}
	l.set(&k.acked, k.floor, k.ix.next)
	l.attempts(k)
	l.leases(k)
	l.dead(k)
	l.expiry(k)
	l.sizes(k)
	for range l.Count(2, loadThings) {
		a := age{l.signed(), l.Uvarint()}
		if n := len(k.ages); !l.ensure(a.next <= k.ix.next && (n == 0 || k.ages[n-1].timeMS < a.timeMS && k.ages[n-1].next <= a.next)) {
			return false
		}
		k.ages = append(k.ages, a)
	}
	if l.Err() == nil {
		l.c.armExpiry(k)
	}
	return l.Err() == nil
}

// attempts reads the runs of messages that came back; they stand in their one form.
func (l *loader) attempts(k *cursor) {
	r := l.list(k.floor, k.ix.next, 3)
	for range r.n {
		at := r.last
		first, next, ok := r.run()
		run := attemptRun{first, next, uint16(l.small(uint64(maxAttempts)))}
		last := len(k.attempts) - 1
		apart := last < 0 || first > at || run.attempts != k.attempts[last].attempts
		if !ok || !l.ensure(run.attempts > 0 && apart) {
			return
		}
		k.attempts = append(k.attempts, run)
	}
}

// leases reads what is invisible for a time.
func (l *loader) leases(k *cursor) {
	r := l.list(k.floor, k.ix.next, 6)
	for range r.n {
		at := r.last
		first, next, ok := r.run()
		v := leaseInfo{lease: l.Uvarint(), until: l.signed(), asker: asker{l.Uvarint(), l.Uvarint()}}
		if !ok || !l.ensure(v.lease > 0 && v.lease <= k.queue.lease && l.pending(k, first, next)) || !l.apart(&k.leases, at, first, v) {
			return
		}
		k.leases.set(first, next, v)
		k.take(first, next)
		k.ends.push(dueRun{first, next, v.until})
	}
}

// apart tells whether a run of leases is no continuation of the one before.
func (l *loader) apart(s *leases, at, first uint64, v leaseInfo) bool {
	n := len(s.list)
	return l.ensure(n == 0 || first > at || s.list[n-1].v != v)
}

// pending tells whether nothing of [first, next) is done with, and the set of what is taken can
// hold it.
func (l *loader) pending(k *cursor, first, next uint64) bool {
	return k.acked.nextSet(first) >= next && next <= k.floor+maxSpan/2 && l.afford(&k.taken, first, next)
}

// dead reads what waits to be dead-lettered.
func (l *loader) dead(k *cursor) {
	r := l.list(k.floor, k.ix.next, 3)
	for range r.n {
		at := r.last
		first, next, ok := r.run()
		v := grave{ipc.Reason(l.U8())}
		n := len(k.dead.list)
		if !ok || !l.ensure(v.reason.Kills() && l.pending(k, first, next) && k.taken.nextSet(first) >= next && (n == 0 || first > at || k.dead.list[n-1].v != v)) {
			return
		}
		k.dead.set(first, next, v)
		k.take(first, next)
	}
	if r.n > 0 && l.Err() == nil {
		l.c.toGraves(k)
	}
}

// expiry reads when messages expire.
func (l *loader) expiry(k *cursor) {
	r := l.list(k.floor, k.ix.next, 3)
	for range r.n {
		at := r.last
		first, next, ok := r.run()
		due := l.signed()
		n := len(k.expiry.runs)
		if !ok || !l.ensure(n == 0 || first > at || k.expiry.runs[n-1].due != due) {
			return
		}
		k.expiry.add(first, next, due)
	}
}

// sizes reads what messages weigh.
func (l *loader) sizes(k *cursor) {
	r := l.list(k.floor, k.ix.next, 3)
	if !l.ensure(r.n <= maxWeights) {
		return
	}
	for range r.n {
		first, next, ok := r.run()
		if !ok {
			return
		}
		k.sizes = append(k.sizes, weightRun{first, next, l.small(math.MaxInt64)})
	}
}

// limbos reads what is held back.
func (l *loader) limbos() {
	c := l.c
	last := -1
	for range l.Count(6, loadThings) {
		m := &limbo{class: l.U8()}
		m.ix = &index{id: l.id(), level: ipc.LevelMemory, limbo: m}
		m.ix.next, m.floor = l.Uvarint(), l.Uvarint()
		known := m.class < delayClasses || m.class == txnClass
		if !l.ensure(known && int(m.class) > last && m.floor <= m.ix.next) || !l.index(m.ix) {
			return
		}
		last = int(m.class)
		c.limbos[m.class] = m
		l.set(&m.done, m.floor, m.ix.next)
		l.held(m)
	}
}

// held reads the delayed batches of a limbo.
func (l *loader) held(m *limbo) {
	r := l.list(m.floor, m.ix.next, 8)
	for range r.n {
		first, next, ok := r.run()
		b := heldBatch{offset: first, due: l.signed(), ttlMS: int64(l.small(math.MaxInt64)) - 1, weight: uint32(l.small(math.MaxUint32)), prio: l.U8()}
		ids := make([]uint64, l.Count(1, loadThings))
		for i := range ids {
			ids[i] = l.Uvarint()
		}
		if !ok || !l.ensure(next-first <= maxCount && len(ids) > 0 && m.class != txnClass && m.done.nextSet(first) >= next) {
			return
		}
		b.count, b.dests = uint32(next-first), l.c.destSet(ids)
		m.hold(l.c, b)
	}
}

// txns reads transactions.
func (l *loader) txns() {
	c := l.c
	last := uint64(0)
	for range l.Count(20, loadThings) {
		x := &txn{id: l.Uvarint(), group: strings.Clone(l.String()), key: strings.Clone(l.String()), owner: l.owner()}
		x.begunMS, x.checkMS, x.nextMS = l.signed(), l.signed(), l.signed()
		x.checks, x.doomed = uint32(l.small(math.MaxUint32)), l.Bool()
		if !l.ensure(x.id > last && x.id <= c.lastTxn && (x.group == "" || c.txnByKey[txnKey(x.group, x.key)] == nil)) {
			return
		}
		last = x.id
		if !l.parts(x) {
			return
		}
		c.addTxn(x)
		if x.doomed {
			c.doomedTxns = append(c.doomedTxns, x)
		}
	}
	for range l.Count(3, maxEndedTxns) {
		c.ended = append(c.ended, endedTxn{l.small(c.lastTxn), l.Bool(), uint32(l.small(math.MaxUint32))})
	}
}

// parts reads the batches of a transaction.
func (l *loader) parts(x *txn) bool {
	m := l.c.limbos[txnClass]
	for range l.Count(12, maxTxnParts) {
		p := txnPart{offset: l.Uvarint(), count: uint32(l.small(maxCount)), weight: uint32(l.small(math.MaxUint32))}
		p.ttlMS, p.partition, p.exchange = int64(l.small(math.MaxInt64))-1, l.Uvarint(), l.Uvarint()
		p.note = journal.ReadNoteBody(&l.Cursor)
		next := p.offset + uint64(p.count)
		if !l.ensure(m != nil && p.count > 0) || !l.ensure(p.offset >= m.floor && next <= m.ix.next && m.done.nextSet(p.offset) >= next) {
			return false
		}
		x.parts = append(x.parts, p)
	}
	return l.Err() == nil
}
