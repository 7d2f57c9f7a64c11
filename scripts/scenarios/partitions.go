package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/clients/trimq"
)

const (
	manyTopics    = 100
	topicParts    = 50 // each
	keysEach      = 4  // of a partition, on average
	metadataAsks  = 20
	settleFor     = 15 * time.Second // until indexes and the state are checkpointed
	idleFor       = 15 * time.Second
	partitionKill = 5 // deaths of logicsrv, and restarts of all of the broker
)

// partitions: 5,000 partitions with something in each. How long it takes to create them, to tell a Kafka
// client of all of them, from a start to the first message that is stored, and what they cost idle.
func partitions(ctx context.Context, b *bench) error {
	start := time.Now()
	if err := each(ctx, manyTopics, func(i int) error {
		_, err := b.client.CreateTopic(ctx, trimq.TopicSpec{Name: topicName(i), Partitions: topicParts})
		return err
	}); err != nil {
		return err
	}
	created := time.Since(start)
	if err := b.fillPartitions(ctx); err != nil {
		return err
	}
	fmt.Printf("  %d topics with %d partitions each created in %.2f s\n", manyTopics, topicParts, created.Seconds())
	if err := b.askMetadata(); err != nil {
		return err
	}
	if err := wait(ctx, settleFor); err != nil {
		return err
	}
	before := usage.Read(b.broker.Config.RunDir)
	if err := wait(ctx, idleFor); err != nil {
		return err
	}
	for name, use := range usage.Read(b.broker.Config.RunDir) {
		if name != usage.ClientName {
			fmt.Printf("  idle: %s takes %.2f %% of a processor, and has %d MB of its own\n",
				name, 100*(use.CPUSeconds-before[name].CPUSeconds)/idleFor.Seconds(), use.OwnBytes>>20)
		}
	}
	nothing := func() error { return nil }
	if err := b.restarts(ctx, "kill -9 of logicsrv", nothing, func() error { return b.broker.Kill("logicsrv") }); err != nil {
		return err
	}
	return b.restarts(ctx, "the start of a broker that was stopped", func() error { return b.broker.Signal("15") }, b.broker.Start)
}

func topicName(i int) string { return fmt.Sprintf("topic-%03d", i) }

// fillPartitions puts messages with as many keys into each topic that hardly a partition stays empty.
func (b *bench) fillPartitions(ctx context.Context) error {
	p, err := b.client.NewProducer()
	if err != nil {
		return err
	}
	var failed error
	for i := range manyTopics {
		for key := range keysEach * topicParts {
			m := trimq.Message{Topic: topicName(i), Key: fmt.Appendf(nil, "key-%d", key), Value: make([]byte, smallMessage)}
			if err := p.Produce(ctx, &m, func(_ trimq.Result, err error) { failed = errors.Join(failed, err) }); err != nil {
				return err
			}
		}
	}
	return errors.Join(p.Close(ctx), failed)
}

// askMetadata asks for all topics, as a Kafka client does.
func (b *bench) askMetadata() error {
	conn, err := net.Dial("tcp", b.broker.Config.KafkaListen)
	if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	var took []time.Duration
	bytes := 0
	for range metadataAsks {
		start := time.Now()
		// Metadata of version 1, correlation 1, without a client id, of all topics.
		if _, err := conn.Write([]byte{0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}); err != nil {
			return err
		}
		var size [4]byte
		if _, err := io.ReadFull(in, size[:]); err != nil {
			return err
		}
		bytes = int(binary.BigEndian.Uint32(size[:]))
		if _, err := in.Discard(bytes); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	fmt.Printf("  metadata of all: %d KB in %.1f ms (median of %d)\n", bytes>>10, ms(took[metadataAsks/2]), metadataAsks)
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// restarts measures from what do does, after before, to the next message that is stored on the disk.
func (b *bench) restarts(ctx context.Context, what string, before, do func() error) error {
	p, err := b.client.NewProducer()
	if err != nil {
		return err
	}
	var took []time.Duration
	for i := range partitionKill {
		if err := before(); err != nil {
			return err
		}
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		m := trimq.Message{Topic: topicName(i), Value: make([]byte, smallMessage)}
		if _, err := p.ProduceSync(ctx, &m); err != nil {
			return err
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	median := took[partitionKill/2]
	fmt.Printf("  from %s to the next message stored: %.0f ms (median of %d, at most %.0f)\n", what, ms(median), partitionKill, ms(took[partitionKill-1]))
	want(median < time.Second, "below 1 s")
	return p.Close(ctx)
}
