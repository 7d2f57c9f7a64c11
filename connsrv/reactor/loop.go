package reactor

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/invariant"
)

// Limits bound what a connection may do. They are replaced as a whole.
type Limits struct {
	MaxConnections int
	MemoryBytes    int   // that wait to be sent to one connection
	HandshakeMS    int64 // from accept to Established
	IdleMS         int64 // without a byte either way; 0: no limit
	SlowMS         int64 // without progress while bytes wait, or in the middle of a frame
}

// Service is what a loop does besides its sockets. Its methods are called by the loop.
type Service interface {
	// Turn is called once a turn, after the sockets' events: replies come in, connections
	// that waited for ring space go on.
	Turn()
	// Sleep is called before the loop sleeps; false: there is something to do after all.
	Sleep() bool
	// Wake is called after a Sleep that was true.
	Wake()
}

// Loop is one event loop: a goroutine, an epoll set, and the connections in it.
type Loop struct {
	Number  int
	Service Service

	group    *Group
	log      *slog.Logger
	poll     *poller
	waker    waker
	watchers []func()
	limits   *Limits
	nowMS    int64

	conns   map[uint64]*Conn
	counter uint64
	timers  timers
	ready   []*Conn // to be read again
	dirty   []*Conn // with something to send
	pool    pool
	scratch []byte
	pages   []byte // mincore's answer
	iovecs  []unix.Iovec
	msghdr  *unix.Msghdr
	readIov [2]unix.Iovec

	bytesIn, bytesOut, coldBytes uint64 // since the last turn
	turns                        uint64

	mu       sync.Mutex
	calls    []func() // from other goroutines
	sleeping atomic.Bool
	drainMS  int64 // until when connections may finish; 0: not draining
	frozen   bool  // it stands, and goes on when Group.Run says so
}

const scratchBytes = 64 << 10

var clockStart = time.Now()

// clockAhead is what the clock had shown before this program took over.
var clockAhead atomic.Int64

// monotonicMS never is 0, so that 0 can mean unset.
func monotonicMS() int64 { return time.Since(clockStart).Milliseconds() + 1 + clockAhead.Load() }

func newLoop(g *Group, number int) (*Loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	w, err := newWaker()
	if err != nil {
		p.close()
		return nil, err
	}
	l := &Loop{
		Number: number, group: g, log: g.log.With("loop", number), poll: p, waker: w,
		limits: g.limits.Load(), nowMS: monotonicMS(), conns: map[uint64]*Conn{},
		scratch: make([]byte, scratchBytes), iovecs: make([]unix.Iovec, 0, maxIovecs), msghdr: new(unix.Msghdr),
	}
	if err := l.Watch(w.fd, l.waker.clear); err != nil {
		l.release()
		return nil, err
	}
	return l, nil
}

// maxWatchers bounds the descriptors that are no connections; connection ids start above.
const maxWatchers = 256

// Watch calls f in the loop when fd becomes readable (edge-triggered). Before Run, or from
// the loop.
func (l *Loop) Watch(fd int, f func()) error {
	invariant.Check(len(l.watchers) < maxWatchers, "%d watchers", len(l.watchers))
	l.watchers = append(l.watchers, f)
	return l.poll.add(fd, unix.EPOLLIN, uint64(len(l.watchers)-1))
}

// Call has f called by the loop, soon. Safe from any goroutine.
func (l *Loop) Call(f func()) {
	l.mu.Lock()
	l.calls = append(l.calls, f)
	l.mu.Unlock()
	l.Nudge()
}

// Nudge ends the loop's sleep; false: it does not sleep. Safe from any goroutine.
func (l *Loop) Nudge() bool {
	if !l.sleeping.Load() {
		return false
	}
	l.waker.wake()
	return true
}

// Conn returns the room of a connection, or nil.
func (l *Loop) Conn(id uint64) *Conn { return l.conns[id] }

// Room is the connection's state machine.
func (c *Conn) Room() session.Protocol { return c.room }

// Each calls f for every connection.
func (l *Loop) Each(f func(*Conn)) {
	for _, c := range l.conns {
		f(c)
	}
}

// Len is the number of connections.
func (l *Loop) Len() int { return len(l.conns) }

