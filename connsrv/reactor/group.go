package reactor

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
)

// Reason says why a connection was closed.
type Reason uint8

const (
	reasonPeer      Reason = iota // the peer closed or broke it
	reasonDone                    // we closed it, after saying why
	reasonHandshake               // no handshake in time
	reasonIdle
	reasonSlow     // no progress, reading or writing
	reasonWrite    // an error while sending
	reasonDrain    // still there when the time to drain was over
	reasonHandOver // what was passed on of it could not be read
	reasonCount
)

// ReasonNames are the words for reasons in metrics and logs, in their order.
var ReasonNames = [reasonCount]string{"peer", "done", "handshake_timeout", "idle_timeout", "slow", "write_error", "drain_timeout", "hand_over"}

func (r Reason) String() string { return ReasonNames[r] }

// Counters is told what happens. It is called from all loops.
type Counters interface {
	Moved(bytesIn, bytesOut, coldBytes uint64)
	Opened()
	Refused()
	Closed(Reason)
}

// Options say what a Group is made of.
type Options struct {
	Loops    int
	Limits   Limits
	Counters Counters
	Log      *slog.Logger
	// Doors are the protocols that are served, each at an address of its own.
	Doors []*Door
	// Frozen is called after Freeze, while all loops stand. If it returns they go on.
	Frozen func()
	// Source is a file of which a predecessor had ranges to be sent; it is released once.
	Source func(fd int) (session.Source, error)
}

// maxLoops is how many numbers a connection's id has for its loop.
const maxLoops = 255

// Group is the event loops of a process and its listening sockets.
type Group struct {
	options   Options
	log       *slog.Logger
	counters  Counters
	limits    atomic.Pointer[Limits]
	loops     []*Loop
	listeners []*listener
	open      atomic.Int64 // connections of all loops
	running   atomic.Int32 // loops but the first that have not ended
}

// New makes the loops. Each needs its Service set before Run.
func New(o Options) (*Group, error) {
	invariant.Check(o.Loops >= 1 && o.Loops <= maxLoops, "%d event loops", o.Loops)
	g := &Group{options: o, log: o.Log, counters: o.Counters}
	g.limits.Store(&o.Limits)
	for i := range o.Loops {
		l, err := newLoop(g, i)
		if err != nil {
			g.release()
			return nil, err
		}
		g.loops = append(g.loops, l)
	}
	return g, nil
}

// Loops are the event loops.
func (g *Group) Loops() []*Loop { return g.loops }

// Connections is how many there are now.
func (g *Group) Connections() int { return int(g.open.Load()) }

// SetLimits replaces the limits; connections follow when they are next looked at.
func (g *Group) SetLimits(limits Limits) {
	g.limits.Store(&limits)
	for _, l := range g.loops {
		l.Call(func() { l.limits = &limits })
	}
}

// Run runs the loops until ctx ends, then lets connections finish for drain at most.
func (g *Group) Run(ctx context.Context, drain func() time.Duration) error {
	defer g.release()
	for _, ln := range g.listeners {
		if err := g.loops[0].Watch(ln.fd, ln.accept); err != nil {
			return err
		}
	}
	stop := context.AfterFunc(ctx, func() { g.drain(drain()) })
	defer stop()
	for {
		err := g.runLoops()
		if err != nil || !g.loops[0].frozen {
			return err
		}
		g.options.Frozen()
		for _, l := range g.loops {
			l.frozen = false
		}
	}
}

