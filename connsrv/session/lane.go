package session

import (
	"errors"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// Rings is what all lanes of a process share: the producing end of ring 12345, and what is
// known of the log. Immutable but for the waiting counts.
type Rings struct {
	Requests  *shmqueue.Producer
	Capacity  uint64 // of ring 12345
	MaxRecord int
	MaxBatch  int            // bytes of a batch that a client may send, and get
	Bell      *shmqueue.Bell // logicsrv's
	Status    *atomic.Uint64 // persistsrv's status bits
	View      *commitlog.View
	Counters  *shmqueue.Counters
	Loops     uint32
}

// DiskFull tells whether new messages are to be refused.
func (r *Rings) DiskFull() bool { return r.Status.Load()&shmqueue.StatusDiskFull != 0 }

// Lane is one event loop's way to logicsrv. All of it but Wants belongs to the loop.
type Lane struct {
	*Rings
	Loop uint32

	// Ends holds what is known of visible ends, for the connections of this loop.
	Ends Ends
	// Stables holds what is known of stable ends, likewise.
	Stables Stables
	plain   Ends // visible ends of indexes that had no transactions when they were told

	handed  handed // to consumers of this loop
	nextReq uint64
	waiting []Link   // for room, first come first served
	backlog [][]byte // small records that must go out before others, oldest first
	types   []ipc.Type
	wants   atomic.Uint64 // how much room must be free for another try; 0: nobody waits
	unrung  bool          // records were put and the bell not rung
	scratch []byte
	resync  resync
	reading Reading
	kept    []commitlog.Span // memory for those of a reading that are
	cutter  batch.Cutter
	ranges  []ipc.Range
	note    noteCache
	sparse  sparseCache
	filters filters
	sieve   Sieve
	runs    []Run
}

// NewLane makes the lane of a loop.
func NewLane(r *Rings, loop uint32) *Lane {
	return &Lane{Rings: r, Loop: loop, Ends: Ends{}, Stables: Stables{}, plain: Ends{}, handed: handed{}, scratch: make([]byte, 0, 64<<10), ranges: make([]ipc.Range, 0, 256)}
}

// Req gives a request its number.
func (l *Lane) Req() uint64 {
	l.nextReq++
	return l.nextReq<<8 | uint64(l.Loop)
}

// Head is the head of a connection's record.
func (l *Lane) Head(conn, req uint64) ipc.Head {
	return ipc.Head{Epoch: l.Requests.Epoch(), Conn: conn, Req: req}
}

// Claim takes room for a record of n payload bytes; false: there is none, and who (unless
// nil) is told to resume when there may be. Nobody overtakes one who waits.
// REQUIRES: n <= MaxRecord, and the bytes are at hand.
func (l *Lane) Claim(who Link, n int, typ ipc.Type) (shmqueue.Slot, bool) {
	if who != nil && (len(l.waiting) > 0 || len(l.backlog) > 0 || l.resync.busy) {
		l.enqueue(who)
		return shmqueue.Slot{}, false
	}
	for range 2 {
		room := l.Requests.Room()
		slot, err := l.Requests.Claim(n, uint16(typ), 0)
		if err == nil {
			l.unrung = true
			return slot, true
		}
		invariant.Check(errors.Is(err, shmqueue.ErrFull), "claim of %d bytes: %v", n, err)
		// Another try is of use once there is more room than at this one. SYNC: wants is
		// set before the consumer is asked to ring and the room looked at again.
		l.wants.Store(room + 1)
		l.Requests.WantSpace()
		l.unrung = true // logicsrv may be asleep with what others have put
		if l.Requests.Room() <= room {
			break
		}
	}
	l.Counters.Add(shmqueue.ConnRingFull, 1)
	if who != nil {
		l.enqueue(who)
	}
	return shmqueue.Slot{}, false
}

func (l *Lane) enqueue(who Link) {
	for _, w := range l.waiting {
		if w == who {
			return
		}
	}
	l.waiting = append(l.waiting, who)
	if l.wants.Load() == 0 {
		l.wants.Store(1)
	}
}

// Put puts a record for a connection; false: as Claim.
func (l *Lane) Put(who Link, typ ipc.Type, record []byte) bool {
	slot, ok := l.Claim(who, len(record), typ)
	if !ok {
		return false
	}
	copy(slot.Payload, record)
	slot.Publish()
	return true
}

// PutLater puts a small record at once or, where there is no room, before anything else of
// this loop. For what nobody can wait for: the end of a connection, of a wait.
func (l *Lane) PutLater(typ ipc.Type, record []byte) {
	if len(l.backlog) == 0 && l.Put(nil, typ, record) {
		return
	}
	l.backlog = append(l.backlog, append([]byte(nil), record...))
	l.types = append(l.types, typ)
}

// Scratch is memory to encode a record in, until the next use.
func (l *Lane) Scratch() []byte { return l.scratch[:0] }

// Forget takes a connection that is gone off the list of those that wait.
func (l *Lane) Forget(who Link) {
	for i, w := range l.waiting {
		if w == who {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			return
		}
	}
}

// Wants is how much room must be free before Advance is of use; 0: nobody waits. Safe from
// any goroutine.
func (l *Lane) Wants() uint64 { return l.wants.Load() }

// Advance is called every turn: what waited for room goes on if there is some.
func (l *Lane) Advance() {
	if wants := l.wants.Load(); wants != 0 && l.Requests.Room() >= wants {
		l.wants.Store(0)
		if l.flushBacklog() && l.continueResync() {
			waiting := l.waiting
			l.waiting = nil
			for _, w := range waiting {
				w.Resume()
			}
		}
	}
	l.Ring()
}

// flushBacklog puts what must go first; false: there is no room for all of it.
func (l *Lane) flushBacklog() bool {
	for len(l.backlog) > 0 {
		if !l.Put(nil, l.types[0], l.backlog[0]) {
			return false
		}
		l.backlog[0] = nil
		l.backlog, l.types = l.backlog[1:], l.types[1:]
	}
	l.backlog, l.types = nil, nil
	return true
}

// Ring wakes logicsrv if anything was put since the last call.
func (l *Lane) Ring() {
	if l.unrung {
		l.unrung = false
		l.Bell.Ring()
	}
}

// Starved asks logicsrv to ring when it has made room, and tells whether there is enough
// already. For a lane that waits, before its process sleeps.
func (l *Lane) Starved() (wait bool) {
	wants := l.wants.Load()
	if wants == 0 {
		return false
	}
	l.Requests.WantSpace()
	return l.Requests.Room() < wants
}

// Ranges is memory to decode ranges into, until the next use.
func (l *Lane) Ranges() []ipc.Range { return l.ranges[:0] }
