package ipc

// Records of share groups, in the conventions of codec.go. Members of a share group work a topic off
// together: what they are assigned may be several members' at once, and messages are pulled, under
// leases, from the queue over the topic that is the group's (see docs/queues.md).
//
//	ShareHeartbeat  as GroupHeartbeat
//	PullFrom        | as Pull | list of index u64 |

import "github.com/trimq/trimq/protocol/wire"

// Records of share groups from connsrv to logicsrv (ring 12345).
const (
	TypeShareHeartbeat Type = 29 // GroupHeartbeat of a member of a share group; answered by GroupAssignment
	TypePullFrom       Type = 30 // PullFrom; answered by Pulled
)

// PullFrom is a Pull from some of a queue's indexes.
type PullFrom struct {
	Pull
	Indexes []uint64 // none: from all
}

// Append appends the record.
func (m *PullFrom) Append(b []byte) []byte { return AppendIndexes(m.Pull.Append(b), m.Indexes) }

// DecodePullFrom reads the record.
func DecodePullFrom(b []byte) (PullFrom, error) {
	c := wire.Read(b)
	m := PullFrom{readPull(&c), ReadIndexes(&c)}
	return m, done(&c, "pull from")
}
