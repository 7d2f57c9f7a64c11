package trimq

import (
	"context"
	"slices"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
)

// How a member gets from the partitions that it has to those that it shall have. What stays is
// not touched: it is read on without a pause, whatever becomes of the others and however long the
// user's callbacks take. One goroutine at a time settles, as long as there is something to do.

// told is which of the user's callbacks have heard of a partition.
type told uint8

const (
	toldNothing  told = iota
	toldAssigned      // OnAssigned
	toldRevoked       // OnRevoked too
)

// align compares what the member has with what it shall have, and begins to settle the difference.
// REQUIRES: k.mu held.
func (m *membership) align() {
	if m.standing != belonging {
		return
	}
	if m.closing {
		m.target = nil
	}
	shall := map[uint64]share{}
	for _, s := range m.target {
		shall[s.index] = s
	}
	now := time.Now()
	for _, p := range m.k.parts {
		if _, ok := shall[p.index]; !ok && p.stage != stageLeaving {
			p.stage, p.urged = stageLeaving, now
			m.k.drop(p)
		}
		delete(shall, p.index) // one that is leaving comes again when it has gone
	}
	for _, s := range m.target {
		if _, ok := shall[s.index]; ok {
			m.k.parts = append(m.k.parts, &part{topic: s.topic, number: s.number, index: s.index, stage: stageComing})
			delete(shall, s.index)
		}
	}
	m.settle()
}

// settle has a goroutine do what is to be done. REQUIRES: k.mu held.
func (m *membership) settle() {
	if m.settling || m.job() == nil {
		return
	}
	m.settling, m.settled = true, make(chan struct{})
	m.k.work.Go(m.settleAll)
}

func (m *membership) settleAll() {
	for {
		m.k.mu.Lock()
		job := m.job()
		if job == nil {
			m.settling = false
			close(m.settled)
		}
		m.k.mu.Unlock()
		if job == nil {
			return
		}
		job()
	}
}

// job is what is to be done next: partitions are given up before others are begun, so that they get
// on. REQUIRES: k.mu held.
func (m *membership) job() func() {
	if m.mourning {
		return m.tellLost
	}
	ctx := m.tenure
	if parts := m.at(stageLeaving); len(parts) > 0 {
		return func() { m.handOver(ctx, parts) }
	}
	if parts := m.at(stageComing); len(parts) > 0 {
		return func() { m.welcome(ctx, parts) }
	}
	return nil
}

// at lists the partitions at a stage; of those that are leaving, the ones that are to be given up
// first, for each time that the broker has asked has its own limit. REQUIRES: k.mu held.
func (m *membership) at(s stage) (found []*part) {
	for _, p := range m.k.parts {
		if p.stage != s || len(found) > 0 && p.urged.After(found[0].urged) {
			continue
		}
		if len(found) > 0 && p.urged.Before(found[0].urged) {
			found = found[:0]
		}
		found = append(found, p)
	}
	return found
}

// tellLost tells the user what is lost, and then lets the member join again.
func (m *membership) tellLost() {
	m.k.mu.Lock()
	lost := m.lost
	m.lost = nil
	m.k.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), m.k.opt.member.rebalanceLimit())
	defer cancel()
	m.call(ctx, m.k.opt.member.lost, lost)
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	m.mourning = false
	if m.standing == losing && !m.closing {
		m.joinAgain()
	}
}

// call calls one of the user's functions, if there is something to tell.
func (m *membership) call(ctx context.Context, f PartitionsFunc, at []Position) {
	if f != nil && len(at) > 0 {
		f(ctx, m.k, at)
	}
}

// handOver gives partitions up when the user is done with them, or has had as long as the broker
// grants. ctx is the membership's.
func (m *membership) handOver(ctx context.Context, parts []*part) {
	limit, urged := m.k.opt.member.rebalanceLimit(), parts[0].urged
	m.awaitHands(ctx, parts, urged.Add(limit/2))
	m.k.mu.Lock()
	var known []Position
	for _, p := range parts {
		if p.stage == stageLeaving && p.told == toldAssigned {
			p.told = toldRevoked
			known = append(known, p.at(m.k.worked(p)))
		}
	}
	m.k.mu.Unlock()
	ctx, cancel := context.WithDeadline(ctx, urged.Add(limit-limit/8))
	defer cancel()
	m.call(ctx, m.k.opt.member.revoked, known)
	if m.k.opt.autoCommit > 0 {
		m.k.logged("automatic commit failed", m.k.save(ctx, m.k.worked))
	}
	m.k.awaitCommits(ctx)
	m.letGo(ctx, parts)
}