// NowMS is the time of this turn.
func (l *Loop) NowMS() int64 { return l.nowMS }

// Turns is how often the loop has gone round. Called in the loop.
func (l *Loop) Turns() uint64 { return l.turns }

// run is the loop. It returns once it is drained, or frozen.
func (l *Loop) run() error {
	for !l.frozen && !l.drained() {
		events, err := l.wait()
		if err != nil {
			return fmt.Errorf("event loop %d: %w", l.Number, err)
		}
		l.nowMS = monotonicMS()
		l.turns++
		for i := range events {
			l.dispatch(tokenOf(&events[i]), events[i].Events)
		}
		l.runCalls()
		l.Service.Turn()
		l.runReady()
		l.runTimers()
		l.flushAll()
		l.count()
	}
	return nil
}

// wait polls without sleeping first: while there is work nobody need ring for us.
func (l *Loop) wait() ([]unix.EpollEvent, error) {
	events, err := l.poll.wait(0)
	if err != nil || len(events) > 0 || len(l.ready) > 0 || len(l.dirty) > 0 {
		return events, err
	}
	// SYNC: pairs with Call, which adds before it looks at the flag.
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	if l.hasCalls() || !l.Service.Sleep() {
		return nil, nil
	}
	defer l.Service.Wake()
	timeout := -1
	at := l.timers.next()
	if l.drainMS != 0 && (at < 0 || l.drainMS < at) {
		at = l.drainMS
	}
	if at >= 0 {
		timeout = int(max(0, at-monotonicMS()))
	}
	return l.poll.wait(timeout)
}

func (l *Loop) dispatch(token uint64, events uint32) {
	if token < uint64(len(l.watchers)) {
		l.watchers[token]()
		return
	}
	if c := l.conns[token]; c != nil {
		c.onEvents(events)
	}
}

func (l *Loop) hasCalls() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls) > 0
}

func (l *Loop) runCalls() {
	l.mu.Lock()
	calls := l.calls
	l.calls = nil
	l.mu.Unlock()
	for _, f := range calls {
		f()
	}
}

// later has a connection read again in the next turn: it has used up its budget, or what it
// waited for has happened.
func (l *Loop) later(c *Conn) {
	if !c.readyQueued && !c.dead {
		c.readyQueued = true
		l.ready = append(l.ready, c)
	}
}

func (l *Loop) runReady() {
	ready := l.ready
	l.ready = nil
	for _, c := range ready {
		c.readyQueued = false
		if !c.dead {
			c.read()
		}
	}
	if l.ready == nil {
		l.ready = ready[:0]
	}
}

func (l *Loop) runTimers() {
	for at := l.timers.next(); at >= 0 && at <= l.nowMS; at = l.timers.next() {
		t := l.timers.pop()
		if c := l.conns[t.id]; c != nil {
			c.timerFired(t.atMS)
		}
	}
}

func (l *Loop) flushAll() {
	dirty := l.dirty
	l.dirty = nil
	for _, c := range dirty {
		c.dirtyQueued = false
		if !c.dead && c.writable {
			c.flush()
		}
	}
	if l.dirty == nil {
		l.dirty = dirty[:0]
	}
}

// count hands this turn's figures to the counters.
func (l *Loop) count() {
	if l.bytesIn|l.bytesOut|l.coldBytes != 0 {
		l.group.counters.Moved(l.bytesIn, l.bytesOut, l.coldBytes)
		l.bytesIn, l.bytesOut, l.coldBytes = 0, 0, 0
	}
}

// readv reads into two places with one system call.
func (l *Loop) readv(fd int, a, b []byte) (int, error) {
	l.readIov[0].Base = unsafe.SliceData(a)
	l.readIov[0].SetLen(len(a))
	l.readIov[1].Base = unsafe.SliceData(b)
	l.readIov[1].SetLen(len(b))
	n, _, errno := unix.Syscall(unix.SYS_READV, uintptr(fd), uintptr(unsafe.Pointer(&l.readIov[0])), 2)
	l.readIov[0].Base, l.readIov[1].Base = nil, nil
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (l *Loop) release() {
	unix.Close(l.waker.fd)
	l.poll.close()
}
