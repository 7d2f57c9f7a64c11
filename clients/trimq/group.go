package trimq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

// A consumer as a member of a group. Three things go on beside each other:
//
//	heartbeats   group_beat.go     say what the member has, and are told what it shall have
//	settling     group_settle.go   gets from the one to the other, with the user's callbacks
//	commits      group_commit.go   bear the member's id and epoch
//
// What the member has are the partitions in Consumer.parts, from the moment when an answer names
// them until the user is done with them. So what the broker is told to be the member's is never
// less than what it reads, and nobody else has a partition that it reads:
//
//	answer without a   a: leaving. Nothing of it is given out any more.
//	                   the user's next Poll, OnRevoked, commits
//	                   a is taken out of Consumer.parts
//	heartbeat ────►    owned: without a. The broker gives it on.
//
// All of that hangs on the broker's hearing from the member. Of that it can be sure for one
// session time-out after a heartbeat that was answered has been sent: its lease. When that is over,
// or the broker says so, all that it has is lost, at once, and it joins again.

// standing is what a member is to its group.
type standing uint8

const (
	joining   standing = iota // it asks to be taken in
	belonging                 // it is a member
	losing                    // it has lost all; the user is told, and it joins again
	resting                   // likewise, but it joins again with the next Poll
	outside                   // it has left, or cannot be a member
)

// membership is a consumer's part in a group. It is guarded by Consumer.mu, but for what never
// changes and for what is said to be a goroutine's.
type membership struct {
	k      *Consumer
	id     string            // chosen here, so that a join that is sent again makes no second member
	topics []string          // what it subscribes to
	counts map[string]uint32 // how many partitions they had when the consumer was made
	wake   chan struct{}     // capacity 1: the time of the next heartbeat has changed

	// Heartbeats.

	on       *conn         // over which they go; nil: not known. The beating goroutine's
	pause    backoff       // between attempts. Likewise
	refusal  error         // of the latest attempt to join. Likewise
	standing standing      //
	epoch    int32         // of the next heartbeat
	tenures  int           // how often it was a member before
	lease    time.Time     // until then nobody else has what it has
	interval time.Duration // between two heartbeats
	due      time.Time     // when the next one is
	urgent   bool          // it is now
	full     bool          // it tells everything
	told     []uint64      // what the broker knows it to have, in order
	target   []share       // what it shall have
	changed  alarm         // a heartbeat was answered, or the standing has changed
	err      error         // why it is outside

	// Settling.

	settling bool          // a goroutine is at it
	settled  chan struct{} // closed when that has ended
	closing  bool          // all is given up
	mourning bool          // the user has not been told yet what was lost
	lost     []Position    // … and this is it
	polled   alarm         // a Poll has begun
	tenure   context.Context
	end      context.CancelFunc // of tenure: it is no member any longer

	unsaved map[uint64]Position // by index: what was given out and not committed before it went
}

// share is a partition that the broker gives to the member.
type share struct {
	topic  string
	number uint32
	index  uint64
}

func newMembership(k *Consumer, topics []string) *membership {
	m := &membership{
		k: k, topics: slices.Clone(topics), counts: map[string]uint32{}, wake: make(chan struct{}, 1), full: true,
		pause: backoff{min: k.c.opt.backoffMin, max: k.c.opt.backoffMax}, unsaved: map[uint64]Position{},
	}
	m.tenure, m.end = context.WithCancel(context.Background())
	const most = 200 // bytes; the broker takes 255 with what is added
	name := k.c.opt.name
	if name == "" || len(name) > most || !utf8.ValidString(name) {
		name = "member"
	}
	m.id = name + "-" + rand.Text()
	return m
}

// begin joins the group. The partitions come with time.
func (m *membership) begin(ctx context.Context, c *Client) ([]*part, error) {
	for _, name := range m.topics {
		e, err := c.topics.get(ctx, name)
		if err != nil {
			return nil, err
		}
		m.counts[name] = uint32(len(e.indexes))
	}
	for {
		body, wait := m.next(time.Now())
		if body == nil {
			if sleep(ctx, wait) != nil {
				return nil, m.notJoined(ctx.Err())
			}
			continue
		}
		err := m.exchange(ctx, body)
		joined, final := m.joined()
		switch {
		case final != nil:
			return nil, final
		case joined:
			m.k.work.Go(m.beat)
			return nil, nil
		case ctx.Err() != nil:
			return nil, m.notJoined(err)
		}
	}
}

// joined tells whether the broker has taken the member in, or what it has against it.
func (m *membership) joined() (bool, error) {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	m.k.polls.last = time.Now()
	return m.standing != joining, m.err
}

