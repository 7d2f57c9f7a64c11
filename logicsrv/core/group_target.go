package core

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/logicsrv/core/assign"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// Who shall have what, in a modern group. The target is made anew, under the next epoch, as soon
// as somebody comes, goes or subscribes to something else; when the partitions of a topic change,
// which may concern many groups at once, at the end of that turn or of one of the next. The
// solution is journaled, not the problem: a replay does not solve it again.

// defaultAssignor is what a group uses in which nobody asks for another.
const defaultAssignor = assign.Sticky

// retarget decides what everybody shall have. REQUIRES: the broker assigns in the group.
func (c *Core) retarget(g *group, pos uint64) {
	solve := g.assignorOf()
	if failpoint.Broken("assign-not-sticky") {
		solve = assign.Named(assign.Range)
	}
	p, order := c.problem(g)
	shares := make([][]uint64, len(g.members))
	for i, share := range solve(p) {
		shares[order[i]] = share
	}
	c.stats.Retargeted++
	c.enact(&journal.GroupTarget{Pos: pos, Group: g.name, Epoch: g.nextEpoch(), Shares: shares})
}

// nextEpoch is the one behind the group's; at its end it stands still, which costs no more than
// the fencing of members that slept since the epoch before.
func (g *group) nextEpoch() int32 {
	if g.epoch == maxEpoch {
		return maxEpoch
	}
	return g.epoch + 1
}

// assignor is the one that most members ask for; of several the first by name.
func (g *group) assignor() string {
	votes := make(map[string]int)
	best := ""
	for _, m := range g.members {
		if m.assignor == "" {
			continue
		}
		votes[m.assignor]++
		if v := votes[m.assignor] - votes[best]; best == "" || v > 0 || v == 0 && m.assignor < best {
			best = m.assignor
		}
	}
	if assign.Named(best) == nil {
		return defaultAssignor // a build that knew another one has made this group
	}
	return best
}

// problem puts the group as an assignor sees it. order says which member each of its members is.
func (c *Core) problem(g *group) (p *assign.Problem, order []int) {
	p = &assign.Problem{Members: make([]assign.Member, len(g.members))}
	number := make(map[string]int)
	for _, name := range g.topicNames() {
		if t, ok := c.topics.get(name); ok {
			number[name] = len(p.Topics)
			p.Topics = append(p.Topics, assign.Topic{Name: name, Partitions: t.ids()})
		}
	}
	order = make([]int, len(g.members))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(g.members[a].key(), g.members[b].key()) })
	for i, at := range order {
		m := g.members[at]
		topics := make([]int, 0, len(m.topics))
		for _, name := range m.topics {
			if t, ok := number[name]; ok {
				topics = append(topics, t)
			}
		}
		p.Members[i] = assign.Member{ID: m.key(), Topics: topics, Has: m.target}
	}
	return p, order
}

// topicNames lists what somebody in the group subscribes to, in order.
func (g *group) topicNames() []string {
	names := make([]string, 0, len(g.topics))
	for name := range g.topics {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// ids lists the indexes of a topic's partitions, in order of their numbers and so of themselves.
func (t *topic) ids() []uint64 {
	ids := make([]uint64, len(t.partitions))
	for i, ix := range t.partitions {
		ids[i] = ix.id
	}
	return ids
}

// retargetStale makes the targets of groups whose topics have changed, as far as the entry has
// room.
func (c *Core) retargetStale() {
	if !c.topicsChanged {
		return
	}
	for _, g := range c.groups.all {
		if !g.stale || !g.brokered() {
			continue
		}
		if c.turn.entrySize() >= c.cfg.MaxEntryBytes/4 {
			return // Busy asks for another turn
		}
		c.retarget(g, journal.NoInput)
	}
	c.topicsChanged = false
}

// subscribed counts the partitions that a group would have to share out if one of its members,
// or a new one, subscribed to these topics instead of what it does.
func (c *Core) subscribed(g *group, m *member, topics []string) (n int) {
	add := func(name string) {
		if t, ok := c.topics.get(name); ok {
			n += len(t.partitions)
		}
	}
	for _, name := range topics {
		add(name)
	}
	if g == nil {
		return n
	}
	for name, members := range g.topics { // order: a sum
		if _, counted := slices.BinarySearch(topics, name); counted || members == 1 && m != nil && m.subscribes(name) {
			continue
		}
		add(name)
	}
	return n
}

// checkShared refuses partitions that would be more than a group which subscribes to their topic
// can share out.
func (c *Core) checkShared(topic string, added int) refused {
	for name, g := range c.groups.all {
		if g.topics[topic] == 0 {
			continue
		}
		if n := c.subscribed(g, nil, nil) + added; n > c.cfg.MaxGroupPartitions {
			return errcode.New(errcode.LimitExceeded, "group %s subscribes to topic %q and would have %d partitions; a group shares out at most %d", quoted(name), topic, n, c.cfg.MaxGroupPartitions)
		}
	}
	return nil
}
