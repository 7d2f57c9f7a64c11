package trimq

import (
	"context"
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// The commits of a member bear its epoch, by which the broker tells those of one that has been
// given up. One that the member's own progress has overtaken is sent again with the new epoch, for
// those of the partitions that it still has.

// commit is the request to store positions. REQUIRES: k.mu held.
func (m *membership) commit(offsets []ipc.OffsetCommit) *native.GroupCommit {
	return &native.GroupCommit{
		Group: m.k.opt.group, Member: m.id, Instance: m.k.opt.member.instance, Epoch: m.epoch, Offsets: offsets,
	}
}

// mayTryAgain tells whether a commit that was refused is worth another attempt, and waits until it
// is. REQUIRES: k.mu held; it is not while it waits.
func (m *membership) mayTryAgain(ctx context.Context, err error) bool {
	switch codeOf(err) {
	case errcode.UnknownMember, errcode.FencedMemberEpoch, errcode.FencedInstanceID:
		m.hurry() // to learn what that means
		return false
	case errcode.StaleMemberEpoch:
	default:
		return false
	}
	m.hurry()
	changed := m.changed.next()
	m.k.mu.Unlock()
	defer m.k.mu.Lock()
	select {
	case <-changed:
		return true
	case <-m.k.stop:
		return false
	case <-ctx.Done():
		return false
	}
}

// lostWork tells of positions that could not be committed any more, once.
func (m *membership) lostWork() error {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	var errs []error
	for _, at := range m.unsaved {
		errs = append(errs, &PartitionError{Topic: at.Topic, Partition: at.Partition, Offset: at.Offset, Err: ErrNotAssigned})
	}
	clear(m.unsaved)
	return errors.Join(errs...)
}

// notMember wraps the refusal of a commit, for which the partitions are another member's.
func notMember(err error) error {
	switch codeOf(err) {
	case errcode.UnknownMember, errcode.FencedMemberEpoch, errcode.FencedInstanceID:
		return fmt.Errorf("%w: %w", ErrNotAssigned, err)
	}
	return err
}
