package drill

import (
	"context"
	"errors"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// link is the way of one client, of whatever protocol, to the broker: it can be cut, and may lead through a
// proxy.
type link struct {
	name  string
	h     *history
	life  context.Context // the run's
	addr  string          // to which it leads
	proxy *proxy          // nil: there is nothing between it and the broker
	done  atomic.Bool     // the client ends: what it asked the broker to end is not lost
	broke atomic.Bool     // a connection was cut, or ended otherwise than by the client

	mu    sync.Mutex
	conns map[*cutConn]struct{}
}

// newLink makes a client known, and its way to an address of the broker.
func (w *world) newLink(name, addr string) (*link, error) {
	l := &link{name: name, h: w.h, life: w.life, addr: addr, conns: map[*cutConn]struct{}{}}
	w.h.note(&opParty{Name: name})
	if slices.Contains(w.kinds, "sockets") && dice(name, 3) == 0 {
		var err error
		if l.proxy, err = newProxy(addr, &w.mood); err != nil {
			return nil, err
		}
		l.addr = l.proxy.addr()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.links = append(w.links, l)
	return l, nil
}

// cutConn is a connection that its link can cut.
type cutConn struct {
	net.Conn
	l *link
}

func (c *cutConn) Close() error {
	c.l.mu.Lock()
	delete(c.l.conns, c)
	c.l.mu.Unlock()
	return c.Conn.Close()
}

// dial connects a client, to wherever it wants, by its link.
func (l *link) dial(ctx context.Context, _ string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	c := &cutConn{conn, l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c, nil
}

// cut resets all connections, as the death of the client's machine does.
func (l *link) cut() {
	l.broke.Store(true)
	l.h.note(&opLost{Party: l.name, Cut: true})
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		_ = c.Conn.(*net.TCPConn).SetLinger(0)
		_ = c.Conn.Close()
	}
}

// witness is a connection that notes its own loss: clients of other protocols connect again without a word,
// and some look at a connection only when they have asked something.
type witness struct {
	net.Conn
	l     *link
	alive atomic.Int64 // nanoseconds of the run, when something came
}

// dialWatched is dial with a witness.
func (l *link) dialWatched(ctx context.Context, _, addr string) (net.Conn, error) {
	c, err := l.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	w := &witness{Conn: c, l: l}
	w.alive.Store(int64(time.Since(l.h.began)))
	return w, nil
}

func (c *witness) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.alive.Store(int64(time.Since(c.l.h.began)))
	}
	return n, c.seen(err)
}

func (c *witness) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	return n, c.seen(err)
}

// seen notes an error that is not of the nemesis's making, nor the client's, which ends what it does not
// want any more by a deadline.
func (c *witness) seen(err error) error {
	if err != nil && !c.l.done.Load() && !errors.Is(err, net.ErrClosed) && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.l.broke.Store(true)
		c.l.h.note(&opLost{Party: c.l.name, Why: err.Error(), Alive: time.Duration(c.alive.Load())})
	}
	return err
}
