package e2e

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// shareGroup are members of one share group, and how often each value has come and been accepted.
type shareGroup struct {
	t        *testing.T
	addr     string
	opts     []kgo.Opt
	mu       sync.Mutex
	accepted map[string]int
	ends     []func()
}

// newShareGroup begins a group at the front of a topic.
func newShareGroup(t *testing.T, addr, name, topic string, opts ...kgo.Opt) *shareGroup {
	t.Helper()
	configureGroup(t, kafkaClient(t, addr), name, "share.auto.offset.reset", "earliest")
	return &shareGroup{t: t, addr: addr, opts: append(opts, kgo.ShareGroup(name), kgo.ConsumeTopics(topic)), accepted: map[string]int{}}
}

// configureGroup sets one key of a group.
func configureGroup(t *testing.T, c *kgo.Client, group, key, value string) {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeGroupConfig, group
	r.Configs = []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Value: &value}}
	req.Resources = append(req.Resources, r)
	if resp, err := req.RequestWith(testContext(t), c); err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
}

// join starts a member that accepts what it gets; of its first records every seventh is released once.
func (g *shareGroup) join() {
	g.t.Helper()
	c := kafkaClient(g.t, g.addr, g.opts...)
	ctx, cancel := context.WithCancel(testContext(g.t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; ctx.Err() == nil; {
			fetches := c.PollRecords(ctx, 50)
			g.mu.Lock()
			fetches.EachRecord(func(r *kgo.Record) {
				if n++; n%7 == 0 && r.DeliveryCount() == 1 {
					r.Ack(kgo.AckRelease)
					return
				}
				r.Ack(kgo.AckAccept)
				g.accepted[string(r.Value)]++
			})
			g.mu.Unlock()
		}
	}()
	g.ends = append(g.ends, sync.OnceFunc(func() {
		cancel()
		<-done
		c.Close()
	}))
}

// wait waits until all values below n were accepted by somebody, and returns how many were more than once.
func (g *shareGroup) wait(n int) (twice int) {
	g.t.Helper()
	eventually(g.t, "all values", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		twice = 0
		for i := range n {
			switch g.accepted[string(value(i))] {
			case 0:
				return false
			case 1:
			default:
				twice++
			}
		}
		return true
	})
	return twice
}

func (g *shareGroup) leave() {
	for _, end := range g.ends {
		end()
	}
}

// Members of a share group live through the deaths of logicsrv and persistsrv, and through hand-overs
// of connsrv: no connection ends, nothing is lost, and nothing that was accepted comes again.
func TestKafkaShareSurvives(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2", "group_heartbeat_ms": "300"})
	lost := &closings{}
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	kafkaProduce(t, p, "shared", 0, 100)
	g := newShareGroup(t, addr, "g", "shared", kgo.Dialer(lost.dial))
	defer g.leave()
	for range 3 {
		g.join()
	}
	n := 100
	for range 3 {
		for _, tier := range []string{"logicsrv", "persistsrv", "connsrv"} {
			signal := "9"
			if tier == "connsrv" {
				signal = "12"
			}
			if err := b.Signal(signal, tier); err != nil {
				t.Fatal(err)
			}
			kafkaProduce(t, p, "shared", n, n+50)
			n += 50
			time.Sleep(200 * time.Millisecond)
		}
	}
	if twice := g.wait(n); twice > 0 {
		t.Errorf("%d of %d values were accepted more than once", twice, n)
	}
	if n := lost.n.Load(); n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// When connsrv dies its members connect again; what they had comes back, and nothing is lost.
func TestKafkaShareConnsrvDies(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "2", "group_heartbeat_ms": "300"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation())
	kafkaProduce(t, p, "shared", 0, 300)
	g := newShareGroup(t, addr, "g", "shared")
	configureGroup(t, p, "g", "share.record.lock.duration.ms", "2000")
	defer g.leave()
	g.join()
	g.join()
	for n := 300; n < 600; n += 100 {
		eventually(t, "connsrv is there to be killed", func() bool { return b.Kill("connsrv") == nil })
		kafkaProduce(t, p, "shared", n, n+100)
	}
	g.wait(600)
}

// Members of a group that reads committed records get no aborted ones; those of another group do, and nobody what is open.
func TestKafkaShareCommitted(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "1", "group_heartbeat_ms": "300"})
	p := kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.TransactionalID("shop"))
	const n = 50
	kafkaTxn(t, p, "sales", 0, n, kgo.TryCommit)
	kafkaTxn(t, p, "sales", n, 2*n, kgo.TryAbort)
	strict := newShareGroup(t, addr, "strict", "sales")
	configureGroup(t, p, "strict", "share.isolation.level", "read_committed")
	lax := newShareGroup(t, addr, "lax", "sales")
	strict.join()
	lax.join()
	defer strict.leave()
	defer lax.leave()
	lax.wait(2 * n)
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	kafkaTxn(t, p, "sales", 2*n, 3*n, kgo.TryAbort)
	kafkaTxn(t, p, "sales", 3*n, 4*n, kgo.TryCommit)
	lax.wait(4 * n)
	eventually(t, "all that was committed", func() bool {
		strict.mu.Lock()
		defer strict.mu.Unlock()
		for i := range 4 * n {
			aborted, times := i/n == 1 || i/n == 2, strict.accepted[string(value(i))]
			if aborted && times > 0 {
				t.Fatalf("value %d was aborted, and given", i)
			}
			if !aborted && times == 0 {
				return false
			}
		}
		return true
	})
}
