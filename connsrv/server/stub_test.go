package server

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// stubLogic plays logicsrv and persistsrv behind the rings: it stores batches in files of
// the real formats, and does of the rest what the tests need.
type stubLogic struct {
	t        *testing.T
	in       *shmqueue.Consumer
	out      *shmqueue.Producer
	bell     *shmqueue.Bell // logicsrv's
	connBell *shmqueue.Bell
	dir      string
	stop     atomic.Bool
	done     chan struct{}

	mu      sync.Mutex // guards what follows
	hold    bool       // take nothing from ring 12345
	deaf    bool       // take Appends and do not answer
	term    uint64
	seg     *os.File
	segEnd  int64
	indexes map[uint64]*stubIndex
	waits   []ipc.Wait
	subs    map[[2]uint64]*stubSub
	seen    map[ipc.Type]int
	told    []ipc.SubState
	retold  []ipc.Wait
	ends    int // ResyncEnds
	acks    []ipc.Ack
	stubQueues
	lastOut [][]byte // replies of the current term, to be repeated by a restart
	lastTyp []ipc.Type
}

type stubIndex struct {
	file *os.File
	next uint64
	n    int64
	last commitlog.Entry
}

type stubSub struct {
	ipc.Subscribe
	delivered uint64
}

// newStub takes the other ends of the rings. Index numbers 1 … 8 are there.
func newStub(t *testing.T, dir, fifo string, a, b *shmqueue.Ring) *stubLogic {
	t.Helper()
	in, err := a.Consumer()
	must(t, err)
	out, err := b.Producer()
	must(t, err)
	s := &stubLogic{
		t: t, in: in, out: out, bell: a.Bell(), connBell: b.Bell(), dir: dir, done: make(chan struct{}),
		term: 1, indexes: map[uint64]*stubIndex{}, subs: map[[2]uint64]*stubSub{}, seen: map[ipc.Type]int{},
	}
	bell, err := openBell(fifo)
	must(t, err)
	f := os.NewFile(uintptr(bell), fifo)
	s.connBell.SetWake(func() { _, _ = f.Write([]byte{1}) })
	s.seg = roomtest.File(s.t, s.dir, commitlog.SegmentName(0), (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 30}).Append(nil))
	s.segEnd = commitlog.SegmentHeaderSize
	for i := uint64(1); i <= 8; i++ {
		h := commitlog.IndexHeader{Slots: 65536, Index: i}
		s.indexes[i] = &stubIndex{file: roomtest.File(s.t, s.dir, commitlog.IndexName(i, 0), h.Append(nil))}
		must(t, s.indexes[i].file.Truncate(commitlog.IndexHeaderSize+65536*commitlog.IndexEntrySize))
	}
	go s.run()
	t.Cleanup(func() {
		s.stop.Store(true)
		s.bell.Ring()
		<-s.done
		f.Close()
	})
	return s
}

func (s *stubLogic) run() {
	defer close(s.done)
	for !s.stop.Load() {
		s.mu.Lock()
		worked := s.turn()
		s.mu.Unlock()
		if !worked {
			s.bell.Sleep(func() bool { return !s.in.Ready() && !s.stop.Load() }, 5*time.Millisecond)
		}
	}
}

func (s *stubLogic) turn() bool {
	if s.hold {
		return false
	}
	r, ok := s.in.Next()
	if !ok {
		if s.in.Err() != nil {
			s.t.Error(s.in.Err())
		}
		return false
	}
	s.seen[ipc.Type(r.Type)]++
	s.take(ipc.Type(r.Type), r.Payload)
	if s.in.Release(r.End) {
		s.connBell.Ring()
	}
	return true
}

func (s *stubLogic) put(typ ipc.Type, record []byte) {
	for {
		_, err := s.out.Put(uint16(typ), 0, record)
		if err == nil {
			break
		}
		s.connBell.Ring()
		time.Sleep(100 * time.Microsecond)
	}
	s.lastOut = append(s.lastOut, append([]byte(nil), record...))
	s.lastTyp = append(s.lastTyp, typ)
	s.connBell.Ring()
}

func (s *stubLogic) refuse(h ipc.Head, code errcode.Code) {
	s.put(ipc.TypeError, (&ipc.Error{Head: h, Code: uint16(code), Text: "stub"}).Append(nil))
}

