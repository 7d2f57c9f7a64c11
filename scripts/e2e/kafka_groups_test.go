package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// kafkaMembers are consumers of one group, and what has come to all of them together.
type kafkaMembers struct {
	t    *testing.T
	addr string
	opts []kgo.Opt
	mu   sync.Mutex
	seen map[string]int
	ends []func()
}

// join starts a member, which commits what it has got. The function returned ends it.
func (m *kafkaMembers) join(opts ...kgo.Opt) (leave func()) {
	m.t.Helper()
	c := kafkaClient(m.t, m.addr, append(slices.Clone(m.opts), opts...)...)
	ctx, cancel := context.WithCancel(testContext(m.t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			fetches := c.PollFetches(ctx)
			m.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) { m.seen[string(r.Value)]++ })
			m.mu.Unlock()
			_ = c.CommitUncommittedOffsets(ctx) // refused while partitions move: it is committed with the next
		}
	}()
	leave = sync.OnceFunc(func() {
		cancel()
		<-done
		_ = c.CommitUncommittedOffsets(testContext(m.t))
		c.Close()
	})
	m.ends = append(m.ends, leave)
	return leave
}

// leave ends all members.
func (m *kafkaMembers) leave() {
	for _, end := range m.ends {
		end()
	}
}

// wait waits until all values below n have come.
func (m *kafkaMembers) wait(n int) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("all of %d values", n), func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i := range n {
			if m.seen[string(value(i))] == 0 {
				return false
			}
		}
		return true
	})
}

// kinds are the ways in which a group can share partitions out, as options of a client.
var kinds = map[string][]kgo.Opt{
	"cooperative": {kgo.Balancers(kgo.CooperativeStickyBalancer())},
	"eager":       {kgo.Balancers(kgo.RangeBalancer(), kgo.RoundRobinBalancer())},
	"modern":      {kgo.ServerSideBalancer()},
}

// Members join and leave while messages come; all of them are seen, and the group goes on where it was.
func TestKafkaGroups(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, map[string]string{
		"kafka_partitions": "6", "group_initial_delay_ms": "0", "group_heartbeat_ms": "300", "group_session_timeout_ms": "6000",
	})
	for name, opts := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
			kafkaProduce(t, p, name, 0, 300)
			m := &kafkaMembers{t: t, addr: addr, seen: map[string]int{}}
			m.opts = append(opts, kgo.ConsumerGroup("group-"+name), kgo.ConsumeTopics(name), kgo.DisableAutoCommit(),
				kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(300*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
			first := m.join()
			m.wait(300)
			m.join()
			m.join(kgo.InstanceID("static"))
			kafkaProduce(t, p, name, 300, 600)
			m.wait(600)
			first()
			kafkaProduce(t, p, name, 600, 900)
			m.wait(900)
			m.leave()
			kafkaProduce(t, p, name, 900, 910)
			again := &kafkaMembers{t: t, addr: addr, opts: m.opts, seen: map[string]int{}}
			again.join()
			defer again.leave()
			eventually(t, "what came while nobody was a member", func() bool {
				again.mu.Lock()
				defer again.mu.Unlock()
				return again.seen[string(value(909))] > 0
			})
			if again.mu.Lock(); again.seen[string(value(5))] > 0 {
				t.Error("what was committed has come again")
			}
			again.mu.Unlock()
		})
	}
}

// Groups live through the deaths of logicsrv and persistsrv: nobody is expelled, nothing is missed.
func TestKafkaGroupsSurviveKills(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "4", "group_initial_delay_ms": "0", "group_heartbeat_ms": "300"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ConsumeTopics("kills"))
	kafkaProduce(t, p, "kills", 0, 10)
	var groups []*kafkaMembers
	for name, opts := range kinds {
		m := &kafkaMembers{t: t, addr: addr, seen: map[string]int{}}
		m.opts = append(opts, kgo.ConsumerGroup("group-"+name), kgo.ConsumeTopics("kills"), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		groups = append(groups, m)
		defer m.leave()
	}
	n := 10
	for _, m := range groups {
		m.join()
	}
	for round := range 4 {
		if round < 2 {
			for _, m := range groups {
				m.join() // while the daemons die
			}
		}
		for _, tier := range []string{"logicsrv", "persistsrv"} {
			if err := b.Kill(tier); err != nil {
				t.Fatal(err)
			}
			kafkaProduce(t, p, "kills", n, n+20)
			n += 20
			time.Sleep(200 * time.Millisecond)
		}
	}
	for _, m := range groups {
		m.wait(n)
	}
}