// notJoined says why the member was not taken in before a context ended.
func (m *membership) notJoined(err error) error {
	if m.refusal != nil && !errors.Is(err, m.refusal) {
		err = fmt.Errorf("%w (%w)", m.refusal, err)
	}
	return fmt.Errorf("trimq: join group %q: %w", m.k.opt.group, err)
}

// grown: the broker finds new partitions by itself.
func (m *membership) grown(string, *topicEntry) []*part { return nil }

// sleep waits; it returns early with ctx's error.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look is what Poll sees first: a member that has lost its partitions must not give out what it has
// fetched of them. REQUIRES: k.mu held.
func (m *membership) look() error {
	switch {
	case m.err != nil:
		return m.err
	case m.standing == belonging:
		m.checkLease(time.Now())
	case m.standing == resting:
		m.standing = losing
		if !m.mourning {
			m.joinAgain()
		}
		return ErrMaxPollInterval
	}
	return nil
}

// errNotHeard ends a membership of which the broker has perhaps heard nothing for a session.
var errNotHeard = errors.New("trimq: no heartbeat was answered within the session time-out")

// checkLease gives all up when the lease is over. REQUIRES: k.mu held; it is a member.
func (m *membership) checkLease(now time.Time) {
	if now.After(m.lease) {
		m.lose(losing, errNotHeard)
	}
}

// lose ends the membership: its partitions may be others' from now on. REQUIRES: k.mu held.
func (m *membership) lose(to standing, why error) {
	if m.standing == outside {
		return
	}
	if m.standing == belonging {
		m.k.c.opt.log.Warn("no member any longer", "group", m.k.opt.group, "member", m.id, "epoch", m.epoch, "err", why)
	}
	for _, p := range m.k.parts {
		if p.told == toldAssigned {
			m.lost = append(m.lost, p.at(m.k.worked(p)))
		}
		m.remove(p)
	}
	m.k.parts, m.target, m.told = nil, nil, nil
	m.standing, m.epoch, m.full, m.mourning = to, ipc.EpochJoin, true, true
	m.tenures++
	m.end()
	m.changed.ring()
	m.settle()
}

// fail ends the membership for good: Poll returns the reason. REQUIRES: k.mu held.
func (m *membership) fail(err error) {
	m.lose(outside, err)
	m.err = fmt.Errorf("trimq: group %q: %w", m.k.opt.group, err)
	m.k.ring()
}

// joinAgain has the next heartbeat join. REQUIRES: k.mu held; the user knows what was lost.
func (m *membership) joinAgain() {
	m.standing = joining
	m.tenure, m.end = context.WithCancel(context.Background())
	m.hurry()
}

// hurry has the next heartbeat sent now. REQUIRES: k.mu held.
func (m *membership) hurry() {
	m.urgent = true
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// leave ends the membership with the consumer: what it has is given up in order, and the broker is
// told.
func (m *membership) leave(ctx context.Context) error {
	m.k.mu.Lock()
	m.closing = true
	m.align()
	settling, settled := m.settling, m.settled
	m.k.mu.Unlock()
	if settling {
		select {
		case <-settled:
		case <-ctx.Done():
		}
	}
	if !m.quit() {
		return nil
	}
	if ctx.Err() != nil { // it costs others a session's time if nobody is told
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), leaveGrace)
		defer cancel()
	}
	_, err := m.k.c.calls.do(ctx, native.CmdGroupHeartbeat, m.goodbye())
	switch codeOf(err) {
	case errcode.UnknownMember, errcode.FencedMemberEpoch, errcode.FencedInstanceID:
		return nil // it is none already
	}
	if err != nil {
		return fmt.Errorf("trimq: leave group %q: %w", m.k.opt.group, err)
	}
	return nil
}

// leaveGrace is how long a member whose Close has no time at all tries to tell the broker.
const leaveGrace = 100 * time.Millisecond

// quit ends the membership here; it tells whether the broker may take the consumer for a member.
func (m *membership) quit() bool {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	was := m.standing == belonging || m.standing == joining
	for _, p := range m.k.parts {
		m.remove(p)
	}
	m.k.parts, m.standing = nil, outside
	m.end()
	m.changed.ring()
	return was
}

// abandon leaves without waiting for anything.
func (m *membership) abandon() {
	if m.quit() {
		_, _ = m.k.c.calls.start(nil, native.CmdGroupHeartbeat, m.goodbye())
	}
}

// goodbye is the heartbeat of a member that leaves.
func (m *membership) goodbye() *native.GroupHeartbeat {
	o := &m.k.opt.member
	epoch := int32(ipc.EpochLeave)
	if o.instance != "" {
		epoch = ipc.EpochAway
	}
	return &native.GroupHeartbeat{Group: m.k.opt.group, Member: m.id, Epoch: epoch, Instance: o.instance}
}