// runLoops returns when all loops have ended, or stand.
func (g *Group) runLoops() error {
	g.running.Store(int32(len(g.loops) - 1))
	errs := make([]error, len(g.loops))
	var wg sync.WaitGroup
	for i, l := range g.loops[1:] {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if errs[i+1] = l.run(); errs[i+1] != nil {
				g.drain(0)
			}
			g.running.Add(-1)
			g.loops[0].Nudge()
		}()
	}
	if errs[0] = g.loops[0].run(); errs[0] != nil {
		g.drain(0)
	}
	// Where the first loop stands nobody gives the others anything more: what they have been given
	// they take in before they stand.
	for _, l := range g.loops[1:] {
		if g.loops[0].frozen {
			l.Call(func() { l.frozen = true })
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Freeze has all loops stand between two turns, and Options.Frozen called then; not where they
// drain: refused is called. Safe from any goroutine.
func (g *Group) Freeze(refused func()) {
	first := g.loops[0]
	first.Call(func() {
		if first.drainMS != 0 {
			refused()
			return
		}
		first.frozen = true
	})
}

// drain has every loop stop accepting and say goodbye.
func (g *Group) drain(within time.Duration) {
	for _, l := range g.loops {
		l.Call(func() { l.startDrain(within) })
	}
}

func (l *Loop) startDrain(within time.Duration) {
	if l.drainMS != 0 {
		return
	}
	l.drainMS = l.nowMS + within.Milliseconds()
	if l.Number == 0 {
		for _, ln := range l.group.listeners {
			ln.close()
		}
	}
	for _, c := range l.conns {
		c.room.Shutdown()
	}
}

// drained ends the loop once its connections are gone or the time is over. The first loop
// is the last to go: it hands the others their replies.
func (l *Loop) drained() bool {
	if l.drainMS == 0 {
		return false
	}
	if l.nowMS >= l.drainMS {
		for _, c := range l.conns {
			c.destroy(reasonDrain)
		}
	}
	return len(l.conns) == 0 && (l.Number > 0 || l.group.running.Load() == 0)
}

// release closes what Run does not need any longer.
func (g *Group) release() {
	for _, ln := range g.listeners {
		ln.close()
	}
	for _, l := range g.loops {
		for _, c := range l.conns {
			c.destroy(reasonDrain)
		}
		l.release()
	}
}

// adopt makes a connection of an accepted socket. Called in the loop. refuse: it is only
// told that there are too many.
func (l *Loop) adopt(fd int, remote remoteAddr, door *Door, refuse bool) {
	if l.drainMS != 0 {
		unix.Close(fd)
		l.group.open.Add(-1)
		return
	}
	l.counter++
	c := &Conn{
		loop: l, fd: fd, id: l.counter<<8 | uint64(l.Number), remote: remote,
		door: door, openedMS: l.nowMS, activeMS: l.nowMS, writable: true, lowat: 1,
	}
	if refuse {
		c.room = refusedRoom{}
	} else {
		c.room = door.Room(l, c, localOf(fd))
	}
	l.conns[c.id] = c
	// The first edge comes from the registration itself if there are bytes already.
	if err := l.poll.add(fd, readEvents|writeEvents, c.id); err != nil {
		l.log.Error("a connection cannot be watched", "err", err)
		c.destroy(reasonPeer)
		return
	}
	l.group.counters.Opened()
	c.armTimer()
	if refuse {
		if door.Refusal != nil {
			b := door.Refusal()
			copy(c.Append(len(b)), b)
		}
		c.Close()
	}
}

// localOf is the address at which a peer has reached us.
func localOf(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{} // only for a socket that is dead already
	}
	return addrOf(sa)
}

// destroy closes a connection at once and forgets it.
func (c *Conn) destroy(reason Reason) {
	if c.dead {
		return
	}
	c.dead = true
	l := c.loop
	delete(l.conns, c.id)
	l.group.open.Add(-1)
	l.group.counters.Closed(reason)
	unix.Close(c.fd) // epoll forgets it: there is no other descriptor of this socket
	c.in.release(&l.pool)
	c.out.discard(&l.pool)
	c.room.Closed()
	if reason != reasonPeer && reason != reasonDone {
		l.log.Debug("connection closed", "conn", c.id, "remote", c.Remote(), "why", reason.String())
	}
}

// bodyGrows tells whether more of an awaited body has arrived in the socket.
func (c *Conn) bodyGrows() bool {
	avail, err := unix.IoctlGetInt(c.fd, unix.TIOCINQ)
	if err != nil || avail <= c.awaited {
		return false
	}
	c.awaited = avail
	return true
}
