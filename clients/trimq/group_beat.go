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

// The heartbeats of a member: one at a time, over the connection of the client's calls. One whose
// answer does not come is not sent again as it was, for the broker may have moved on with it: the
// next one tells everything, and the broker repeats what it has said.

// beat sends heartbeats until the consumer is closed. It is the beating goroutine.
func (m *membership) beat() {
	ctx, cancel := until(m.k.stop)
	defer cancel()
	for {
		body, wait := m.next(time.Now())
		if body == nil {
			timer := time.NewTimer(wait)
			select {
			case <-m.wake:
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		} else {
			m.exchangeInTime(ctx, body)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// exchangeInTime is exchange that ends with the lease, so that its end is noticed.
func (m *membership) exchangeInTime(ctx context.Context, body *native.GroupHeartbeat) {
	m.k.mu.Lock()
	lease, held := m.lease, m.standing == belonging
	m.k.mu.Unlock()
	if held {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, lease)
		defer cancel()
	}
	_ = m.exchange(ctx, body) // take has dealt with it
}

// unhurried is how long a member sleeps that waits for something else than a time.
const unhurried = time.Minute

// next is the heartbeat that is due, or, with nil, how long there is time.
func (m *membership) next(now time.Time) (body *native.GroupHeartbeat, wait time.Duration) {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	o := &m.k.opt.member
	wait = unhurried
	if m.standing == belonging {
		m.checkLease(now)
	}
	if m.standing == belonging && !m.closing {
		if m.k.stuck(now, o.maxPoll) {
			m.lose(resting, ErrMaxPollInterval)
			return m.goodbye(), 0
		}
		if o.maxPoll > 0 {
			wait = max(o.maxPoll-now.Sub(m.k.polls.last), o.maxPoll/8, time.Millisecond)
		}
	}
	if m.standing != belonging && m.standing != joining {
		return nil, wait
	}
	if d := m.due.Sub(now); d > 0 && !m.urgent {
		return nil, min(wait, d)
	}
	m.urgent = false
	if m.standing == joining {
		return m.joinBody(), 0
	}
	return m.stayBody(), 0
}

// joinBody is the heartbeat of one that asks to be taken in. REQUIRES: k.mu held. The instance id is taken over by the
// first only: when a member comes back and somebody else has it, it was taken from this one.
func (m *membership) joinBody() *native.GroupHeartbeat {
	body := m.fullBody()
	body.TakeOver = m.k.opt.member.takeOver && m.tenures == 0
	return body
}

// fullBody tells all that there is to tell. REQUIRES: k.mu held.
func (m *membership) fullBody() *native.GroupHeartbeat {
	o := &m.k.opt.member
	return &native.GroupHeartbeat{
		Group: m.k.opt.group, Member: m.id, Epoch: m.epoch, Instance: o.instance,
		SessionMS: int32(o.session.Milliseconds()), RebalanceMS: int32(o.rebalance.Milliseconds()), Assignor: string(o.assignor),
		HasTopics: true, Topics: m.topics, HasOwned: true, Owned: m.owned(),
	}
}

// stayBody is the heartbeat of a member. REQUIRES: k.mu held.
func (m *membership) stayBody() *native.GroupHeartbeat {
	if m.full {
		return m.fullBody()
	}
	body := &native.GroupHeartbeat{Group: m.k.opt.group, Member: m.id, Epoch: m.epoch, Instance: m.k.opt.member.instance}
	if owned := m.owned(); !slices.Equal(owned, m.told) {
		body.HasOwned, body.Owned = true, owned
	}
	return body
}

// owned lists what the member has. REQUIRES: k.mu held.
func (m *membership) owned() []uint64 {
	ids := make([]uint64, len(m.k.parts))
	for i, p := range m.k.parts {
		ids[i] = p.index
	}
	slices.Sort(ids)
	return ids
}

// exchange sends a heartbeat and takes the answer in.
func (m *membership) exchange(ctx context.Context, body *native.GroupHeartbeat) error {
	if m.on == nil { // who answers a ping is the one to talk to
		a, err := m.k.c.calls.do(ctx, native.CmdPing, &native.Ping{Token: 1})
		if err != nil {
			m.take(time.Time{}, body, nil, err)
			return err
		}
		m.on = a.on
	}
	sent := time.Now()
	reply, _, err := ask(ctx, m.k.c.calls, m.on, native.CmdGroupHeartbeat, body, native.DecodeGroupAssignment)
	if errors.Is(err, errConnLost) {
		m.on = nil
	}
	if code := codeOf(err); code != errcode.OK {
		m.refusal = err
	}
	m.take(sent, body, &reply, err)
	return err
}

// take does what the answer to a heartbeat says.
func (m *membership) take(sent time.Time, body *native.GroupHeartbeat, reply *native.GroupAssignment, err error) {
	m.k.mu.Lock()
	defer m.k.mu.Unlock()
	asked := belonging
	if body.Epoch == ipc.EpochJoin {
		asked = joining
	}
	if body.Epoch < 0 || m.standing != asked {
		return // it is about a membership that has ended since
	}
	defer m.changed.ring()
	switch {
	case err == nil:
		m.answered(sent, body, reply)
		return
	case asked == belonging && (codeOf(err) == errcode.UnknownMember || codeOf(err) == errcode.FencedMemberEpoch):
		m.lose(losing, err)
		return
	case m.final(asked, err):
		m.fail(err)
		return
	}
	m.full = true
	m.due = time.Now()
	if !errors.Is(err, errConnLost) {
		m.due = m.due.Add(m.pause.delay())
	}
}

// final tells refusals that stay the same however often one asks.
func (m *membership) final(asked standing, err error) bool {
	code := codeOf(err)
	switch {
	case fatalRefusal(err): // somebody may put it right while the consumer lives
		return m.tenures == 0 && asked == joining
	case code == errcode.UnreleasedInstanceID: // at first it may be a matter of time
		return m.tenures > 0
	case code == errcode.UnknownMember:
		return false
	}
	return code != errcode.OK && !code.Retriable()
}

// answered: the broker has heard from the member. REQUIRES: k.mu held.
func (m *membership) answered(sent time.Time, body *native.GroupHeartbeat, reply *native.GroupAssignment) {
	session := time.Duration(reply.SessionMS) * time.Millisecond
	m.standing, m.full, m.epoch = belonging, false, reply.Epoch
	m.pause.reset()
	if body.HasOwned {
		m.told = body.Owned
	}
	m.lease = sent.Add(session)
	m.interval = min(max(time.Duration(reply.HeartbeatMS)*time.Millisecond, shortestBeat), session/3)
	m.due = time.Now().Add(m.interval)
	if !reply.HasTopics {
		return
	}
	m.target = nil
	for _, t := range reply.Topics {
		for _, p := range t.Partitions {
			m.target = append(m.target, share{t.Topic, p.Partition, p.Index})
		}
	}
	m.align()
}

// shortestBeat bounds what the broker can ask for.
const shortestBeat = 10 * time.Millisecond
