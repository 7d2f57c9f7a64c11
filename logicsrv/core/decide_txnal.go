package core

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
	records "github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// decideInitTxnal gives a transactional id its producer id, and its owner an epoch of his own: whoever
// had the id before is fenced, and the transaction that he left open aborted. Asked a second time by
// the same owner, with the epoch that he had, it gives the same answer.
func (c *Core) decideInitTxnal() {
	m, err := ipc.DecodeInitTxnal(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x := c.txnalOf(m.ID)
	if no := c.checkInitTxnal(&m, x); no != nil {
		c.reject(m.Head, no.Code, no.Text)
		return
	}
	if x != nil && m.ProducerID >= 0 && m.Epoch != x.prod.epoch {
		c.decided(&journal.Unchanged{Pos: c.in.Pos})
		c.answerTxnal(m.Head, x.prod.id, x.prod.epoch)
		return
	}
	ev := journal.TxnalSet{Pos: c.in.Pos, ID: m.ID, ProducerID: c.lastPID + 1, LastEpoch: noLastEpoch, TimeoutMS: m.TimeoutMS}
	if x != nil {
		if x.phase == txnalOpen {
			c.finishTxn(x, journal.TxnFinished{Pos: journal.NoInput, ProducerID: x.prod.id, Epoch: x.prod.epoch, LastEpoch: noLastEpoch})
		}
		ev.ProducerID, ev.Epoch, ev.LastEpoch = c.nextEpoch(x)
		if m.ProducerID < 0 {
			ev.LastEpoch = noLastEpoch
		}
	}
	c.decided(&ev)
	c.answerTxnal(m.Head, ev.ProducerID, ev.Epoch)
}

// checkInitTxnal tells why an owner cannot begin.
func (c *Core) checkInitTxnal(m *ipc.InitTxnal, x *txnal) refused {
	switch {
	case m.ID == "" || len(m.ID) > maxTxnalID:
		return errcode.New(errcode.InvalidArgument, "a transactional id of %d bytes; 1 to %d are allowed", len(m.ID), maxTxnalID)
	case m.TimeoutMS == 0 || int64(m.TimeoutMS) > c.cfg.TxnalTimeoutMaxMS:
		return errcode.New(errcode.InvalidTxnTimeout, "a transaction time-out of %d ms; 1 to %d are allowed", m.TimeoutMS, c.cfg.TxnalTimeoutMaxMS)
	case x == nil && c.txnals.len() >= c.cfg.MaxTxnals:
		return errcode.New(errcode.LimitExceeded, "at most %d transactional ids", c.cfg.MaxTxnals)
	case x == nil && len(c.producers.byID) >= c.cfg.MaxProducers && !c.makeRoom():
		return errcode.New(errcode.LimitExceeded, "%d idempotent producers are active; no more are allowed", c.cfg.MaxProducers)
	case x == nil || m.ProducerID < 0:
		return nil
	case m.ProducerID != x.prod.id:
		return errcode.New(errcode.TxnalFenced, "transactional id %s has another producer id than %d", quoted(m.ID), m.ProducerID)
	case m.Epoch != x.prod.epoch && (m.Epoch != x.lastEpoch || m.Epoch < 0 || x.phase == txnalOpen):
		return errcode.New(errcode.TxnalFenced, "epoch %d of transactional id %s has been superseded", m.Epoch, quoted(m.ID))
	}
	return nil
}

// nextEpoch is the identity that follows the present one, and the epoch by which a repeated request is
// known. Epochs come to an end: then a new producer id begins.
func (c *Core) nextEpoch(x *txnal) (id int64, epoch, last int16) {
	if x.prod.epoch >= lastTxnalEpoch {
		return c.lastPID + 1, 0, noLastEpoch
	}
	return x.prod.id, x.prod.epoch + 1, x.prod.epoch
}

func (c *Core) answerTxnal(h ipc.Head, id int64, epoch int16) {
	if h.Req != 0 {
		reply := ipc.Producer{Head: h, ProducerID: id, Epoch: epoch}
		c.turn.sent(c.ownGate(ipc.LevelDisk), ipc.TypeProducer, reply.Append(c.turn.recs))
	}
}

// checkTxnal finds the producer that speaks. One that was fenced finds out here.
func (c *Core) checkTxnal(by *ipc.Txnal) (*txnal, refused) {
	x := c.txnalOf(by.ID)
	switch {
	case x == nil:
		return nil, errcode.New(errcode.TxnalUnknown, "there is no transactional id %s", quoted(by.ID))
	case by.ProducerID != x.prod.id:
		return x, errcode.New(errcode.TxnalUnknown, "transactional id %s has another producer id than %d", quoted(by.ID), by.ProducerID)
	case by.Epoch != x.prod.epoch && !failpoint.Broken("fence-open"):
		return x, errcode.New(errcode.TxnalFenced, "epoch %d of transactional id %s has been superseded", by.Epoch, quoted(by.ID))
	}
	return x, nil
}

// decideTxnAdd makes partitions, or a group, part of the open transaction, or opens one. It is
// answered at page: what is lost of it in a power cut is lost with all that came after it.
func (c *Core) decideTxnAdd() {
	m, err := ipc.DecodeTxnAdd(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x, no := c.checkTxnal(&m.Txnal)
	if no == nil {
		no = c.checkTxnAdd(x, &m)
	}
	if no != nil {
		c.reject(m.Head, no.Code, no.Text)
		return
	}
	t := c.turn
	t.raise(ipc.LevelPage)
	ev := journal.TxnAdded{Pos: c.in.Pos, ID: m.ID, Group: m.Group, Parts: m.Parts}
	t.events = ev.Append(t.events)
	c.applyNew()
	c.arm(x, c.txnalDue(x))
	c.answerDone(m.Head)
}

// checkTxnAdd tells why something cannot be part of a transaction.
func (c *Core) checkTxnAdd(x *txnal, m *ipc.TxnAdd) refused {
	added := 0
	for _, p := range m.Parts {
		ix, ok := c.indexes.get(p.Index)
		if !ok || ix.topic == nil {
			return errcode.New(errcode.UnknownIndex, "index %d is no partition of a topic", p.Index)
		}
		if _, ok := x.part(p.Index); !ok {
			added++
		}
		if c.fullOfAborted(p.Index) {
			return errcode.New(errcode.LimitExceeded, "index %d holds %d aborted transactions; no more are allowed", p.Index, c.cfg.MaxAborted)
		}
	}
	if n := len(x.parts) + added; n > c.cfg.maxTxnalParts() {
		return errcode.New(errcode.LimitExceeded, "a transaction in %d partitions; at most %d are allowed", n, c.cfg.maxTxnalParts())
	}
	if m.Group == "" {
		if len(m.Parts) == 0 {
			return errcode.New(errcode.InvalidArgument, "neither a partition nor a group is to be added")
		}
		return nil
	}
	return x.checkGroup(m.Group)
}

// fullOfAborted tells whether a partition has as many aborted transactions as are remembered of one.
func (c *Core) fullOfAborted(index uint64) bool {
	ix, ok := c.indexes.get(index)
	return ok && ix.txns != nil && len(ix.txns.aborted) >= c.cfg.MaxAborted
}

// checkGroup tells whether a group can be part of the transaction.
func (x *txnal) checkGroup(group string) refused {
	if code, text := checkName("group", group); code != errcode.OK {
		return errcode.New(code, "%s", text)
	}
	if !x.holds(group) && len(x.groups) >= maxTxnalGroups {
		return errcode.New(errcode.LimitExceeded, "at most %d groups in a transaction", maxTxnalGroups)
	}
	return nil
}

func (c *Core) answerDone(h ipc.Head) {
	if h.Req != 0 {
		reply := ipc.Done{Head: h}
		c.turn.sent(c.ownGate(ipc.LevelPage), ipc.TypeAcked, reply.Append(c.turn.recs))
	}
}

// decideTxnOffsets holds positions of a group until the transaction ends.
func (c *Core) decideTxnOffsets() {
	m, err := ipc.DecodeTxnOffsets(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x, no := c.checkTxnal(&m.Txnal)
	if no == nil {
		no = c.checkTxnOffsets(x, &m)
	}
	if no != nil {
		c.reject(m.Head, no.Code, no.Text)
		return
	}
	t := c.turn
	t.raise(ipc.LevelPage)
	ev := journal.TxnOffsetsHeld{Pos: c.in.Pos, ID: m.ID, Group: m.Group, Offsets: m.Offsets}
	t.events = ev.Append(t.events)
	c.applyNew()
	c.arm(x, c.txnalDue(x))
	c.answerDone(m.Head)
}

// checkTxnOffsets tells why positions cannot be held: those of a member that is none any longer, say.
func (c *Core) checkTxnOffsets(x *txnal, m *ipc.TxnOffsets) refused {
	if !m.Joins && (x.phase != txnalOpen || !x.holds(m.Group)) {
		return errcode.New(errcode.TxnState, "group %s is not part of an open transaction of %s", quoted(m.Group), quoted(m.ID))
	}
	if no := x.checkGroup(m.Group); no != nil {
		return no
	}
	if m.Member != "" || m.Generation >= 0 {
		commit := ipc.GroupCommit{Head: m.Head, Group: m.Group, Member: m.Member, Instance: m.Instance, Epoch: m.Generation}
		if no := c.checkCommitter(&commit); no != nil {
			return no
		}
	}
	if _, code, text := c.checkCommit(&ipc.CommitOffsets{Head: m.Head, Group: m.Group, Offsets: m.Offsets}); code != errcode.OK {
		return errcode.New(code, "%s", text)
	}
	size := x.heldBytes()
	for _, o := range m.Offsets {
		size += offsetBytes(o)
	}
	if size > c.cfg.maxHeldBytes() {
		return errcode.New(errcode.LimitExceeded, "positions of %d bytes in one transaction; at most %d are allowed", size, c.cfg.maxHeldBytes())
	}
	return nil
}

// decideTxnFinish commits or aborts. Asked again for the end that it has had, it gives the same answer.
func (c *Core) decideTxnFinish() {
	m, err := ipc.DecodeTxnFinish(c.in.Payload)
	if err != nil {
		c.malformed()
		return
	}
	x, no := c.checkTxnal(&m.Txnal)
	switch again := x.endedBy(&m); {
	case again:
		c.decided(&journal.Unchanged{Pos: c.in.Pos})
	case no == nil && x.phase != txnalOpen && (m.Commit || !m.Bump):
		no = errcode.New(errcode.TxnState, "transactional id %s has no open transaction", quoted(m.ID))
		fallthrough
	case no != nil:
		c.reject(m.Head, no.Code, no.Text)
		return
	default:
		ev := journal.TxnFinished{Pos: c.in.Pos, Committed: m.Commit, ProducerID: x.prod.id, Epoch: x.prod.epoch, LastEpoch: x.lastEpoch}
		if m.Bump {
			ev.ProducerID, ev.Epoch, ev.LastEpoch = c.nextEpoch(x)
		}
		c.finishTxn(x, ev)
	}
	c.answerTxnal(m.Head, x.prod.id, x.prod.epoch)
}

// endedBy tells whether the last transaction has ended by such a request, of which this is a repetition.
// Where the epoch has risen with it, the repetition bears the one before.
func (x *txnal) endedBy(m *ipc.TxnFinish) bool {
	if x == nil || x.phase != txnalCommitted && m.Commit || x.phase != txnalAborted && !m.Commit || m.ProducerID != x.prod.id {
		return false
	}
	return m.Bump && m.Txnal.Epoch == x.lastEpoch || !m.Bump && m.Txnal.Epoch == x.prod.epoch
}

// markerBytes is more than one control batch adds to an entry, besides the body that all share.
const markerBytes = 64

// finishTxn decides the end of a transaction, with a control batch in each of its partitions, all of
// which are one body. It is at level disk: what has ended stays so.
func (c *Core) finishTxn(x *txnal, ev journal.TxnFinished) {
	t := c.turn
	ev.ID = x.id
	parts := x.parts
	if failpoint.Broken("finish-half") && len(parts) > 1 {
		parts = parts[:1]
	}
	for _, p := range parts {
		ix, _ := c.indexes.get(p.index)
		ev.Markers = append(ev.Markers, journal.Target{Index: p.index, Base: ix.next})
	}
	if len(ev.Markers) > 0 {
		t.control = records.AppendControl(t.control[:0], ev.ProducerID, ev.Epoch, ev.Committed, t.timeMS)
		body := t.addInline(t.control, ev.Markers[0].Base)
		for _, to := range ev.Markers {
			t.items = append(t.items, journal.IndexItem{Index: to.Index, Base: to.Base, Count: 1, Body: body, MaxTimeMS: t.timeMS})
		}
	}
	held := x.held
	c.decided(&ev)
	c.applyNew()
	c.arm(x, c.txnalDue(x))
	for i := range held {
		if g := c.groupOf(held[i].group); g != nil {
			c.watchEmpty(g)
		}
	}
	if ev.Committed {
		c.stats.TxnsCommitted++
	} else {
		c.stats.TxnsAborted++
	}
}

// due aborts a transaction that has lasted for too long, or forgets an id that nobody uses.
func (x *txnal) due(c *Core) {
	now := c.turn.timeMS
	switch {
	case x.gone:
	case now < c.txnalDue(x) || failpoint.Broken("txnals-for-ever"):
		c.arm(x, max(c.txnalDue(x), now+1))
	case !c.fits(x.finishBytes()):
		c.arm(x, 1) // in the next turn
	case x.phase == txnalOpen:
		ev := journal.TxnFinished{Pos: journal.NoInput}
		ev.ProducerID, ev.Epoch, ev.LastEpoch = c.nextEpoch(x)
		c.takeRoom(1 + len(x.parts))
		c.finishTxn(x, ev)
		c.stats.TxnsTimedOut++
	default:
		c.takeRoom(1)
		c.enact(&journal.TxnalsExpired{Pos: journal.NoInput, IDs: []string{x.id}})
	}
}

// abortTxnal aborts what a producer has left open, whose time is not over yet, and fences it.
func (c *Core) abortTxnal(m *admin.Delete) (admin.Created, refused) {
	x := c.txnalOf(m.Name)
	switch {
	case x == nil:
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no transactional id %s", quoted(m.Name))
	case x.phase != txnalOpen:
		return admin.Created{}, errcode.New(errcode.TxnState, "transactional id %s has no open transaction", quoted(m.Name))
	}
	ev := journal.TxnFinished{Pos: c.in.Pos}
	ev.ProducerID, ev.Epoch, ev.LastEpoch = c.nextEpoch(x)
	ev.LastEpoch = noLastEpoch // nobody has asked for this end, so nobody repeats that
	c.finishTxn(x, ev)
	return admin.Created{}, nil
}

// finishBytes is more than its end takes in an entry.
func (x *txnal) finishBytes() int { return 256 + len(x.id) + markerBytes*len(x.parts) }

// checkTxnalBatch tells whether a batch that is new can be taken: those of a transactional producer are
// parts of the transaction that is open, in partitions that were added to it. REQUIRES: judge has found
// it fresh.
func (c *Core) checkTxnalBatch(m *ipc.Append) (errcode.Code, string) {
	if m.Txnal == ipc.TxnalNone {
		return errcode.OK, ""
	}
	x := c.producers.byID[m.Batch.ProducerID].txnal
	_, added := x.part(m.Index)
	switch {
	case added && x.phase == txnalOpen:
	case m.Txnal != ipc.TxnalJoins:
		return errcode.TxnState, fmt.Sprintf("the partition was not added to an open transaction of %s", quoted(x.id))
	case !added && len(x.parts) >= c.cfg.maxTxnalParts():
		return errcode.LimitExceeded, fmt.Sprintf("at most %d partitions in a transaction", c.cfg.maxTxnalParts())
	case !added && c.fullOfAborted(m.Index):
		return errcode.LimitExceeded, fmt.Sprintf("index %d holds as many aborted transactions as are allowed, %d", m.Index, c.cfg.MaxAborted)
	}
	return errcode.OK, ""
}
