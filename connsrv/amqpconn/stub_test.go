package amqpconn

import (
	"bytes"
	"cmp"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// stub is a rig whose test plays logicsrv and persistsrv: it stores batches in files of the real formats,
// gives what is in queues to consumers and pulls, and answers what is asked about names.
type stub struct {
	*rig
	seg       *os.File
	segEnd    int64
	queues    map[string]*stubQueue
	exchanges map[string][]string // names of the queues that are bound
	stream    *stubQueue          // of the one topic, "stream"
	subs      map[uint64]*stubSub
	txns      map[uint64][]func() // what is to be done when they are committed
	waits     []ipc.Wait
	taken     []record // all that was taken, with req and epoch as they were
	wanders   func() bool
}

// stubQueue is a queue, or a partition.
type stubQueue struct {
	index    uint64
	file     *os.File
	next     uint64
	entries  int64
	ready    []uint64          // offsets, in order
	attempts map[uint64]uint16 // of those that came back
	held     map[uint64]uint64 // by whom
}

type stubSub struct {
	ipc.Subscribe
	delivered uint64
}

func newStub(tb testing.TB) *stub {
	s := &stub{
		rig: newRig(tb), queues: map[string]*stubQueue{}, exchanges: map[string][]string{"amq.fanout": nil, "headed": nil},
		subs: map[uint64]*stubSub{}, txns: map[uint64][]func(){}, segEnd: commitlog.SegmentHeaderSize,
	}
	s.seg = roomtest.File(s.tb, s.dir, commitlog.SegmentName(0), (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 28}).Append(nil))
	s.stream = s.queue(1)
	return s
}

func (s *stub) queue(index uint64) *stubQueue {
	h := commitlog.IndexHeader{Slots: 4096, Index: index}
	return &stubQueue{
		index: index, file: roomtest.File(s.tb, s.dir, commitlog.IndexName(index, 0), h.Append(nil)), attempts: map[uint64]uint16{}, held: map[uint64]uint64{},
	}
}

// store appends a batch to a queue.
func (s *stub) store(q *stubQueue, b []byte) {
	h := batch.Header(b)
	_, err := s.seg.WriteAt(b, s.segEnd)
	must(s.tb, err)
	e := commitlog.Entry{
		Offset: q.next, Position: uint64(s.segEnd - commitlog.SegmentHeaderSize), Length: uint32(len(b)), Count: uint32(h.Count()), MaxTimeMS: h.MaxTimeMS(),
		Flags: commitlog.FlagRebase,
	}
	s.segEnd += int64(len(b)+7) &^ 7
	_, err = q.file.WriteAt(e.Append(nil), commitlog.IndexHeaderSize+q.entries*commitlog.IndexEntrySize)
	must(s.tb, err)
	q.entries++
	for range e.Count {
		q.ready = append(q.ready, q.next)
		q.next++
	}
}

// turn takes what stands in the ring, and lets the room go on.
func (s *stub) turn() {
	for more := true; more; {
		more = false
		for {
			x, ok := s.in.Next()
			if !ok {
				break
			}
			more = true
			r := record{ipc.Type(x.Type), bytes.Clone(x.Payload)}
			s.in.Release(x.End)
			s.taken = append(s.taken, r)
			s.between()
			s.take(r.typ, r.payload)
			s.between()
			s.deliver()
		}
		s.lane.Advance()
		s.feed(nil)
		more = more || s.in.Ready()
	}
}

func (s *stub) reply(typ ipc.Type, b []byte) {
	s.conn.Reply(typ, b)
	s.conn.loop.Answered()
}

func (s *stub) refuse(h ipc.Head, code errcode.Code) {
	s.reply(ipc.TypeError, (&ipc.Error{Head: h, Code: uint16(code), Text: "stub"}).Append(nil))
}

func (s *stub) take(typ ipc.Type, b []byte) {
	switch typ {
	case ipc.TypePublish:
		m, off, err := ipc.DecodePublish(b)
		must(s.tb, err)
		s.publish(&m, b[off:])
	case ipc.TypeAdmin:
		m, err := ipc.DecodeAdmin(b)
		must(s.tb, err)
		s.admin(&m)
	case ipc.TypeWait:
		m, err := ipc.DecodeWait(b)
		must(s.tb, err)
		s.waits = append(s.waits, m)
		s.answerWaits()
	case ipc.TypeUnwait:
		m, err := ipc.DecodeUnwait(b)
		must(s.tb, err)
		s.waits = slices.DeleteFunc(s.waits, func(w ipc.Wait) bool { return w.Req == m.Target })
	case ipc.TypeBeginTxn:
		head, _ := ipc.PeekHead(b)
		s.reply(ipc.TypeTxnBegun, (&ipc.TxnBegun{Head: head, Txn: head.Req}).Append(nil))
	case ipc.TypeEndTxn:
		m, err := ipc.DecodeEndTxn(b)
		must(s.tb, err)
		s.endTxn(&m)
	case ipc.TypeConnClosed:
	default:
		s.takeConsumer(typ, b)
	}
}

