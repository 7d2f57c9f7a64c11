package trimq

import (
	"context"
	"math"
	"time"
)

// Defaults of members, with their units.
const (
	defaultRebalance  = time.Minute // likewise
	defaultMaxPoll    = 5 * time.Minute
	defaultAutoCommit = 5 * time.Second
	maxGroupTimeout   = math.MaxInt32 * time.Millisecond
)

// Assignor names a way in which the broker shares partitions out among the members of a group.
// All of them keep what each member has within one partition of even.
type Assignor string

const (
	AssignRange      Assignor = "range"      // neighbouring partitions; equal numbers of different topics to the same member
	AssignRoundRobin Assignor = "roundrobin" // in turn, all topics together
	AssignSticky     Assignor = "sticky"     // as few partitions as possible move; the broker's default
	AssignHash       Assignor = "hash"       // consistent hashing: who has a partition follows from the members' names
)

// PartitionsFunc is told of partitions that a member of a group has been given, gives up or has
// lost. Offsets are those of the records behind what has been worked on, as WithAutoCommit
// understands it.
//
// One call follows the other, in a goroutine of the consumer, beside Poll; the consumer may be
// used, but not closed. ctx ends when it is too late for whatever the function does.
type PartitionsFunc func(ctx context.Context, k *Consumer, at []Position)

// memberOptions are those of a consumer that is a member of a group.
type memberOptions struct {
	joins     bool
	instance  string
	takeOver  bool
	session   time.Duration // 0: the broker's
	rebalance time.Duration // 0: the broker's
	assignor  Assignor      // empty: what others prefer
	maxPoll   time.Duration // 0: for ever
	assigned  PartitionsFunc
	revoked   PartitionsFunc
	lost      PartitionsFunc

	given []string // options that mean something for members only
}

// WithGroup makes the consumer a member of a group: the broker shares the partitions of the topics
// out among all members, and Poll gives records of this one's. Commit stores positions for the
// group, and who gets a partition goes on from there.
func WithGroup(name string) ConsumerOption {
	return func(o *consumerOptions) { o.group, o.member.joins = name, true }
}

// WithPositions sets the name under which offsets are committed, and from whose offsets the consumer
// begins, without making it a member of that group: it reads all partitions, or those of
// WithPartitions, whoever else does. As long as a group has members, only they can commit.
func WithPositions(name string) ConsumerOption {
	return func(o *consumerOptions) { o.group, o.positions = name, true }
}

// forMembers is an option that needs WithGroup.
func forMembers(name string, set func(*memberOptions)) ConsumerOption {
	return func(o *consumerOptions) {
		o.member.given = append(o.member.given, name)
		set(&o.member)
	}
}

// WithInstanceID makes the member a static one: it may be closed and made anew, in another process
// too, within its session time-out, and finds its partitions as it left them. Nobody else in the
// group can have the same id at the same time; NewConsumer waits until whoever has it has left or
// is out.
func WithInstanceID(id string) ConsumerOption {
	return forMembers("WithInstanceID", func(o *memberOptions) { o.instance = id })
}

// WithTakeOver makes NewConsumer take the instance id from whoever has it, who is fenced: for the
// successor of a process that has died without leaving.
func WithTakeOver() ConsumerOption {
	return forMembers("WithTakeOver", func(o *memberOptions) { o.takeOver = true })
}

// WithSessionTimeout sets after what silence the broker gives the member's partitions to others
// (default: the broker's, 45 s unless it is configured otherwise; the broker keeps it within its
// limits). Heartbeats are sent in the background.
func WithSessionTimeout(d time.Duration) ConsumerOption {
	return forMembers("WithSessionTimeout", func(o *memberOptions) { o.session = d })
}

// WithRebalanceTimeout sets how long the member may take to give up a partition that is to go to
// another one, with what OnRevoked does (default: the broker's, 60 s). Who takes longer is out.
func WithRebalanceTimeout(d time.Duration) ConsumerOption {
	return forMembers("WithRebalanceTimeout", func(o *memberOptions) { o.rebalance = d })
}

