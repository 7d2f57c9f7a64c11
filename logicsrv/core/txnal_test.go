package core

import (
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// txnalUser is a transactional producer as its client knows it.
type txnalUser struct {
	w *world
	ipc.Txnal
	seq map[uint64]int32
}

// asked puts an input into the ring and returns the answer: its type and payload.
func (w *world) asked(typ ipc.Type, payload []byte) (ipc.Type, []byte) {
	w.tb.Helper()
	for _, o := range w.turn(typ, payload) {
		if h, ok := ipc.PeekHead(o.Record); ok && h == userHead {
			return o.Type, o.Record
		}
	}
	w.tb.Fatalf("no answer to %v", typ)
	return 0, nil
}

// userHead is that of all requests here: they follow one another.
var userHead = ipc.Head{Epoch: 1, Conn: 256, Req: 77}

// codeOf is the code of an answer, OK where it is no refusal.
func codeOf(typ ipc.Type, payload []byte) errcode.Code {
	if typ != ipc.TypeError {
		return errcode.OK
	}
	m, _ := ipc.DecodeError(payload)
	return errcode.Code(m.Code)
}

// init begins under a transactional id; pid and epoch as in InitTxnal.
func (w *world) initTxnal(id string, timeoutMS uint32, pid int64, epoch int16) (*txnalUser, errcode.Code) {
	w.tb.Helper()
	m := ipc.InitTxnal{Head: userHead, ID: id, TimeoutMS: timeoutMS, ProducerID: pid, Epoch: epoch}
	typ, b := w.asked(ipc.TypeInitTxnal, m.Append(nil))
	p, _ := ipc.DecodeProducer(b)
	return &txnalUser{w, ipc.Txnal{ID: id, ProducerID: p.ProducerID, Epoch: p.Epoch}, map[uint64]int32{}}, codeOf(typ, b)
}

func (u *txnalUser) add(indexes ...uint64) errcode.Code {
	u.w.tb.Helper()
	m := ipc.TxnAdd{Head: userHead, Txnal: u.Txnal}
	for _, index := range indexes {
		m.Parts = append(m.Parts, ipc.TxnPart{Index: index})
	}
	return codeOf(u.w.asked(ipc.TypeTxnAdd, m.Append(nil)))
}

// send appends a batch of count records, and returns where it lies.
func (u *txnalUser) send(index uint64, count uint32, txnal ipc.AppendTxnal) (base uint64, code errcode.Code) {
	u.w.tb.Helper()
	b := ipc.BatchMeta{Count: count, Length: 100, ProducerID: u.ProducerID, Epoch: u.Txnal.Epoch, BaseSeq: u.seq[index]}
	m := ipc.Append{Head: userHead, Index: index, Batch: b, Txnal: txnal}
	typ, payload := u.w.asked(ipc.TypeAppend, appendRecord(&m))
	a, _ := ipc.DecodeAppended(payload)
	if code = codeOf(typ, payload); code == errcode.OK {
		u.seq[index] = sequence(u.seq[index], count)
	}
	return a.Base, code
}

func (u *txnalUser) hold(group string, joins bool, offsets ...ipc.OffsetCommit) errcode.Code {
	u.w.tb.Helper()
	m := ipc.TxnOffsets{Head: userHead, Txnal: u.Txnal, Group: group, Generation: -1, Joins: joins, Offsets: offsets}
	return codeOf(u.w.asked(ipc.TypeTxnOffsets, m.Append(nil)))
}

func (u *txnalUser) finish(commit, bump bool) errcode.Code {
	u.w.tb.Helper()
	m := ipc.TxnFinish{Head: userHead, Txnal: u.Txnal, Commit: commit, Bump: bump}
	typ, b := u.w.asked(ipc.TypeTxnFinish, m.Append(nil))
	if p, err := ipc.DecodeProducer(b); err == nil && typ == ipc.TypeProducer {
		if p.Epoch != u.Txnal.Epoch {
			clear(u.seq)
		}
		u.ProducerID, u.Txnal.Epoch = p.ProducerID, p.Epoch
	}
	return codeOf(typ, b)
}

// smallTxnals adds two transactional producers: one whose transaction was aborted, one with an open one.
func (w *world) smallTxnals(part uint64) {
	w.tb.Helper()
	other := part + 1
	a, _ := w.initTxnal("shop-1", 60_000, -1, -1)
	a.add(part)
	a.send(part, 2, ipc.TxnalAdded)
	a.finish(false, false)
	b, _ := w.initTxnal("shop-2", 60_000, -1, -1)
	b.add(part, other)
	b.send(part, 1, ipc.TxnalAdded)
	b.hold("readers", true, ipc.OffsetCommit{Index: part, Offset: 1, Metadata: "m", Leader: 8})
	c, _ := w.initTxnal("shop-3", 60_000, -1, -1)
	c.add(other)
	c.finish(true, false)
	delete := journal.TxnalsExpired{Pos: journal.NoInput, IDs: []string{"shop-3"}}
	w.c.openTurn(w.now)
	w.c.enact(&delete)
	w.end()
	w.settle()
}

// stable asks for both ends of an index, and what a reader from an offset on has to know.
func (w *world) stable(index, from uint64) ipc.Stable {
	w.tb.Helper()
	m := ipc.WaitStable{Head: userHead, Index: index, Beyond: ipc.WaitNow, From: from}
	_, b := w.asked(ipc.TypeWaitStable, m.Append(nil))
	s, err := ipc.DecodeStable(b)
	if err != nil {
		w.tb.Fatal(err)
	}
	return s
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// newTxnalWorld is a world with connsrv attached and a topic of two partitions.
func newTxnalWorld(t *testing.T) (w *world, part uint64) {
	w = newWorld(t, Config{})
	w.attach(1)
	return w, w.topic("t", 2, ipc.LevelDisk)
}

// TestTxnalStable: the stable end stands before what is open, and moves with the control batch's
// becoming visible, not before; what was aborted is told exactly.
func TestTxnalStable(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 60_000, -1, -1)
	b, _ := w.initTxnal("b", 60_000, -1, -1)
	want(t, "add", a.add(part, part+1), errcode.OK)
	want(t, "add", b.add(part), errcode.OK)
	a.send(part, 2, ipc.TxnalAdded) // 0 1
	b.send(part, 1, ipc.TxnalAdded) // 2
	s := w.stable(part, 0)
	want(t, "end", s.End, 3)
	want(t, "stable", s.Stable, 0)
	want(t, "abort", a.finish(false, false), errcode.OK) // 3
	s = w.stable(part, 0)
	want(t, "end", s.End, 4)
	want(t, "stable", s.Stable, 2)
	if !slices.Equal(s.Aborted, []ipc.AbortedTxn{{ProducerID: a.ProducerID, First: 0, Last: 3}}) {
		t.Fatalf("aborted: %v", s.Aborted)
	}
	want(t, "the partition without batches", w.stable(part+1, 0).End, 1)

	// The commit is decided, and in no log yet.
	m := ipc.TxnFinish{Head: userHead, Txnal: b.Txnal, Commit: true}
	w.step(ipc.TypeTxnFinish, m.Append(nil))
	w.end()
	want(t, "stable before the commit is durable", w.stableNow(part), 2)
	w.settle()
	want(t, "stable behind it", w.stableNow(part), 5)
	if s = w.stable(part, 4); len(s.Aborted) != 0 || s.From != 4 || s.To != 5 {
		t.Fatalf("from 4 on: %+v", s)
	}
	again := w.rebuilt()
	again.Begin(9, w.nonce, again.LSN(), again.LSN())
	ix, _ := again.indexes.get(part)
	want(t, "stable after a restart", ix.readable(), 5)
}

// stableNow is the stable end as it is, without another entry.
func (w *world) stableNow(index uint64) uint64 {
	ix, _ := w.c.indexes.get(index)
	return ix.readable()
}

// TestTxnalOffsets: positions count with the commit, all of them, and not before.
func TestTxnalOffsets(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 60_000, -1, -1)
	at := func(offset uint64) ipc.OffsetCommit { return ipc.OffsetCommit{Index: part, Offset: offset} }
	want(t, "a group that was not added", a.hold("g", false, at(5)), errcode.TxnState)
	m := ipc.TxnAdd{Head: userHead, Txnal: a.Txnal, Group: "g"}
	want(t, "add", codeOf(w.asked(ipc.TypeTxnAdd, m.Append(nil))), errcode.OK)
	want(t, "hold", a.hold("g", false, at(5)), errcode.OK)
	want(t, "hold", a.hold("h", true, at(6)), errcode.OK)
	if w.c.groupOf("g") != nil {
		t.Fatal("a position counts before the commit")
	}
	want(t, "abort", a.finish(false, false), errcode.OK)
	if w.c.groupOf("g") != nil {
		t.Fatal("a position counts that was aborted")
	}
	a.hold("g", true, at(7))
	a.hold("h", true, at(8))
	want(t, "commit", a.finish(true, false), errcode.OK)
	for group, offset := range map[string]uint64{"g": 7, "h": 8} {
		if g := w.c.groupOf(group); g == nil || !slices.Equal(g.offsets, []ipc.OffsetCommit{at(offset)}) {
			t.Fatalf("group %s: %+v", group, g)
		}
	}
}

