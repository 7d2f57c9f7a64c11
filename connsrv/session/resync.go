package session

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// resync is a loop's answer to a Marker: every connection's consumers and waits, then one
// ResyncEnd. It may stop where the ring is full and go on later, with the state that holds
// then: a command that goes into the ring in between is told by itself, before or after
// what is told of its connection.
type resync struct {
	busy   bool
	begun  bool // the current room has been asked
	marker ipc.Marker
	rooms  []Protocol // not told yet
	after  []func()   // see AfterResync
}

// Marked begins the answer to a marker. A newer one replaces an answer that is under way:
// only the answer to the latest counts.
func (l *Lane) Marked(m ipc.Marker, rooms []Protocol) {
	l.Counters.Add(shmqueue.ConnMarkers, 1)
	l.resync = resync{busy: true, marker: m, rooms: rooms, after: l.resync.after}
	l.continueResync()
}

// continueResync goes on with an answer; true: it is complete.
func (l *Lane) continueResync() bool {
	r := &l.resync
	if !r.busy {
		return true
	}
	if !l.flushBacklog() {
		return false
	}
	for len(r.rooms) > 0 {
		if !r.rooms[0].Resync(r.marker, !r.begun) {
			r.begun = true
			return false
		}
		r.begun = false
		r.rooms[0] = nil
		r.rooms = r.rooms[1:]
	}
	end := ipc.ResyncEnd{
		Head: l.Head(uint64(l.Loop), 0),
		Term: r.marker.Term, Ask: r.marker.Ask, Loop: l.Loop, Loops: l.Loops,
	}
	if !l.Put(nil, ipc.TypeResyncEnd, end.Append(l.Scratch())) {
		return false
	}
	after := l.resync.after
	l.resync = resync{}
	for _, f := range after {
		f()
	}
	if len(l.waiting) > 0 {
		l.wants.Store(1)
	}
	return true
}

// AfterResync calls f now or, where a Marker is being answered, behind the end of the answer: for
// what logicsrv ignores before, as a Pull, if f finds that it is not part of the answer.
func (l *Lane) AfterResync(f func()) {
	if !l.resync.busy {
		f()
		return
	}
	l.resync.after = append(l.resync.after, f)
}
