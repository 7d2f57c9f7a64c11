package trimq

import (
	"context"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// Decision is what a TxnChecker knows of a transaction.
type Decision uint8

// Decisions.
const (
	TxnUnknown  Decision = iota // nothing yet: the broker asks again
	TxnCommit                   // what it stands for has happened
	TxnRollback                 // it has not, and will not
)

// Check asks what has become of a transaction that nobody has ended.
type Check struct {
	Txn    uint64
	Group  string
	Key    string // by which the group knows it
	Checks uint32 // how often it was asked before
}

// TxnChecker answers for the transactions of a producer group. It is a member of the group on the
// client's connection, and again on each that replaces it; of several members the broker asks one in
// turn.
type TxnChecker struct {
	checks *checks
	group  string
	decide func(ctx context.Context, check Check) Decision
	first  chan error // capacity 1: the outcome of the first joining
	end    sync.Once
	stop   chan struct{} // closed by Close
	work   sync.WaitGroup
}

// TxnChecker makes this client answer for the transactions of a producer group, and waits until the
// broker knows. decide is called in a goroutine for each question; it should find out, from what the
// application has stored, whether what the transaction stands for has happened.
func (c *Client) TxnChecker(ctx context.Context, group string, decide func(ctx context.Context, check Check) Decision) (*TxnChecker, error) {
	k := &TxnChecker{checks: c.checks(), group: group, decide: decide, first: make(chan error, 1), stop: make(chan struct{})}
	if err := k.checks.join(k); err != nil {
		return nil, err
	}
	var err error
	select {
	case err = <-k.first:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil {
		k.leave()
		return nil, err
	}
	if err := c.adopt(k); err != nil {
		k.leave()
		return nil, err
	}
	return k, nil
}

// Close takes the client out of the group, and waits until no question is being decided, until ctx
// ends.
func (k *TxnChecker) Close(ctx context.Context) error {
	k.checks.c.disown(k)
	k.leave()
	done := make(chan struct{})
	go func() {
		k.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (k *TxnChecker) leave() {
	k.checks.leave(k)
	k.end.Do(func() { close(k.stop) })
}

// answer decides and tells.
func (k *TxnChecker) answer(m *native.CheckTxn) {
	defer k.checks.done(k)
	ctx, cancel := until(k.stop)
	defer cancel()
	d := k.decide(ctx, Check{Txn: m.Txn, Group: m.Group, Key: m.Key, Checks: m.Checks})
	if d != TxnCommit && d != TxnRollback {
		return
	}
	c := k.checks.c
	if _, err := c.endTxn(ctx, m.Txn, d == TxnCommit); err != nil {
		c.opt.log.Debug("end of a checked transaction", "txn", m.Txn, "group", m.Group, "err", err)
	}
}

// checks is the role in which a client's own link is a member of producer groups.
type checks struct {
	c *Client

	mu      sync.Mutex
	groups  map[string]*TxnChecker
	send    []native.TxnMember // to be sent
	waiting map[uint64]native.TxnMember
	corr    uint64
	again   time.Time // a joining was refused for now
	pause   backoff
	running int // questions that are being decided
}

// maxChecks bounds the questions that are decided at the same time; of those beyond it the broker
// asks again.
const maxChecks = 64

// checks is the client's role, made with the first group.
func (c *Client) checks() *checks {
	c.checkOnce.Do(func() {
		c.checker = &checks{
			c: c, groups: map[string]*TxnChecker{}, waiting: map[uint64]native.TxnMember{},
			pause: backoff{min: c.opt.backoffMin, max: c.opt.backoffMax},
		}
		c.calls.link.roles.add(c.checker, &c.checker.corr)
	})
	return c.checker
}

func (cs *checks) join(k *TxnChecker) error {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.groups[k.group] != nil {
		return invalid("this client answers for group %q already", k.group)
	}
	cs.groups[k.group] = k
	cs.tell(k.group, true)
	return nil
}

func (cs *checks) leave(k *TxnChecker) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.groups[k.group] == k {
		delete(cs.groups, k.group)
		cs.tell(k.group, false)
	}
}

// tell queues a frame. REQUIRES: cs.mu held.
func (cs *checks) tell(group string, join bool) {
	cs.send = append(cs.send, native.TxnMember{Group: group, Join: join})
	cs.c.calls.link.kick()
}

// up joins all groups, on a connection that knows of none.
func (cs *checks) up(*conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.again, cs.send = time.Time{}, cs.send[:0]
	for group := range cs.groups {
		cs.tell(group, true)
	}
}

func (cs *checks) gather(c *conn, o *outbox) time.Duration {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if wait := time.Until(cs.again); wait > 0 {
		return wait
	}
	for len(cs.send) > 0 && c.room(o) > 0 {
		m := cs.send[0]
		cs.send = cs.send[1:]
		cs.corr++
		cs.waiting[cs.corr] = m
		o.frame(native.CmdTxnMember, 0, cs.corr, &m)
	}
	return 0
}

func (cs *checks) takes(cmd native.Command) bool { return cmd == native.CmdCheckTxn }

func (cs *checks) handle(_ *conn, h native.Header, body []byte, _ *slab) error {
	if h.Flags&native.FlagResponse == 0 {
		return cs.check(body)
	}
	refusal := responseError(h, body)
	if refusal != nil && codeOf(refusal) == errcode.OK {
		return refusal
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	m, ok := cs.waiting[h.Correlation]
	if !ok || h.Command != native.CmdTxnMember {
		return protocolError("answer to %s %d, which was not asked", h.Command, h.Correlation)
	}
	delete(cs.waiting, h.Correlation)
	switch k := cs.groups[m.Group]; {
	case codeOf(refusal).Retriable():
		cs.again = time.Now().Add(cs.pause.delay())
		cs.send = append(cs.send, m)
		cs.c.calls.link.kick()
	case k == nil || !m.Join:
	default:
		cs.pause.reset()
		k.joined(refusal)
	}
	return nil
}

// joined answers TxnChecker, once.
func (k *TxnChecker) joined(err error) {
	select {
	case k.first <- err:
	default:
	}
	if err != nil {
		k.checks.c.opt.log.Warn("not a member of the producer group", "group", k.group, "err", err)
	}
}

// check has a question decided.
func (cs *checks) check(body []byte) error {
	m, err := native.DecodeCheckTxn(body)
	if err != nil {
		return protocolError("%w", err)
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	k := cs.groups[m.Group]
	if k == nil || cs.running >= maxChecks {
		return nil // it has just left, or will be asked again
	}
	cs.running++
	k.work.Add(1)
	go k.answer(&m)
	return nil
}

func (cs *checks) done(k *TxnChecker) {
	cs.mu.Lock()
	cs.running--
	cs.mu.Unlock()
	k.work.Done()
}

func (cs *checks) down(error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	clear(cs.waiting)
}

func (cs *checks) refused(err error, fatal bool) {
	if !fatal {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for _, k := range cs.groups {
		k.joined(err)
	}
}
