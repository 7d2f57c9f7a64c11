package trimq

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/errcode"
)

// link keeps a connection to one of the brokers, for its roles, until it is closed.
type link struct {
	addrs    []string
	opt      *options
	slabSize int
	maxFrame int
	turn     int // of addrs; the run goroutine's

	mu    sync.Mutex
	calls *calls // see control

	roles  roles
	kicked atomic.Bool
	wake   chan struct{}
	cancel context.CancelFunc
	done   chan struct{} // closed when the run goroutine has ended
}

// newLink makes a link that start starts. slabSize is that of its read buffers; frames up to
// maxFrame, or what the broker negotiates if that is more, are taken.
func newLink(c *Client, slabSize, maxFrame int) *link {
	return &link{
		addrs: c.addrs, opt: &c.opt, slabSize: slabSize, maxFrame: maxFrame,
		turn: rand.N(len(c.addrs)), wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
}

// start begins to connect.
func (l *link) start() {
	ctx, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	go l.run(ctx)
}

// kick makes the writer gather. Cheap where it has been kicked already.
func (l *link) kick() {
	if l.kicked.Swap(true) {
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// control gives the calls of the link, for what is bound to its connection beside another role.
func (l *link) control() *calls {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = newCalls(l)
	}
	return l.calls
}

// close ends the connection and waits for the link's goroutines.
func (l *link) close() {
	l.mu.Lock()
	cs := l.calls
	l.mu.Unlock()
	if cs != nil {
		cs.shut()
	}
	l.cancel()
	<-l.done
}

func (l *link) run(ctx context.Context) {
	defer close(l.done)
	pause := backoff{min: l.opt.backoffMin, max: l.opt.backoffMax}
	for ctx.Err() == nil {
		addr := l.addrs[l.turn%len(l.addrs)]
		l.turn++
		c, err := connect(ctx, addr, l.opt, l.slabSize, l.maxFrame)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			l.opt.log.Debug("connect failed", "addr", addr, "err", err)
			l.roles.refused(err, fatalRefusal(err))
			if pause.sleep(ctx) != nil {
				return
			}
			continue
		}
		l.opt.log.Debug("connected", "addr", addr, "conn", c.hello.Conn)
		l.roles.up(c)
		l.kick()
		err = c.serve(ctx, l)
		l.roles.down(err)
		if ctx.Err() != nil {
			return
		}
		l.opt.log.Warn("connection lost", "addr", addr, "conn", c.hello.Conn, "err", err)
		if c.answered.Load() > 0 && !errors.Is(err, errGoodbye) && !errors.Is(err, ErrProtocol) {
			l.turn-- // it served well: back to the same broker, at once
			pause.reset()
			continue
		}
		if pause.sleep(ctx) != nil {
			return
		}
	}
}

// fatalRefusal tells refusals that stay the same however often one asks.
func fatalRefusal(err error) bool {
	switch codeOf(err) {
	case errcode.AuthRequired, errcode.AuthFailed, errcode.AccessRefused, errcode.UnsupportedVersion:
		return true
	}
	return errors.Is(err, ErrProtocol)
}