func (s *stubLogic) take(typ ipc.Type, b []byte) {
	switch typ {
	case ipc.TypeHello:
		s.put(ipc.TypeMarker, (&ipc.Marker{Term: s.term, Ask: 1}).Append(nil))
	case ipc.TypeAppend:
		m, off, err := ipc.DecodeAppend(b)
		must(s.t, err)
		s.append(&m, b[off:])
	case ipc.TypePublish:
		m, off, err := ipc.DecodePublish(b)
		must(s.t, err)
		s.store(1, b[off:], m.Batch)
		s.put(ipc.TypePublished, (&ipc.Published{Head: m.Head, Queues: 1}).Append(nil))
	case ipc.TypeWait:
		m, err := ipc.DecodeWait(b)
		must(s.t, err)
		s.retold = append(s.retold, m)
		// One that is told again in answer to the marker may have come before by itself.
		if !slices.ContainsFunc(s.waits, func(w ipc.Wait) bool { return w.Req == m.Req }) {
			s.waits = append(s.waits, m)
		}
		s.answerWaits()
	case ipc.TypeUnwait:
		m, err := ipc.DecodeUnwait(b)
		must(s.t, err)
		for i, w := range s.waits {
			if w.Req == m.Target {
				s.waits = append(s.waits[:i], s.waits[i+1:]...)
				break
			}
		}
	case ipc.TypeAdmin:
		m, err := ipc.DecodeAdmin(b)
		must(s.t, err)
		s.put(ipc.TypeAdminReply, (&ipc.AdminReply{Head: m.Head, Command: m.Command, Body: m.Body}).Append(nil))
	case ipc.TypeInitProducer:
		m, err := ipc.DecodeInitProducer(b)
		must(s.t, err)
		s.put(ipc.TypeProducer, (&ipc.Producer{Head: m.Head, ProducerID: 7, Epoch: 1}).Append(nil))
	case ipc.TypeCommit:
		m, err := ipc.DecodeCommitOffsets(b)
		must(s.t, err)
		s.put(ipc.TypeCommitted, (&ipc.Done{Head: m.Head}).Append(nil))
	case ipc.TypeOffsets:
		m, err := ipc.DecodeFetchOffsets(b)
		must(s.t, err)
		s.put(ipc.TypeOffsetList, (&ipc.OffsetList{Head: m.Head, Offsets: []ipc.OffsetCommit{{Index: 1, Offset: 2, Metadata: m.Group}}}).Append(nil))
	default:
		s.takeConsumer(typ, b)
	}
}

func (s *stubLogic) takeConsumer(typ ipc.Type, b []byte) {
	switch typ {
	case ipc.TypeSubscribe:
		m, err := ipc.DecodeSubscribe(b)
		must(s.t, err)
		if s.indexes[m.Queue] == nil {
			s.refuse(m.Head, errcode.UnknownIndex)
			return
		}
		s.subs[[2]uint64{m.Conn, m.Sub}] = &stubSub{Subscribe: m}
		s.put(ipc.TypeSubscribed, (&ipc.Subscribed{Head: m.Head, Sub: m.Sub, Filter: s.filter}).Append(nil))
		s.deliverAll()
	case ipc.TypeCredit:
		m, err := ipc.DecodeCredit(b)
		must(s.t, err)
		if sub := s.subs[[2]uint64{m.Conn, m.Sub}]; sub != nil {
			sub.Limit = m.Limit
		}
		s.deliverAll()
	case ipc.TypeUnsubscribe:
		m, err := ipc.DecodeUnsubscribe(b)
		must(s.t, err)
		delete(s.subs, [2]uint64{m.Conn, m.Sub})
		s.put(ipc.TypeSubClosed, (&ipc.SubClosed{Head: m.Head, Sub: m.Sub}).Append(nil))
	case ipc.TypeAck:
		m, err := ipc.DecodeAck(b)
		must(s.t, err)
		s.acks = append(s.acks, m)
		if m.Req != 0 {
			s.put(ipc.TypeAcked, (&ipc.Done{Head: m.Head}).Append(nil))
		}
	case ipc.TypeSubState:
		m, err := ipc.DecodeSubState(b)
		must(s.t, err)
		s.told = append(s.told, m)
	case ipc.TypeHanded:
		_, err := ipc.DecodeHanded(b)
		must(s.t, err)
	case ipc.TypeResyncEnd:
		s.ends++
	case ipc.TypeConnClosed:
		m, err := ipc.DecodeConnClosed(b)
		must(s.t, err)
		for k := range s.subs {
			if k[0] == m.Conn {
				delete(s.subs, k)
			}
		}
	default:
		s.takeQueue(typ, b)
	}
}

