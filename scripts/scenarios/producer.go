package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
)

// stampBytes begin every message: when it was due to be sent, and its number.
const stampBytes = 16

// areas are the values of a header by which subscribers choose.
const areas = 20

// producer sends numbered messages to a topic, or to a queue, until it is told to stop.
type producer struct {
	topic, queue string
	rate         float64 // messages/s; 0: as fast as it can
	count        uint64  // it stops by itself after so many; 0: it does not

	sent   atomic.Uint64
	acked  atomic.Uint64
	failed atomic.Pointer[error]
	stop   chan struct{}
	done   chan error
}

// produce starts a producer.
func (b *bench) produce(ctx context.Context, p *producer) (*producer, error) {
	out, err := b.client.NewProducer(trimq.WithLevel(trimq.LevelDisk))
	if err != nil {
		return nil, err
	}
	p.stop, p.done = make(chan struct{}), make(chan error, 1)
	go func() { p.done <- p.run(ctx, out, b.size) }()
	return p, nil
}

func (p *producer) run(ctx context.Context, out *trimq.Producer, size int) error {
	value := make([]byte, size)
	random := rand.NewChaCha8([32]byte{1})
	random.Read(value)
	m := trimq.Message{Topic: p.topic, RoutingKey: p.queue, Mandatory: p.topic == "", Value: value, Headers: []trimq.Header{
		{Key: "area", Value: []byte("a00")}, {Key: "price", Value: []byte("000")},
	}}
	report := func(_ trimq.Result, err error) {
		if err != nil {
			p.failed.CompareAndSwap(nil, &err)
			return
		}
		p.acked.Add(1)
	}
	start := time.Now()
	for n := uint64(0); p.count == 0 || n < p.count; n++ {
		due := time.Now()
		if p.rate > 0 {
			due = start.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
			if d := time.Until(due); d > 0 {
				time.Sleep(d)
			}
		}
		select {
		case <-p.stop:
			return p.finish(ctx, out)
		default:
		}
		binary.LittleEndian.PutUint64(value, uint64(due.UnixMicro()))
		binary.LittleEndian.PutUint64(value[8:], n)
		m.Headers[0].Value = fmt.Appendf(m.Headers[0].Value[:0], "a%02d", n%areas)
		m.Headers[1].Value = fmt.Append(m.Headers[1].Value[:0], n/areas%1000)
		if err := out.Produce(ctx, &m, report); err != nil {
			return err
		}
		p.sent.Add(1)
	}
	return p.finish(ctx, out)
}

func (p *producer) finish(ctx context.Context, out *trimq.Producer) error {
	err := out.Close(ctx)
	if failed := p.failed.Load(); failed != nil {
		return *failed
	}
	return err
}

// end stops a producer and waits for its last acknowledgement.
func (p *producer) end() error {
	close(p.stop)
	return <-p.done
}