// TestTxnalEnds: what is answered to requests out of order, and to repeated ones.
func TestTxnalEnds(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 60_000, -1, -1)
	want(t, "commit of nothing", a.finish(true, false), errcode.TxnState)
	_, code := a.send(part, 1, ipc.TxnalAdded)
	want(t, "a batch without its partition", code, errcode.TxnState)
	_, code = a.send(part, 1, ipc.TxnalNone)
	want(t, "a batch outside of transactions", code, errcode.TxnState)
	want(t, "add", a.add(part), errcode.OK)
	want(t, "add again", a.add(part), errcode.OK)
	want(t, "no partition", a.add(9999), errcode.UnknownIndex)
	a.send(part, 1, ipc.TxnalAdded)
	want(t, "commit", a.finish(true, false), errcode.OK)
	want(t, "commit again", a.finish(true, false), errcode.OK)
	want(t, "abort of what is committed", a.finish(false, false), errcode.TxnState)
	_, code = a.send(part, 1, ipc.TxnalAdded)
	want(t, "a batch behind the commit", code, errcode.TxnState)
	_, code = a.send(part, 1, ipc.TxnalJoins)
	want(t, "a batch that joins", code, errcode.OK)
	before := *a
	want(t, "commit with the next epoch", a.finish(true, true), errcode.OK)
	want(t, "its epoch", a.Txnal.Epoch, before.Txnal.Epoch+1)
	want(t, "the same again", before.finish(true, true), errcode.OK)
	want(t, "its epoch", before.Txnal.Epoch, a.Txnal.Epoch)
	want(t, "abort of nothing, with the next epoch", a.finish(false, true), errcode.OK)
	want(t, "commit of nothing", a.finish(true, true), errcode.TxnState)
	want(t, "the control batches", w.stable(part, 0).End, 4)
}

