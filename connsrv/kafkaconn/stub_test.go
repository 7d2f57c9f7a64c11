package kafkaconn

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// stub is a rig whose test plays logicsrv and persistsrv: it stores batches in files of the real
// formats, and answers what is asked about topics, partitions and groups.
type stub struct {
	*rig
	seg     *os.File
	segEnd  int64
	topics  map[string]*admin.TopicInfo
	indexes map[uint64]*stubIndex
	waits   []ipc.Wait

	created   map[string]int // how often there was a topic of a name
	lastIndex uint64
	levels    []ipc.Level
	seen      map[ipc.Type]int
	held      bool // nothing is taken
	refuses   errcode.Code
	groups    stubGroups
	txns      stubTxns
	shares    stubShares
	users     []admin.Definition
	wanders   func() bool // whether to hand over now, before or after a record is taken
}

type stubIndex struct {
	latest int64 // time of a record
	file   *os.File
	next   uint64
	n      int64
}

func newStub(tb testing.TB) *stub {
	s := &stub{rig: newRig(tb), topics: map[string]*admin.TopicInfo{}, indexes: map[uint64]*stubIndex{}, seen: map[ipc.Type]int{}, created: map[string]int{}}
	s.shares.queues, s.shares.settings = map[string]*stubQueue{}, map[string][]admin.Setting{}
	s.segEnd = commitlog.SegmentHeaderSize
	s.seg = roomtest.File(s.tb, s.dir, commitlog.SegmentName(0), (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 28}).Append(nil))
	return s
}

// stubID is the id of the first topic of a name.
func stubID(name string) (id topicID) {
	copy(id[:], name)
	id[15] = 1
	return id
}

// stubName is the name of a topic, which may be told by its id.
func stubName(name string, id topicID) string {
	if name == "" {
		return strings.TrimRight(string(id[:15]), "\x00")
	}
	return name
}

// topic makes a topic.
func (s *stub) topic(name string, partitions int) *admin.TopicInfo {
	t := &admin.TopicInfo{Name: name, Level: ipc.LevelDisk, Partitions: make([]admin.PartitionInfo, partitions)}
	t.UUID = stubID(name)
	for range s.created[name] {
		t.UUID[15]++
	}
	s.created[name]++
	for i := range t.Partitions {
		index := s.lastIndex + 10
		s.lastIndex++
		t.Partitions[i].Index = index
		h := commitlog.IndexHeader{Slots: 4096, Index: index}
		s.indexes[index] = &stubIndex{file: roomtest.File(s.tb, s.dir, commitlog.IndexName(index, 0), h.Append(nil))}
	}
	s.topics[name] = t
	return t
}

// gone tells of indexes that were deleted, as the desk of the event loop does.
func (s *stub) gone(t *admin.TopicInfo) {
	for _, p := range t.Partitions {
		delete(s.loop.Lane.Ends, p.Index)
		s.loop.IndexGone(p.Index)
	}
}

// drop deletes a topic. Nobody is told.
func (s *stub) drop(name string) {
	for _, p := range s.topics[name].Partitions {
		delete(s.indexes, p.Index)
		must(s.tb, os.Remove(filepath.Join(s.dir, commitlog.IndexName(p.Index, 0))))
		s.loop.Lane.View.Forget(p.Index)
	}
	delete(s.topics, name)
}

// store appends a batch to an index.
func (s *stub) store(index uint64, b []byte) (base uint64) {
	ix, h := s.indexes[index], batch.Header(b)
	base = ix.next
	stored := slices.Clone(b)
	batch.PatchBase(stored, base, 0)
	_, err := s.seg.WriteAt(stored, s.segEnd)
	must(s.tb, err)
	e := commitlog.Entry{
		Offset: base, Position: uint64(s.segEnd - commitlog.SegmentHeaderSize), Length: uint32(len(b)), Count: uint32(h.Count()), MaxTimeMS: max(h.MaxTimeMS(), ix.latest),
	}
	ix.latest = e.MaxTimeMS
	s.segEnd += int64(len(b)+7) &^ 7
	_, err = ix.file.WriteAt(e.Append(nil), commitlog.IndexHeaderSize+ix.n*commitlog.IndexEntrySize)
	must(s.tb, err)
	ix.n++
	ix.next += uint64(e.Count)
	s.answerWaits()
	return base
}

