package kafkaconn

import (
	"maps"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// stubShares is what the stub knows of queues over topics: which offsets are leased or settled, and
// how often each has come back.
type stubShares struct {
	queues   map[string]*stubQueue
	settings map[string][]admin.Setting
	parked   []ipc.PullFrom
	hearts   []ipc.GroupHeartbeat
	sought   []admin.Seek
	lease    uint64
	pulls    int // that have come
}

type stubQueue struct {
	id    uint64
	info  admin.CreateQueue
	state map[uint64]map[uint64]*stubMessage // by index and offset
	from  map[uint64]uint64
}

type stubMessage struct {
	lease    uint64
	done     ipc.Verdict
	attempts uint16
}

func (q *stubQueue) at(index, offset uint64) *stubMessage {
	if q.state[index] == nil {
		q.state[index] = map[uint64]*stubMessage{}
	}
	if q.state[index][offset] == nil {
		q.state[index][offset] = &stubMessage{}
	}
	return q.state[index][offset]
}

// takeShare takes in what is said about share groups; false: it is about something else.
func (s *stub) takeShare(typ ipc.Type, b []byte) bool {
	switch typ {
	case ipc.TypePullFrom:
		m, err := ipc.DecodePullFrom(b)
		must(s.tb, err)
		s.shares.pulls++
		s.shares.parked = append(slices.DeleteFunc(s.shares.parked, func(p ipc.PullFrom) bool { return p.Req == m.Req }), m)
		s.servePulls()
	case ipc.TypePullEnd:
		m, err := ipc.DecodePullEnd(b)
		must(s.tb, err)
		for i := range s.shares.parked {
			if p := &s.shares.parked[i]; p.Req == m.Target {
				p.Wait = false
			}
		}
		s.servePulls()
	case ipc.TypeAck:
		var m ipc.Ack
		must(s.tb, m.Decode(b))
		s.ack(&m)
	case ipc.TypeExtend:
		m, err := ipc.DecodeExtend(b)
		must(s.tb, err)
		if q := s.queueByID(m.Queue); q == nil || q.at(m.Index, m.Offset).lease != m.Lease {
			s.refuse(m.Head, errcode.LeaseExpired)
			return true
		}
		s.reply(ipc.TypeExtended, (&ipc.Done{Head: m.Head}).Append(nil))
	case ipc.TypeShareHeartbeat:
		m := take1(s, &s.shares.hearts, b, ipc.DecodeGroupHeartbeat)
		r := s.groups.assign
		r.Head = m.Head
		s.reply(ipc.TypeGroupAssignment, r.Append(nil))
	default:
		return false
	}
	return true
}

func (s *stub) queueByID(id uint64) *stubQueue {
	for _, q := range s.shares.queues {
		if q.id == id {
			return q
		}
	}
	return nil
}

// servePulls answers the pulls for which there is something, or which do not wait.
func (s *stub) servePulls() {
	for i := 0; i < len(s.shares.parked); i++ {
		p := s.shares.parked[i]
		q := s.queueByID(p.Queue)
		if q == nil {
			s.shares.parked = slices.Delete(s.shares.parked, i, i+1)
			s.refuse(p.Head, errcode.UnknownIndex)
			i = -1
			continue
		}
		m := ipc.Pulled{Head: p.Head, Queue: p.Queue, Lease: s.shares.lease + 1, UntilMS: s.link.NowMS() + int64(p.InvisibleMS)}
		left := p.Max
		for _, index := range p.Indexes {
			for offset := q.from[index]; offset < s.indexes[index].next && left > 0; offset++ {
				x := q.at(index, offset)
				if x.lease != 0 || x.done != 0 {
					continue
				}
				x.lease = m.Lease
				left--
				if n := len(m.Runs) - 1; n >= 0 && m.Runs[n].Index == index && m.Runs[n].First+uint64(m.Runs[n].Count) == offset && m.Runs[n].Attempts == x.attempts {
					m.Runs[n].Count++
				} else {
					m.Runs = append(m.Runs, ipc.PulledRun{Index: index, First: offset, Count: 1, Attempts: x.attempts})
				}
			}
		}
		if len(m.Runs) == 0 && p.Wait {
			continue
		}
		if len(m.Runs) == 0 {
			m.Lease, m.UntilMS = 0, 0
		} else {
			s.shares.lease++
		}
		s.shares.parked = slices.Delete(s.shares.parked, i, i+1)
		s.reply(ipc.TypePulled, m.Append(nil))
		i = -1
	}
}

// ack passes a verdict on leased messages, all of them or none.
func (s *stub) ack(m *ipc.Ack) {
	q := s.queueByID(m.Queue)
	for _, r := range m.Ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			if q == nil || q.at(m.Index, o).lease != m.Lease {
				if m.Req != 0 {
					s.refuse(m.Head, errcode.LeaseExpired)
				}
				return
			}
		}
	}
	for _, r := range m.Ranges {
		for o := r.First; o < r.First+uint64(r.Count); o++ {
			x := q.at(m.Index, o)
			switch x.lease = 0; m.Verdict {
			case ipc.VerdictRequeue:
				x.attempts++
			case ipc.VerdictUnsent:
			default:
				x.done = m.Verdict
			}
		}
	}
	if m.Req != 0 {
		s.reply(ipc.TypeAcked, (&ipc.Done{Head: m.Head}).Append(nil))
	}
	s.servePulls()
}

