package errcode

// Codes of consumer groups; numbers from 64 on are theirs. They stand one to one for those that
// Kafka's clients know.
const (
	UnknownMember         Code = 64 // no member of this id (any longer): join anew
	FencedMemberEpoch     Code = 65 // give up all partitions and join again with epoch 0
	StaleMemberEpoch      Code = 66 // the member has been told a later epoch: try again with that
	IllegalGeneration     Code = 67 // of a classic group: another generation has begun
	RebalanceInProgress   Code = 68 // of a classic group: join again
	MemberIDRequired      Code = 69 // join again with the member id that comes with this
	FencedInstanceID      Code = 70 // another member has taken the instance id over
	UnreleasedInstanceID  Code = 71 // another member has the instance id and has not left
	InconsistentProtocol  Code = 72 // the group is of the other kind, or has no protocol in common
	UnsupportedAssignor   Code = 73
	InvalidSessionTimeout Code = 74
)
