package session

import (
	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/protocol/ipc"
)

// Protocol is the room of one connection: a state machine of one wire protocol, without
// I/O. Bytes go in and commands come out on the ring; replies go in and bytes come out on
// the Link. All its methods are called by the connection's event loop.
type Protocol interface {
	// Input is shown the bytes that have arrived and are not consumed yet. It returns how
	// many it has consumed, and what it waits for. However the bytes of a stream are cut
	// into calls, the commands that come out are the same.
	Input(b []byte) (used int, want Want)

	// Space follows a Want with Direct, once all n bytes are at hand: it returns the n
	// bytes of memory into which they go, or nil, to be asked again after Link.Resume.
	// Filled or Abandon follows before any other call.
	Space(n int) []byte
	// Filled says that the memory holds the bytes.
	Filled()
	// Abandon says that the bytes never came: the connection is broken.
	Abandon()

	// Reply is given a record from logicsrv for this connection. payload is valid during
	// the call only.
	Reply(typ ipc.Type, payload []byte)
	// Broadcast is given a record that concerns every connection (IndexGone).
	Broadcast(typ ipc.Type, payload []byte)
	// Deadline is called at or after the time that was set with Link.SetDeadline.
	Deadline(nowMS int64)
	// Drained says that the out queue has become short again, after Link.Crowded was true.
	Drained()
	// Ended says that the peer sends nothing more: no Input follows. The room closes its
	// Link once it has answered what is pending.
	Ended()
	// Shutdown asks the room to say goodbye, to take nothing new, and to close its Link
	// once nothing is pending.
	Shutdown()
	// Resync puts the connection's soft state into the ring again, from where the last
	// call stopped (first: from the start). False: the ring is full, call again.
	Resync(m ipc.Marker, first bool) (done bool)
	// AskAgain puts the requests into the ring again that logicsrv ignores until the answer to
	// its Marker has ended: what it may have given to one that it read before, nobody would
	// know. Otherwise as Resync, which comes before.
	AskAgain(first bool) (done bool)
	// Pass goes over all that the room is, between two turns of the loop: to write it for the
	// program that replaces this one, or to read it into a new room of that. What is read decides
	// nothing yet, and puts nothing into the ring: the lane is read behind the rooms. What cannot be
	// read makes the codec fail: the reactor ends the connection then, and says so.
	Pass(c *handover.Codec)
	// TakenOver follows a Pass that has read, when all that was passed on is there: the room goes on
	// with what it could not write down as it was.
	TakenOver()
	// Closed says that the connection is gone. It is the last call.
	Closed()
}

// Want is what a room waits for. Its zero value: any bytes.
type Want struct {
	// Bytes that must be at hand, counted from the first one that was not consumed, before
	// another call is of use. 0 counts as 1.
	Bytes int
	// Direct: the Bytes go where Space says, and are not shown to Input.
	Direct bool
	// Pause: nothing is read until Link.Resume.
	Pause bool
}

// Link is a connection as its room sees it. It is used from the event loop only.
type Link interface {
	// ID is the connection's number in the records of this connsrv (ipc.Head.Conn).
	ID() uint64
	// NowMS is a monotonic clock, read once a turn of the event loop.
	NowMS() int64
	// Append makes n bytes at the end of the out queue; the caller fills them at once.
	Append(n int) []byte
	// WriteRange queues n bytes of a file, from off. The Link takes a reference to src
	// until they are sent.
	WriteRange(src Source, off int64, n int)
	// Crowded tells whether so much waits to be sent that nothing optional should be
	// added. Protocol.Drained follows.
	Crowded() bool
	// SetDeadline has Protocol.Deadline called at that time (0: not at all).
	SetDeadline(atMS int64)
	// Resume ends a Pause, or has Space asked again.
	Resume()
	// Gather is for a room that will look again soon by itself: what arrives is read when n bytes
	// are there, or when it says Look. 0: at once, as at the start.
	Gather(n int)
	// Look reads what has arrived, in this turn or the next. It costs nothing where nothing gathers.
	Look()
	// Established says that the handshake is done, and its time limit with it.
	Established()
	// Close sends what is queued and then closes.
	Close()
	// Remote is the peer's address, for logs.
	Remote() string
}

// Source is a file from which ranges are sent: a segment of the commit log.
type Source interface {
	Fd() int
	// Bytes is the mapped range, or nil where there is no mapping.
	Bytes(off int64, n int) []byte
	Retain()
	Release()
}
