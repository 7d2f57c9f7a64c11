package trimq

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// fake is a broker in memory that speaks native frames. One mutex guards everything; each
// connection has a reader, and writes under its own mutex. fault looks at each request.
type fake struct {
	t      testing.TB
	ln     net.Listener
	secret string
	window uint32 // requests
	frame  uint32 // bytes

	mu        sync.Mutex
	changed   chan struct{} // closed and replaced when something becomes visible
	conns     map[*fakeConn]bool
	accepted  int
	indexes   map[uint64]*fakeIndex
	topics    map[string]*admin.TopicInfo
	queues    map[string]*fakeQueue
	exchanges map[string]*admin.ExchangeInfo
	bindings  []admin.CreateBinding
	lanes     map[fakeLane]*fakeSeq
	producers map[int64]int16
	offsets   map[string]map[uint64]ipc.OffsetCommit
	groups    map[string]*fakeGroup
	requests  map[native.Command]int
	published []native.Publish // what stood in front of batches, in order
	lease     uint64           // the latest
	txns      map[uint64]*fakeTxn
	lastTxn   uint64
	lateTxns  time.Duration // until it is noticed that the connection of a transaction is gone
	maxOpen   int           // most requests of a connection unanswered at once
	fault     func(c *fakeConn, h native.Header, body []byte) fakeFault
	closing   chan struct{}
	done      sync.WaitGroup
}

// fakeFault says how a request is mistreated.
type fakeFault struct {
	before  bool         // the connection breaks before the request is carried out
	after   bool         // … after, before the answer
	refuse  errcode.Code // refused instead of carried out
	twice   bool         // answered twice
	garbage []byte       // written instead of the answer
	hold    time.Duration
}

type fakeIndex struct {
	id    uint64
	start uint64
	next  uint64
	runs  []fakeRun
}

type fakeRun struct {
	base, next uint64
	b          []byte
	note       *ipc.Note // nil: none
}

type fakeLane struct {
	pid int64
	to  string
}

type fakeSeq struct {
	epoch int16
	next  int32
	took  map[int32]uint64 // first sequence → base
}

type fakeConn struct {
	nc      net.Conn
	wmu     sync.Mutex
	open    int
	subs    map[uint64]*fakeSub
	pullers map[*fakeQueue]uint64 // sub of what was pulled
	groups  map[string]bool       // of transactions
	authd   bool
	ended   bool
}

func newFake(t testing.TB) *fake {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{
		t: t, ln: ln, window: 64, frame: native.DefaultMaxFrame, changed: make(chan struct{}), conns: map[*fakeConn]bool{},
		indexes: map[uint64]*fakeIndex{}, topics: map[string]*admin.TopicInfo{}, queues: map[string]*fakeQueue{},
		exchanges: map[string]*admin.ExchangeInfo{}, lanes: map[fakeLane]*fakeSeq{}, producers: map[int64]int16{},
		offsets: map[string]map[uint64]ipc.OffsetCommit{}, requests: map[native.Command]int{},
		txns: map[uint64]*fakeTxn{}, groups: map[string]*fakeGroup{},
		closing: make(chan struct{}),
	}
	f.done.Add(1)
	go f.accept()
	t.Cleanup(f.close)
	return f
}

func (f *fake) addr() string { return f.ln.Addr().String() }

func (f *fake) close() {
	f.ln.Close()
	close(f.closing)
	f.dropAll()
	f.done.Wait()
}

// dropAll breaks all connections.
func (f *fake) dropAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.conns {
		c.ended = true // what it has sent and was not carried out will not be
		c.nc.Close()
		clear(c.groups)
	}
}

func (f *fake) accept() {
	defer f.done.Done()
	for {
		nc, err := f.ln.Accept()
		if err != nil {
			return
		}
		c := &fakeConn{nc: nc, subs: map[uint64]*fakeSub{}, pullers: map[*fakeQueue]uint64{}, groups: map[string]bool{}}
		f.mu.Lock()
		f.conns[c] = true
		f.accepted++
		f.mu.Unlock()
		f.done.Add(1)
		go f.serve(c)
	}
}

