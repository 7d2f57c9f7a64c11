package e2e

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
)

// A crowd is a group whose members come, go, fall silent and die while the broker's tiers are
// killed. It keeps what they were given, and what was promised to them.

const (
	crowdGroup   = "crowd"
	crowdSession = 6 * time.Second
)

// spot is a partition.
type spot struct {
	topic     string
	partition uint32
}

// crowd is one run. What stands below mu is guarded by it.
type crowd struct {
	t     *testing.T
	b     *broker.Broker
	ctx   context.Context
	admin *trimq.Client

	mu     sync.Mutex
	worked map[spot]map[uint64]bool // offsets that somebody was given
	stored map[spot]uint64          // positions whose commit was confirmed
	seen   map[spot]uint64          // positions that the broker has told
	holder map[spot]*crowdMember    // who has it, as callbacks say
	faults []string
}

func newCrowd(t *testing.T, b *broker.Broker) *crowd {
	return &crowd{
		t: t, b: b, ctx: testContext(t), admin: dial(t, b), worked: map[spot]map[uint64]bool{}, stored: map[spot]uint64{}, seen: map[spot]uint64{},
		holder: map[spot]*crowdMember{},
	}
}

// fault notes what must not be. REQUIRES: w.mu held.
func (w *crowd) fault(format string, args ...any) {
	if len(w.faults) < 20 {
		w.faults = append(w.faults, fmt.Sprintf(format, args...))
	}
}

// work notes that somebody was given a record. REQUIRES: w.mu held.
func (w *crowd) work(s spot, offset uint64) {
	if w.worked[s] == nil {
		w.worked[s] = map[uint64]bool{}
	}
	w.worked[s][offset] = true
}