// TestTxnalFencing: who begins under an id fences who had it, and aborts what he left open.
func TestTxnalFencing(t *testing.T) {
	w, part := newTxnalWorld(t)
	old, _ := w.initTxnal("a", 60_000, -1, -1)
	old.add(part)
	old.send(part, 1, ipc.TxnalAdded)
	a, code := w.initTxnal("a", 60_000, -1, -1)
	want(t, "begin", code, errcode.OK)
	want(t, "producer id", a.ProducerID, old.ProducerID)
	want(t, "epoch", a.Txnal.Epoch, old.Txnal.Epoch+1)
	s := w.stable(part, 0)
	want(t, "stable", s.Stable, 2)
	want(t, "aborted", len(s.Aborted), 1)
	want(t, "add of the old", old.add(part), errcode.TxnalFenced)
	want(t, "commit of the old", old.finish(true, false), errcode.TxnalFenced)
	_, code = old.send(part, 1, ipc.TxnalJoins)
	want(t, "batch of the old", code, errcode.ProducerFenced)
	want(t, "positions of the old", old.hold("g", true, ipc.OffsetCommit{Index: part}), errcode.TxnalFenced)

	next, code := w.initTxnal("a", 60_000, a.ProducerID, a.Txnal.Epoch)
	want(t, "on behind an error", code, errcode.OK)
	want(t, "epoch", next.Txnal.Epoch, a.Txnal.Epoch+1)
	again, code := w.initTxnal("a", 60_000, a.ProducerID, a.Txnal.Epoch)
	want(t, "the same again", code, errcode.OK)
	want(t, "epoch", again.Txnal.Epoch, next.Txnal.Epoch)
	_, code = w.initTxnal("a", 60_000, old.ProducerID, old.Txnal.Epoch)
	want(t, "a zombie", code, errcode.TxnalFenced)
	_, code = w.initTxnal("a", 0, -1, -1)
	want(t, "no time-out", code, errcode.InvalidTxnTimeout)
	_, code = w.initTxnal("", 5, -1, -1)
	want(t, "no id", code, errcode.InvalidArgument)
}

