package trimq

import (
	"cmp"
	"context"
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
	hello   native.HelloReply // of the latest connection
	lastErr error             // of the latest attempt to connect; nil while connected
}

// call is one request. Guarded by calls.mu until done is closed.
type call struct {
	corr    uint64
	cmd     native.Command
	frame   []byte
	sent    int // how often
	reply   []byte
	err     error
	settled bool
	done    chan struct{}
}

// newCalls has a link carry calls.
func newCalls(l *link) *calls {
	cs := &calls{link: l, waiting: map[uint64]*call{}}
	l.roles.add(cs, &cs.corr)
	return cs
}

const unavailablePause = 50 * time.Millisecond

// do sends a request and waits for its answer, trying again while a tier restarts.
func (cs *calls) do(ctx context.Context, cmd native.Command, body native.Body) (reply []byte, sent int, err error) {
	pause := backoff{min: unavailablePause, max: time.Second}
	for {
		reply, n, err := cs.once(ctx, cmd, body)
		sent += n
		if codeOf(err) != errcode.Unavailable {
			return reply, sent, err
		}
		if pause.sleep(ctx) != nil {
			return nil, sent, err
		}
	}
}

func (cs *calls) once(ctx context.Context, cmd native.Command, body native.Body) ([]byte, int, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, err
	}
	c := &call{cmd: cmd, done: make(chan struct{})}
	cs.mu.Lock()
	if cs.closed {
		cs.mu.Unlock()
		return nil, 0, ErrClosed
	}
	cs.corr++
	c.corr = cs.corr
	c.frame = native.AppendFrame(nil, cmd, 0, c.corr, body)
	cs.queue = append(cs.queue, c)
	cs.mu.Unlock()
	cs.link.kick()
	select {
	case <-c.done:
		return c.reply, c.sent, c.err
	case <-ctx.Done():
		return cs.abandon(c, ctx.Err())
	}
}

// abandon gives a call up; its answer, if one comes, is thrown away.
func (cs *calls) abandon(c *call, err error) ([]byte, int, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.settled {
		return c.reply, c.sent, c.err
	}
	c.settled = true
	for i, q := range cs.queue {
		if q == c {
			cs.queue = append(cs.queue[:i], cs.queue[i+1:]...)
			break
		}
	}
	if cs.lastErr != nil {
		err = &unreachableError{ended: err, last: cs.lastErr}
	}
	return nil, c.sent, err
}

// unreachableError says why a context ended before a broker was reached.
type unreachableError struct{ ended, last error }

func (e *unreachableError) Error() string {
	return fmt.Sprintf("%v: %v (%v)", ErrUnreachable, e.last, e.ended)
}
func (e *unreachableError) Unwrap() []error { return []error{ErrUnreachable, e.ended, e.last} }

func (cs *calls) settle(c *call, reply []byte, err error) {
	if c.settled {
		return
	}
	c.settled, c.reply, c.err = true, reply, err
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
		q.sent++
		cs.waiting[q.corr] = q
		o.add(q.frame, true)
	}
	return 0
}

func (cs *calls) handle(c *conn, h native.Header, body []byte, _ *slab) error {
	if h.Flags&native.FlagResponse == 0 {
		return protocolError("%s without being asked", h.Command)
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
	if refusal != nil {
		cs.settle(q, nil, refusal)
	} else {
		cs.settle(q, reply, nil)
	}
	return nil
}

func (cs *calls) takes(native.Command) bool { return false }

func (cs *calls) down(err error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.lastErr = err
	again := make([]*call, 0, len(cs.waiting)+len(cs.queue))
	for _, q := range cs.waiting {
		if !q.settled {
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

// close refuses all calls.
func (cs *calls) close() {
	cs.mu.Lock()
	cs.closed = true
	queue := cs.queue
	for _, q := range cs.waiting {
		queue = append(queue, q)
	}
	cs.queue = nil
	for _, q := range queue {
		cs.settle(q, nil, ErrClosed)
	}
	cs.mu.Unlock()
	cs.link.close()
}
