package core

import (
	"fmt"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Transactions. Batches that are part of one lie in limbo until it ends; a commit releases all of
// them, and applies the verdicts that come with it, in one entry, and so in one atomic append.
// Routing is decided by the bindings of that moment.
//
// One that belongs to a connection ends with it. One of a producer group ("half messages") outlives
// connections and waits for a decision; when none comes in time a connection of the group is
// asked, and when it was asked too often without a decision it is rolled back.

// txn is one transaction that has not ended.
type txn struct {
	// Hard state.

	id      uint64
	group   string // empty: it belongs to owner
	key     string
	owner   journal.Owner
	begunMS int64
	checkMS int64 // between two checks
	nextMS  int64 // Unix time of the next check
	checks  uint32
	parts   []txnPart
	doomed  bool // its owner is gone: it is about to be rolled back

	// Derived state.

	timer timer
	gone  bool
}

// txnPart is one batch of a transaction.
type txnPart struct {
	offset    uint64 // in limbo
	count     uint32
	weight    uint32
	ttlMS     int64
	partition uint64 // index that it is for; 0: it goes through the exchange
	exchange  uint64
	note      ipc.Note
}

// endedTxn is one that has ended, remembered so that its end can be asked for again.
type endedTxn struct {
	id        uint64
	committed bool
	queues    uint32
}

const (
	maxTxnParts   = 4096   // batches of one transaction
	maxEndedTxns  = 10_000 // that are remembered
	maxTxnKey     = 1024   // bytes of its key
	minTxnCheckMS = 100
)

// txnKey finds a group's transaction by its key.
func txnKey(group, key string) string { return group + "\x00" + key }

// decideBeginTxn opens a transaction. A group's that is open already under the key is the same.
func (c *Core) decideBeginTxn() {
	m, err := ipc.DecodeBeginTxn(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if code, text := c.checkBegin(&m); code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	t := c.turn
	t.raise(ipc.LevelPage)
	if x := c.txnByKey[txnKey(m.Group, m.Key)]; x != nil && m.Group != "" {
		t.events = (&journal.Unchanged{Pos: c.in.Pos, Index: x.id}).Append(t.events)
		c.answerBegin(m.Head, x.id, c.ownGate(ipc.LevelPage))
		return
	}
	ev := journal.TxnBegun{Pos: c.in.Pos, Txn: t.serial(c.lastTxn), Group: m.Group, Key: m.Key, Owner: c.owner(m.Head)}
	if m.Group != "" {
		ev.Owner = journal.Owner{}
		if ev.CheckMS = int64(m.CheckMS); ev.CheckMS == 0 {
			ev.CheckMS = c.cfg.TxnCheckMS
		}
		ev.CheckMS = max(ev.CheckMS, minTxnCheckMS)
	}
	t.events = ev.Append(t.events)
	c.answerBegin(m.Head, ev.Txn, c.ownGate(ipc.LevelPage))
}

func (c *Core) checkBegin(m *ipc.BeginTxn) (errcode.Code, string) {
	if m.Group != "" {
		if code, text := checkName("producer group", m.Group); code != errcode.OK {
			return code, text
		}
		if m.Key == "" {
			return errcode.InvalidArgument, "a transaction of a producer group needs a key, by which the group knows it when it is asked"
		}
	}
	switch {
	case len(m.Key) > maxTxnKey:
		return errcode.InvalidArgument, fmt.Sprintf("a key of %d bytes; at most %d are allowed", len(m.Key), maxTxnKey)
	case m.CheckMS > maxDelayMS:
		return errcode.InvalidArgument, "a check time of more than ten years"
	case m.Group == "" && !c.current(m.Epoch):
		return errcode.UnknownTxn, "the connection has ended"
	case c.txns.len() >= c.cfg.MaxTxns:
		return errcode.LimitExceeded, fmt.Sprintf("at most %d open transactions", c.cfg.MaxTxns)
	}
	return errcode.OK, ""
}

func (c *Core) answerBegin(h ipc.Head, id uint64, g gate) {
	if h.Req != 0 {
		reply := ipc.TxnBegun{Head: h, Txn: id}
		c.turn.sent(g, ipc.TypeTxnBegun, reply.Append(c.turn.recs))
	}
}

// openTxn finds a transaction that a connection may use.
func (c *Core) openTxn(id uint64, h ipc.Head) (*txn, errcode.Code, string) {
	x, ok := c.txns.get(id)
	if !ok || x.doomed || x.group == "" && x.owner != c.owner(h) {
		return nil, errcode.UnknownTxn, fmt.Sprintf("there is no open transaction %d of this connection", id)
	}
	return x, errcode.OK, ""
}

// holdPublish decides that a batch for an exchange is part of a transaction.
func (c *Core) holdPublish(m *ipc.Publish, bodyOff int, x *exchange) {
	tx, code, text := c.openTxn(m.Txn, m.Head)
	switch {
	case code != errcode.OK:
	case m.DueMS > c.turn.timeMS:
		code, text = errcode.InvalidArgument, "a delayed message cannot be part of a transaction"
	case m.Mandatory:
		c.msg = message{m.RoutingKey, m.Headers, m.MoreKeys}
		if c.route(x, &c.msg); len(c.targets) == 0 {
			code, text = errcode.Unroutable, fmt.Sprintf("no queue is bound to exchange %s for key %s", quoted(m.Exchange), quoted(m.RoutingKey))
		}
	}
	if code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	ev := journal.TxnHeld{Txn: tx.id, Sent: sent(m, x), Note: noteOf(m)}
	level, ok := c.holdBatch(tx, &ev, m.Head, &m.Batch, bodyOff, m.Level)
	if ok && m.Req != 0 {
		reply := ipc.Published{Head: m.Head}
		c.turn.sent(c.ownGate(level), ipc.TypePublished, reply.Append(c.turn.recs))
	}
}

// holdAppend decides that a batch for a partition is part of a transaction.
func (c *Core) holdAppend(m *ipc.Append, bodyOff int, ix *index) {
	tx, code, text := c.openTxn(m.Txn, m.Head)
	if code != errcode.OK {
		c.reject(m.Head, code, text)
		return
	}
	b := &m.Batch
	ev := journal.TxnHeld{Txn: tx.id, Partition: ix.id, Sent: journal.Sent{
		Exchange: ix.id, Count: b.Count, BaseSeq: b.BaseSeq, ProducerID: b.ProducerID, Epoch: b.Epoch, TTLMS: ipc.NoTTL,
	}}
	level, ok := c.holdBatch(tx, &ev, m.Head, b, bodyOff, m.Level)
	if ok && m.Req != 0 {
		reply := ipc.Appended{Head: m.Head, Index: ix.id, Base: unknownBase}
		c.turn.sent(c.ownGate(level), ipc.TypeAppended, reply.Append(c.turn.recs))
	}
}

// holdBatch is what the two have in common. A part is stored at disk unless another level is
// asked for: a half message that was acknowledged is there after a power cut.
func (c *Core) holdBatch(tx *txn, ev *journal.TxnHeld, h ipc.Head, m *ipc.BatchMeta, bodyOff int, level ipc.Level) (ipc.Level, bool) {
	if len(tx.parts) >= maxTxnParts {
		c.reject(h, errcode.LimitExceeded, fmt.Sprintf("a transaction has at most %d batches", maxTxnParts))
		return 0, false
	}
	if level == ipc.LevelUnset {
		level = c.cfg.DefaultLevel
	}
	t := c.turn
	l := c.limboOf(txnClass)
	ev.Pos = c.in.Pos
	ev.Later = journal.Later{Limbo: l.ix.id, Offset: l.ix.next}
	t.raise(level)
	note := journal.NoteAt(len(t.events))
	t.events = ev.Append(t.events)
	if ev.Partition != 0 {
		note = 0 // a partition's records have none
	}
	l.enter(c, bodyOff, m, note)
	return level, true
}

// applyTxnEvent applies the events of transactions.
func (c *Core) applyTxnEvent(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvTxnBegun:
		e, err := journal.DecodeTxnBegun(ev)
		return firstError(err, func() error { return c.applyTxnBegun(&e, timeMS) })
	case journal.EvTxnHeld:
		e, err := journal.DecodeTxnHeld(ev)
		return firstError(err, func() error { return c.applyTxnHeld(&e, timeMS) })
	case journal.EvTxnEnded:
		e, err := journal.DecodeTxnEnded(ev)
		return firstError(err, func() error { return c.applyTxnEnded(&e) })
	case journal.EvTxnChecked:
		e, err := journal.DecodeTxnChecked(ev)
		return firstError(err, func() error { return c.applyTxnChecked(&e) })
	}
	return misfit("unknown event type %d", ev.Type)
}

func (c *Core) applyTxnBegun(e *journal.TxnBegun, timeMS int64) error {
	if e.Txn <= c.lastTxn || e.Group != "" && (c.txnByKey[txnKey(e.Group, e.Key)] != nil || e.CheckMS <= 0) {
		return misfit("transaction %d behind %d, of group %q", e.Txn, c.lastTxn, e.Group)
	}
	c.lastTxn = e.Txn
	c.addTxn(&txn{
		id: e.Txn, group: strings.Clone(e.Group), key: strings.Clone(e.Key), owner: e.Owner, begunMS: timeMS, checkMS: e.CheckMS,
		nextMS: timeMS + e.CheckMS,
	})
	return nil
}

// addTxn enters a transaction; the checkpoint is loaded through it too.
func (c *Core) addTxn(x *txn) {
	c.txns.add(x.id, x)
	if x.group == "" {
		c.own(x.owner)
		return
	}
	c.txnByKey[txnKey(x.group, x.key)] = x
	c.arm(x, x.nextMS)
}

func (c *Core) applyTxnHeld(e *journal.TxnHeld, timeMS int64) error {
	x, ok := c.txns.get(e.Txn)
	if !ok {
		return misfit("transaction %d is not open", e.Txn)
	}
	ix, err := c.extend(e.Limbo, e.Offset, e.Count)
	if err != nil {
		return err
	}
	if ix.limbo == nil || ix.limbo.class != txnClass {
		return misfit("a batch of transaction %d in index %d", e.Txn, e.Limbo)
	}
	x.parts = append(x.parts, txnPart{
		offset: e.Offset, count: e.Count, weight: e.Weight, ttlMS: e.TTLMS, partition: e.Partition, exchange: e.Exchange, note: cloneNote(&e.Note),
	})
	return c.applyProduced(e.Exchange, e.ProducerID, e.Epoch, e.BaseSeq, e.Count, unknownBaseOf(e.Partition), timeMS)
}

// unknownBaseOf is the result that a producer's lane remembers of a part: of a partition's that
// it is not known where it will be.
func unknownBaseOf(partition uint64) uint64 {
	if partition != 0 {
		return unknownBase
	}
	return 0
}

// applyTxnEnded forgets the transaction; what was not released is dropped.
func (c *Core) applyTxnEnded(e *journal.TxnEnded) error {
	x, ok := c.txns.get(e.Txn)
	if !ok {
		return misfit("transaction %d is not open", e.Txn)
	}
	if l := c.limbos[txnClass]; !e.Committed {
		for i := range x.parts {
			l.settle(c, x.parts[i].offset, x.parts[i].count)
		}
	}
	x.gone = true
	c.txns.remove(x.id)
	if x.group == "" {
		c.disown(x.owner)
	} else {
		delete(c.txnByKey, txnKey(x.group, x.key))
	}
	c.ended = append(c.ended, endedTxn{x.id, e.Committed, e.Queues})
	if n := len(c.ended) - maxEndedTxns; n > 0 {
		c.ended = slices.Delete(c.ended, 0, n)
	}
	return nil
}

func (c *Core) applyTxnChecked(e *journal.TxnChecked) error {
	x, ok := c.txns.get(e.Txn)
	if !ok || x.group == "" {
		return misfit("transaction %d is not open", e.Txn)
	}
	x.checks++
	x.nextMS = e.NextMS
	c.arm(x, x.nextMS)
	return nil
}

// doomTxn marks a transaction whose owner is gone. It is part of apply.
func (c *Core) doomTxn(x *txn) {
	if !x.doomed {
		x.doomed = true
		c.doomedTxns = append(c.doomedTxns, x)
	}
}

// decideEndTxn commits or rolls back.
func (c *Core) decideEndTxn() {
	m, err := ipc.DecodeEndTxn(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x, code, text := c.openTxn(m.Txn, m.Head)
	if code != errcode.OK {
		c.endAgain(&m, code, text)
		return
	}
	if m.Commit {
		if code, text = c.checkEnd(x, &m); code == errcode.OK {
			c.commitTxn(x, &m)
			return
		}
		c.reject(m.Head, code, text)
		return
	}
	c.endTxn(x, c.in.Pos, false, 0, ipc.LevelPage)
	c.answerEnd(m.Head, false, 0, c.ownGate(ipc.LevelPage))
}

// endAgain answers who asks for the end of a transaction that has ended.
func (c *Core) endAgain(m *ipc.EndTxn, code errcode.Code, text string) {
	i := slices.IndexFunc(c.ended, func(e endedTxn) bool { return e.id == m.Txn })
	if i < 0 {
		c.reject(m.Head, code, text)
		return
	}
	e := c.ended[i]
	if e.committed != m.Commit {
		how := "rolled back"
		if e.committed {
			how = "committed"
		}
		c.reject(m.Head, errcode.TxnEnded, fmt.Sprintf("transaction %d was %s", m.Txn, how))
		return
	}
	t := c.turn
	t.raise(ipc.LevelDisk)
	t.events = (&journal.Unchanged{Pos: c.in.Pos, Index: uint64(e.queues)}).Append(t.events)
	c.answerEnd(m.Head, e.committed, e.queues, c.ownGate(ipc.LevelDisk))
}

func (c *Core) answerEnd(h ipc.Head, committed bool, queues uint32, g gate) {
	if h.Req != 0 {
		reply := ipc.TxnEnded{Head: h, Committed: committed, Queues: queues}
		c.turn.sent(g, ipc.TypeTxnEnded, reply.Append(c.turn.recs))
	}
}

// checkEnd tells whether a commit fits an entry, and whether its verdicts make sense.
func (c *Core) checkEnd(x *txn, m *ipc.EndTxn) (errcode.Code, string) {
	if m.Unheld {
		return errcode.InvalidArgument, "a verdict names messages that the connection does not hold, or not any more: roll back, or commit without it"
	}
	size := 0
	for i := range x.parts {
		c.targetsOf(&x.parts[i])
		size += roomBytes + c.placeBytes(x.parts[i].note.Priority)
	}
	for i := range m.Verdicts {
		v := &m.Verdicts[i]
		if _, code, text := c.cursorFor(v.Queue, v.Index, []ipc.Range{v.Range}); code != errcode.OK {
			return code, text
		}
		size += roomBytes
	}
	if size > c.cfg.MaxEntryBytes/2 {
		return errcode.LimitExceeded, fmt.Sprintf("the commit of %d batches takes %d bytes of the log's heads; at most %d are allowed", len(x.parts), size, c.cfg.MaxEntryBytes/2)
	}
	return errcode.OK, ""
}

// targetsOf routes a part, by the bindings of now, into c.targets.
func (c *Core) targetsOf(p *txnPart) {
	c.targets = c.targets[:0]
	if p.partition != 0 {
		if ix, ok := c.indexes.get(p.partition); ok {
			c.targets = append(c.targets, ix)
		}
		return
	}
	if x := c.exchByID[p.exchange]; x != nil {
		c.routeNoted(x, &p.note)
	}
}

// commitTxn decides all that the transaction is about. Its own event comes last, and bears the
// input.
func (c *Core) commitTxn(x *txn, m *ipc.EndTxn) {
	level, queues := ipc.LevelPage, uint32(0)
	l := c.limbos[txnClass]
	parts := x.parts
	if failpoint.Broken("commit-half") && len(parts) > 1 {
		parts = parts[:1]
	}
	for i := range parts {
		p := &parts[i]
		c.targetsOf(p)
		put := c.releaseTo(l, journal.Released{
			Pos: journal.NoInput, Limbo: l.ix.id, Offset: p.offset, Count: p.count, Weight: p.weight, TTLMS: p.ttlMS,
		}, p.note.Priority)
		level = max(level, put.level)
		queues += uint32(len(put.targets) - len(put.newborn))
	}
	for i := range m.Verdicts {
		c.txnVerdict(m.Head, &m.Verdicts[i])
		if q := c.queueByID[m.Verdicts[i].Queue]; q != nil {
			level = max(level, q.level)
		}
	}
	c.endTxn(x, c.in.Pos, true, queues, level)
	c.redeem(m)
	c.answerEnd(m.Head, true, queues, c.ownGate(level))
}

// txnVerdict passes a verdict that is part of a commit.
func (c *Core) txnVerdict(h ipc.Head, v *ipc.TxnVerdict) {
	k, code, _ := c.cursorFor(v.Queue, v.Index, []ipc.Range{v.Range})
	if code != errcode.OK {
		return // checked before; an earlier verdict of the same commit may have moved the floor
	}
	c.ack = ipc.Ack{Head: h, Sub: v.Sub, Queue: v.Queue, Index: v.Index, Verdict: v.Verdict, Ranges: append(c.ack.Ranges[:0], v.Range)}
	ranges := c.takeOver(k, &c.ack)
	if v.Verdict == ipc.VerdictReject {
		c.die(k, ipc.ReasonRejected, h, v.Sub, ranges)
		return
	}
	if len(ranges) == 0 {
		return
	}
	c.turn.raise(ipc.LevelPage)
	ev := journal.Acked{
		Pos: journal.NoInput, Queue: v.Queue, Index: v.Index, Reason: ipc.ReasonAcked, Conn: h.Conn, Sub: v.Sub, Ranges: ranges,
	}
	c.turn.events = ev.Append(c.turn.events)
	c.applyNew()
	c.touch(k.queue)
}

// endTxn decides the end of a transaction.
func (c *Core) endTxn(x *txn, pos uint64, committed bool, queues uint32, level ipc.Level) {
	ev := journal.TxnEnded{Pos: pos, Txn: x.id, Committed: committed, Queues: queues}
	c.turn.raise(level)
	c.turn.events = ev.Append(c.turn.events)
	c.takeRoom(1 + len(x.parts))
	c.applyNew()
}

// abortDoomed rolls back what belonged to connections that are gone.
func (c *Core) abortDoomed() {
	for len(c.doomedTxns) > 0 && c.hasRoom() {
		x := c.doomedTxns[0]
		c.doomedTxns[0] = nil
		c.doomedTxns = c.doomedTxns[1:]
		if !x.gone {
			c.endTxn(x, journal.NoInput, false, 0, ipc.LevelPage)
		}
	}
}

func (x *txn) clock() *timer { return &x.timer }

// due asks a connection of the group what has become of the transaction, or rolls it back.
// Where the group has no connection there is nobody to ask: it waits, but not for ever.
func (x *txn) due(c *Core) {
	now := c.turn.timeMS
	switch {
	case x.gone || x.group == "":
	case now < x.nextMS:
		c.arm(x, x.nextMS)
	case x.checks >= uint32(c.cfg.TxnChecks), now-x.begunMS >= c.cfg.TxnMaxMS:
		c.endTxn(x, journal.NoInput, false, 0, ipc.LevelPage)
		c.stats.TxnsGivenUp++
	default:
		c.check(x)
	}
}

func (c *Core) check(x *txn) {
	t := c.turn
	g := c.txnGroups[x.group]
	if g == nil {
		c.arm(x, t.timeMS+x.checkMS)
		return
	}
	conn := g.conns[g.turn%len(g.conns)]
	g.turn++
	m := ipc.CheckTxn{Head: ipc.Head{Epoch: c.epoch, Conn: conn}, Txn: x.id, Group: x.group, Key: x.key, Checks: x.checks}
	ev := journal.TxnChecked{Pos: journal.NoInput, Txn: x.id, NextMS: t.timeMS + x.checkMS}
	t.raise(ipc.LevelPage)
	t.events = ev.Append(t.events)
	t.sent(c.ownGate(ipc.LevelPage), ipc.TypeCheckTxn, m.Append(t.recs))
	c.takeRoom(1)
	c.stats.TxnChecks++
	c.applyNew()
}

// txnGroup is who answers for a producer group. Soft state: connsrv tells it again.
type txnGroup struct {
	conns []uint64 // in order
	turn  int
}

// decideTxnMember notes that a connection answers for a group, or no longer does.
func (c *Core) decideTxnMember() {
	m, err := ipc.DecodeTxnMember(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	if !c.current(m.Epoch) {
		return
	}
	if code, text := checkName("producer group", m.Group); code != errcode.OK {
		c.refuse(m.Head, code, text)
		return
	}
	if m.Join {
		c.joinTxnGroup(m.Conn, m.Group)
	} else {
		c.leaveTxnGroup(m.Conn, m.Group)
	}
	if m.Req != 0 {
		reply := ipc.Done{Head: m.Head}
		c.turn.sent(atOnce, ipc.TypeAcked, reply.Append(c.turn.recs))
	}
}

func (c *Core) joinTxnGroup(conn uint64, group string) {
	k := c.connOf(conn)
	if slices.Contains(k.txns, group) {
		return
	}
	k.txns = append(k.txns, group)
	g := c.txnGroups[group]
	if g == nil {
		g = &txnGroup{}
		c.txnGroups[group] = g
	}
	i, _ := slices.BinarySearch(g.conns, conn)
	g.conns = slices.Insert(g.conns, i, conn)
}

func (c *Core) leaveTxnGroup(conn uint64, group string) {
	if k := c.conns[conn]; k != nil {
		k.txns = slices.DeleteFunc(k.txns, func(s string) bool { return s == group })
		c.dropConn(conn, k)
	}
	c.dropTxnMember(conn, group)
}

func (c *Core) dropTxnMember(conn uint64, group string) {
	g := c.txnGroups[group]
	if g == nil {
		return
	}
	if i, ok := slices.BinarySearch(g.conns, conn); ok {
		g.conns = slices.Delete(g.conns, i, i+1)
	}
	if len(g.conns) == 0 {
		delete(c.txnGroups, group)
	}
}

// lookAtTxns looks at transactions that are overdue, now that it is known whom to ask.
func (c *Core) lookAtTxns() {
	for _, x := range c.txns.all {
		if x.group != "" {
			c.arm(x, max(x.nextMS, c.turn.timeMS))
		}
	}
}
