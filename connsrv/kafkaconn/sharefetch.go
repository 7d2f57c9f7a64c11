package kafkaconn

import (
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// A share fetch settles what it acknowledges, and then acquires: for each topic of its session a Pull
// of the group's queue, from the partitions that the session has, under a lease as long as the
// group's lock. Where nothing is ready the pulls wait, and all of them end with the first answer that
// has something, or when the request's time is over. What was acquired is read and sent as a fetch
// is; what does not fit into the response goes back as if it had never been given.

// sharing is a ShareFetch request.
type sharing struct {
	session    *shareSession
	final      bool
	strict     bool // no more records than asked for, rather than whole batches
	maxBytes   int
	maxRecords int
	deadlineMS int64
	waits      bool
	told       []shareTold // of partitions
	pulls      []*sharePull
	got        []shareRun     // of all pulls
	aligned    bool           // batches of which a part was acquired were asked for as a whole
	gathering  bool           // answers are coming; nothing waits any more
	back       []shareVerdict // what goes back with the answer, by our own verdict
}

// shareTold is what is told of a partition, besides what was acquired of it.
type shareTold struct {
	part          sharePart
	code, ackCode int16
	text, ackText string
	acked         bool // something was said of it
	records       shareReading
	acquired      []shareRun
	index         uint64
	sent          uint64       // all below is in the response, if it is there at all …
	passed        []offsetSpan // … but this, in order, of which a committed reader gets nothing
}

// sharePull is a Pull of one topic that is under way.
type sharePull struct {
	topic    topicID
	m        ipc.PullFrom
	answered bool
}

// maxShareLocks is how many messages one pull asks for at most.
const maxShareLocks = ipc.MaxPull

// settingsAgeMS is for how long the settings of a group are not asked for again.
const settingsAgeMS = 2000

// shareFetch begins a share fetch.
func (c *Conn) shareFetch(k *call, m *kmsg.ShareFetchRequest) {
	s, code, text := c.shareSessionFor(m.GroupID, m.MemberID, m.ShareSessionEpoch, true)
	if code != codeNone {
		c.refuseShare(k, code, text)
		return
	}
	f := &sharing{
		session: s, final: m.ShareSessionEpoch == shareEpochFinal, strict: m.ShareAcquireMode == 1,
		maxBytes: maxFetchBytes, maxRecords: int(m.MaxRecords),
		deadlineMS: k.begunMS + int64(min(max(m.MaxWaitMillis, 0), maxFetchWaitMS)), waits: m.MaxWaitMillis > 0,
	}
	if m.MaxBytes > 0 {
		f.maxBytes = min(f.maxBytes, int(m.MaxBytes))
	}
	acks, refused := shareAcks(m), ""
	if m.ShareSessionEpoch == shareEpochOpen && len(acks) > 0 {
		refused = "a request that opens a share session acknowledges nothing"
	} else if !f.final {
		refused = s.follow(m)
	}
	if refused != "" {
		c.refuseShare(k, codeInvalidRequest, refused)
		return
	}
	k.share = f
	c.knowTopics(k, append(s.topics(), topicsOf(acks)...), func(err error) {
		c.acknowledge(k, s, acks, func(done []shareTold) {
			f.told = done
			c.shareAcknowledged(k, err)
		})
	})
}

// follow changes what a session fetches; the text says why it cannot.
func (s *shareSession) follow(m *kmsg.ShareFetchRequest) (refused string) {
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			if !s.add(sharePart{m.Topics[i].TopicID, p.Partition}) {
				return "the share session has too many partitions"
			}
		}
	}
	for i := range m.ForgottenTopicsData {
		for _, p := range m.ForgottenTopicsData[i].Partitions {
			s.forget(sharePart{m.ForgottenTopicsData[i].TopicID, p})
		}
	}
	return ""
}

// refuseShare answers a share fetch as a whole. What it has acknowledged stays so.
func (c *Conn) refuseShare(k *call, code int16, text string) {
	if k.share != nil {
		c.keepShare(k.share.session, k.share.final)
	}
	resp := kmsg.NewPtrShareFetchResponse()
	resp.ErrorCode, resp.ErrorMessage = code, &text
	c.finish(k, resp)
}

