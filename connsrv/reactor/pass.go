package reactor

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
)

// Snapshot is what the loops pass on. Called while they stand (Options.Frozen).
func (g *Group) Snapshot() *Passed {
	p := &Passed{NowMS: monotonicMS(), KernelMS: kernelMS()}
	for _, ln := range g.listeners {
		if ln.fd >= 0 {
			p.Listeners = append(p.Listeners, PassedListener{ln.fd, ln.door.Protocol, ln.asked, ln.addr.String()})
		}
	}
	files := map[int]bool{}
	for _, l := range g.loops {
		passed := PassedLoop{Counter: l.counter}
		for _, id := range slices.Sorted(maps.Keys(l.conns)) {
			passed.Conns = append(passed.Conns, l.conns[id].snapshot(files))
		}
		p.Loops = append(p.Loops, passed)
	}
	p.Files = slices.Sorted(maps.Keys(files))
	return p
}

func (c *Conn) snapshot(files map[int]bool) PassedConn {
	x := PassedConn{ID: c.id, FD: c.fd, Protocol: c.door.Protocol}
	_, x.Refused = c.room.(refusedRoom)
	link, room := handover.Write(nil), handover.Write(nil)
	c.passLink(link, nil)
	c.room.Pass(room)
	x.Link, x.Room = link.Written(), room.Written()
	for i := c.out.head; i < len(c.out.items); i++ {
		if it := &c.out.items[i]; it.buf == nil {
			files[it.src.Fd()] = true
		}
	}
	return x
}

// Adopt takes over what a predecessor has passed on, in a new group of as many loops, whose
// Services are set. It returns the connections that could not be taken over: they are closed.
func (g *Group) Adopt(p *Passed) (lost []uint64) {
	for _, x := range p.Listeners {
		unix.CloseOnExec(x.FD)
	}
	for _, door := range g.options.Doors {
		g.adoptListeners(door, p.Listeners)
	}
	for _, x := range p.Listeners {
		if g.doorOf(x.Protocol) == nil {
			g.log.Info("a protocol is not served any longer", "protocol", x.Protocol, "address", x.Addr)
			unix.Close(x.FD)
		}
	}
	files := map[int]session.Source{}
	for _, fd := range p.Files {
		unix.CloseOnExec(fd)
		src, err := g.options.Source(fd)
		if err != nil {
			g.log.Warn("a file of which ranges wait to be sent cannot be used", "err", err)
			continue
		}
		files[fd] = src
	}
	for i, loop := range p.Loops {
		l := g.loops[i]
		l.counter = loop.Counter
		for _, x := range loop.Conns {
			if err := l.restore(x, files); err != nil {
				g.log.Warn("a connection could not be taken over", "conn", x.ID, "protocol", x.Protocol, "err", err)
				lost = append(lost, x.ID)
			}
		}
	}
	for _, src := range files {
		src.Release() // those that are needed are retained by what waits
	}
	return lost
}

// doorOf is the door of a protocol; nil: it is not served.
func (g *Group) doorOf(protocol string) *Door {
	for _, door := range g.options.Doors {
		if door.Protocol == protocol {
			return door
		}
	}
	return nil
}

// adoptListeners has a door listen: at the sockets that are passed on for it or, where its address
// is another one by now, there. Where that cannot be had, all goes on as it was.
func (g *Group) adoptListeners(door *Door, passed []PassedListener) {
	var old []PassedListener
	for _, x := range passed {
		if x.Protocol == door.Protocol {
			old = append(old, x)
		}
	}
	moved := len(old) == 0 || old[0].Asked != door.Address
	if moved {
		if err := g.listenAt(door); err != nil {
			g.log.Error("an address cannot be had: it stays as it was", "protocol", door.Protocol, "sockets", len(old), "err", err)
			moved = false
		}
	}
	for _, x := range old {
		ln := g.inherit(door, x)
		if moved {
			ln.close()
		} else {
			g.listeners = append(g.listeners, ln)
		}
	}
}

// inherit makes a listener of a socket that listens. One without a spare descriptor does.
func (g *Group) inherit(door *Door, x PassedListener) *listener {
	addr, _ := netip.ParseAddrPort(x.Addr) // Pass has looked at it
	spare, err := openSpare()
	if err != nil {
		spare = -1
	}
	return &listener{group: g, door: door, fd: x.FD, addr: addr, asked: x.Asked, spare: spare}
}