// begin lets an index begin at an offset.
func (s *stub) begin(index, start uint64) {
	_, err := s.indexes[index].file.WriteAt(commitlog.AppendIndexStart(nil, start), commitlog.IndexStartOffset)
	must(s.tb, err)
}

// turn takes what stands in the ring, and lets the room go on.
func (s *stub) turn() {
	for more := true; more; {
		more = false
		for !s.held {
			rec, ok := s.in.Next()
			if !ok {
				break
			}
			more = true
			typ, payload := ipc.Type(rec.Type), slices.Clone(rec.Payload)
			s.in.Release(rec.End)
			s.seen[typ]++
			s.between()
			s.take(typ, payload)
			s.between()
		}
		s.loop.Lane.Advance()
		s.feed(nil)
		more = more || !s.held && s.in.Ready()
	}
}

func (s *stub) reply(typ ipc.Type, record []byte) { s.conn.Reply(typ, record) }

func (s *stub) refuse(h ipc.Head, code errcode.Code) {
	s.reply(ipc.TypeError, (&ipc.Error{Head: h, Code: uint16(code), Text: "stub"}).Append(nil))
}

func (s *stub) take(typ ipc.Type, b []byte) {
	if head, _ := ipc.PeekHead(b); s.refuses != errcode.OK && head.Req != 0 {
		s.refuse(head, s.refuses)
		return
	}
	switch typ {
	case ipc.TypeAppend:
		m, off, err := ipc.DecodeAppend(b)
		must(s.tb, err)
		s.levels = append(s.levels, m.Level)
		s.txns.appends = append(s.txns.appends, m)
		if s.indexes[m.Index] == nil {
			s.refuse(m.Head, errcode.UnknownIndex)
			return
		}
		_, err = batch.Validate(b[off:])
		must(s.tb, err)
		s.reply(ipc.TypeAppended, (&ipc.Appended{Head: m.Head, Index: m.Index, Base: s.store(m.Index, b[off:])}).Append(nil))
	case ipc.TypeAdmin:
		m, err := ipc.DecodeAdmin(b)
		must(s.tb, err)
		s.admin(&m)
	case ipc.TypeWait:
		m, err := ipc.DecodeWait(b)
		must(s.tb, err)
		s.waits = append(slices.DeleteFunc(s.waits, func(w ipc.Wait) bool { return w.Req == m.Req }), m)
		s.answerWaits()
	case ipc.TypeUnwait:
		m, err := ipc.DecodeUnwait(b)
		must(s.tb, err)
		s.waits = slices.DeleteFunc(s.waits, func(w ipc.Wait) bool { return w.Req == m.Target })
	case ipc.TypeInitProducer:
		m, err := ipc.DecodeInitProducer(b)
		must(s.tb, err)
		s.reply(ipc.TypeProducer, (&ipc.Producer{Head: m.Head, ProducerID: 7, Epoch: m.Epoch + 1}).Append(nil))
	case ipc.TypeConnClosed, ipc.TypeResyncEnd:
	default:
		if !s.takeShare(typ, b) {
			s.takeGroup(typ, b)
		}
	}
}

// answerWaits answers the waits for what is visible, or gone.
func (s *stub) answerWaits() {
	for i := 0; i < len(s.waits); i++ {
		w := s.waits[i]
		ix := s.indexes[w.Index]
		if ix != nil && w.Beyond < ipc.WaitStored && ix.next <= w.Beyond {
			continue
		}
		s.waits = slices.Delete(s.waits, i, i+1)
		i = -1
		if ix == nil {
			s.refuse(w.Head, errcode.UnknownIndex)
		} else if stable := s.txns.stable[w.Index]; stable != nil {
			s.reply(ipc.TypeStable, (&ipc.Stable{Head: w.Head, Index: w.Index, End: ix.next, Stable: stable.Stable}).Append(nil))
		} else {
			s.reply(ipc.TypeVisible, (&ipc.Visible{Head: w.Head, Index: w.Index, End: ix.next}).Append(nil))
		}
	}
}

