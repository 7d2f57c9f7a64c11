package trimq

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// Commits of a consumer go one after the other, whoever asks for them: positions that are gathered
// later are stored later, so none goes back.

var errNoGroup = errors.New("trimq: the consumer has no group (WithGroup, WithPositions)")

// commitState gathers asynchronous commits: one is on its way, the others wait for the next.
type commitState struct {
	running bool
	idle    chan struct{} // closed when it runs no longer
	waiting []func(error)
}

// position is one that is to be stored.
type position struct {
	p *part
	ipc.OffsetCommit
}

// Commit stores, for the consumer's group, the positions behind all that Poll has given. Of a
// partition that a member has had to give up with records that were not committed it returns
// ErrNotAssigned, once: they are read again.
func (k *Consumer) Commit(ctx context.Context) error {
	if k.opt.group == "" {
		return errNoGroup
	}
	err := k.save(ctx, func(p *part) uint64 { return p.pos })
	if k.group != nil {
		err = errors.Join(err, k.group.lostWork())
	}
	return err
}

// save stores the positions that at tells, where the broker has others.
func (k *Consumer) save(ctx context.Context, at func(*part) uint64) error {
	return k.store(ctx, func() (moved []position) {
		for _, p := range k.parts {
			if offset := at(p); p.placed && (!p.known || p.committed != offset) {
				moved = append(moved, position{p, ipc.OffsetCommit{Index: p.index, Offset: offset}})
			}
		}
		return moved
	})
}

// store sends the positions that gather finds, which is called with k.mu held.
func (k *Consumer) store(ctx context.Context, gather func() []position) error {
	if err := k.beginSaving(ctx); err != nil {
		return err
	}
	defer k.endSaving()
	k.mu.Lock()
	defer k.mu.Unlock()
	for {
		if k.closed {
			return ErrClosed
		}
		list := gather()
		if len(list) == 0 {
			return nil
		}
		err := k.sendAll(ctx, list)
		if k.group == nil || !k.group.mayTryAgain(ctx, err) {
			return notMember(err)
		}
	}
}

