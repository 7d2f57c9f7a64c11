package tour

import (
	"context"
	"errors"
	"fmt"

	"github.com/trimq/trimq/clients/trimq"
)

const (
	partitions     = 2
	streamMessages = 40
	streamBytes    = 700 // a message at most
)

func onDisk(t *tour, ctx context.Context, name string) error {
	return t.stream(ctx, name, trimq.TopicSpec{Name: name, Partitions: partitions, Level: trimq.LevelDisk})
}

func inPageCache(t *tour, ctx context.Context, name string) error {
	return t.stream(ctx, name, trimq.TopicSpec{Name: name, Partitions: partitions, Level: trimq.LevelPage})
}

// stream fills a topic, reads it, and removes it.
func (t *tour) stream(ctx context.Context, name string, spec trimq.TopicSpec) error {
	if _, err := t.client.CreateTopic(ctx, spec); err != nil {
		return err
	}
	var messages []trimq.Message
	for i := range streamMessages {
		messages = append(messages, trimq.Message{
			Topic: name, Partition: trimq.ToPartition(uint32(i % partitions)), Value: []byte(value(name, i, 37*i%streamBytes)),
		})
	}
	results, err := t.send(ctx, messages)
	if err != nil {
		return err
	}
	found, err := t.readAll(ctx, name, streamMessages/partitions)
	if err != nil {
		return err
	}
	t.judgeTopic(name, messages, results, found)
	return gone(t.client.DeleteTopic(ctx, name))
}

func (t *tour) judgeTopic(name string, messages []trimq.Message, results []trimq.Result, found [][]sight) {
	for p := range found {
		var sent []string
		var offsets []uint64
		for i := p; i < len(messages); i += len(found) {
			sent = append(sent, string(messages[i].Value))
			offsets = append(offsets, results[i].Offset)
		}
		t.wrongs(judgeStream(fmt.Sprintf("%s/%d", name, p), sent, offsets, found[p]))
	}
}

// readAll reads all partitions of a topic until n messages of each are there, and whatever more is
// visible then.
func (t *tour) readAll(ctx context.Context, topic string, n int, opts ...trimq.ConsumerOption) ([][]sight, error) {
	k, err := t.client.NewConsumer(ctx, []string{topic}, opts...)
	if err != nil {
		return nil, err
	}
	found, err := readUntil(ctx, k, n)
	return found, errors.Join(err, k.Close(ctx))
}

func readUntil(ctx context.Context, k *trimq.Consumer, n int) ([][]sight, error) {
	found := make([][]sight, partitions)
	for done := 0; done < partitions; {
		f, err := k.Poll(ctx)
		if err != nil {
			return found, fmt.Errorf("with %d and %d of %d messages: %w", len(found[0]), len(found[1]), n, err)
		}
		p := &found[f.Partition]
		for _, r := range f.Records {
			*p = append(*p, sight{uint64(f.Partition), r.Offset, string(r.Value)})
		}
		if len(*p) >= n && len(f.Records) > 0 && f.Records[len(f.Records)-1].Offset+1 == f.Visible {
			done++
		}
		f.Release()
	}
	return found, nil
}

// group has one member after another read a topic, each going on where the last one has committed.
func group(t *tour, ctx context.Context, name string) error {
	if _, err := t.client.CreateTopic(ctx, trimq.TopicSpec{Name: name, Partitions: partitions, Level: trimq.LevelDisk}); err != nil {
		return err
	}
	var messages []trimq.Message
	var results []trimq.Result
	found := make([][]sight, partitions)
	const rounds, each = 2, 10
	for round := range rounds {
		var more []trimq.Message
		for i := range each {
			n := round*each + i
			more = append(more, trimq.Message{Topic: name, Partition: trimq.ToPartition(uint32(n % partitions)), Value: []byte(value(name, n, 50))})
		}
		got, err := t.send(ctx, more)
		if err != nil {
			return err
		}
		messages, results = append(messages, more...), append(results, got...)
		if err := t.memberReads(ctx, name, each/partitions, found); err != nil {
			return err
		}
	}
	t.judgeTopic(name, messages, results, found)
	return errors.Join(gone(t.client.DeleteGroup(ctx, name)), gone(t.client.DeleteTopic(ctx, name)))
}

// memberReads is the life of a member: n messages more of each partition, and a commit.
func (t *tour) memberReads(ctx context.Context, name string, n int, found [][]sight) error {
	k, err := t.client.NewConsumer(ctx, []string{name}, trimq.WithGroup(name))
	if err != nil {
		return err
	}
	more, err := readUntil(ctx, k, n)
	for p := range more {
		found[p] = append(found[p], more[p]...)
	}
	if err == nil {
		err = k.Commit(ctx)
	}
	return errors.Join(err, k.Close(ctx))
}