// TestTxnalAnsweredAgain: a repeated request that is read once more after a death gets the answer that it
// had, though another owner has come since: two with one epoch could not be told apart.
func TestTxnalAnsweredAgain(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 60_000, -1, -1)
	next, _ := w.initTxnal("a", 60_000, a.ProducerID, a.Txnal.Epoch)
	init := ipc.InitTxnal{Head: userHead, ID: "a", TimeoutMS: 60_000, ProducerID: a.ProducerID, Epoch: a.Txnal.Epoch}
	began := *next
	next.add(part)
	next.finish(true, true)
	end := ipc.TxnFinish{Head: userHead, Txnal: began.Txnal, Commit: true, Bump: true}
	same := ipc.TxnFinish{Head: userHead, Txnal: next.Txnal, Commit: true}
	after := next.Txnal.Epoch
	w.initTxnal("a", 60_000, -1, -1) // another owner
	again := func(typ ipc.Type, b []byte) (ipc.Type, []byte) {
		in := w.put(typ, b)
		in.Known = (&journal.Unchanged{Pos: in.Pos}).Append(nil)
		w.c.Step(w.now, in)
		_, out := w.end()
		if len(out) != 1 {
			t.Fatalf("%v", out)
		}
		return out[0].Type, out[0].Record
	}
	for _, x := range []struct {
		name  string
		typ   ipc.Type
		b     []byte
		epoch int16
	}{
		{"the next epoch", ipc.TypeInitTxnal, init.Append(nil), began.Txnal.Epoch},
		{"an end with a new epoch", ipc.TypeTxnFinish, end.Append(nil), after},
		{"an end", ipc.TypeTxnFinish, same.Append(nil), after},
	} {
		typ, b := again(x.typ, x.b)
		p, err := ipc.DecodeProducer(b)
		if typ != ipc.TypeProducer || err != nil || p.ProducerID != a.ProducerID || p.Epoch != x.epoch {
			t.Errorf("%s: type %d, %+v (%v), want epoch %d", x.name, typ, p, err, x.epoch)
		}
	}
}

// TestTxnalTimes: a transaction that lasts too long is aborted and its owner fenced, who may go on; an
// id that nobody uses is forgotten, with its producer.
func TestTxnalTimes(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 5000, -1, -1)
	a.add(part)
	a.send(part, 1, ipc.TxnalAdded)
	w.now += 4999
	w.settle()
	want(t, "stable in time", w.stableNow(part), 0)
	w.now++
	w.settle()
	want(t, "stable in the end", w.stableNow(part), 2)
	want(t, "commit", a.finish(true, false), errcode.TxnalFenced)
	next, code := w.initTxnal("a", 5000, a.ProducerID, a.Txnal.Epoch)
	want(t, "on behind it", code, errcode.OK)
	want(t, "epoch", next.Txnal.Epoch, a.Txnal.Epoch+1)
	w.now += 7 * 24 * 3600 * 1000
	w.settle()
	if w.c.txnals.len() != 0 || w.c.producers.byID[a.ProducerID] != nil {
		t.Error("an id that nobody uses is there for ever")
	}
	want(t, "digest", w.rebuilt().Digest(), w.c.Digest())
}

