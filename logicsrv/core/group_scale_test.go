package core

import (
	"fmt"
	"slices"
	"testing"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// crowd is a modern group of many members, each as prompt as can be: with its next heartbeat it has
// given up what it was asked to.
type crowd struct {
	*world
	members []*ipc.GroupHeartbeat // the next heartbeat of each
	// taken are partitions that were taken out of the assignment of the member that had them.
	taken map[uint64]bool
}

const (
	crowdMembers    = 100
	crowdPartitions = 1000
	crowdSessionMS  = 10_000
)

func newCrowd(tb testing.TB) *crowd {
	k := &crowd{world: newWorld(tb, Config{}), taken: map[uint64]bool{}}
	k.attach(1)
	k.topic("t1", crowdPartitions/2, ipc.LevelPage)
	k.topic("t2", crowdPartitions/2, ipc.LevelPage)
	for range crowdMembers {
		k.enter()
	}
	k.rest(nil)
	return k
}

// enter lets one more member join.
func (k *crowd) enter() {
	h := &ipc.GroupHeartbeat{Group: "g", SessionMS: crowdSessionMS, HasTopics: true, Topics: []string{"t1", "t2"}, HasOwned: true}
	k.members = append(k.members, h)
	k.say(h)
}

// say sends a member's heartbeat, and prepares the next one.
func (k *crowd) say(h *ipc.GroupHeartbeat) {
	k.tb.Helper()
	a, code := k.beat(h)
	if code != errcode.OK {
		k.tb.Fatalf("heartbeat of %s: %v", h.Member, code)
	}
	h.Member, h.Epoch, h.HasTopics, h.Topics = a.Member, a.Epoch, false, nil
	if a.HasTopics {
		next := indexesOf(&a)
		for _, id := range less(h.Owned, next) {
			k.taken[id] = true
		}
		h.Owned = next
	}
}

// rest lets all but one, who is dead, send heartbeats until each has what it shall have.
func (k *crowd) rest(dead *ipc.GroupHeartbeat) {
	k.tb.Helper()
	for range 5 {
		settled := true
		for _, h := range k.members {
			if h != dead {
				k.say(h)
				settled = settled && k.c.groupOf("g").member(h.Member).settled()
			}
		}
		if settled {
			return
		}
	}
	k.tb.Fatal("the group does not settle")
}

// owners is who has each partition.
func (k *crowd) owners() map[uint64]string {
	of := map[uint64]string{}
	for _, h := range k.members {
		for _, id := range h.Owned {
			if of[id] != "" {
				k.tb.Fatalf("index %d is owned by %s and %s", id, of[id], h.Member)
			}
			of[id] = h.Member
		}
	}
	return of
}

// change does something, and checks that exactly the partitions that had to move did, and that no
// other one was away from its member for a moment.
func (k *crowd) change(what string, must int, do func()) {
	k.tb.Helper()
	before := k.owners()
	clear(k.taken)
	do()
	after := k.owners()
	moved := 0
	for id, who := range after {
		if before[id] != who {
			moved++
		} else if k.taken[id] {
			k.tb.Errorf("%s: index %d stays, and was taken away in between", what, id)
		}
	}
	least, most := crowdPartitions, 0
	for _, h := range k.members {
		least, most = min(least, len(h.Owned)), max(most, len(h.Owned))
	}
	if len(after) != crowdPartitions || moved != must || most > least+1 {
		k.tb.Errorf("%s: %d partitions are owned, %d have moved (%d must), loads from %d to %d", what, len(after), moved, must, least, most)
	}
}

// playCrowd lets one member join, one leave and one die.
func playCrowd(tb testing.TB) {
	k := newCrowd(tb)
	k.change("nothing", 0, func() { k.rest(nil) })
	k.change("one joins", crowdPartitions/(crowdMembers+1), func() {
		k.enter()
		k.rest(nil)
	})
	leaver := k.members[17]
	k.change("one leaves", len(leaver.Owned), func() {
		leaver.Epoch = ipc.EpochLeave
		k.beat(leaver)
		k.members = slices.Delete(k.members, 17, 18)
		k.rest(nil)
	})
	victim := k.members[60]
	k.change("one is killed", len(victim.Owned), func() {
		k.say(victim)
		died := k.now
		for k.now < died+crowdSessionMS {
			if k.c.groupOf("g").member(victim.Member) == nil {
				k.tb.Fatalf("a dead member is out after %d ms, before its session is over", k.now-died)
			}
			k.now += min(900, died+crowdSessionMS-k.now)
			k.end()
			for _, h := range k.members {
				if h != victim {
					k.say(h)
				}
			}
		}
		if k.c.groupOf("g").member(victim.Member) != nil {
			k.tb.Fatal("a dead member is not out at the end of its session")
		}
		k.members = slices.Delete(k.members, 60, 61)
		k.rest(nil)
	})
}

// TestCrowd: 100 members share 1,000 partitions; one comes, one leaves, one is killed.
func TestCrowd(t *testing.T) { playCrowd(t) }

// TestCrowdRestarts: a group that is rebuilt from the log, and from a checkpoint, goes on where it was.
func TestCrowdRestarts(t *testing.T) {
	k := newCrowd(t)
	for i := range 4 {
		k.change(fmt.Sprintf("restart %d", i), 0, func() {
			if i == 1 {
				k.checkpoint()
			}
			k.kill(k.pos, 0)
			k.resync(1)
			k.now += crowdSessionMS - 1 // a restart gives everybody a fresh period
			k.end()
			k.rest(nil)
		})
	}
	k.change("one joins, and a restart in the middle", crowdPartitions/(crowdMembers+1), func() {
		k.enter()
		for i, h := range k.members {
			if k.say(h); i%25 == 0 {
				k.kill(k.pos, 0)
				k.resync(1)
			}
		}
		k.rest(nil)
	})
}

// BenchmarkHeartbeat is one that changes nothing.
func BenchmarkHeartbeat(b *testing.B) {
	k := newCrowd(b)
	h := *k.members[7]
	h.HasOwned, h.Owned = false, nil
	h.Head = ipc.Head{Epoch: 1, Conn: 256, Req: 1}
	payload := h.Append(nil)
	in := Input{Pos: k.pos, Type: ipc.TypeGroupHeartbeat, Payload: payload}
	b.ReportAllocs()
	for b.Loop() {
		k.c.Step(k.now, in)
		k.c.EndTurn(k.now, testNonce, k.pos)
	}
}

// BenchmarkJoin is one member more, who leaves again, among 100 with 1,000 partitions.
func BenchmarkJoin(b *testing.B) {
	k := newCrowd(b)
	for b.Loop() {
		k.enter()
		h := k.members[crowdMembers]
		h.Epoch = ipc.EpochLeave
		k.beat(h)
		k.members = k.members[:crowdMembers]
		k.ring, k.log = k.ring[:0], k.log[:0]
	}
}
