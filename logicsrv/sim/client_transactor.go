//go:build failpoints

package sim

import (
	"fmt"
	"slices"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// transaction is one as its client knows it.
type transaction struct {
	id         uint64
	key        string
	ending     bool // an end is not answered
	mayCommit  bool // a commit may be in ring 12345
	rolledBack bool // a rollback was answered
	over       bool // an end was answered
	committed  bool
	due        bool // somebody has asked for a decision
	tooLarge   bool // for one entry: it can only be rolled back
}

// transactor publishes in transactions, and settles what it consumes with them: on its own
// connection, or as a producer group, which is asked when it makes no decision.
type transactor struct {
	party
	group string
	queue string // from which it consumes

	maker    *producer // of its messages
	txns     []*transaction
	begun    int
	asking   bool // BeginTxn is not answered
	open     int  // parts and verdicts that are not answered
	sub      *subscription
	entering bool
	lastSub  uint64
	stopped  bool // it begins no more; what is open of a group waits for somebody to ask
}

func (x *transactor) settled() bool {
	for _, t := range x.txns {
		if !t.over || t.ending {
			return false
		}
	}
	return !x.asking && !x.entering && x.open == 0 && (x.sub == nil || len(x.sub.inHand) == 0)
}

// dropped: those that belong to the connection end with it; those of a group are still open.
func (x *transactor) dropped() {
	x.conn, x.sub, x.asking, x.entering, x.open = nil, nil, false, false, 0
	for _, t := range x.txns {
		t.ending = false
	}
	if x.group == "" {
		x.txns = nil
	}
}

func (x *transactor) closed(s *subscription, code errcode.Code) {
	if x.sub == s {
		x.sub = nil
		x.w.mayClose(x.name, s.queue, code)
	}
}

// checked: a decision is wanted. Now and then it is not given.
func (x *transactor) checked(m *ipc.CheckTxn) {
	x.w.trace("%s is asked about transaction %d %q", x.name, m.Txn, m.Key)
	x.w.stats.checks++
	if x.w.rng.IntN(2) == 0 && !x.stopped {
		return
	}
	x.know(m.Txn, m.Key).due = true
}

// know makes a transaction one of its own, which another member of its group may have begun.
func (x *transactor) know(id uint64, key string) *transaction {
	x.w.newSerial(serial{0, id}, fmt.Sprintf("key %q", key))
	t := x.w.txns[key]
	if t == nil {
		t = &transaction{key: key}
		x.w.txns[key] = t
	}
	t.id = id
	if !slices.Contains(x.txns, t) {
		x.txns = append(x.txns, t)
	}
	return t
}

// powerCut forgets what may be lost: how a transaction has ended. That one was begun may be lost
// as well; what it goes on to do with the number must be refused.
func (x *transactor) powerCut() {
	for _, t := range x.w.txns {
		t.rolledBack, t.over = false, false
	}
}

func (x *transactor) tick() {
	r := x.w.rng
	if !x.stopped && x.conn != nil && r.IntN(x.w.plan.clientDeath) == 0 {
		x.die(x)
		return
	}
	if !x.w.admin.done() || !x.ready(x) {
		return
	}
	if x.group != "" && len(x.conn.groups) == 0 {
		x.join()
		return
	}
	switch n := r.IntN(12); {
	case n < 3:
		x.consume()
	case n < 6 && !x.stopped && !x.asking && x.running() < 2:
		x.begin()
	default:
		x.goOn()
	}
}

// running is how many of its transactions are open.
func (x *transactor) running() (n int) {
	for _, t := range x.txns {
		if !t.over {
			n++
		}
	}
	return n
}

// join makes the connection answer for the group.
func (x *transactor) join() {
	x.conn.groups, x.conn.joinedMS = append(x.conn.groups, x.group), x.w.now
	x.w.conn.tell(x.conn, ipc.TypeTxnMember, func(h ipc.Head) []byte {
		m := ipc.TxnMember{Head: h, Group: x.group, Join: true}
		return m.Append(nil)
	})
}

func (x *transactor) begin() {
	x.asking = true
	x.begun++
	key := fmt.Sprintf("%s-%d", x.name, x.begun)
	x.w.conn.ask(x.conn, ipc.TypeBeginTxn, func(h ipc.Head) []byte {
		m := ipc.BeginTxn{Head: h, Group: x.group, Key: key, CheckMS: x.w.theme.checkMS}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		x.asking = false
		if typ == ipc.TypeError {
			code, text := x.refusal(b)
			x.w.fail("%s cannot begin a transaction: %v %s", x.name, code, text)
		}
		m, err := ipc.DecodeTxnBegun(b)
		x.w.must(err, "decode a begun transaction")
		x.know(m.Txn, key)
	})
}

// goOn adds to a transaction, or ends one, perhaps once more.
func (x *transactor) goOn() {
	r := x.w.rng
	if len(x.txns) == 0 {
		return
	}
	if x.stopped {
		for _, t := range x.txns {
			if !t.over && !t.ending && (x.group == "" || t.due || x.w.now > x.w.calmMS+maxTxnMS+1000) {
				x.end(t, r.IntN(2) == 0)
				return
			}
		}
		return
	}
	switch t := x.txns[r.IntN(len(x.txns))]; {
	case t.ending:
	case t.over && r.IntN(3) == 0:
		x.end(t, r.IntN(4) > 0 == t.committed)
	case t.over && r.IntN(3) == 0:
		x.txns = slices.DeleteFunc(x.txns, func(o *transaction) bool { return o == t })
	case t.over:
	case t.due, r.IntN(6) == 0:
		x.end(t, r.IntN(3) > 0)
	default:
		x.part(t)
	}
}

// part publishes a message that is part of a transaction.
func (x *transactor) part(t *transaction) {
	r, w := x.w.rng, x.w
	if x.maker == nil {
		x.maker = &producer{party: party{w: w, name: x.name}}
	}
	m := w.newMessage(x.maker, batch.NoProducer, -1, -1)
	m.txn, m.apart = t, true
	typ, encode := ipc.TypePublish, func(h ipc.Head) []byte {
		p := ipc.Publish{
			Head: h, Txn: t.id, TTLMS: ipc.NoTTL, Priority: uint8(r.IntN(4)), Weight: m.meta.Count * 20, Batch: m.meta,
			Exchange: "all", RoutingKey: "k",
		}
		return p.Append(nil)
	}
	if index := w.indexOf(mainTopic, 0); index != 0 && r.IntN(3) == 0 {
		m.index = index
		typ, encode = ipc.TypeAppend, func(h ipc.Head) []byte {
			a := ipc.Append{Head: h, Index: index, Txn: t.id, Batch: m.meta}
			return a.Append(nil)
		}
	}
	x.open++
	w.trace("%s sends %v in transaction %d", x.name, m, t.id)
	o := w.conn.ask(x.conn, typ, encode, m.bytes, func(typ ipc.Type, b []byte) {
		x.open--
		if typ == ipc.TypeError {
			code, text := x.refusal(b)
			w.trace("%s: a part of transaction %d is refused: %v %s", x.name, t.id, code, text)
			m.refused = true
			if code != errcode.UnknownTxn {
				w.fail("%s: a part of transaction %d is refused: %v %s", x.name, t.id, code, text)
			}
			return
		}
		w.acknowledged(m)
	})
	o.before = func() { m.offered = true }
}

// end commits a transaction or rolls it back. A commit settles what it has in hand.
func (x *transactor) end(t *transaction, commit bool) {
	w := x.w
	t.ending = true
	commit = commit && (!t.tooLarge || t.over)
	var verdicts []ipc.TxnVerdict
	s := x.sub
	if s != nil && commit && !t.over && x.group == "" && w.rng.IntN(2) == 0 { // of a group another member may have ended it
		for _, h := range s.held() {
			v := ipc.TxnVerdict{Sub: s.sub, Queue: s.queue, Index: h.Index, Verdict: ipc.VerdictAck, Range: h.Range}
			if w.rng.IntN(4) == 0 {
				v.Verdict = ipc.VerdictReject
			}
			verdicts = append(verdicts, v)
		}
	}
	w.trace("%s: end of transaction %d, commit %t, verdicts %+v", x.name, t.id, commit, verdicts)
	o := w.conn.ask(x.conn, ipc.TypeEndTxn, func(h ipc.Head) []byte {
		m := ipc.EndTxn{Head: h, Txn: t.id, Commit: commit, Verdicts: verdicts}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		t.ending = false
		if typ == ipc.TypeError {
			x.refusedEnd(t, commit, b)
			x.eachVerdict(verdicts, func(at spot) {
				if w.done[at] == offered {
					delete(w.done, at)
				}
			})
			return
		}
		m, err := ipc.DecodeTxnEnded(b)
		w.must(err, "decode the end of a transaction")
		if m.Committed != commit || t.over && t.committed != commit {
			w.fail("%s: transaction %d is said to be committed: %t, asked for was %t, told before %t %t", x.name, t.id, m.Committed, commit, t.over, t.committed)
		}
		t.over, t.committed, t.rolledBack = true, commit, !commit
		x.settledWith(s, verdicts)
	})
	o.before = func() {
		t.mayCommit = t.mayCommit || commit
		x.eachVerdict(verdicts, func(at spot) { x.w.done[at] = max(x.w.done[at], offered) })
	}
}

// refusedEnd: it has ended already, by a time or the other way.
func (x *transactor) refusedEnd(t *transaction, commit bool, b []byte) {
	code, text := x.refusal(b)
	x.w.trace("%s: the end of transaction %d is refused: %v %s", x.name, t.id, code, text)
	switch code {
	case errcode.TxnEnded:
		if t.over && t.committed == commit {
			x.w.fail("%s: transaction %d has ended otherwise than was told: %s", x.name, t.id, text)
		}
		t.over, t.committed = true, !commit
		t.rolledBack = t.rolledBack || commit
	case errcode.UnknownTxn:
		t.over = true
	case errcode.UnknownIndex:
	case errcode.LimitExceeded:
		t.tooLarge = true
	default:
		x.w.fail("%s: the end of transaction %d is refused: %v %s", x.name, t.id, code, text)
	}
}

// settledWith: the verdicts of a commit have counted.
func (x *transactor) settledWith(s *subscription, verdicts []ipc.TxnVerdict) {
	x.eachVerdict(verdicts, func(at spot) {
		s.drop(at.index, []uint64{at.base})
		if x.w.hand[at] == s {
			delete(x.w.hand, at)
		}
		x.w.verdictConfirmed(at.queue, at.index, []uint64{at.base})
	})
}

func (x *transactor) eachVerdict(verdicts []ipc.TxnVerdict, do func(at spot)) {
	for _, v := range verdicts {
		for o := v.Range.First; o < v.Range.First+uint64(v.Range.Count); o++ {
			do(spot{v.Queue, place{v.Index, o}})
		}
	}
}

// consume makes it a consumer and, while no end is under way, settles what it holds.
func (x *transactor) consume() {
	w := x.w
	queue := w.queueOf(x.queue)
	switch {
	case queue == 0 && x.sub == nil || x.entering:
	case x.sub == nil:
		x.subscribe(queue)
	case x.sub.limit < x.sub.delivered+2:
		x.sub.limit = x.sub.delivered + 3
		w.tellCredit(x.conn, x.sub)
	case len(x.sub.inHand) > 0 && (x.stopped || w.rng.IntN(4) == 0) && !slices.ContainsFunc(x.txns, func(t *transaction) bool { return t.ending }):
		w.settleSome(x.conn, x.sub, ipc.VerdictAck, x.stopped, true, &x.open)
	}
}

func (x *transactor) subscribe(queue uint64) {
	x.entering = true
	x.lastSub++
	s := &subscription{sub: x.lastSub, queue: queue, limit: 2, filter: x.w.filterOf(x.queue), owner: x}
	x.w.conn.ask(x.conn, ipc.TypeSubscribe, func(h ipc.Head) []byte {
		m := ipc.Subscribe{Head: h, Sub: s.sub, Queue: queue, Limit: s.limit}
		return m.Append(nil)
	}, nil, func(typ ipc.Type, b []byte) {
		x.entering = false
		if typ == ipc.TypeError {
			code, text := x.refusal(b)
			x.w.mayRefuse(x.name, x.queue, queue, code, text)
			x.conn.subs = slices.DeleteFunc(x.conn.subs, func(o *subscription) bool { return o == s })
			x.sub = nil
		}
	})
	x.conn.subs = append(x.conn.subs, s)
	x.sub = s
}
