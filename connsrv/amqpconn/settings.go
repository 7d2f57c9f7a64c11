package amqpconn

import (
	"log/slog"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/batch"
)

// Settings are what all AMQP connections of a process share.
type Settings struct {
	WindowRequests int    // publishes of one connection under way at most
	WindowBytes    int    // … and bytes of the ring that they hold
	FrameMax       uint32 // bytes, proposed to clients
	ChannelMax     uint16
	HeartbeatS     uint16
	Access         *access.Current // who may connect, and do what
	Attendance     *access.Attendance
	Version        string // of the broker
	Cluster        string // the broker's id
	UnixMS         func() int64
	Log            *slog.Logger
}

// Loop is what the AMQP connections of one event loop share.
type Loop struct {
	Lane *session.Lane

	runs     []*run          // free ones
	builders []batch.Builder // free ones
	// confirming are the channels to which something is to be confirmed at the end of the turn.
	confirming []*channel
	// byHeaders are the ways (see Conn.way) on which headers are looked at. One that is not in it is
	// found out: logicsrv refuses what has to have its headers and has none.
	byHeaders map[string]bool
	reader    batch.Reader
	opened    opened     // the batch that was read last
	note      parsedNote // the note that was read last
	props     []byte     // memory to put properties together in
}

// NewLoop makes it for a lane.
func NewLoop(lane *session.Lane) *Loop { return &Loop{Lane: lane, byHeaders: map[string]bool{}} }