func (s *stubLogic) append(m *ipc.Append, b []byte) {
	if _, err := batch.Validate(b); err != nil {
		s.t.Errorf("an invalid batch came through: %v", err)
	}
	if s.deaf {
		return
	}
	if s.indexes[m.Index] == nil {
		s.refuse(m.Head, errcode.UnknownIndex)
		return
	}
	base := s.store(m.Index, b, m.Batch)
	s.put(ipc.TypeAppended, (&ipc.Appended{Head: m.Head, Index: m.Index, Base: base}).Append(nil))
}

// store appends a batch to log and index as persistsrv would.
func (s *stubLogic) store(index uint64, b []byte, meta ipc.BatchMeta) uint64 {
	stored := append([]byte(nil), b...)
	batch.PatchBase(stored, s.indexes[index].next, 0)
	if index == 2 { // this one's batches are shared: their base is to be patched
		batch.PatchBase(stored, 1<<40, 0)
	}
	_, err := s.seg.WriteAt(stored, s.segEnd)
	must(s.t, err)
	e := commitlog.Entry{
		Position: uint64(s.segEnd - commitlog.SegmentHeaderSize), Length: uint32(len(b)), Count: meta.Count, MaxTimeMS: meta.MaxTimeMS,
	}
	if index == 2 {
		e.Flags = commitlog.FlagRebase
	}
	s.segEnd += int64(len(b)+7) &^ 7
	return s.add(index, e)
}

// add appends an entry to an index.
func (s *stubLogic) add(index uint64, e commitlog.Entry) uint64 {
	ix := s.indexes[index]
	e.Offset = ix.next
	_, err := ix.file.WriteAt(e.Append(nil), commitlog.IndexHeaderSize+ix.n*commitlog.IndexEntrySize)
	must(s.t, err)
	ix.n++
	ix.next = e.End()
	ix.last = e
	s.answerWaits()
	s.deliverAll()
	return e.Offset
}

func (s *stubLogic) answerWaits() {
	kept := s.waits[:0]
	for _, w := range s.waits {
		ix := s.indexes[w.Index]
		switch {
		case ix == nil:
			s.refuse(w.Head, errcode.UnknownIndex)
		case w.Beyond == ipc.WaitNow || ix.next > w.Beyond:
			s.put(ipc.TypeVisible, (&ipc.Visible{Head: w.Head, Index: w.Index, End: ix.next}).Append(nil))
		default:
			kept = append(kept, w)
		}
	}
	s.waits = kept
}

// deliverAll gives every consumer all that it may have, each from the queue's front.
func (s *stubLogic) deliverAll() {
	for _, sub := range s.subs {
		ix := s.indexes[sub.Queue]
		for sub.delivered < ix.next && sub.delivered < sub.Limit {
			n := min(ix.next, sub.Limit) - sub.delivered
			m := ipc.Deliver{Head: ipc.Head{Epoch: sub.Epoch, Conn: sub.Conn}, Sub: sub.Sub, Index: sub.Queue, First: sub.delivered, Count: uint32(n)}
			sub.delivered += n
			s.put(ipc.TypeDeliver, m.Append(nil))
		}
	}
}

// restart does what a new logicsrv does: soft state is gone, old replies come again, and a
// marker asks for everything.
func (s *stubLogic) restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hold = false
	s.term++
	s.waits, s.subs = nil, map[[2]uint64]*stubSub{}
	s.pulls, s.members = nil, nil
	s.told, s.retold, s.ends = nil, nil, 0
	out, typ := s.lastOut, s.lastTyp
	s.lastOut, s.lastTyp = nil, nil
	for i := range out {
		if typ[i] != ipc.TypeMarker && typ[i] != ipc.TypeDeliver {
			s.put(typ[i], out[i])
		}
	}
	s.put(ipc.TypeMarker, (&ipc.Marker{Term: s.term, Ask: 1}).Append(nil))
	s.bell.Ring()
}

// set changes a field under the lock.
func (s *stubLogic) set(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	s.bell.Ring()
}

// until waits for a condition on the stub's state.
func (s *stubLogic) until(what string, cond func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		s.mu.Lock()
		ok := cond()
		s.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("never came: %s", what)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
