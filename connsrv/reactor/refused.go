package reactor

import (
	"github.com/trimq/trimq/connsrv/handover"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/ipc"
)

// refusedRoom is the room of a connection that is only told that there are too many.
type refusedRoom struct{}

func (refusedRoom) Input(b []byte) (int, session.Want) { return len(b), session.Want{} }
func (refusedRoom) Space(int) []byte                   { return nil }
func (refusedRoom) Filled()                            {}
func (refusedRoom) Abandon()                           {}
func (refusedRoom) Reply(ipc.Type, []byte)             {}
func (refusedRoom) Broadcast(ipc.Type, []byte)         {}
func (refusedRoom) Deadline(int64)                     {}
func (refusedRoom) Drained()                           {}
func (refusedRoom) Ended()                             {}
func (refusedRoom) Shutdown()                          {}
func (refusedRoom) Resync(ipc.Marker, bool) bool       { return true }
func (refusedRoom) AskAgain(bool) bool                 { return true }
func (refusedRoom) Pass(*handover.Codec)               {}
func (refusedRoom) TakenOver()                         {}
func (refusedRoom) Closed()                            {}