// TestTxnalEpochsEnd: behind the last epoch comes a new producer id.
func TestTxnalEpochsEnd(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 5000, -1, -1)
	w.c.txnalOf("a").prod.epoch = lastTxnalEpoch
	a.Txnal.Epoch = lastTxnalEpoch
	was := a.ProducerID
	a.add(part)
	a.send(part, 1, ipc.TxnalAdded)
	want(t, "commit", a.finish(true, true), errcode.OK)
	if a.ProducerID == was || a.Txnal.Epoch != 0 || w.c.producers.byID[was] != nil {
		t.Errorf("producer %d epoch %d, was %d", a.ProducerID, a.Txnal.Epoch, was)
	}
}

// TestTxnalTopicGone: a topic that is deleted takes its part of open transactions with it.
func TestTxnalTopicGone(t *testing.T) {
	w, part := newTxnalWorld(t)
	other := w.topic("u", 1, ipc.LevelPage)
	a, _ := w.initTxnal("a", 5000, -1, -1)
	a.add(part, other)
	a.send(part, 1, ipc.TxnalAdded)
	a.send(other, 1, ipc.TxnalAdded)
	a.hold("g", true, ipc.OffsetCommit{Index: other, Offset: 1})
	w.admin(admin.CmdDeleteTopic, &admin.Delete{Name: "u"})
	want(t, "commit", a.finish(true, false), errcode.OK)
	want(t, "stable", w.stable(part, 0).Stable, 2)
	if w.c.groupOf("g") != nil {
		t.Error("a position in a topic that is gone")
	}
	want(t, "digest", w.rebuilt().Digest(), w.c.Digest())
}

// describe asks for a description.
func (w *world) describe(kind admin.Kind, names ...string) admin.Description {
	w.tb.Helper()
	m := ipc.Admin{Head: userHead, Command: uint16(admin.CmdDescribe), Body: (&admin.Describe{Kind: kind, Names: names}).Append(nil)}
	_, b := w.asked(ipc.TypeAdmin, m.Append(nil))
	r, err := ipc.DecodeAdminReply(b)
	if err != nil {
		w.tb.Fatal(err)
	}
	d, err := admin.DecodeDescription(r.Body)
	if err != nil {
		w.tb.Fatal(err)
	}
	return d
}

// TestTxnalDescribed: what is told of transactional producers, of those of a topic, and of held positions.
func TestTxnalDescribed(t *testing.T) {
	w, part := newTxnalWorld(t)
	a, _ := w.initTxnal("a", 5000, -1, -1)
	w.initTxnal("b", 7000, -1, -1)
	a.add(part, part+1)
	a.send(part, 3, ipc.TxnalAdded)
	a.hold("g", true, ipc.OffsetCommit{Index: part + 1, Offset: 1})
	d := w.describe(admin.KindTxnal, "a", "b", "c")
	if len(d.Txnals) != 2 || len(d.Missing) != 1 || d.Txnals[1].Phase != admin.TxnalNew {
		t.Fatalf("%+v", d)
	}
	x := d.Txnals[0]
	if x.ID != "a" || x.ProducerID != a.ProducerID || x.Phase != admin.TxnalOpen || x.TimeoutMS != 5000 || x.BegunMS != w.now ||
		!slices.Equal(x.Parts, []admin.TxnalPart{{Topic: "t", Number: 0}, {Topic: "t", Number: 1}}) {
		t.Errorf("%+v", x)
	}
	d = w.describe(admin.KindProducers, "t")
	want := admin.ProducerInfo{ProducerID: a.ProducerID, Sequence: 2, UsedMS: w.now, Open: true}
	if len(d.Producers) != 1 || !slices.Equal(d.Producers[0].List, []admin.ProducerInfo{want}) {
		t.Errorf("%+v", d.Producers)
	}
	d = w.describe(admin.KindHeld, "g", "h")
	if len(d.Held) != 2 || !slices.Equal(d.Held[0].Indexes, []uint64{part + 1}) || len(d.Held[1].Indexes) > 0 {
		t.Errorf("%+v", d.Held)
	}
	a.finish(true, false)
	if d = w.describe(admin.KindHeld, "g"); len(d.Held[0].Indexes) > 0 {
		t.Errorf("held behind the commit: %+v", d.Held)
	}
	if d = w.describe(admin.KindProducers, "t"); d.Producers[0].List[0].Open {
		t.Errorf("open behind the commit: %+v", d.Producers)
	}
}