// restore makes a connection what it was. With an error it is closed.
func (l *Loop) restore(x PassedConn, files map[int]session.Source) error {
	unix.CloseOnExec(x.FD)
	l.group.open.Add(1)
	c := &Conn{loop: l, fd: x.FD, id: x.ID, door: l.group.doorOf(x.Protocol)}
	err := c.takeOver(x, files)
	if err == nil {
		err = l.poll.add(c.fd, readEvents|writeEvents, c.id)
	}
	if err != nil {
		c.room = refusedRoom{} // what it is, nobody knows
		l.conns[c.id] = c
		c.destroy(reasonHandOver)
		return err
	}
	l.conns[c.id] = c
	ready, dirty := c.readyQueued, c.dirtyQueued
	c.readyQueued, c.dirtyQueued = false, false
	if ready {
		l.later(c)
	}
	if dirty {
		c.markDirty()
	}
	c.Look() // the room has not said yet that something may gather
	c.armTimer()
	return nil
}

// takeOver reads what was passed on of a connection.
func (c *Conn) takeOver(x PassedConn, files map[int]session.Source) error {
	link, room := handover.Read(x.Link), handover.Read(x.Room)
	c.passLink(link, files)
	c.room = refusedRoom{}
	if err := link.Done("the link"); err != nil {
		return err
	}
	if c.door == nil {
		return fmt.Errorf("protocol %q is not served", x.Protocol)
	}
	if !x.Refused {
		c.room = c.door.Room(c.loop, c, localOf(c.fd))
	}
	c.room.Pass(room)
	return room.Done("the room")
}

// passLink goes over the connection as its loop sees it. Its entries in the loop's timers are made
// anew.
func (c *Conn) passLink(s *handover.Codec, files map[int]session.Source) {
	remote := c.remote.String()
	s.String(&remote)
	if s.Reading() {
		c.remote = parseAddr(s, remote)
	}
	for _, at := range []*int64{&c.deadlineMS, &c.openedMS, &c.activeMS, &c.sentMS, &c.stalledMS, &c.lingerMS, &c.endedMS} {
		handover.Int(s, at)
	}
	handover.Int(s, &c.awaited)
	handover.Int(s, &c.lowat)
	handover.Uint(s, &c.paused)
	for _, flag := range []*bool{
		&c.readable, &c.writable, &c.awaiting, &c.gather, &c.small, &c.readyQueued, &c.dirtyQueued,
		&c.established, &c.crowded, &c.closing, &c.hungUp, &c.want.Direct, &c.want.Pause,
	} {
		s.Bool(flag)
	}
	handover.Int(s, &c.want.Bytes)
	s.Check(c.want.Bytes >= 0 && c.awaited >= 0)
	waits := c.in.bytes()
	s.Bytes(&waits)
	if s.Reading() {
		c.in.keep(&c.loop.pool, waits, false)
	}
	c.out.pass(s, &c.loop.pool, files)
}

// pass goes over what waits to be sent.
func (q *outQueue) pass(s *handover.Codec, p *pool, files map[int]session.Source) {
	n := s.Count(len(q.items)-q.head, 2)
	for i := range n {
		if s.Reading() {
			q.readItem(s, p, files)
		} else {
			q.items[q.head+i].write(s)
		}
	}
}

func (it *outItem) write(s *handover.Codec) {
	ranged := it.buf == nil
	if s.Bool(&ranged); !ranged {
		b := it.buf[it.off : int(it.off)+it.n]
		s.Bytes(&b)
		return
	}
	fd := it.src.Fd()
	handover.Int(s, &fd)
	handover.Int(s, &it.off)
	handover.Int(s, &it.n)
}

func (q *outQueue) readItem(s *handover.Codec, p *pool, files map[int]session.Source) {
	var ranged bool
	if s.Bool(&ranged); !ranged {
		var b []byte
		s.Bytes(&b)
		s.Check(len(b) > 0)
		copy(q.extend(p, len(b)), b)
		return
	}
	var fd, n int
	var off int64
	handover.Int(s, &fd)
	handover.Int(s, &off)
	handover.Int(s, &n)
	src := files[fd]
	s.Check(src != nil && off >= 0 && n > 0 && n < 1<<40)
	if !s.Failed() {
		q.extendRange(src, off, n)
	}
}
