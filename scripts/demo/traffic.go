package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/hash"
)

const (
	topicName    = "corpus"
	exchangeName = "lines"
	partitions   = 4
	groupName    = "demo"
	// surplusWait is how long consumers look for messages that should not be there.
	surplusWait = 300 * time.Millisecond
)

// queueSpec is a queue, its binding, and the same rule in words that the broker does not share.
type queueSpec struct {
	name, key string
	gets      func(file string) bool
}

var queueSpecs = []queueSpec{
	{"everything", "#", func(string) bool { return true }},
	{"go-files", "#.go", func(f string) bool { return strings.HasSuffix(f, ".go") }},
	{"network", "net.#", func(f string) bool { return strings.HasPrefix(f, "net/") }},
	{"bufio-files", "bufio.*.go", func(f string) bool {
		return strings.HasPrefix(f, "bufio/") && strings.HasSuffix(f, ".go") && strings.Count(f, "/") == 1 && strings.Count(f, ".") == 1
	}},
}

// traffic is all that the demo sends and receives.
type traffic struct {
	client     *trimq.Client
	partitions []*way
	queues     []*way
	acked      atomic.Int64
	lastAck    atomic.Int64 // Unix ns
	longest    atomic.Int64 // ns between two acknowledgements
	dials      atomic.Int64 // connections made
	lost       atomic.Int64 // connections that ended otherwise than by us
	failure    atomic.Pointer[error]
}

// watchedConn notices when its connection is ended by the other side.
type watchedConn struct {
	net.Conn
	closed atomic.Bool // by us
	ended  atomic.Bool
	lost   *atomic.Int64
}

func (c *watchedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !c.closed.Load() && c.ended.CompareAndSwap(false, true) {
		c.lost.Add(1)
	}
	return n, err
}

func (c *watchedConn) Close() error {
	c.closed.Store(true)
	return c.Conn.Close()
}

func newTraffic(addr string) (*traffic, error) {
	t := &traffic{}
	for p := range partitions {
		t.partitions = append(t.partitions, newWay(fmt.Sprintf("partition %d", p)))
	}
	for _, q := range queueSpecs {
		t.queues = append(t.queues, newWay(q.name))
	}
	var err error
	t.client, err = trimq.NewClient([]string{addr}, trimq.WithName("demo"), trimq.WithDialer(func(ctx context.Context, addr string) (net.Conn, error) {
		var d net.Dialer
		c, err := d.DialContext(ctx, "tcp", addr)
		if err != nil {
			return nil, err
		}
		t.dials.Add(1)
		return &watchedConn{Conn: c, lost: &t.lost}, nil
	}))
	return t, err
}

func (t *traffic) ways() []*way { return slices.Concat(t.partitions, t.queues) }

// declare creates what the demo uses.
func (t *traffic) declare(ctx context.Context) error {
	if _, err := t.client.CreateTopic(ctx, trimq.TopicSpec{Name: topicName, Partitions: partitions}); err != nil {
		return err
	}
	if _, err := t.client.CreateExchange(ctx, trimq.ExchangeSpec{Name: exchangeName, Type: trimq.Topic, Durable: true}); err != nil {
		return err
	}
	for _, q := range queueSpecs {
		if _, err := t.client.CreateQueue(ctx, trimq.QueueSpec{Name: q.name, QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
			return err
		}
		if _, err := t.client.CreateBinding(ctx, trimq.BindingSpec{Exchange: exchangeName, Queue: q.name, RoutingKey: q.key}); err != nil {
			return err
		}
	}
	return nil
}

// acknowledged is the callback of every message.
func (t *traffic) acknowledged(_ trimq.Result, err error) {
	if err != nil {
		t.failure.CompareAndSwap(nil, &err)
		return
	}
	now := time.Now().UnixNano()
	if last := t.lastAck.Swap(now); last != 0 && now-last > t.longest.Load() {
		t.longest.Store(now - last)
	}
	t.acked.Add(1)
}

// produce sends the corpus and waits until all of it is acknowledged.
func (t *traffic) produce(ctx context.Context, root string, lines int) (err error) {
	p, err := t.client.NewProducer()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, p.Close(ctx)) }()
	err = eachLine(root, lines, func(l line) error {
		if failed := t.failure.Load(); failed != nil {
			return *failed
		}
		t.partitions[hash.Partition([]byte(l.file), partitions)].in.add(l.text)
		if err := p.Produce(ctx, &trimq.Message{Topic: topicName, Key: []byte(l.file), Value: l.text}, t.acknowledged); err != nil {
			return err
		}
		for i, q := range queueSpecs {
			if q.gets(l.file) {
				t.queues[i].in.add(l.text)
			}
		}
		m := trimq.Message{Exchange: exchangeName, RoutingKey: routingKey(l.file), Value: l.text, Mandatory: true}
		return p.Produce(ctx, &m, t.acknowledged)
	})
	if err == nil {
		err = p.Flush(ctx)
	}
	if failed := t.failure.Load(); err == nil && failed != nil {
		err = *failed
	}
	for _, w := range t.ways() {
		close(w.complete)
	}
	return err
}

// consumeTopic reads all partitions, and commits, until all is there.
func (t *traffic) consumeTopic(ctx context.Context) (err error) {
	c, err := t.client.NewConsumer(ctx, []string{topicName}, trimq.WithGroup(groupName))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	return drain(ctx, t.partitions, func(ctx context.Context) error {
		f, err := c.Poll(ctx)
		if err != nil {
			return err
		}
		for i := range f.Records {
			t.partitions[f.Partition].out.add(f.Records[i].Value)
		}
		f.Release()
		c.CommitAsync(nil)
		return nil
	})
}

// consumeQueue takes and acknowledges a queue's messages until all are there.
func (t *traffic) consumeQueue(ctx context.Context, w *way) (err error) {
	q, err := t.client.ConsumeQueue(ctx, w.name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, q.Close(ctx)) }()
	return drain(ctx, []*way{w}, func(ctx context.Context) error {
		d, err := q.Receive(ctx)
		if err != nil {
			return err
		}
		for i := range d.Messages {
			w.out.add(d.Messages[i].Value)
		}
		err = d.Ack()
		d.Release()
		return err
	})
}

// drain receives until the ways are done, and then a moment longer: a message too many is
// an error that the digests would show.
func drain(ctx context.Context, ways []*way, receive func(context.Context) error) error {
	done := func() bool {
		for _, w := range ways {
			if !w.done() {
				return false
			}
		}
		return true
	}
	for {
		limit := surplusWait
		wasDone := done()
		short, cancel := context.WithTimeout(ctx, limit)
		err := receive(short)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			if wasDone {
				return nil
			}
		default:
			return err
		}
	}
}

// progress prints a line now and then until stop is closed.
func (t *traffic) progress(out io.Writer, stop <-chan struct{}, wg *sync.WaitGroup) {
	defer wg.Done()
	began, before, last := time.Now(), int64(0), time.Now()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		acked, received := t.acked.Load(), 0
		for _, w := range t.ways() {
			received += w.out.messages()
		}
		rate := float64(acked-before) / time.Since(last).Seconds()
		fmt.Fprintf(out, "%6.1fs  acknowledged %9d (%8.0f/s)   received %9d\n", time.Since(began).Seconds(), acked, rate, received)
		before, last = acked, time.Now()
	}
}