// TestTopicsByID: topics are told by their ids, and what is not there is left out.
func TestTopicsByID(t *testing.T) {
	w := newWorld(t, Config{})
	w.attach(1)
	var ids []string
	for _, name := range []string{"a", "b", "c"} {
		w.topic(name, 1, ipc.LevelDisk)
		id := w.describe(admin.KindTopic, name).Topics[0].UUID
		ids = append(ids, string(id[:]))
	}
	d := w.describe(admin.KindTopicID, ids[2], string(make([]byte, 16)), ids[0], "short")
	if len(d.Topics) != 2 || d.Topics[0].Name != "a" || d.Topics[1].Name != "c" || d.Kind != admin.KindTopic || len(d.Missing) > 0 {
		t.Errorf("%+v", d)
	}
	if d = w.describe(admin.KindTopicID); len(d.Topics) > 0 {
		t.Errorf("no ids: %+v", d)
	}
}

// TestAbortedAreBounded: a partition that has as many aborted transactions as are remembered of one takes no more, however
// its partitions join.
func TestAbortedAreBounded(t *testing.T) {
	w := newWorld(t, Config{MaxAborted: 2})
	w.attach(1)
	part := w.topic("t", 1, ipc.LevelDisk)
	u, _ := w.initTxnal("u", 60_000, -1, -1)
	for range 2 {
		if _, code := u.send(part, 1, ipc.TxnalJoins); code != errcode.OK {
			t.Fatalf("refused: %v", code)
		}
		want(t, "the end", u.finish(false, true), errcode.OK)
	}
	if _, code := u.send(part, 1, ipc.TxnalJoins); code != errcode.LimitExceeded {
		t.Errorf("one too many: %v", code)
	}
	want(t, "added", u.add(part), errcode.LimitExceeded)
	m := ipc.TxnAdd{Head: userHead, Txnal: u.Txnal, Group: "g"} // a start is told with what is added
	want(t, "a group", codeOf(w.asked(ipc.TypeTxnAdd, m.Append(nil))), errcode.OK)
}

// TestAbortTxnal: what a producer has left open is aborted on behalf of somebody else, and the producer fenced.
func TestAbortTxnal(t *testing.T) {
	w, part := newTxnalWorld(t)
	u, _ := w.initTxnal("u", 60_000, -1, -1)
	abort := func(id string) errcode.Code {
		m := ipc.Admin{Head: userHead, Command: uint16(admin.CmdAbortTxnal), Body: (&admin.Delete{Name: id}).Append(nil)}
		return codeOf(w.asked(ipc.TypeAdmin, m.Append(nil)))
	}
	want(t, "nothing is open", abort("u"), errcode.TxnState)
	want(t, "no such id", abort("none"), errcode.NotFound)
	u.send(part, 3, ipc.TxnalJoins)
	want(t, "aborted", abort("u"), errcode.OK)
	if s := w.stable(part, 0); s.Stable != 4 || len(s.Aborted) != 1 || s.Aborted[0].First != 0 {
		t.Errorf("%+v", s)
	}
	want(t, "the end", u.finish(true, true), errcode.TxnalFenced)
	if _, code := u.send(part, 1, ipc.TxnalJoins); code != errcode.ProducerFenced {
		t.Errorf("a zombie's batch: %v", code)
	}
	if _, code := w.initTxnal("u", 60_000, u.ProducerID, u.Txnal.Epoch); code != errcode.TxnalFenced {
		t.Errorf("a zombie that goes on: %v", code)
	}
	if again, code := w.initTxnal("u", 60_000, -1, -1); code != errcode.OK || again.Txnal.Epoch != u.Txnal.Epoch+2 {
		t.Errorf("a new owner: %v, %+v", code, again.Txnal)
	}
}
