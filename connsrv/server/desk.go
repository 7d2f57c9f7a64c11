package server

import (
	"sync"

	"github.com/trimq/trimq/connsrv/amqpconn"
	"github.com/trimq/trimq/connsrv/kafkaconn"
	"github.com/trimq/trimq/connsrv/reactor"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// desk is what one event loop does besides its sockets (reactor.Service): its lane, and the
// replies for its connections.
type desk struct {
	server *Server
	loop   *reactor.Loop
	lane   *session.Lane
	kafka  *kafkaconn.Loop
	amqp   *amqpconn.Loop
	mail   mailbox
	read   mailbox // what was taken from the mailbox last, for reuse
}

// letter is a record of ring 54321 on its way to another loop.
type letter struct {
	typ     ipc.Type
	payload []byte // a piece of the mailbox's arena
}

// mailbox passes records from the first loop to another.
type mailbox struct {
	mu      sync.Mutex
	letters []letter
	arena   []byte
}

const arenaBytes = 64 << 10

// put copies a record; true: it is the first one, the loop must be nudged.
func (m *mailbox) put(typ ipc.Type, payload []byte) (first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(payload) > cap(m.arena)-len(m.arena) {
		m.arena = make([]byte, 0, max(arenaBytes, len(payload)))
	}
	at := len(m.arena)
	m.arena = append(m.arena, payload...)
	m.letters = append(m.letters, letter{typ, m.arena[at:len(m.arena):len(m.arena)]})
	return len(m.letters) == 1
}

// take swaps the letters and their memory out for those of into, which are used up.
func (m *mailbox) take(into *mailbox) []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.letters, into.letters = into.letters[:0], m.letters
	m.arena, into.arena = into.arena[:0], m.arena
	return into.letters
}

func (m *mailbox) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.letters) == 0
}

// Turn takes replies in and lets those go on that waited for room.
func (d *desk) Turn() {
	if d.loop.Number == 0 {
		d.server.drainResponses()
		d.server.nudgeStarved()
	} else if !d.mail.empty() {
		for _, l := range d.mail.take(&d.read) {
			d.open(l.typ, l.payload)
		}
		clear(d.read.letters)
	}
	d.amqp.Answered()
	d.lane.Advance()
}

// Sleep looks for work once more, after whoever makes some has been asked to ring.
func (d *desk) Sleep() bool {
	if d.loop.Number > 0 {
		return d.mail.empty() && (d.lane.Wants() == 0 || d.lane.Starved())
	}
	s := d.server
	s.bell.Arm()
	if s.responses.Ready() || !s.awaitRoom() {
		s.bell.Disarm()
		return false
	}
	return true
}

// Wake ends Sleep.
func (d *desk) Wake() {
	if d.loop.Number == 0 {
		d.server.bell.Disarm()
	}
}

// open gives a record to the connection that it is for, or to all.
func (d *desk) open(typ ipc.Type, payload []byte) {
	switch typ {
	case ipc.TypeMarker:
		m, err := ipc.DecodeMarker(payload)
		if err != nil {
			d.server.undecodable(typ, err)
			return
		}
		d.kafka.Marked()
		d.lane.Marked(m, d.listRooms())
	case ipc.TypeTopicChanged:
		m, err := ipc.DecodeTopicChanged(payload)
		if err != nil {
			d.server.undecodable(typ, err)
			return
		}
		d.kafka.TopicChanged(m.Topic)
	case ipc.TypeIndexGone:
		m, err := ipc.DecodeIndexGone(payload)
		if err != nil {
			d.server.undecodable(typ, err)
			return
		}
		d.lane.IndexGone(m.Index)
		d.kafka.IndexGone(m.Index)
		for _, room := range d.listRooms() {
			room.Broadcast(typ, payload)
		}
	default:
		head, _ := ipc.PeekHead(payload) // its length was checked when it was routed
		c := d.loop.Conn(head.Conn)
		if c == nil {
			d.lane.Counters.Add(shmqueue.ConnStaleReplies, 1)
			return
		}
		c.Room().Reply(typ, payload)
	}
}

// listRooms lists the rooms of the loop's connections now.
func (d *desk) listRooms() []session.Protocol {
	rooms := make([]session.Protocol, 0, d.loop.Len())
	d.loop.Each(func(c *reactor.Conn) { rooms = append(rooms, c.Room()) })
	return rooms
}