func TestKafkaGroupsDescribed(t *testing.T) {
	t.Parallel()
	_, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2", "group_initial_delay_ms": "0", "group_heartbeat_ms": "300"})
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	kafkaProduce(t, c, "topic", 0, 10)
	ctx := testContext(t)
	for name, opts := range kinds {
		m := &kafkaMembers{t: t, addr: addr, seen: map[string]int{}}
		m.opts = append(opts, kgo.ConsumerGroup(name), kgo.ConsumeTopics("topic"), kgo.DisableAutoCommit(), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		m.join()
		defer m.leave()
		m.wait(10)
	}
	list, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, c)
	if err != nil || len(list.Groups) != 3 {
		t.Fatalf("%+v %v", list, err)
	}
	ask := kmsg.NewPtrDescribeGroupsRequest()
	ask.Groups = []string{"cooperative", "eager", "none"}
	described, err := ask.RequestWith(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for i, g := range described.Groups {
		if i < 2 && (g.ErrorCode != 0 || g.State != "Stable" || len(g.Members) != 1 || g.ProtocolType != "consumer" || len(g.Members[0].MemberAssignment) == 0) {
			t.Errorf("%+v", g)
		}
	}
	modern := kmsg.NewPtrConsumerGroupDescribeRequest()
	modern.Groups = []string{"modern"}
	if d, err := modern.RequestWith(ctx, c); err != nil || len(d.Groups) != 1 || len(d.Groups[0].Members) != 1 || len(d.Groups[0].Members[0].Assignment.TopicPartitions[0].Partitions) != 2 {
		t.Errorf("%+v %v", d, err)
	}
	del := kmsg.NewPtrDeleteGroupsRequest()
	del.Groups = []string{"eager", "none"}
	if d, err := del.RequestWith(ctx, c); err != nil || d.Groups[0].ErrorCode != 68 || d.Groups[1].ErrorCode != 69 {
		t.Errorf("%+v %v", d, err)
	}
}

// What was committed with a position comes back with it, from a logicsrv that has it from the log too.
func TestKafkaCommittedEpoch(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, nil)
	c := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.MaxVersions(kversion.V3_7_0())) // topics by their names
	kafkaProduce(t, c, "topic", 0, 10)
	ctx := testContext(t)
	commit, topic, p := kmsg.NewPtrOffsetCommitRequest(), kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	p.Offset, p.LeaderEpoch, p.Metadata = 5, 3, kmsg.StringPtr("so far")
	topic.Topic, topic.Partitions = "topic", append(topic.Partitions, p)
	commit.Group, commit.Topics = "g", append(commit.Topics, topic)
	if done, err := commit.RequestWith(ctx, c); err != nil || done.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", done, err)
	}
	for range 2 {
		ask, group := kmsg.NewPtrOffsetFetchRequest(), kmsg.NewOffsetFetchRequestGroup()
		group.Group = "g"
		ask.Groups = append(ask.Groups, group)
		found, err := ask.RequestWith(ctx, c)
		if err != nil || len(found.Groups[0].Topics) != 1 {
			t.Fatalf("%+v %v", found, err)
		}
		if got := found.Groups[0].Topics[0].Partitions[0]; got.Offset != 5 || got.LeaderEpoch != 3 || *got.Metadata != "so far" {
			t.Errorf("%+v", got)
		}
		if err := b.Kill("logicsrv"); err != nil {
			t.Fatal(err)
		}
	}
}
