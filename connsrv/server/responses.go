package server

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

const (
	// drainRecords bounds the replies taken in one turn, so that sockets get theirs.
	drainRecords = 4096
	// releaseRecords is how many are released together.
	releaseRecords = 256
)

// drainResponses reads ring 54321. Called by the first loop, every turn.
func (s *Server) drainResponses() {
	taken := 0
	for taken < drainRecords {
		r, ok := s.responses.Next()
		if !ok {
			break
		}
		s.route(ipc.Type(r.Type), r.Payload)
		if taken++; taken%releaseRecords == 0 {
			s.release()
		}
	}
	if taken == 0 {
		if err := s.responses.Err(); err != nil {
			s.fail(err)
		}
		return
	}
	s.release()
	s.counters.Add(shmqueue.ConnReplies, uint64(taken))
}

// dropResponses makes room in ring 54321 before Hello: what stands there is for an earlier
// epoch, and a Marker comes again in answer to Hello. A logicsrv that waits for room there may
// be what keeps ring 12345 full.
func (s *Server) dropResponses() {
	for {
		if _, ok := s.responses.Next(); !ok {
			break
		}
	}
	s.release()
}

// release frees what was read, and tells logicsrv where it waits for that.
func (s *Server) release() {
	if s.responses.Release(s.responses.Read()) {
		s.rings.Bell.Ring()
	}
}

// route hands a record to the loops that it is for.
func (s *Server) route(typ ipc.Type, payload []byte) {
	switch typ {
	case ipc.TypeMarker:
		s.markers.Add(1)
		s.changed()
		s.toAll(typ, payload)
	case ipc.TypeDefined:
		s.changed()
	case ipc.TypeIndexGone:
		if m, err := ipc.DecodeIndexGone(payload); err == nil {
			s.rings.View.Forget(m.Index)
		}
		s.toAll(typ, payload)
	case ipc.TypeTopicChanged:
		s.toAll(typ, payload)
	default:
		head, ok := ipc.PeekHead(payload)
		loop := int(head.Conn & 0xff)
		if !ok || head.Epoch != s.rings.Requests.Epoch() || loop >= len(s.desks) {
			s.counters.Add(shmqueue.ConnStaleReplies, 1)
			return
		}
		s.to(loop, typ, payload)
	}
}

func (s *Server) toAll(typ ipc.Type, payload []byte) {
	for i := range s.desks {
		s.to(i, typ, payload)
	}
}

// to opens a record at once for the first loop, and posts it to another.
func (s *Server) to(loop int, typ ipc.Type, payload []byte) {
	d := s.desks[loop]
	if loop == 0 {
		d.open(typ, payload)
	} else if d.mail.put(typ, payload) {
		d.loop.Nudge()
	}
}

// nudgeStarved wakes the loops for which there is room in ring 12345 now.
func (s *Server) nudgeStarved() {
	for _, d := range s.desks[1:] {
		if wants := d.lane.Wants(); wants != 0 && s.rings.Requests.Room() >= wants {
			d.loop.Nudge()
		}
	}
}

// awaitRoom asks logicsrv to ring for every loop that waits for room; false: there is some
// for the first loop. The others look for themselves.
func (s *Server) awaitRoom() bool {
	for _, d := range s.desks {
		if d.lane.Wants() == 0 || d.lane.Starved() {
			continue
		}
		if d.loop.Number == 0 {
			return false
		}
		d.loop.Nudge()
	}
	return true
}

func (s *Server) undecodable(typ ipc.Type, err error) {
	// Only our own daemons write into the ring: this is a bug, and shows in the log.
	s.log.Error("a record of logicsrv cannot be decoded", "type", int(typ), "err", err)
}
