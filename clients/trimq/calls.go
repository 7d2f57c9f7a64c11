package trimq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// calls is the role of single requests and their answers: what a client's own link carries. A request
// whose connection is lost is sent again on the next one; all that are sent this way may be
// repeated.
type calls struct {
	link *link

	mu      sync.Mutex
	queue   []*call // to be sent
	waiting map[uint64]*call
	corr    uint64
	closed  bool
	notes   noteMemory
	hello   native.HelloReply // of the latest connection
	lastErr error             // of the latest attempt to connect; nil while connected
}

// call is one request. Guarded by calls.mu until done is closed.
type call struct {
	corr    uint64
	cmd     native.Command
	frame   []byte
	on      *conn        // it must not be sent over another connection; nil: any will do
	pull    *native.Pull // of a PULL
	answer  answer
	err     error
	settled bool
	done    chan struct{}
}

// answer is what has come of a call.
type answer struct {
	body []byte
	sent int          // how often it was sent
	on   *conn        // over which it was sent last
	got  []*delivered // the messages that a PULL got
}

// errConnLost ends a call that was bound to a connection. It may have been carried out if it was
// sent.
var errConnLost = errors.New("trimq: the connection was lost")

// newCalls has a link carry calls.
func newCalls(l *link) *calls {
	cs := &calls{link: l, waiting: map[uint64]*call{}}
	l.roles.add(cs, &cs.corr)
	return cs
}

const unavailablePause = 50 * time.Millisecond

// do sends a request and waits for its answer, trying again while a tier restarts.
func (cs *calls) do(ctx context.Context, cmd native.Command, body native.Body) (answer, error) {
	return cs.doOn(ctx, nil, cmd, body)
}

// doOn is do over one connection: when that is lost, it ends with errConnLost. With nil any
// connection will do, one after the other.
func (cs *calls) doOn(ctx context.Context, on *conn, cmd native.Command, body native.Body) (answer, error) {
	pause := backoff{min: unavailablePause, max: time.Second}
	for sent := 0; ; {
		a, err := cs.once(ctx, on, cmd, body)
		sent += a.sent
		a.sent = sent
		if !notTaken(err) || pause.sleep(ctx) != nil {
			return a, err
		}
	}
}

// notTaken tells whether a request was refused for now: a tier restarts, or the server is about to go,
// and its successor, or the next connection, takes it.
func notTaken(err error) bool {
	code := codeOf(err)
	return code == errcode.Unavailable || code == errcode.ShuttingDown
}

func (cs *calls) once(ctx context.Context, on *conn, cmd native.Command, body native.Body) (answer, error) {
	if err := ctx.Err(); err != nil {
		return answer{}, err
	}
	c, err := cs.start(on, cmd, body)
	if err != nil {
		return answer{}, err
	}
	select {
	case <-c.done:
		return c.answer, c.err
	case <-ctx.Done():
		return cs.abandon(c, ctx.Err())
	}
}

// start queues a call.
func (cs *calls) start(on *conn, cmd native.Command, body native.Body) (*call, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.closed {
		return nil, ErrClosed
	}
	return cs.put(on, cmd, body), nil
}

// put queues a call. REQUIRES: cs.mu held.
func (cs *calls) put(on *conn, cmd native.Command, body native.Body) *call {
	cs.corr++
	c := &call{corr: cs.corr, cmd: cmd, on: on, done: make(chan struct{})}
	c.frame = native.AppendFrame(nil, cmd, 0, c.corr, body)
	if m, ok := body.(*native.Pull); ok {
		copied := *m
		c.pull = &copied
	}
	if on != nil && on.isDead() {
		cs.settle(c, nil, errConnLost)
		return c
	}
	cs.queue = append(cs.queue, c)
	cs.link.kick()
	return c
}

// abandon gives a call up; its answer, if one comes, is thrown away.
func (cs *calls) abandon(c *call, err error) (answer, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.settled {
		return c.answer, c.err
	}
	c.settled = true
	if i := slices.Index(cs.queue, c); i >= 0 {
		cs.queue = slices.Delete(cs.queue, i, i+1)
	}
	if cs.lastErr != nil {
		err = &unreachableError{ended: err, last: cs.lastErr}
	}
	return answer{sent: c.answer.sent}, err
}