// shareAcknowledged goes on with what a request wants, now that its acknowledgements are settled.
func (c *Conn) shareAcknowledged(k *call, err error) {
	f := k.share
	switch {
	case err != nil:
		c.refuseShare(k, codeOf(err), err.Error())
		return
	case f.final || f.maxRecords <= 0 || c.state != stateOpen:
		c.answerShare(k)
		return
	}
	c.knowShare(k, f.session, f.session.topics(), func(err error) {
		if err != nil {
			c.refuseShare(k, codeOf(err), err.Error())
			return
		}
		c.acquire(k)
	})
}

// knowShare sees that the settings of a session's group are known, and its queues over topics,
// which are made where there are none.
func (c *Conn) knowShare(k *call, s *shareSession, topics []topicID, then func(error)) {
	find := func() { c.findShareQueues(k, s, topics, then) }
	if now := c.link.NowMS(); s.askedMS != 0 && now < s.askedMS+settingsAgeMS {
		find()
		return
	}
	c.groupSettings(k, []string{s.group}, func(of map[string][]admin.Setting, err error) {
		if err != nil {
			then(err)
			return
		}
		s.settings, s.askedMS = shareSettingsOf(of[s.group]), c.link.NowMS()
		find()
	})
}

// shareQueueName is what a share group's queue over a topic is called.
func shareQueueName(group, topic string) string { return "share/" + group + "/" + topic }

// findShareQueues finds the queues over topics that a session does not know, and has those made that
// are not there.
func (c *Conn) findShareQueues(k *call, s *shareSession, topics []topicID, then func(error)) {
	var names []string
	unknown := map[string]*topic{}
	for _, id := range topics {
		if t := c.loop.topics.byID[id]; t != nil && s.queues[id] == 0 && c.may(access.Read, t.name) {
			name := shareQueueName(s.group, t.name)
			names, unknown[name] = append(names, name), t
		}
	}
	if len(names) == 0 {
		then(nil)
		return
	}
	var first error
	all := newTally(func() { then(first) })
	c.describe(k, admin.Describe{Kind: admin.KindQueue, Names: names}, func(d *admin.Description) {
		for i := range d.Queues {
			s.queues[unknown[d.Queues[i].Name].id] = d.Queues[i].Queue
		}
		for _, name := range d.Missing {
			all.begin()
			t := unknown[name]
			c.makeShareQueue(k, s.group, t, &s.settings, nil, func(queue uint64, err error) {
				if s.queues[t.id] = queue; first == nil {
					first = err
				}
				all.done()
			})
		}
	}, func(err error) {
		if first == nil {
			first = err
		}
		all.done()
	})
}

// makeShareQueue begins a share group's work on a topic: at offsets, where they are given, or else
// where the group's members are to begin.
func (c *Conn) makeShareQueue(k *call, group string, t *topic, set *shareSettings, offsets []uint64, then func(queue uint64, err error)) {
	m := admin.CreateQueue{
		Name:          shareQueueName(group, t.name),
		QueueSettings: admin.QueueSettings{Durable: true, Topic: t.name, DeliveryLimit: admin.Some(max(1, set.limit) - 1)},
	}
	switch age, ok := parseDuration(strings.TrimPrefix(set.reset, resetDuration)); {
	case offsets != nil:
		m.From, m.Offsets = admin.FromOffsets, offsets
	case set.reset == resetLatest:
		m.From = admin.FromLatest
	case ok:
		m.From, m.Offsets = admin.FromOffsets, c.offsetsAt(t, c.settings.Clock()-age.Milliseconds())
	}
	c.admin(k, admin.CmdCreateQueue, &m, func(reply []byte, err error) {
		var made admin.Created
		if err == nil {
			made, err = admin.DecodeCreated(reply)
		}
		then(made.Index, err)
	})
}

// offsetsAt lists the first offsets of a topic's partitions that are as late as a time.
func (c *Conn) offsetsAt(t *topic, timeMS int64) []uint64 {
	list := make([]uint64, len(t.indexes))
	for i, index := range t.indexes {
		end := c.loop.Lane.Ends[index]
		if found, ok, err := c.byTime(index, timeMS, end); err == nil && ok {
			list[i] = found.offset
		} else {
			list[i] = end
		}
	}
	return list
}

