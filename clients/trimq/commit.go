package trimq

import (
	"context"
	"errors"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

var errNoGroup = errors.New("trimq: the consumer has no group (WithGroup)")

// commitState gathers asynchronous commits: one is on its way, the others wait for the next.
type commitState struct {
	running bool
	waiting []func(error)
}

// Commit stores, for the consumer's group, the positions behind all that Poll has given.
func (k *Consumer) Commit(ctx context.Context) error {
	if k.opt.group == "" {
		return errNoGroup
	}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		return ErrClosed
	}
	var moved []*part
	var offsets []ipc.OffsetCommit
	for _, p := range k.parts {
		if !p.known || p.committed != p.pos {
			moved = append(moved, p)
			offsets = append(offsets, ipc.OffsetCommit{Index: p.index, Offset: p.pos})
		}
	}
	k.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	if err := k.send(ctx, offsets); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, p := range moved {
		p.committed, p.known = offsets[i].Offset, true
	}
	return nil
}

func (k *Consumer) send(ctx context.Context, offsets []ipc.OffsetCommit) error {
	_, err := k.c.calls.do(ctx, native.CmdCommitOffsets, &native.CommitOffsets{Group: k.opt.group, Offsets: offsets})
	return err
}

// CommitAsync is Commit without waiting. done, which may be nil, is called from a goroutine
// of the consumer; commits that are asked for while one is on its way are sent as one.
func (k *Consumer) CommitAsync(done func(error)) {
	if done == nil {
		done = func(error) {}
	}
	k.mu.Lock()
	if k.closed {
		k.mu.Unlock()
		done(ErrClosed)
		return
	}
	k.commit.waiting = append(k.commit.waiting, done)
	start := !k.commit.running
	k.commit.running = true
	if start {
		k.work.Add(1)
	}
	k.mu.Unlock()
	if start {
		go k.commitAll()
	}
}

// commitAll commits until nobody waits any longer.
func (k *Consumer) commitAll() {
	defer k.work.Done()
	ctx, cancel := until(k.stop)
	defer cancel()
	for {
		k.mu.Lock()
		waiting := k.commit.waiting
		k.commit.waiting = nil
		if len(waiting) == 0 {
			k.commit.running = false
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		err := k.Commit(ctx)
		for _, done := range waiting {
			done(err)
		}
	}
}

// CommitPositions stores the given positions for the consumer's group.
func (k *Consumer) CommitPositions(ctx context.Context, positions ...Position) error {
	if k.opt.group == "" {
		return errNoGroup
	}
	offsets := make([]ipc.OffsetCommit, len(positions))
	k.mu.Lock()
	for i, at := range positions {
		p := k.part(at.Topic, at.Partition)
		if p == nil {
			k.mu.Unlock()
			return &PartitionError{Topic: at.Topic, Partition: at.Partition, Err: ErrNoPartition}
		}
		offsets[i] = ipc.OffsetCommit{Index: p.index, Offset: at.Offset, Metadata: at.Metadata}
		p.known = false // Commit must not think that its position is there
	}
	k.mu.Unlock()
	if len(offsets) == 0 {
		return nil
	}
	return k.send(ctx, offsets)
}

// Committed gives the group's committed positions in the consumer's partitions.
func (k *Consumer) Committed(ctx context.Context) ([]Position, error) {
	if k.opt.group == "" {
		return nil, errNoGroup
	}
	found, err := k.committedByIndex(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []Position
	for _, p := range k.parts {
		if at, ok := found[p.index]; ok {
			all = append(all, Position{Topic: p.topic, Partition: p.number, Offset: at.Offset, Metadata: at.Metadata})
		}
	}
	return all, nil
}

func (k *Consumer) committedByIndex(ctx context.Context) (map[uint64]ipc.OffsetCommit, error) {
	found := map[uint64]ipc.OffsetCommit{}
	if k.opt.group == "" {
		return found, nil
	}
	ask := native.FetchOffsets{Group: k.opt.group}
	k.mu.Lock()
	for _, p := range k.parts {
		ask.Indexes = append(ask.Indexes, p.index)
	}
	k.mu.Unlock()
	reply, err := request(ctx, k.c, native.CmdFetchOffsets, &ask, native.DecodeOffsetsReply)
	if err != nil && !errors.Is(err, ErrNotFound) { // a group that has committed nothing is none
		return nil, err
	}
	for _, o := range reply.Offsets {
		found[o.Index] = o
	}
	return found, nil
}