func (s *stub) takeConsumer(typ ipc.Type, b []byte) {
	switch typ {
	case ipc.TypeSubscribe:
		m, err := ipc.DecodeSubscribe(b)
		must(s.tb, err)
		s.subs[m.Sub] = &stubSub{Subscribe: m}
		s.reply(ipc.TypeSubscribed, (&ipc.Subscribed{Head: m.Head, Sub: m.Sub}).Append(nil))
	case ipc.TypeCredit:
		m, err := ipc.DecodeCredit(b)
		must(s.tb, err)
		s.subs[m.Sub].Limit = m.Limit
	case ipc.TypeUnsubscribe:
		m, err := ipc.DecodeUnsubscribe(b)
		must(s.tb, err)
		delete(s.subs, m.Sub)
		for _, q := range s.queues {
			for _, offset := range slices.Sorted(maps.Keys(q.held)) {
				if q.held[offset] == m.Sub && !m.Keep {
					q.settle(offset, ipc.VerdictRequeue)
				}
			}
		}
		if m.Req != 0 {
			s.reply(ipc.TypeSubClosed, (&ipc.SubClosed{Head: m.Head, Sub: m.Sub}).Append(nil))
		}
	case ipc.TypePull:
		m, err := ipc.DecodePull(b)
		must(s.tb, err)
		p := ipc.Pulled{Head: m.Head, Queue: m.Queue}
		if q := s.byIndex(m.Queue); len(q.ready) > 0 {
			first, _, attempts := q.hand(m.Sub, 1)
			p.Runs = []ipc.PulledRun{{Index: q.index, First: first, Count: 1, Attempts: attempts}}
		}
		s.reply(ipc.TypePulled, p.Append(nil))
	case ipc.TypeAck:
		m, err := ipc.DecodeAck(b)
		must(s.tb, err)
		q := s.byIndex(m.Queue)
		for _, r := range m.Ranges {
			for i := range uint64(r.Count) {
				q.settle(r.First+i, m.Verdict)
			}
		}
	default:
		s.tb.Errorf("the stub does not know records of type %d", typ)
	}
}

func (s *stub) byIndex(index uint64) *stubQueue {
	for _, q := range s.queues {
		if q.index == index {
			return q
		}
	}
	s.tb.Fatalf("no queue %d", index)
	return nil
}

// hand takes up to most messages off the front: neighbours with equal attempts.
func (q *stubQueue) hand(who uint64, most uint64) (first uint64, count uint32, attempts uint16) {
	first, attempts = q.ready[0], q.attempts[q.ready[0]]
	for len(q.ready) > 0 && uint64(count) < most && q.ready[0] == first+uint64(count) && q.attempts[q.ready[0]] == attempts {
		q.held[q.ready[0]] = who
		q.ready = q.ready[1:]
		count++
	}
	return first, count, attempts
}

func (q *stubQueue) settle(offset uint64, v ipc.Verdict) {
	if _, held := q.held[offset]; !held {
		return
	}
	delete(q.held, offset)
	if v == ipc.VerdictRequeue {
		q.attempts[offset]++
		q.ready = append(q.ready, offset)
		slices.Sort(q.ready)
	}
}

// deliver gives consumers what they may have, in order of their numbers.
func (s *stub) deliver() {
	for _, id := range slices.Sorted(maps.Keys(s.subs)) {
		sub := s.subs[id]
		for q := s.byIndex(sub.Queue); sub != nil && len(q.ready) > 0 && sub.delivered < sub.Limit; sub = s.subs[id] {
			first, count, attempts := q.hand(id, min(sub.Limit-sub.delivered, 3))
			sub.delivered += uint64(count)
			m := ipc.Deliver{Head: ipc.Head{Epoch: sub.Epoch, Conn: sub.Conn}, Sub: id, Index: q.index, First: first, Count: count, Attempts: attempts}
			s.reply(ipc.TypeDeliver, m.Append(nil))
		}
	}
}