// unreachableError says why a context ended before a broker was reached.
type unreachableError struct{ ended, last error }

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%v: %v (%v)", ErrUnreachable, e.last, e.ended)
}
func (e *unreachableError) Unwrap() []error { return []error{ErrUnreachable, e.ended, e.last} }

// settle ends a call. REQUIRES: cs.mu held.
func (cs *calls) settle(c *call, body []byte, err error) {
	if c.settled {
		return
	}
	c.settled, c.answer.body, c.err = true, body, err
	close(c.done)
}

func (cs *calls) up(c *conn) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.hello, cs.lastErr = c.hello, nil
}

// frameLimit is what the broker takes. REQUIRES: a call was answered.
func (cs *calls) frameLimit() uint32 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return cs.hello.MaxFrame
}

func (cs *calls) gather(c *conn, o *outbox) time.Duration {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for len(cs.queue) > 0 && c.room(o) > 0 {
		q := cs.queue[0]
		cs.queue = cs.queue[1:]
		if q.on != nil && q.on != c {
			cs.settle(q, nil, errConnLost)
			continue
		}
		q.answer.sent++
		q.answer.on = c
		cs.waiting[q.corr] = q
		o.add(q.frame, true)
	}
	return 0
}

func (cs *calls) handle(c *conn, h native.Header, body []byte, s *slab) error {
	if h.Flags&native.FlagResponse == 0 {
		return cs.pulled(h, body, s)
	}
	refusal := responseError(h, body)
	if refusal != nil && codeOf(refusal) == errcode.OK {
		return refusal // not even an error body
	}
	reply := append([]byte(nil), body...)
	cs.mu.Lock()
	defer cs.mu.Unlock()
	q := cs.waiting[h.Correlation]
	if q == nil || q.cmd != h.Command {
		return protocolError("answer to %s %d, which was not asked", h.Command, h.Correlation)
	}
	delete(cs.waiting, h.Correlation)
	switch {
	case refusal != nil:
		q.answer.drop()
		cs.settle(q, nil, refusal)
	case q.settled && q.pull != nil:
		return cs.unwanted(q, reply)
	default:
		cs.settle(q, reply, nil)
	}
	return nil
}

func (cs *calls) takes(native.Command) bool { return false }

// drop lets go of messages that nobody will see.
func (a *answer) drop() {
	for _, in := range a.got {
		in.s.release()
	}
	a.got = nil
}

// down: what was unanswered is sent again, unless it was bound to this connection.
func (cs *calls) down(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.lastErr = err
	again := make([]*call, 0, len(cs.waiting)+len(cs.queue))
	for _, q := range cs.waiting {
		q.answer.drop()
		switch {
		case q.settled:
		case q.on != nil:
			cs.settle(q, nil, errConnLost)
		default:
			again = append(again, q)
		}
	}
	clear(cs.waiting)
	slices.SortFunc(again, func(a, b *call) int { return cmp.Compare(a.corr, b.corr) })
	cs.queue = append(again, cs.queue...)
}

func (cs *calls) refused(err error, fatal bool) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.lastErr = err
	if !fatal {
		return
	}
	for _, q := range cs.queue {
		cs.settle(q, nil, err)
	}
	cs.queue = nil
}

// shut refuses all calls.
func (cs *calls) shut() {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.closed = true
	queue := cs.queue
	for _, q := range cs.waiting {
		queue = append(queue, q)
	}
	cs.queue = nil
	for _, q := range queue {
		cs.settle(q, nil, ErrClosed)
	}
}

// close refuses all calls, and ends the link.
func (cs *calls) close() {
	cs.shut()
	cs.link.close()
}

// ask is a call with a typed answer.
func ask[T any](ctx context.Context, cs *calls, on *conn, cmd native.Command, body native.Body, decode func([]byte) (T, error)) (T, answer, error) {
	var none T
	a, err := cs.doOn(ctx, on, cmd, body)
	if err != nil {
		return none, a, err
	}
	v, err := decode(a.body)
	if err != nil {
		return none, a, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return v, a, nil
}