// acquire asks for messages of all topics of a session.
func (c *Conn) acquire(k *call) {
	f, s := k.share, k.share.session
	topics := s.topics()
	s.turn++
	if len(topics) > f.maxRecords {
		topics = topics[:f.maxRecords]
	}
	for _, id := range topics {
		t, queue := c.loop.topics.byID[id], s.queues[id]
		p := &sharePull{topic: id}
		for _, part := range s.parts {
			index, ok := t.index(part.number)
			switch {
			case part.topic != id:
			case t != nil && !c.may(access.Read, t.name):
				f.tell(part).code = codeTopicDenied
			case ok && queue != 0:
				p.m.Indexes = append(p.m.Indexes, index)
			default:
				f.unknown(part, t == nil)
			}
		}
		if len(p.m.Indexes) == 0 {
			continue
		}
		p.m.Pull = ipc.Pull{Queue: queue, Max: uint32(min(max(1, f.maxRecords/len(topics)), maxShareLocks)), Wait: f.waits, InvisibleMS: s.settings.lockMS}
		f.pulls = append(f.pulls, p)
	}
	c.pullShare(k)
}

// unknown tells that a partition is not there.
func (f *sharing) unknown(part sharePart, topic bool) {
	t := f.tell(part)
	if t.code = codeUnknownTopic; topic {
		t.code = codeUnknownTopicID
	}
}

// tell finds what is told of a partition, or begins it.
func (f *sharing) tell(part sharePart) *shareTold {
	at := slices.IndexFunc(f.told, func(t shareTold) bool { return t.part == part })
	if at < 0 {
		at, f.told = len(f.told), append(f.told, shareTold{part: part})
	}
	return &f.told[at]
}

// pullShare puts the pulls of a request that are not under way, or answers it where there are none.
func (c *Conn) pullShare(k *call) {
	f := k.share
	if len(f.pulls) == 0 {
		c.answerShare(k)
		return
	}
	if slices.ContainsFunc(f.told, func(t shareTold) bool { return t.code != codeNone || t.ackCode != codeNone }) {
		f.gathering = true // there is something to be told
	}
	for _, p := range slices.Clone(f.pulls) {
		p.m.Wait = p.m.Wait && !f.gathering
		c.ask(k, ipc.TypePullFrom, func(head ipc.Head, b []byte) []byte {
			p.m.Head = head
			return p.m.Append(b)
		}, func(a answer) {
			m, err := decoded(c, a, ipc.DecodePulled)
			c.pulled(k, p, &m, err)
		})
	}
	if c.state != stateOpen {
		c.endPulls(k)
	}
	if !f.gathering {
		c.link.SetDeadline(f.deadlineMS)
	}
}

// endPulls has the pulls of a request wait no longer.
func (c *Conn) endPulls(k *call) {
	f := k.share
	f.gathering = true
	for _, p := range f.pulls {
		if p.answered || !p.m.Wait {
			continue
		}
		m := ipc.PullEnd{Head: c.head(0), Target: p.m.Req}
		c.loop.Lane.PutLater(ipc.TypePullEnd, m.Append(c.loop.Lane.Scratch()))
	}
}

// pulled takes the answer to a pull in.
func (c *Conn) pulled(k *call, p *sharePull, m *ipc.Pulled, err error) {
	f := k.share
	p.answered = true
	for _, r := range m.Runs {
		f.got = append(f.got, shareRun{
			queue: p.m.Queue, index: r.Index, first: r.First, next: r.First + uint64(r.Count), lease: m.Lease, untilMS: m.UntilMS, attempts: r.Attempts,
		})
	}
	if err != nil {
		c.pullFailed(f, p, err)
	}
	if !f.gathering && (err != nil || len(m.Runs) > 0) {
		c.endPulls(k)
	}
	if slices.ContainsFunc(f.pulls, func(p *sharePull) bool { return !p.answered }) {
		return
	}
	f.pulls = nil
	c.link.SetDeadline(0)
	c.readShare(k)
}

// pullFailed tells of partitions that cannot be pulled from: the queue is gone, or its topic.
func (c *Conn) pullFailed(f *sharing, p *sharePull, err error) {
	if is(err, errcode.UnknownIndex) {
		delete(f.session.queues, p.topic)
		for _, index := range p.m.Indexes {
			c.loop.topics.forgetIndex(index)
		}
	}
	for _, part := range f.session.parts {
		if part.topic == p.topic {
			t := f.tell(part)
			t.code, t.text = codeOf(err), err.Error()
		}
	}
}