// publish stores a batch where it leads, now or with its transaction.
func (s *stub) publish(m *ipc.Publish, b []byte) {
	targets, known := []string{m.RoutingKey}, true
	if m.Exchange != "" {
		targets, known = s.exchanges[m.Exchange]
	}
	targets = slices.DeleteFunc(slices.Clone(targets), func(name string) bool { return s.queues[name] == nil })
	switch {
	case !known:
		s.refuse(m.Head, errcode.NotFound)
		return
	case m.Exchange == "headed" && m.NoHeaders:
		s.refuse(m.Head, errcode.NeedHeaders)
		return
	case len(targets) == 0 && m.Mandatory:
		s.refuse(m.Head, errcode.Unroutable)
		return
	}
	store := func() {
		for _, name := range targets {
			s.store(s.queues[name], b)
		}
	}
	if m.Txn != 0 {
		s.txns[m.Txn] = append(s.txns[m.Txn], store)
	} else {
		store()
	}
	s.reply(ipc.TypePublished, (&ipc.Published{Head: m.Head, Queues: uint32(len(targets))}).Append(nil))
}

func (s *stub) endTxn(m *ipc.EndTxn) {
	if m.Commit {
		for _, do := range s.txns[m.Txn] {
			do()
		}
		for _, v := range m.Verdicts {
			for i := range uint64(v.Range.Count) {
				s.byIndex(v.Queue).settle(v.Range.First+i, v.Verdict)
			}
		}
	}
	delete(s.txns, m.Txn)
	if m.Req != 0 {
		s.reply(ipc.TypeTxnEnded, (&ipc.TxnEnded{Head: m.Head, Committed: m.Commit}).Append(nil))
	}
}

// answerWaits answers the Waits for what is there.
func (s *stub) answerWaits() {
	for _, w := range slices.Clone(s.waits) {
		if s.stream.next > w.Beyond {
			s.waits = slices.DeleteFunc(s.waits, func(x ipc.Wait) bool { return x.Req == w.Req })
			s.reply(ipc.TypeVisible, (&ipc.Visible{Head: w.Head, Index: s.stream.index, End: s.stream.next}).Append(nil))
		}
	}
}

func (s *stub) admin(m *ipc.Admin) {
	made := admin.Created{}
	switch admin.Command(m.Command) {
	case admin.CmdDescribe:
		ask, err := admin.DecodeDescribe(m.Body)
		must(s.tb, err)
		d := s.describe(&ask)
		s.reply(ipc.TypeAdminReply, (&ipc.AdminReply{Head: m.Head, Command: m.Command, Body: d.Append(nil)}).Append(nil))
		return
	case admin.CmdCreateQueue:
		q, err := admin.DecodeCreateQueue(m.Body)
		must(s.tb, err)
		if made.Name = cmp.Or(q.Name, "amq.gen-1"); s.queues[made.Name] == nil {
			s.queues[made.Name] = s.queue(uint64(10 + len(s.queues)))
		} else {
			made.Existed = true
		}
		made.Index = s.queues[made.Name].index
	case admin.CmdCreateBinding:
		b, err := admin.DecodeCreateBinding(m.Body)
		must(s.tb, err)
		s.exchanges[b.Exchange] = append(s.exchanges[b.Exchange], b.Queue)
	case admin.CmdPurge:
		p, err := admin.DecodePurge(m.Body)
		must(s.tb, err)
		made.Messages = uint64(len(s.queues[p.Name].ready))
		s.queues[p.Name].ready = nil
	default:
		s.refuse(m.Head, errcode.NotFound)
		return
	}
	s.reply(ipc.TypeAdminReply, (&ipc.AdminReply{Head: m.Head, Command: m.Command, Body: made.Append(nil)}).Append(nil))
}

func (s *stub) describe(ask *admin.Describe) admin.Description {
	d := admin.Description{Kind: ask.Kind}
	for _, name := range ask.Names {
		q, bound := s.queues[name], s.exchanges[name] // of one kind or the other
		_, exchange := s.exchanges[name]
		switch {
		case ask.Kind == admin.KindQueue && q != nil:
			d.Queues = append(d.Queues, admin.QueueInfo{
				Name: name, Queue: q.index, Level: ipc.LevelDisk, Ready: uint64(len(q.ready)), Settings: admin.QueueSettings{Durable: true},
				Indexes: []admin.QueueIndex{{Index: q.index, Next: q.next, Visible: q.next}},
			})
		case ask.Kind == admin.KindExchange && exchange:
			d.Exchanges = append(d.Exchanges, admin.ExchangeInfo{CreateExchange: admin.CreateExchange{Name: name, Type: admin.Fanout}, Bindings: uint32(len(bound))})
		case ask.Kind == admin.KindTopic && name == "stream":
			d.Topics = append(d.Topics, admin.TopicInfo{Name: name, Level: ipc.LevelDisk, Partitions: []admin.PartitionInfo{{Index: s.stream.index, Next: s.stream.next, Visible: s.stream.next}}})
		default:
			d.Missing = append(d.Missing, name)
		}
	}
	return d
}
