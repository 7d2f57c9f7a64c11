package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// closings counts the connections that the broker has closed, or reset. Those that franz-go closes by
// itself, as it does with a fetch whose session has ended, are none.
type closings struct{ n atomic.Int64 }

// dial connects a client of franz-go.
func (c *closings) dial(ctx context.Context, network, host string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, host)
	return watchedConn{conn, c}, err
}

type watchedConn struct {
	net.Conn
	closings *closings
}

func (w watchedConn) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		w.closings.n.Add(1)
	}
	return n, err
}

// No connection of a Kafka client is closed by hand-overs of connsrv, nor of the other daemons:
// producers go on, and so do members of groups of both kinds, with joins, syncs and long polls that
// wait meanwhile. Nothing is lost, nothing is doubled, and each partition is in order.
func TestKafkaHandOvers(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"kafka_partitions": "4", "group_initial_delay_ms": "0", "group_heartbeat_ms": "300"})
	lost := &closings{}
	dialer := kgo.Dialer(lost.dial)
	p := kafkaClient(t, addr, dialer, kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(0))
	kafkaProduce(t, p, "passed", 0, 10)
	reader := kafkaClient(t, addr, dialer, kgo.ConsumeTopics("passed"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	var groups []*kafkaMembers
	for name, opts := range kinds {
		m := &kafkaMembers{t: t, addr: addr, seen: map[string]int{}}
		m.opts = append(opts, dialer, kgo.ConsumerGroup("group-"+name), kgo.DisableAutoCommit(),
			kgo.HeartbeatInterval(300*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if name == "modern" {
			m.opts = append(m.opts, kgo.ConsumeRegex(), kgo.ConsumeTopics("pass.*"))
		} else {
			m.opts = append(m.opts, kgo.ConsumeTopics("passed"))
		}
		groups = append(groups, m)
		defer m.leave()
		m.join()
	}
	sent, stop := kafkaLoad(t, p, "passed", 10)
	for round := range 10 {
		if round%4 == 1 {
			for _, m := range groups {
				m.join() // while the program is replaced
			}
		}
		time.Sleep(150 * time.Millisecond)
		tiers := []string{"connsrv"}
		if round%4 == 3 {
			tiers = nil // all three
		}
		if err := b.Signal("12", tiers...); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	n := int(sent.Load())
	list := kafkaConsume(t, reader, n)
	everyValue(t, list, n)
	last := map[int32]int64{}
	for _, r := range list {
		if next, seen := last[r.Partition]; seen && r.Offset <= next {
			t.Fatalf("offset %d of partition %d behind %d", r.Offset, r.Partition, next)
		}
		last[r.Partition] = r.Offset
	}
	for _, m := range groups {
		m.wait(n)
	}
	if n := lost.n.Load(); n != 0 {
		t.Errorf("%d connections were closed", n)
	}
}

// kafkaLoad sends values from first on, a few at a time, until stop, which waits until all are
// acknowledged. sent is how many values there are then.
func kafkaLoad(t *testing.T, c *kgo.Client, topic string, first int) (sent *atomic.Int64, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	sent = new(atomic.Int64)
	sent.Store(int64(first))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var records []*kgo.Record
			for range 20 {
				n := int(sent.Add(1)) - 1
				records = append(records, &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, "key %d", n), Value: value(n)})
			}
			if err := c.ProduceSync(context.WithoutCancel(ctx), records...).FirstErr(); err != nil {
				t.Errorf("produce: %v", err)
				return
			}
		}
	}()
	return sent, func() {
		cancel()
		<-done
	}
}