func (s *stub) admin(m *ipc.Admin) {
	switch admin.Command(m.Command) {
	case admin.CmdDescribe:
		ask, err := admin.DecodeDescribe(m.Body)
		must(s.tb, err)
		s.describe(m, &ask)
	case admin.CmdCreateTopic:
		t, err := admin.DecodeCreateTopic(m.Body)
		must(s.tb, err)
		_, existed := s.topics[t.Name]
		if !existed {
			info := s.topic(t.Name, int(t.Partitions))
			configs, err := t.Configuration()
			must(s.tb, err)
			info.Configs = configs
		}
		s.answer(m, &admin.Created{Existed: existed})
	case admin.CmdDeleteTopic:
		t, err := admin.DecodeDelete(m.Body)
		must(s.tb, err)
		if s.topics[t.Name] == nil {
			s.refuse(m.Head, errcode.NotFound)
			return
		}
		s.drop(t.Name)
		s.answer(m, &admin.Created{})
	case admin.CmdAddPartitions:
		t, err := admin.DecodeAddPartitions(m.Body)
		must(s.tb, err)
		s.topic(t.Name, int(t.Total))
		s.answer(m, &admin.Created{})
	case admin.CmdAlterTopic:
		t, err := admin.DecodeAlterTopic(m.Body)
		must(s.tb, err)
		configs, err := topicconf.Apply(s.topics[t.Name].Configs, t.Replace, t.Changes)
		must(s.tb, err)
		s.topics[t.Name].Configs = configs
		s.answer(m, &admin.Created{})
	case admin.CmdDeleteRecords:
		d, err := admin.DecodeDeleteRecords(m.Body)
		must(s.tb, err)
		if ix := s.indexes[d.To[0].Index]; d.To[0].Offset > ix.next {
			s.refuse(m.Head, errcode.OffsetOutOfRange)
			return
		}
		s.begin(d.To[0].Index, d.To[0].Offset)
		s.answer(m, &admin.Created{})
	default:
		if !s.adminShare(m) && !s.define(m) {
			s.adminGroup(m)
		}
	}
}

func (s *stub) answer(m *ipc.Admin, b body) {
	s.reply(ipc.TypeAdminReply, (&ipc.AdminReply{Head: m.Head, Command: m.Command, Body: b.Append(nil)}).Append(nil))
}

// describe lists topics, two on a page.
func (s *stub) describe(m *ipc.Admin, ask *admin.Describe) {
	if s.describeShares(m, ask) || s.describeTxns(m, ask) || s.describeUsers(m, ask) {
		return
	}
	if ask.Kind != admin.KindTopic && ask.Kind != admin.KindTopicID {
		s.describeGroups(m, ask)
		return
	}
	names := ask.Names
	if ask.Kind == admin.KindTopicID {
		names = nil
	}
	if len(ask.Names) == 0 || ask.Kind == admin.KindTopicID {
		for name, t := range s.topics {
			if len(ask.Names) == 0 || slices.Contains(ask.Names, string(t.UUID[:])) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	d := admin.Description{Kind: admin.KindTopic}
	for _, name := range slices.Compact(names) {
		t := s.topics[name]
		switch {
		case name <= ask.After && ask.After != "":
		case t == nil:
			d.Missing = append(d.Missing, name)
		case len(d.Topics) == 2:
			d.More = true
		default:
			for i := range t.Partitions {
				p := &t.Partitions[i]
				p.Next, p.Visible = s.indexes[p.Index].next, s.indexes[p.Index].next
			}
			d.Topics = append(d.Topics, *t)
		}
	}
	s.answer(m, &d)
}

// call1 sends a request, plays logicsrv, and decodes the only response.
func call1[R kmsg.Response](s *stub, version int16, req kmsg.Request, resp R) R {
	s.tb.Helper()
	s.feed(s.frame(version, req))
	s.turn()
	list := s.responses()
	if len(list) != 1 {
		s.tb.Fatalf("%d responses to %s of version %d, want one", len(list), kmsg.Key(req.Key()).Name(), version)
	}
	return decode(s.rig, list[0], version, s.next, resp)
}

// restart is a logicsrv that has lost all that is parked, and asks for it.
func (s *stub) restart() {
	s.waits = nil
	s.groups.parked = nil
	s.loop.Marked()
	s.loop.Lane.Marked(ipc.Marker{Term: 2, Ask: 1}, []session.Protocol{s.conn})
	s.turn()
}