func (f *fake) serve(c *fakeConn) {
	defer f.done.Done()
	defer f.gone(c)
	f.mu.Lock()
	frame := f.frame
	f.mu.Unlock()
	dec := native.NewDecoder(c.nc, 64<<10, int(frame))
	for {
		fr, err := dec.Next()
		if codeOf(err) == errcode.FrameTooLarge {
			f.t.Errorf("the client sent a frame that is too large: %v", err)
		}
		if err != nil {
			return
		}
		if err := native.CheckRequest(fr.Header); err != nil {
			f.t.Errorf("the client sent %v: %v", fr.Header, err)
			return
		}
		body := append([]byte(nil), fr.Body...)
		f.mu.Lock()
		f.requests[fr.Command]++
		if fr.Flags&native.FlagNoReply == 0 {
			c.open++
			f.maxOpen = max(f.maxOpen, c.open)
		}
		fault := f.fault
		f.mu.Unlock()
		var bad fakeFault
		if fault != nil {
			bad = fault(c, fr.Header, body)
		}
		if bad.before {
			return
		}
		if fr.Command == native.CmdFetch || bad.hold > 0 {
			f.done.Add(1)
			go func() {
				defer f.done.Done()
				time.Sleep(bad.hold)
				f.answer(c, fr.Header, body, bad)
			}()
			continue
		}
		if f.answer(c, fr.Header, body, bad); bad.after {
			return
		}
	}
}

func (f *fake) gone(c *fakeConn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.ended = true // before the client can know
	c.nc.Close()
	delete(f.conns, c)
	f.leaveQueues(c)
	if f.lateTxns == 0 {
		f.leaveTxns(c)
	} else {
		f.after(f.lateTxns, func() { f.leaveTxns(c) })
	}
	f.pump()
}

// tooLate tells whether a request's connection is known to be gone: it is not carried out, for a successor
// of it may be under way on another one. REQUIRES: f.mu held.
func (f *fake) tooLate(c *fakeConn, cmd native.Command) bool {
	return c.ended && (cmd != native.CmdEndTxn || f.lateTxns == 0)
}

// answer carries a request out and writes its response.
func (f *fake) answer(c *fakeConn, h native.Header, body []byte, bad fakeFault) {
	var reply []byte
	var err error
	if h.Command == native.CmdPull && !bad.after && bad.refuse == 0 && bad.garbage == nil {
		f.pull(c, h, body)
		return
	}
	if bad.refuse != 0 && h.Flags&native.FlagNoReply == 0 { // else nobody would hear of it
		err = errcode.New(bad.refuse, "as the test wants it")
	} else {
		reply, err = f.do(c, h, body)
	}
	if bad.after {
		c.nc.Close()
		return
	}
	if bad.garbage != nil {
		c.write(bad.garbage)
		return
	}
	f.mu.Lock()
	if h.Flags&native.FlagNoReply == 0 {
		c.open--
	}
	f.mu.Unlock()
	if h.Flags&native.FlagNoReply != 0 {
		return
	}
	out := response(h, reply, err)
	c.write(out)
	if bad.twice {
		c.write(out)
	}
	f.mu.Lock()
	f.pump()
	f.mu.Unlock()
}

// response is a frame that answers.
func response(h native.Header, body []byte, err error) []byte {
	if err != nil {
		return native.AppendError(nil, h.Command, h.Correlation, err)
	}
	return append(native.AppendHeader(nil, h.Command, native.FlagResponse, h.Correlation, len(body)), body...)
}

func (c *fakeConn) write(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.nc.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.nc.Write(b); err != nil {
		c.nc.Close()
	}
}

// reply encodes v unless there is an error.
func reply(v native.Body, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return v.Append(nil), nil
}

