package drill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Groups of Kafka's clients. A member begins where its group stood, sees no gap from there on, and commits
// only what it has read; so what lies below a position was read by somebody.

// kafkaGroup is one group.
type kafkaGroup struct {
	name, topic string
	balancer    func() kgo.GroupOpt
}

// kafkaGroups are those of a run: one whose members share out partitions, one for which the broker does.
var kafkaGroups = []kafkaGroup{
	{"kafka-classic", "disk", func() kgo.GroupOpt { return kgo.Balancers(kgo.CooperativeStickyBalancer()) }},
	{"kafka-eager", "page", func() kgo.GroupOpt { return kgo.Balancers(kgo.RangeBalancer()) }},
	{"kafka-modern", "disk", kgo.ServerSideBalancer},
}

// kafkaMember is one incarnation of a member.
type kafkaMember struct {
	*kafkaClient
	group string

	mu sync.Mutex
	at map[string]*standing // what it has of the topic, by place
}

// standing is where a member stands in one partition.
type standing struct {
	topic     string
	partition int32
	next      uint64
	committed uint64 // tried, at least
}

// joinKafka is a member of a group, in incarnations some of which are killed.
func (w *world) joinKafka(name string, g kafkaGroup, r *rand.Rand) {
	for life := 0; w.ctx.Err() == nil; life++ {
		m := &kafkaMember{group: g.name, at: map[string]*standing{}}
		var err error
		m.kafkaClient, err = w.newKafka(fmt.Sprintf("%s-%d", name, life), g.balancer(), kgo.ConsumerGroup(g.name), kgo.ConsumeTopics(g.topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond), kgo.FetchMaxWait(200*time.Millisecond),
			kgo.AdjustFetchOffsetsFn(m.assigned), kgo.OnPartitionsRevoked(m.revoked), kgo.OnPartitionsLost(m.dropped))
		if err != nil {
			w.h.report("%v", err)
			return
		}
		m.once(r)
		m.leave(r.IntN(3) == 0)
	}
}

// once reads and commits for a time.
func (m *kafkaMember) once(r *rand.Rand) {
	ctx, cancel := context.WithTimeout(m.w.ctx, time.Duration(3+r.IntN(8))*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		m.poll(ctx, 0, m.read)
		if r.IntN(10) == 0 {
			m.commit()
		}
		m.c.AllowRebalance()
	}
}

// read notes what came of a partition.
func (m *kafkaMember) read(where string, asked time.Time, seen []sight) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.at[where]
	if s == nil {
		m.h.report("%s: %d records of %s, which was not assigned to it", m.name, len(seen), where)
		return
	}
	m.h.note(&opRead{Where: where, Asked: m.h.since(asked), Next: s.next, Records: seen})
	s.next = seen[len(seen)-1].Offset + 1
}

// assigned notes where the group stands in what a member has been given.
func (m *kafkaMember) assigned(_ context.Context, found map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, list := range found {
		for p, o := range list {
			s := &standing{topic: topic, partition: p}
			if at := o.EpochOffset().Offset; at >= 0 {
				s.next, s.committed = uint64(at), uint64(at)
			}
			where := place(topic, uint32(p))
			m.at[where] = s
			m.h.note(&opCommits{m.group, where, s.next, stepFound}) // it has no position: 0
		}
	}
	return found, nil
}

// revoked commits what is about to be somebody else's.
func (m *kafkaMember) revoked(ctx context.Context, c *kgo.Client, gone map[string][]int32) {
	m.commitAs(c)
	m.dropped(ctx, c, gone)
}

// dropped forgets what a member has not any more.
func (m *kafkaMember) dropped(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for topic, list := range gone {
		for _, p := range list {
			delete(m.at, place(topic, uint32(p)))
		}
	}
}

func (m *kafkaMember) commit() { m.commitAs(m.c) }

// commitAs commits where the member stands, and waits for the answer.
func (m *kafkaMember) commitAs(c *kgo.Client) {
	offsets := m.uncommitted()
	if len(offsets) == 0 {
		return
	}
	c.CommitOffsetsSync(m.life, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, a *kmsg.OffsetCommitResponse, err error) {
		if err != nil || a == nil {
			return // it may have counted or not
		}
		for _, t := range a.Topics {
			for _, p := range t.Partitions {
				m.answered(t.Topic, p.Partition, uint64(offsets[t.Topic][p.Partition].Offset), kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
}

// uncommitted notes what is about to be committed.
func (m *kafkaMember) uncommitted() map[string]map[int32]kgo.EpochOffset {
	m.mu.Lock()
	defer m.mu.Unlock()
	offsets := map[string]map[int32]kgo.EpochOffset{}
	for where, s := range m.at {
		if s.next == s.committed {
			continue
		}
		if offsets[s.topic] == nil {
			offsets[s.topic] = map[int32]kgo.EpochOffset{}
		}
		offsets[s.topic][s.partition] = kgo.EpochOffset{Epoch: -1, Offset: int64(s.next)}
		s.committed = s.next
		m.h.note(&opCommits{m.group, where, s.next, stepTried})
	}
	return offsets
}

// answered notes a commit that counts. A member that is behind its group is told so, and nothing of what it
// wanted is done.
func (m *kafkaMember) answered(topic string, p int32, offset uint64, err error) {
	switch {
	case err == nil:
		m.h.note(&opCommits{m.group, place(topic, uint32(p)), offset, stepAnswered})
	case errors.Is(err, kerr.RebalanceInProgress), errors.Is(err, kerr.IllegalGeneration), errors.Is(err, kerr.UnknownMemberID),
		errors.Is(err, kerr.StaleMemberEpoch), errors.Is(err, kerr.FencedMemberEpoch):
	default:
		m.w.complain(err, "%s: commit of %s/%d", m.name, topic, p)
	}
}
