package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// stream is what one producer has sent, in order, to one place: a partition, or a queue.
type stream struct {
	topic     string // empty: to the queue
	partition uint32
	queue     string
	level     trimq.Level
	seed      uint64
	told      func(n int) // of an acknowledgement; may be nil

	mu    sync.Mutex
	sent  []string
	acked []bool
}

func (s *stream) String() string {
	if s.topic == "" {
		return "queue " + s.queue
	}
	return fmt.Sprintf("%s/%d", s.topic, s.partition)
}

// values makes what is sent to a stream: the same whenever it is made from the start.
type values struct {
	of     *stream
	random *rand.Rand
	filler []byte
	n      int
}

func (s *stream) values() *values {
	v := &values{of: s, random: rand.New(rand.NewPCG(s.seed, 0)), filler: make([]byte, 2000)}
	for i := range v.filler {
		v.filler[i] = byte('a' + v.random.IntN(26))
	}
	return v
}

// next is the next value, and how long the producer rests behind it.
func (v *values) next() (value string, rest time.Duration) {
	value = fmt.Sprintf("%s %d %s", v.of, v.n, v.filler[:v.random.IntN(len(v.filler))])
	v.n++
	if v.random.IntN(20) == 0 {
		rest = time.Duration(v.random.IntN(8)) * time.Millisecond
	}
	return value, rest
}

// numberOf is the place of a value in its stream.
func (s *stream) numberOf(value string) (n int, err error) {
	_, err = fmt.Sscanf(value, s.String()+" %d", &n)
	return n, err
}

// load is what works at a broker until the power is cut.
type load struct {
	client  *trimq.Client
	streams []*stream
	queue   string
	told    func(how settlement, value string) // of a settlement; may be nil

	mu      sync.Mutex
	settled map[string]settlement // by values of the queue

	hush context.CancelFunc // ends all that is at level disk
	stop context.CancelFunc // ends the rest
	all  sync.WaitGroup
	errs chan error
}

// newLoad is the n-th cycle's.
func newLoad(n int, r *rand.Rand) *load {
	l := &load{queue: fmt.Sprintf("queue-%d", n), settled: map[string]settlement{}, errs: make(chan error, 16)}
	for i, level := range []trimq.Level{trimq.LevelDisk, trimq.LevelPage} {
		for p := range uint32(partitions) {
			l.streams = append(l.streams, &stream{topic: fmt.Sprintf("%s-%d", []string{"disk", "page"}[i], n), partition: p, level: level, seed: r.Uint64()})
		}
	}
	l.streams = append(l.streams, &stream{queue: l.queue, level: trimq.LevelDisk, seed: r.Uint64()})
	return l
}

// settlement is how far that of a message has come.
type settlement string

const (
	asked     settlement = "asked" // it may have been done
	confirmed settlement = "settled"
)

// partitions of each topic.
const partitions = 2

// begin makes topics and a queue, and has them worked at.
func (l *load) begin(ctx context.Context, addr string) (err error) {
	if l.client, err = trimq.Dial(ctx, []string{addr}, trimq.WithName("power")); err != nil {
		return err
	}
	for _, s := range l.streams {
		if s.topic != "" && s.partition == 0 {
			if _, err := l.client.CreateTopic(ctx, trimq.TopicSpec{Name: s.topic, Partitions: partitions, Level: s.level}); err != nil {
				return err
			}
		}
	}
	if _, err := l.client.CreateQueue(ctx, trimq.QueueSpec{Name: l.queue, Level: trimq.LevelDisk, QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
		return err
	}
	l.work(ctx)
	return nil
}

// work starts producers and a consumer.
func (l *load) work(ctx context.Context) {
	page, stop := context.WithCancel(ctx)
	disk, hush := context.WithCancel(page)
	l.stop, l.hush = stop, hush
	for _, s := range l.streams {
		life := disk
		if s.level == trimq.LevelPage {
			life = page
		}
		l.all.Go(func() { l.fail(l.produce(life, s)) })
	}
	l.all.Go(func() { l.fail(l.consume(disk)) })
}

func (l *load) fail(err error) {
	if err != nil {
		l.errs <- err
	}
}

// produce sends as long as the load lasts.
func (l *load) produce(ctx context.Context, s *stream) error {
	p, err := l.client.NewProducer(trimq.WithBatchBytes(4 << 10))
	if err != nil {
		return err
	}
	for n, all := 0, s.values(); ctx.Err() == nil; n++ {
		value, rest := all.next()
		m := trimq.Message{Topic: s.topic, RoutingKey: s.queue, Value: []byte(value), Tag: uint64(n)}
		if s.topic != "" {
			m.Partition = trimq.ToPartition(s.partition)
		}
		s.mu.Lock()
		s.sent, s.acked = append(s.sent, value), append(s.acked, false)
		s.mu.Unlock()
		if err := p.Produce(ctx, &m, s.answered); err != nil && ctx.Err() == nil {
			return fmt.Errorf("%s: %w", s, err)
		}
		if rest > 0 {
			time.Sleep(rest)
		}
	}
	return nil
}

// answered notes an acknowledgement. An error is none: what has become of the message is open.
func (s *stream) answered(r trimq.Result, err error) {
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acked[r.Tag] = true
	if s.told != nil {
		s.told(int(r.Tag))
	}
}

// consume settles every other parcel of the queue, and notes those that are confirmed.
func (l *load) consume(ctx context.Context) error {
	k, err := l.client.ConsumeQueue(ctx, l.queue, trimq.WithPrefetch(50), trimq.WithAckTimeout(0))
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		d, err := k.Receive(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		var values []string
		for _, m := range d.Messages {
			values = append(values, string(m.Value))
		}
		if n%2 == 0 || len(values) > 5 {
			l.settle(asked, values)
			if err := errors.Join(d.Ack(), k.Flush(ctx)); err == nil {
				l.settle(confirmed, values)
			}
		}
		d.Release()
	}
}

// settle notes settlements.
func (l *load) settle(how settlement, values []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range values {
		l.settled[v] = how
		if l.told != nil {
			l.told(how, v)
		}
	}
}

// end kills the clients: nothing is sent again behind it.
func (l *load) end() error {
	l.stop()
	dead, cancel := context.WithCancel(context.Background())
	cancel()
	_ = l.client.Close(dead) // with messages unanswered, as one that is killed
	l.all.Wait()
	select {
	case err := <-l.errs:
		return err
	default:
		return nil
	}
}
