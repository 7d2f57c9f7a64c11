package session

import (
	"maps"
	"slices"

	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// Directory names the connections of a loop for the state of its lane.
type Directory struct {
	IDs   map[Protocol]uint64 // of rooms that are alive; for writing
	Links map[uint64]Link     // for reading
	Rooms map[uint64]Protocol
}

// Pass goes over what the lane has under way: the numbers that it has given, what is known of
// visible ends, who waits for room, and the answer to a Marker. What it remembers of notes, filters and
// transactions is found, or asked for, again. Connections that are gone are passed over.
func (l *Lane) Pass(c *handover.Codec, d Directory) {
	handover.Uint(c, &l.nextReq)
	l.Ends.pass(c)
	l.handed.pass(c)
	l.passWaiting(c, d)
	n := c.Count(len(l.backlog), 2)
	if c.Reading() {
		l.backlog, l.types = make([][]byte, n), make([]ipc.Type, n)
	}
	for i := range l.backlog {
		handover.Uint(c, &l.types[i])
		c.Bytes(&l.backlog[i])
		c.Check(len(l.backlog[i]) <= l.MaxRecord)
	}
	l.resync.pass(c, d)
	if c.Reading() && (len(l.waiting) > 0 || len(l.backlog) > 0 || l.resync.busy) {
		l.wants.Store(1)
	}
}

func (e *Ends) pass(c *handover.Codec) {
	type end struct{ index, end uint64 }
	var list []end
	for _, index := range slices.Sorted(maps.Keys(*e)) {
		list = append(list, end{index, (*e)[index]})
	}
	handover.List(c, &list, 2, func(c *handover.Codec, x *end) {
		handover.Uint(c, &x.index)
		handover.Uint(c, &x.end)
	})
	if c.Reading() {
		*e = make(Ends, len(list))
		for i, x := range list {
			c.Check(i == 0 || x.index > list[i-1].index)
			(*e)[x.index] = x.end
		}
	}
}

// passWaiting goes over who waits for room, in order.
func (l *Lane) passWaiting(c *handover.Codec, d Directory) {
	var ids []uint64
	for _, w := range l.waiting {
		ids = append(ids, w.ID())
	}
	handover.List(c, &ids, 1, func(c *handover.Codec, id *uint64) { handover.Uint(c, id) })
	if !c.Reading() {
		return
	}
	l.waiting = nil
	for _, id := range ids {
		if link := d.Links[id]; link != nil {
			l.waiting = append(l.waiting, link)
		}
	}
}

// pass goes over an answer. Of rooms that are gone nothing is to be told.
func (r *resync) pass(c *handover.Codec, d Directory) {
	var ids []uint64
	next, begun := 0, r.begun
	for i, room := range r.rooms {
		id, alive := d.IDs[room]
		switch {
		case alive && i < r.next:
			next++
		case !alive && i == r.next:
			begun = false
		}
		if alive {
			ids = append(ids, id)
		}
	}
	for _, flag := range []*bool{&r.busy, &begun, &r.ended} {
		c.Bool(flag)
	}
	handover.Uint(c, &r.marker.Term)
	handover.Uint(c, &r.marker.Ask)
	handover.Uint(c, &r.given)
	handover.List(c, &ids, 1, func(c *handover.Codec, id *uint64) { handover.Uint(c, id) })
	handover.Int(c, &next)
	c.Check(next >= 0 && next <= len(ids))
	if c.Reading() && !c.Failed() {
		r.find(d, ids, next, begun)
	}
}

// find names the rooms again.
func (r *resync) find(d Directory, ids []uint64, next int, begun bool) {
	r.rooms, r.next, r.begun = nil, 0, begun
	for i, id := range ids {
		room := d.Rooms[id]
		switch {
		case room != nil && i < next:
			r.next++
		case room == nil && i == next:
			r.begun = false
		}
		if room != nil {
			r.rooms = append(r.rooms, room)
		}
	}
}