// beginSaving waits until no commit is under way; none begins before endSaving.
func (k *Consumer) beginSaving(ctx context.Context) error {
	select {
	case k.saving <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *Consumer) endSaving() { <-k.saving }

// sendAll has the broker store positions. REQUIRES: k.mu held; it is not while the broker is waited
// for.
func (k *Consumer) sendAll(ctx context.Context, list []position) error {
	for some := range slices.Chunk(list, positionsAtOnce) {
		err := k.send(ctx, some)
		for _, at := range some {
			at.p.committed, at.p.known = at.Offset, err == nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// positionsAtOnce is how many positions are stored or asked for with one request.
const positionsAtOnce = 1000

// send has the broker store some positions, likewise.
func (k *Consumer) send(ctx context.Context, list []position) error {
	offsets := make([]ipc.OffsetCommit, len(list))
	for i := range list {
		offsets[i] = list[i].OffsetCommit
	}
	cmd, body := native.CmdCommitOffsets, native.Body(&native.CommitOffsets{Group: k.opt.group, Offsets: offsets})
	if k.group != nil {
		cmd, body = native.CmdGroupCommit, k.group.commit(offsets)
	}
	k.mu.Unlock()
	defer k.mu.Lock()
	_, err := k.c.calls.do(ctx, cmd, body)
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
	if start {
		k.commit.running, k.commit.idle = true, make(chan struct{})
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
			close(k.commit.idle)
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

// awaitCommits waits for asynchronous commits, until ctx ends.
func (k *Consumer) awaitCommits(ctx context.Context) {
	k.mu.Lock()
	running, idle := k.commit.running, k.commit.idle
	k.mu.Unlock()
	if !running {
		return
	}
	select {
	case <-idle:
	case <-ctx.Done():
	}
}

// commitByItself commits at intervals what has been worked on, until the consumer is closed.
func (k *Consumer) commitByItself() {
	ctx, cancel := until(k.stop)
	defer cancel()
	tick := time.NewTicker(k.opt.autoCommit)
	defer tick.Stop()
	for {
		select {
		case <-k.closing:
			return
		case <-tick.C:
			k.logged("automatic commit failed", k.save(ctx, k.worked))
		}
	}
}

// logged reports what goes wrong in the background.
func (k *Consumer) logged(what string, err error) {
	if err != nil && !errors.Is(err, context.Canceled) {
		k.c.opt.log.Warn(what, "group", k.opt.group, "err", err)
	}
}

// CommitPositions stores the given positions for the consumer's group. Those of a member must lie in
// what it was given of the partition since it has it, or it is ErrNotAssigned: others are about a
// time before the partition was lost and came back.
func (k *Consumer) CommitPositions(ctx context.Context, positions ...Position) error {
	if k.opt.group == "" {
		return errNoGroup
	}
	list := make([]position, len(positions))
	k.mu.Lock()
	for i, at := range positions {
		p := k.part(at.Topic, at.Partition)
		if p == nil {
			k.mu.Unlock()
			return k.noPart(at.Topic, at.Partition)
		}
		list[i] = position{p, ipc.OffsetCommit{Index: p.index, Offset: at.Offset, Metadata: at.Metadata}}
	}
	k.mu.Unlock()
	var lost []error
	err := k.store(ctx, func() []position {
		list = slices.DeleteFunc(list, func(at position) bool {
			strange := k.group != nil && (at.p.stage == stageLeft || at.Offset < at.p.least || at.Offset > at.p.pos)
			if strange {
				lost = append(lost, &PartitionError{Topic: at.p.topic, Partition: at.p.number, Offset: at.Offset, Err: ErrNotAssigned})
			}
			return strange
		})
		return list
	})
	return errors.Join(append(lost, err)...)
}

// Committed gives the group's committed positions in the consumer's partitions.
func (k *Consumer) Committed(ctx context.Context) ([]Position, error) {
	if k.opt.group == "" {
		return nil, errNoGroup
	}
	k.mu.Lock()
	parts := slices.Clone(k.parts)
	k.mu.Unlock()
	found, err := k.committedByIndex(ctx, parts)
	if err != nil {
		return nil, err
	}
	var all []Position
	for _, p := range parts {
		if at, ok := found[p.index]; ok {
			all = append(all, Position{Topic: p.topic, Partition: p.number, Offset: at.Offset, Metadata: at.Metadata})
		}
	}
	return all, nil
}

// committedByIndex asks for the group's positions in some partitions.
func (k *Consumer) committedByIndex(ctx context.Context, parts []*part) (map[uint64]ipc.OffsetCommit, error) {
	found := map[uint64]ipc.OffsetCommit{}
	if k.opt.group == "" {
		return found, nil
	}
	for some := range slices.Chunk(parts, positionsAtOnce) {
		indexes := make([]uint64, len(some))
		for i, p := range some {
			indexes[i] = p.index
		}
		if err := k.fetchCommitted(ctx, indexes, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

// fetchCommitted asks for positions, for fewer at once where their metadata fills the answer.
func (k *Consumer) fetchCommitted(ctx context.Context, indexes []uint64, found map[uint64]ipc.OffsetCommit) error {
	ask := native.FetchOffsets{Group: k.opt.group, Indexes: indexes}
	reply, err := request(ctx, k.c, native.CmdFetchOffsets, &ask, native.DecodeOffsetsReply)
	if half := len(indexes) / 2; codeOf(err) == errcode.LimitExceeded && half > 0 {
		if err := k.fetchCommitted(ctx, indexes[:half], found); err != nil {
			return err
		}
		return k.fetchCommitted(ctx, indexes[half:], found)
	}
	if err != nil && !errors.Is(err, ErrNotFound) { // a group that has committed nothing is none
		return err
	}
	for _, o := range reply.Offsets {
		found[o.Index] = o
	}
	return nil
}