// handlers by command; each runs with f.mu held.
func (f *fake) do(c *fakeConn, h native.Header, body []byte) ([]byte, error) {
	if h.Command == native.CmdFetch {
		return f.fetch(body)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.tooLate(c, h.Command) {
		return nil, errcode.New(errcode.ShuttingDown, "nobody will hear of it")
	}
	if f.secret != "" && !c.authd && h.Command != native.CmdHello && h.Command != native.CmdAuth {
		return nil, errcode.New(errcode.AuthRequired, "")
	}
	switch h.Command {
	case native.CmdHello:
		m, err := native.DecodeHello(body)
		if err == nil {
			_, err = m.Negotiate()
		}
		return reply(&native.HelloReply{
			Version: native.Version, AuthRequired: f.secret != "", WindowRequests: f.window, WindowBytes: 4 << 20,
			MaxFrame: f.frame, Challenge: []byte("12345678"), Server: "fake",
		}, err)
	case native.CmdAuth:
		m, err := native.DecodeAuth(body)
		if err == nil && !native.VerifyAuth(&m, []byte(f.secret), []byte("12345678")) {
			err = errcode.New(errcode.AuthFailed, "")
		}
		c.authd = err == nil
		return nil, err
	case native.CmdPing:
		m, err := native.DecodePing(body)
		return reply(&m, err)
	case native.CmdInfo:
		return reply(&native.InfoReply{Server: "fake", Topics: uint32(len(f.topics))}, nil)
	case native.CmdProduce:
		return f.produce(c, body)
	case native.CmdPublish:
		return f.publish(c, body)
	case native.CmdInitProducer:
		return f.initProducer(body)
	case native.CmdListOffsets:
		return f.listOffsets(body)
	case native.CmdCommitOffsets, native.CmdFetchOffsets:
		return f.groupOffsets(h.Command, body)
	case native.CmdGroupHeartbeat:
		return f.heartbeat(body)
	case native.CmdGroupCommit:
		return f.groupCommit(body)
	case native.CmdSubscribe, native.CmdUnsubscribe, native.CmdCredit, native.CmdAck:
		return f.consume(c, h.Command, body)
	case native.CmdPull:
		return nil, f.pullUnheard(c, h, body)
	case native.CmdExtend:
		return nil, f.extend(body)
	case native.CmdBeginTxn, native.CmdEndTxn, native.CmdTxnMember:
		return f.transact(c, h.Command, body)
	}
	return f.administer(c, h.Command, body)
}

// store appends a batch to an index.
func (ix *fakeIndex) store(b []byte, count uint32, note *ipc.Note) uint64 {
	base := ix.next
	b = append([]byte(nil), b...)
	batch.PatchBase(b, base, 0)
	ix.next += uint64(count)
	ix.runs = append(ix.runs, fakeRun{base, ix.next, b, note})
	return base
}

// judge answers a batch that was stored before, or refuses one out of order.
func (f *fake) judge(to string, m ipc.BatchMeta) (*fakeSeq, uint64, bool, error) {
	if m.ProducerID < 0 {
		return nil, 0, false, nil
	}
	epoch, ok := f.producers[m.ProducerID]
	switch {
	case !ok:
		return nil, 0, false, errcode.New(errcode.UnknownProducer, "%d", m.ProducerID)
	case m.Epoch < epoch:
		return nil, 0, false, errcode.New(errcode.ProducerFenced, "%d", m.Epoch)
	}
	l := f.lanes[fakeLane{m.ProducerID, to}]
	if l == nil || l.epoch != m.Epoch {
		l = &fakeSeq{epoch: m.Epoch, took: map[int32]uint64{}}
		f.lanes[fakeLane{m.ProducerID, to}] = l
	}
	if base, ok := l.took[m.BaseSeq]; ok {
		return l, base, true, nil
	}
	if m.BaseSeq != l.next {
		return nil, 0, false, errcode.New(errcode.OutOfOrderSequence, "%d instead of %d", m.BaseSeq, l.next)
	}
	return l, 0, false, nil
}

func (l *fakeSeq) store(m ipc.BatchMeta, base uint64) {
	if l != nil {
		l.took[m.BaseSeq] = base
		l.next = batch.NextSequence(l.next, int(m.Count))
	}
}

func (f *fake) produce(c *fakeConn, body []byte) ([]byte, error) {
	m, err := native.DecodeProduce(body)
	if err != nil {
		return nil, err
	}
	b := body[native.ProduceSize:]
	meta, err := batch.Validate(b)
	if err != nil {
		return nil, err
	}
	ix := f.indexes[m.Index]
	if ix == nil {
		return nil, errcode.New(errcode.UnknownIndex, "%d", m.Index)
	}
	l, base, dup, err := f.judge(fmt.Sprint(m.Index), meta)
	if err != nil {
		return nil, err
	}
	if !dup && m.Txn != 0 {
		if err := f.part(c, m.Txn, func() uint64 { ix.store(b, meta.Count, nil); return 1 }); err != nil {
			return nil, err
		}
		l.store(meta, 0)
	} else if !dup {
		base = ix.store(b, meta.Count, nil)
		l.store(meta, base)
		f.wake()
	}
	return reply(&native.ProduceReply{Base: base, Duplicate: dup}, nil)
}

func (f *fake) publish(c *fakeConn, body []byte) ([]byte, error) {
	m, off, err := native.DecodePublish(body)
	if err != nil {
		return nil, err
	}
	meta, err := batch.Validate(body[off:])
	if err != nil {
		return nil, err
	}
	seen := m
	seen.Exchange, seen.RoutingKey = strings.Clone(m.Exchange), strings.Clone(m.RoutingKey)
	f.published = append(f.published, seen)
	x := f.exchanges[m.Exchange]
	if x == nil {
		return nil, errcode.New(errcode.NotFound, "exchange %q", m.Exchange)
	}
	l, queues, dup, err := f.judge("x"+m.Exchange, meta)
	if err != nil {
		return nil, err
	}
	if !dup {
		targets := f.route(x, &m)
		if len(targets) == 0 && m.Mandatory {
			return nil, errcode.New(errcode.Unroutable, "%q", m.RoutingKey)
		}
		put := func() uint64 { return f.putIn(targets, &m, body[off:], meta.Count) }
		switch {
		case m.Txn != 0:
			if err := f.part(c, m.Txn, put); err != nil {
				return nil, err
			}
		case m.DelayMS > 0:
			queues = uint64(len(targets))
			f.after(time.Duration(m.DelayMS)*time.Millisecond, func() { put() })
		default:
			queues = put()
		}
		l.store(meta, queues)
		f.wake()
	}
	return reply(&native.PublishReply{Queues: uint32(queues), Full: uint32(queues >> 32), Duplicate: dup}, nil)
}

// route finds the queues that a batch is for.
func (f *fake) route(x *admin.ExchangeInfo, m *native.Publish) (targets []*fakeQueue) {
	for _, b := range f.bindings {
		match := x.Type == admin.Fanout || b.RoutingKey == m.RoutingKey
		if x.ByHeaders() { // somewhere
			match = slices.Equal(b.Headers, m.Headers)
		}
		if match && b.Exchange == m.Exchange && !b.ToExchange {
			targets = append(targets, f.queues[b.Queue])
		}
	}
	return targets
}

// putIn stores a batch in queues. In the upper half of the result is how many are full.
func (f *fake) putIn(targets []*fakeQueue, m *native.Publish, b []byte, count uint32) (queues uint64) {
	note := &ipc.Note{Exchange: strings.Clone(m.Exchange), Key: strings.Clone(m.RoutingKey), Priority: m.Priority}
	for _, h := range m.Headers {
		note.Headers = append(note.Headers, ipc.Header{Key: strings.Clone(h.Key), Value: strings.Clone(h.Value)})
	}
	for _, q := range targets {
		if q.full() {
			queues += 1 << 32
			continue
		}
		queues++
		f.cursorFor(q, m.Priority).ix.store(b, count, note)
	}
	return queues
}

// after does something later, unless the fake is closed by then. REQUIRES of do: f.mu held.
func (f *fake) after(d time.Duration, do func()) {
	f.done.Add(1)
	go func() {
		defer f.done.Done()
		select {
		case <-time.After(d):
		case <-f.closing:
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		do()
		f.wake()
		f.pump()
	}()
}

func (f *fake) initProducer(body []byte) ([]byte, error) {
	m, err := native.DecodeInitProducer(body)
	if err != nil {
		return nil, err
	}
	if m.ProducerID < 0 {
		m.ProducerID, m.Epoch = int64(len(f.producers)+1000), 0
	} else if old, ok := f.producers[m.ProducerID]; !ok {
		return nil, errcode.New(errcode.UnknownProducer, "")
	} else {
		m.Epoch = old + 1
	}
	f.producers[m.ProducerID] = m.Epoch
	return reply(&m, nil)
}

// wake lets long polls and deliveries look again. REQUIRES: f.mu held.
func (f *fake) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) fetch(body []byte) ([]byte, error) {
	m, err := native.DecodeFetch(body)
	if err != nil {
		return nil, err
	}
	until := time.After(time.Duration(m.MaxWaitMS) * time.Millisecond)
	for timedOut := false; ; {
		f.mu.Lock()
		ix, changed := f.indexes[m.Index], f.changed
		if ix == nil {
			f.mu.Unlock()
			return nil, errcode.New(errcode.UnknownIndex, "%d", m.Index)
		}
		if m.Offset < ix.start || m.Offset > ix.next {
			f.mu.Unlock()
			return nil, errcode.New(errcode.OffsetOutOfRange, "%d of [%d,%d]", m.Offset, ix.start, ix.next)
		}
		out := ix.read(m.Offset, int(m.MaxBytes))
		r := native.FetchReply{Index: m.Index, Start: ix.start, Visible: ix.next, NBytes: uint32(len(out))}
		f.mu.Unlock()
		if len(out) > 0 || timedOut {
			return append(r.Append(nil), out...), nil
		}
		select {
		case <-changed:
		case <-until:
			timedOut = true
		case <-f.closing:
			return nil, errcode.New(errcode.ShuttingDown, "")
		}
	}
}

func (ix *fakeIndex) read(offset uint64, maxBytes int) []byte {
	var out []byte
	for _, r := range ix.runs {
		if r.next <= offset {
			continue
		}
		if len(out) > 0 && len(out)+len(r.b) > maxBytes {
			break
		}
		out = append(out, r.b...)
	}
	return out
}

func (f *fake) listOffsets(body []byte) ([]byte, error) {
	m, err := native.DecodeListOffsets(body)
	if err != nil {
		return nil, err
	}
	ix := f.indexes[m.Index]
	if ix == nil {
		return nil, errcode.New(errcode.UnknownIndex, "%d", m.Index)
	}
	r := native.ListOffsetsReply{Index: m.Index, Offset: ix.start, Start: ix.start, Visible: ix.next, TimeMS: -1}
	if m.TimeMS == native.TimeLatest {
		r.Offset = ix.next
	}
	if m.TimeMS >= 0 {
		r.Offset = ix.next
		for _, run := range slices.Backward(ix.runs) {
			if batch.Header(run.b).MaxTimeMS() >= m.TimeMS {
				r.Offset = run.base
			}
		}
	}
	return reply(&r, nil)
}

func (f *fake) groupOffsets(cmd native.Command, body []byte) ([]byte, error) {
	if cmd == native.CmdCommitOffsets {
		m, err := native.DecodeCommitOffsets(body)
		if err != nil {
			return nil, err
		}
		if g := f.groups[m.Group]; g != nil && len(g.members) > 0 {
			return nil, errcode.New(errcode.UnknownMember, "group %q has members", m.Group)
		}
		if f.offsets[m.Group] == nil {
			f.offsets[m.Group] = map[uint64]ipc.OffsetCommit{}
		}
		for _, o := range m.Offsets {
			f.offsets[m.Group][o.Index] = o
		}
		return nil, nil
	}
	m, err := native.DecodeFetchOffsets(body)
	if err != nil {
		return nil, err
	}
	var r native.OffsetsReply
	for _, x := range m.Indexes {
		if o, ok := f.offsets[m.Group][x]; ok {
			r.Offsets = append(r.Offsets, o)
		}
	}
	return reply(&r, nil)
}