// WithAssignor asks for a way to share partitions out. The one that most members of a group ask
// for is used.
func WithAssignor(a Assignor) ConsumerOption {
	return forMembers("WithAssignor", func(o *memberOptions) { o.assignor = a })
}

// WithMaxPollInterval sets how long the user may go without Poll (default 5 min; 0: for ever). Then
// the consumer counts as stuck and leaves its group, so that others get its partitions. The next
// Poll returns ErrMaxPollInterval, and the one after that is a member again.
func WithMaxPollInterval(d time.Duration) ConsumerOption {
	return forMembers("WithMaxPollInterval", func(o *memberOptions) { o.maxPoll = d })
}

// OnAssigned has f called with partitions that the member has been given, before their first
// records are given out. The offsets are where it begins; f may Seek.
func OnAssigned(f PartitionsFunc) ConsumerOption {
	return forMembers("OnAssigned", func(o *memberOptions) { o.assigned = f })
}

// OnRevoked has f called with partitions that are to go to other members, or that Close gives up.
// Nothing of them is given out any more, and nobody else has them before f returns: it is the place
// to finish work on their records, and to store how far that has got with CommitPositions.
func OnRevoked(f PartitionsFunc) ConsumerOption {
	return forMembers("OnRevoked", func(o *memberOptions) { o.revoked = f })
}

// OnLost has f called with partitions that may be others' already, since the broker had not heard
// from the member for too long. Nothing can be committed for them.
func OnLost(f PartitionsFunc) ConsumerOption {
	return forMembers("OnLost", func(o *memberOptions) { o.lost = f })
}

// WithAutoCommit commits by itself: every interval (0: 5 s), when a partition is given up, and
// with Close. What Poll has given counts as worked on when Poll is called again, so this is for
// one goroutine that works on records between two Polls. Without it nothing is committed unless
// the user does.
func WithAutoCommit(interval time.Duration) ConsumerOption {
	return func(o *consumerOptions) {
		if o.autoCommit = interval; interval == 0 {
			o.autoCommit = defaultAutoCommit
		}
	}
}

// check refuses options that contradict each other.
func (o *consumerOptions) check() error {
	m := &o.member
	switch {
	case o.group == "" && (m.joins || o.positions):
		return invalid("the group's name is empty")
	case m.joins && o.positions:
		return invalid("WithGroup and WithPositions: a consumer either is a member of a group, or reads everything and stores positions")
	case m.joins && o.partitions != nil:
		return invalid("a member of a group is assigned its partitions: leave out WithPartitions, or store positions with WithPositions")
	case !m.joins && len(m.given) > 0:
		return invalid("%s is for members of a group: name it with WithGroup", m.given[0])
	case m.takeOver && m.instance == "":
		return invalid("WithTakeOver needs WithInstanceID")
	case o.autoCommit != 0 && o.group == "":
		return invalid("WithAutoCommit commits for a group: name it with WithGroup or WithPositions")
	case o.autoCommit < 0 || m.maxPoll < 0:
		return invalid("an interval is negative: WithAutoCommit %v, WithMaxPollInterval %v", o.autoCommit, m.maxPoll)
	case badTimeout(m.session) || badTimeout(m.rebalance):
		return invalid("a time-out is negative, below a millisecond, or above %v: WithSessionTimeout %v, WithRebalanceTimeout %v", maxGroupTimeout, m.session, m.rebalance)
	}
	return nil
}

// badTimeout tells time-outs that cannot be asked for in milliseconds.
func badTimeout(d time.Duration) bool {
	return d < 0 || d > maxGroupTimeout || d > 0 && d < time.Millisecond
}

// rebalanceLimit is the rebalance time-out, as far as it is known here.
func (o *memberOptions) rebalanceLimit() time.Duration {
	if o.rebalance > 0 {
		return o.rebalance
	}
	return defaultRebalance
}