// look asks for the group; positions must never go back.
func (w *crowd) look() *trimq.Membership {
	found, err := w.admin.Memberships(w.ctx, crowdGroup)
	if errors.Is(err, trimq.ErrNotFound) {
		return &trimq.Membership{}
	}
	if err != nil {
		w.t.Fatal(err)
	}
	topics, err := w.admin.Topics(w.ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	where := map[uint64]spot{}
	for _, t := range topics {
		for n, p := range t.Partitions {
			where[p.Index] = spot{t.Name, uint32(n)}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range found[0].Offsets {
		s := where[o.Index]
		if o.Offset < w.seen[s] {
			w.fault("%v: the position went from %d to %d", s, w.seen[s], o.Offset)
		}
		w.seen[s] = o.Offset
	}
	return &found[0]
}

// isMember tells whether somebody whose id begins with a name is a member.
func isMember(g *trimq.Membership, name string) bool {
	for _, m := range g.Members {
		if strings.HasPrefix(m.ID, name+"-") {
			return true
		}
	}
	return false
}

// until waits for a state of the group.
func (w *crowd) until(what string, ok func(g *trimq.Membership) bool) {
	w.t.Helper()
	var g *trimq.Membership
	for deadline := time.Now().Add(patience / 2); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if g = w.look(); ok(g) {
			return
		}
	}
	w.t.Fatalf("never: %s; the group: %+v; what members have: %v", what, g, w.runs())
}

// runs tells what members in this process have, for a test that has failed.
func (w *crowd) runs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for s, m := range w.holder {
		fmt.Fprintf(&b, "%s has %v up to %d, since %v; ", m.name, s, m.runs[s], time.Since(m.latest[s]).Round(time.Millisecond))
	}
	return b.String() + strings.Join(w.faults, "; ")
}

// settled waits until there are so many members, and they have all partitions.
func (w *crowd) settled(members, partitions int) {
	w.t.Helper()
	w.until(fmt.Sprintf("%d members have all partitions", members), func(g *trimq.Membership) bool {
		has := 0
		for _, m := range g.Members {
			has += len(m.Assigned)
		}
		return g.State == trimq.GroupStable && len(g.Members) == members && has == partitions
	})
}

// crowdMember is a member in this process.
type crowdMember struct {
	w      *crowd
	name   string
	auto   bool // it commits by itself
	wire   *wire
	client *trimq.Client
	k      *trimq.Consumer
	stop   context.CancelFunc
	done   chan struct{}

	// Guarded by w.mu.
	runs   map[spot]uint64    // what it has, and the next offset
	latest map[spot]time.Time // when something came last of what it has
	pause  time.Duration      // the longest between two fetches of a partition
	silent bool               // it was cut off at some time
	lost   bool               // it was told that it has lost its partitions
}

// join makes a member, and has it read.
func (w *crowd) join(name string, auto bool, topics ...string) *crowdMember {
	w.t.Helper()
	m := &crowdMember{
		w: w, name: name, auto: auto, wire: &wire{}, done: make(chan struct{}),
		runs: map[spot]uint64{}, latest: map[spot]time.Time{},
	}
	m.client = dial(w.t, w.b, trimq.WithName(name), trimq.WithDialer(m.wire.dial), trimq.WithBackoff(10*time.Millisecond, 200*time.Millisecond))
	opts := []trimq.ConsumerOption{
		trimq.WithGroup(crowdGroup), trimq.WithSessionTimeout(crowdSession), trimq.WithFetchWait(200 * time.Millisecond),
		trimq.OnAssigned(m.assigned), trimq.OnRevoked(m.revoked), trimq.OnLost(m.losing),
	}
	if auto {
		opts = append(opts, trimq.WithAutoCommit(200*time.Millisecond), trimq.WithPush())
	}
	var err error
	if m.k, err = m.client.NewConsumer(w.ctx, topics, opts...); err != nil {
		w.t.Fatal(err)
	}
	var ctx context.Context
	ctx, m.stop = context.WithCancel(w.ctx)
	w.t.Cleanup(m.stop)
	go m.read(ctx)
	return m
}

// leave ends a member as it should be ended.
func (m *crowdMember) leave() {
	m.w.t.Helper()
	m.stop()
	<-m.done
	if err := m.k.Close(m.w.ctx); err != nil {
		m.w.t.Errorf("%s: %v", m.name, err)
	}
}

// silence cuts a member off, for good (die) or until its wire is thawed.
func (m *crowdMember) silence(die bool) {
	m.w.mu.Lock()
	m.silent = true
	m.w.mu.Unlock()
	if m.wire.freeze(); die {
		m.stop()
	}
}

// outInTime waits until a silent member is out, which must not be before its session is over.
func (m *crowdMember) outInTime() {
	m.w.t.Helper()
	last := m.wire.lastBeat()
	m.w.until(m.name+" is out", func(g *trimq.Membership) bool { return !isMember(g, m.name) })
	if after := time.Since(last); after < crowdSession {
		m.w.t.Errorf("%s is out %v after its last heartbeat; its session is %v", m.name, after, crowdSession)
	} else {
		m.w.t.Logf("%s is out %v after its last heartbeat", m.name, after.Round(time.Millisecond))
	}
}

func (m *crowdMember) assigned(_ context.Context, _ *trimq.Consumer, at []trimq.Position) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	for _, p := range at {
		s := spot{p.Topic, p.Partition}
		if other := m.w.holder[s]; other != nil && !other.silent {
			m.w.fault("%v is given to %s while %s has it", s, m.name, other.name)
		}
		if p.Offset < m.w.stored[s] {
			m.w.fault("%v: %s begins at %d, committed is %d", s, m.name, p.Offset, m.w.stored[s])
		}
		m.w.holder[s], m.runs[s], m.latest[s] = m, p.Offset, time.Now()
	}
}

// drop takes partitions from a member. REQUIRES: w.mu held.
func (m *crowdMember) drop(at []trimq.Position) {
	for _, p := range at {
		s := spot{p.Topic, p.Partition}
		if delete(m.runs, s); m.w.holder[s] == m {
			delete(m.w.holder, s)
		}
	}
}

func (m *crowdMember) revoked(_ context.Context, _ *trimq.Consumer, at []trimq.Position) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.drop(at)
}