// adminShare carries a command about queues or settings out; false: it is about something else.
func (s *stub) adminShare(m *ipc.Admin) bool {
	switch admin.Command(m.Command) {
	case admin.CmdCreateQueue:
		ask, err := admin.DecodeCreateQueue(m.Body)
		must(s.tb, err)
		q := s.shares.queues[ask.Name]
		if q == nil {
			q = &stubQueue{id: uint64(500 + len(s.shares.queues)), info: ask, state: map[uint64]map[uint64]*stubMessage{}, from: map[uint64]uint64{}}
			for i, p := range s.topics[ask.Topic].Partitions {
				switch {
				case ask.From == admin.FromLatest:
					q.from[p.Index] = s.indexes[p.Index].next
				case i < len(ask.Offsets):
					q.from[p.Index] = ask.Offsets[i]
				}
			}
			s.shares.queues[ask.Name] = q
		}
		s.answer(m, &admin.Created{Index: q.id, Name: ask.Name})
	case admin.CmdDeleteQueue:
		ask, err := admin.DecodeDelete(m.Body)
		must(s.tb, err)
		if s.shares.queues[ask.Name] == nil {
			s.refuse(m.Head, errcode.NotFound)
			return true
		}
		delete(s.shares.queues, ask.Name)
		s.answer(m, &admin.Created{})
	case admin.CmdSeek:
		ask, err := admin.DecodeSeek(m.Body)
		must(s.tb, err)
		s.shares.sought = append(s.shares.sought, ask)
		for _, to := range ask.To {
			s.shares.queues[ask.Name].from[to.Index] = to.Offset
		}
		s.answer(m, &admin.Created{})
	case admin.CmdSetGroup:
		ask, err := admin.DecodeSetGroup(m.Body)
		must(s.tb, err)
		list := slices.DeleteFunc(s.shares.settings[ask.Group], func(x admin.Setting) bool { return slices.Contains(ask.Unset, x.Name) })
		s.shares.settings[ask.Group] = append(list, ask.Set...)
		s.answer(m, &admin.Created{})
	default:
		return false
	}
	return true
}

// describeShares lists queues, one on a page, or the settings of groups; false: something else is
// asked for.
func (s *stub) describeShares(m *ipc.Admin, ask *admin.Describe) bool {
	d := admin.Description{Kind: ask.Kind}
	switch ask.Kind {
	case admin.KindGroupConfig:
		names := ask.Names
		if len(names) == 0 {
			names = slices.Sorted(maps.Keys(s.shares.settings))
		}
		for _, name := range names {
			if list := s.shares.settings[name]; len(list) > 0 {
				d.Configs = append(d.Configs, admin.GroupConfig{Group: name, Settings: list})
			} else {
				d.Missing = append(d.Missing, name)
			}
		}
	case admin.KindQueue:
		names := slices.Clone(ask.Names)
		if len(names) == 0 {
			for name := range s.shares.queues {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			q := s.shares.queues[name]
			switch {
			case ask.After != "" && strings.Compare(name, ask.After) <= 0:
			case q == nil:
				d.Missing = append(d.Missing, name)
			case len(d.Queues) == 1:
				d.More = true
			default:
				d.Queues = append(d.Queues, s.queueInfo(q))
			}
		}
	default:
		return false
	}
	s.answer(m, &d)
	return true
}

func (s *stub) queueInfo(q *stubQueue) admin.QueueInfo {
	info := admin.QueueInfo{Name: q.info.Name, Queue: q.id, Settings: q.info.QueueSettings}
	for i, p := range s.topics[q.info.Topic].Partitions {
		next := s.indexes[p.Index].next
		info.Indexes = append(info.Indexes, admin.QueueIndex{Index: p.Index, Number: uint32(i), Next: next, Visible: next, Floor: q.from[p.Index]})
	}
	return info
}

// trim is retention: offsets below start are no longer there.
func (s *stub) trim(index, start uint64) {
	_, err := s.indexes[index].file.WriteAt(commitlog.AppendIndexStart(nil, start), commitlog.IndexStartOffset)
	must(s.tb, err)
}
