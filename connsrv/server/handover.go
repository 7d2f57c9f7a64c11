package server

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// A hand-over (signal 12) passes all connections to the program that replaces this one: the
// sockets by their numbers, what they are in a file in memory (docs/formats/handover.md). The epoch
// goes on, and with it the ids of connections and the numbers of requests, so that logicsrv notices
// nothing: what is in the rings stays good, in both directions.

// passed is what is passed on.
type passed struct {
	epoch   uint64 // of connsrv, which goes on
	nonce   uint64 // of ring 12345, whose epoch that is
	markers uint64 // how many have come
	// definitions say who may come in and do what; none: that is not known yet. Without them whoever goes on
	// would be refused all until logicsrv has told.
	definitions []admin.Definition
	loops       reactor.Passed
	lanes       [][]byte
}

func (p *passed) pass(c *handover.Codec) {
	magic, version := uint32(handover.Magic), uint16(handover.Version)
	handover.Uint(c, &magic)
	handover.Uint(c, &version)
	c.Check(magic == handover.Magic && version == handover.Version)
	handover.Uint(c, &p.epoch)
	handover.Uint(c, &p.nonce)
	handover.Uint(c, &p.markers)
	handover.List(c, &p.definitions, 1, passDefinition)
	p.loops.Pass(c)
	handover.List(c, &p.lanes, 1, func(c *handover.Codec, b *[]byte) { c.Bytes(b) })
	c.Check(len(p.lanes) == len(p.loops.Loops))
}

func passDefinition(c *handover.Codec, d *admin.Definition) {
	b := d.Append(nil)
	if c.Bytes(&b); c.Reading() {
		var err error
		*d, err = admin.DecodeDefinition(b)
		c.Check(err == nil)
	}
}

// HandOver passes all connections on, and ends this program; where that cannot be, Options.Refuse
// is told, and all goes on. Safe from any goroutine.
func (s *Server) HandOver() {
	s.group.Freeze(func() { s.options.Refuse(errors.New("connections are being closed: the server is stopping")) })
}

// frozen is called while all loops stand.
func (s *Server) frozen() {
	failpoint.Hit("handover.frozen")
	p := s.snapshot()
	fd, err := writeState(p)
	if err == nil {
		s.log.Info("passing connections on", "connections", p.loops.Connections(), "epoch", p.epoch)
		failpoint.Hit("handover.written")
		err = s.options.Replace(fd, p.loops.FDs())
		unix.Close(fd)
	}
	s.options.Refuse(err)
}

// snapshot is all that there is.
func (s *Server) snapshot() *passed {
	p := &passed{
		epoch: s.rings.Requests.Epoch(), nonce: s.options.Requests.Nonce(), markers: s.markers.Load(), loops: *s.group.Snapshot(),
	}
	if t := s.access.Load(); t != nil {
		p.definitions = t.Definitions()
	}
	for _, d := range s.desks {
		c := handover.Write(nil)
		d.lane.Pass(c, d.directory())
		p.lanes = append(p.lanes, c.Written())
	}
	return p
}

// directory names the connections of a loop.
func (d *desk) directory() session.Directory {
	dir := session.Directory{IDs: map[session.Protocol]uint64{}, Links: map[uint64]session.Link{}, Rooms: map[uint64]session.Protocol{}}
	d.loop.Each(func(c *reactor.Conn) {
		dir.IDs[c.Room()], dir.Links[c.ID()], dir.Rooms[c.ID()] = c.ID(), c, c.Room()
	})
	return dir
}

// writeState puts what is passed on into a file in memory.
func writeState(p *passed) (fd int, err error) {
	fd, err = unix.MemfdCreate("trimq-hand-over", unix.MFD_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("memory for the connections' states: %w", err)
	}
	c := handover.Write(nil)
	p.pass(c)
	for off, b := 0, c.Written(); off < len(b); {
		n, err := unix.Pwrite(fd, b[off:], int64(off))
		if err != nil && err != unix.EINTR {
			unix.Close(fd)
			return -1, fmt.Errorf("write the connections' states: %w", err)
		}
		off += max(n, 0)
	}
	return fd, nil
}

// readState reads what a predecessor has passed on, and closes the file. nil: this is a start, or
// it is of no use, as the log says then.
func (s *Server) readState(o Options) *passed {
	if o.Legacy <= 0 {
		return nil
	}
	f := os.NewFile(uintptr(o.Legacy), "hand-over")
	defer f.Close()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<62))
	p := new(passed)
	if err == nil {
		c := handover.Read(b)
		p.pass(c)
		err = c.Done("what the predecessor has passed on")
	}
	if err == nil && p.nonce != o.Requests.Nonce() {
		err = errors.New("the rings are others than the predecessor's")
	}
	for i := 0; err == nil && i < len(p.lanes); i++ { // nobody must find out later
		err = passLane(session.NewLane(&session.Rings{MaxRecord: o.Requests.MaxRecord()}, uint32(i)), p.lanes[i], session.Directory{})
	}
	if err != nil {
		s.giveUp(o, err)
		return nil
	}
	return p
}

// giveUp closes all that the predecessor has passed on: this becomes a start, as after its death.
func (s *Server) giveUp(o Options, err error) {
	s.log.Error("connections cannot be taken over", "err", err, "closed", o.CloseStray())
}

func passLane(l *session.Lane, state []byte, d session.Directory) error {
	c := handover.Read(state)
	l.Pass(c, d)
	return c.Done("the lane")
}

// adopt takes connections over, and the listening sockets.
func (s *Server) adopt(p *passed) {
	failpoint.Hit("handover.adopt")
	if len(p.definitions) > 0 {
		s.access.Store(access.NewTable(p.definitions))
	}
	lost := s.group.Adopt(&p.loops)
	for i, d := range s.desks {
		err := passLane(d.lane, p.lanes[i], d.directory())
		invariant.Check(err == nil, "the lane of loop %d could be read a moment ago: %v", i, err)
	}
	for _, d := range s.desks {
		for _, room := range d.listRooms() {
			room.TakenOver()
		}
	}
	for _, conn := range lost {
		m := ipc.ConnClosed{Head: ipc.Head{Epoch: p.epoch, Conn: conn}}
		s.desks[conn&0xff].lane.PutLater(ipc.TypeConnClosed, m.Append(nil))
	}
	s.options.CloseStray()
	s.markers.Store(p.markers)
	s.counters.Set(shmqueue.ConnOpen, uint64(s.group.Connections()))
	s.counters.Add(shmqueue.ConnHandOvers, 1)
	s.log.Info("connections taken over", "connections", s.group.Connections(), "lost", len(lost), "epoch", p.epoch)
	failpoint.Hit("handover.adopted")
}

// openSource is a segment of which ranges wait to be sent.
func openSource(fd int) (session.Source, error) { return commitlog.AdoptSegment(fd) }
