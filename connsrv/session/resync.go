package session

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// resync is a loop's answer to a Marker: every connection's consumers and waits, then one
// ResyncEnd, and behind it what logicsrv ignores before. It may stop where the ring is full and
// go on later, with the state that holds then: a command that goes into the ring in between is
// told by itself, before or after what is told of its connection.
type resync struct {
	busy   bool
	begun  bool // the current room has been asked
	ended  bool // ResyncEnd stands in the ring
	marker ipc.Marker
	rooms  []Protocol
	next   int    // rooms before it have told what is to be told in front of ResyncEnd or, then, behind it
	given  uint64 // indexes up to this one have told who was given their messages
}

// Marked begins the answer to a marker. A newer one replaces an answer that is under way:
// only the answer to the latest counts.
func (l *Lane) Marked(m ipc.Marker, rooms []Protocol) {
	l.Counters.Add(shmqueue.ConnMarkers, 1)
	l.resync = resync{busy: true, marker: m, rooms: rooms}
	l.continueResync()
}

// Answering tells whether a Marker's answer is under way, whose ResyncEnd is not in the ring yet.
func (l *Lane) Answering() bool { return l.resync.busy && !l.resync.ended }

// continueResync goes on with an answer; true: it is complete.
func (l *Lane) continueResync() bool {
	r := &l.resync
	if !r.busy {
		return true
	}
	if !l.flushBacklog() || !r.ended && !l.endAnswer() {
		return false
	}
	if !r.each(func(room Protocol, first bool) bool { return room.AskAgain(first) }) {
		return false
	}
	l.resync = resync{}
	if len(l.waiting) > 0 {
		l.wants.Store(1)
	}
	return true
}

// endAnswer lets all rooms tell and ends the answer; false: there is no room for all.
func (l *Lane) endAnswer() bool {
	r := &l.resync
	if !r.each(func(room Protocol, first bool) bool { return room.Resync(r.marker, first) }) {
		return false
	}
	if !l.tellHanded() {
		return false
	}
	end := ipc.ResyncEnd{
		Head: l.Head(uint64(l.Loop), 0),
		Term: r.marker.Term, Ask: r.marker.Ask, Loop: l.Loop, Loops: l.Loops,
	}
	if !l.Put(nil, ipc.TypeResyncEnd, end.Append(l.Scratch())) {
		return false
	}
	r.ended, r.next = true, 0
	return true
}

// each goes on with the rooms that were not asked yet; false: the ring is full.
func (r *resync) each(tell func(room Protocol, first bool) bool) bool {
	for ; r.next < len(r.rooms); r.next++ {
		if !tell(r.rooms[r.next], !r.begun) {
			r.begun = true
			return false
		}
		r.begun = false
	}
	return true
}