// awaitHands waits until the user has polled again since it was given the last records of some
// partitions, and so is done with them; but not beyond a time, nor when the consumer is closed.
func (m *membership) awaitHands(ctx context.Context, parts []*part, until time.Time) {
	ctx, cancel := context.WithDeadline(ctx, until)
	defer cancel()
	for {
		m.k.mu.Lock()
		busy, polled := slices.ContainsFunc(parts, m.k.inHand), m.polled.next()
		m.k.mu.Unlock()
		if !busy {
			return
		}
		select {
		case <-polled:
		case <-m.k.closing:
			return
		case <-ctx.Done():
			return
		}
	}
}

// letGo takes partitions out, between two commits, and has the broker told.
func (m *membership) letGo(ctx context.Context, parts []*part) {
	if m.k.beginSaving(ctx) == nil {
		defer m.k.endSaving()
	}
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	for _, p := range parts {
		if p.stage == stageLeaving {
			m.remove(p)
		}
	}
	m.k.parts = slices.DeleteFunc(m.k.parts, func(p *part) bool { return p.stage == stageLeft })
	m.align()
	m.hurry()
}

// remove ends a partition, and keeps in mind what was given out of it in vain. REQUIRES: k.mu held;
// the caller takes it out of k.parts.
func (m *membership) remove(p *part) {
	m.k.drop(p)
	p.stage = stageLeft
	if p.placed && p.given > 0 && (!p.known || p.committed != p.pos) {
		m.unsaved[p.index] = p.at(p.pos)
	}
}

// welcome begins with partitions where the group has committed, or where the options say. ctx is the
// membership's.
func (m *membership) welcome(ctx context.Context, parts []*part) {
	failed := m.place(ctx, parts)
	m.keepStart(ctx, parts)
	m.k.mu.Lock()
	var known []Position
	for _, p := range parts {
		if p.stage == stageComing && p.placed {
			p.told = toldAssigned
			known = append(known, p.at(p.pos))
		}
	}
	m.k.mu.Unlock()
	bounded, cancel := context.WithTimeout(ctx, m.k.opt.member.rebalanceLimit())
	defer cancel()
	m.call(bounded, m.k.opt.member.assigned, known)
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	for i, p := range parts {
		if p.stage != stageComing {
			continue
		}
		if p.stage = stageReading; failed[i] != nil {
			m.k.failPart(p, failed[i])
		}
		m.k.want(p)
	}
}

// place finds where to begin with partitions, and tells for which that failed. It looks when no
// commit is under way: one from before the member had lost a partition and got it back may yet count.
func (m *membership) place(ctx context.Context, parts []*part) []error {
	failed := make([]error, len(parts))
	if m.k.beginSaving(ctx) == nil {
		defer m.k.endSaving()
	}
	var committed map[uint64]ipc.OffsetCommit
	err := m.persist(ctx, func() (err error) {
		committed, err = m.k.committedByIndex(ctx, parts)
		return err
	})
	for i, p := range parts {
		if failed[i] = err; err == nil {
			failed[i] = m.persist(ctx, func() error { return m.k.place(ctx, p, committed, m.from(p)) })
		}
	}
	return failed
}

// persist tries again what is refused for now.
func (m *membership) persist(ctx context.Context, do func() error) error {
	pause := backoff{min: m.k.c.opt.backoffMin, max: m.k.c.opt.backoffMax}
	for {
		if err := do(); !codeOf(err).Retriable() || pause.sleep(ctx) != nil {
			return err
		}
	}
}

// from is where to begin with a partition in which nothing was committed. Nobody can have missed
// anything in one that was added since the consumer is there.
func (m *membership) from(p *part) From {
	if p.number >= m.counts[p.topic] {
		return Earliest()
	}
	return m.k.opt.from
}

// keepStart commits where the member begins, unless that is the earliest offset: a rebalance before
// the user's first commit would let the next one begin later, and what lies between would be
// skipped.
func (m *membership) keepStart(ctx context.Context, parts []*part) {
	if m.k.opt.from.kind == fromEarliest {
		return
	}
	m.k.logged("commit of the first position failed", m.k.store(ctx, func() (list []position) {
		for _, p := range parts {
			if p.stage == stageComing && p.placed && !p.known {
				list = append(list, position{p, ipc.OffsetCommit{Index: p.index, Offset: p.pos}})
			}
		}
		return list
	}))
}