func (m *crowdMember) losing(_ context.Context, _ *trimq.Consumer, at []trimq.Position) {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	m.drop(at)
	if m.lost = true; !m.silent {
		m.w.fault("%s has lost %d partitions, and was never silent", m.name, len(at))
	}
}

// read works on what comes, and commits it unless that goes by itself.
func (m *crowdMember) read(ctx context.Context) {
	defer close(m.done)
	for {
		f, err := m.k.Poll(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			at := m.given(f)
			if f.Release(); !m.auto {
				err = m.commit(ctx, at)
			}
		}
		if err != nil && ctx.Err() == nil {
			m.w.mu.Lock()
			m.w.fault("%s: %v", m.name, err)
			m.w.mu.Unlock()
			return
		}
	}
}

// given checks what a Poll has given: nobody else has the partition, and nothing was left out.
func (m *crowdMember) given(f *trimq.Fetch) trimq.Position {
	s := spot{f.Topic, f.Partition}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	next, has := m.runs[s]
	if !has || m.w.holder[s] != m {
		if !m.silent {
			m.w.fault("%v: %s is given records of a partition that it has not", s, m.name)
		}
		next = f.Records[0].Offset
	}
	for _, r := range f.Records {
		if r.Offset != next {
			m.w.fault("%v: %s is given %d where %d comes next", s, m.name, r.Offset, next)
		}
		m.w.work(s, r.Offset)
		next = r.Offset + 1
	}
	now := time.Now()
	m.pause = max(m.pause, now.Sub(m.latest[s]))
	m.runs[s], m.latest[s] = next, now
	return trimq.Position{Topic: s.topic, Partition: s.partition, Offset: next}
}

func (m *crowdMember) commit(ctx context.Context, at trimq.Position) error {
	err := m.k.CommitPositions(ctx, at)
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	s := spot{at.Topic, at.Partition}
	switch {
	case err == nil:
		m.w.stored[s] = max(m.w.stored[s], at.Offset)
	case errors.Is(err, trimq.ErrNotAssigned) && m.silent:
		return nil
	}
	return err
}

// wire is a member's way to the broker. While it is frozen nothing comes through, and nobody is told.
type wire struct {
	mu     sync.Mutex
	frozen chan struct{} // closed by thaw; nil: it is not frozen
	beat   time.Time     // when the last heartbeat went out
}

func (l *wire) dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &wireConn{Conn: c, l: l, closed: make(chan struct{})}, nil
}

func (l *wire) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = make(chan struct{})
}

func (l *wire) thaw() {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.frozen)
	l.frozen = nil
}

func (l *wire) lastBeat() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beat
}

type wireConn struct {
	net.Conn
	l      *wire
	once   sync.Once
	closed chan struct{}
}

func (c *wireConn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

func (c *wireConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.pass(nil)
	return n, err
}

func (c *wireConn) Write(b []byte) (int, error) {
	if !c.pass(b) {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(b)
}

// pass waits while the wire is frozen, and notes heartbeats, before they are sent: each is a write
// of its own.
func (c *wireConn) pass(b []byte) bool {
	for {
		c.l.mu.Lock()
		frozen := c.l.frozen
		if frozen == nil {
			if len(b) >= 6 && native.Command(binary.LittleEndian.Uint16(b[4:])) == native.CmdGroupHeartbeat {
				c.l.beat = time.Now()
			}
			c.l.mu.Unlock()
			return true
		}
		c.l.mu.Unlock()
		select {
		case <-frozen:
		case <-c.closed:
			return false
		}
	}
}

// printed takes over what `trimq consume --json` has printed.
func (w *crowd) printed(r *running) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, text := range r.lines {
		var l struct {
			Topic             string
			Partition, Offset *uint64
		}
		if json.Unmarshal([]byte(text), &l) != nil || l.Partition == nil {
			w.t.Log("trimq consume: ", text)
			continue
		}
		w.work(spot{l.Topic, uint32(*l.Partition)}, *l.Offset)
		n++
	}
	return n
}
