package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// createTopic decides a new topic and the ids of its partitions: the topic's own first, then the
// partitions' in order. persistsrv learns the retention with each index.
func (c *Core) createTopic(m *admin.CreateTopic) (admin.Created, refused) {
	if no := c.checkWholeTopic(m.Name); no != nil {
		return admin.Created{}, no
	}
	level, no := levelOr(m.Level, c.cfg.DefaultLevel)
	if no != nil {
		return admin.Created{}, no
	}
	configs, err := m.Configuration()
	if err != nil {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "topic %s: %v", quoted(m.Name), err)
	}
	// Equal means all that was asked for, also where it was the default that was meant. A topic
	// that has grown since is another one than who creates it anew has in mind.
	if t, ok := c.topics.get(m.Name); ok {
		if len(t.partitions) != int(m.Partitions) || t.level != level || !slices.Equal(t.configs, configs) {
			return admin.Created{}, errcode.New(errcode.Inequivalent, "topic %q has %d partitions, level %d, configuration %s", m.Name, len(t.partitions), t.level, topicconf.Text(t.configs))
		}
		return c.unchanged(0)
	}
	if _, ok := c.dests[m.Name]; ok {
		return admin.Created{}, errcode.New(errcode.AlreadyExists, "a queue is called %q", m.Name)
	}
	if c.topics.len() >= c.cfg.MaxTopics {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d topics", c.cfg.MaxTopics)
	}
	if no := c.checkPartitions(uint64(m.Partitions), uint64(m.Partitions)); no != nil {
		return admin.Created{}, no
	}
	if no := c.checkShared(m.Name, int(m.Partitions)); no != nil {
		return admin.Created{}, no
	}
	id := c.lastID + 1
	ev := journal.TopicCreated{
		Pos: c.in.Pos, ID: id, UUID: topicUUID(c.cfg.Shard, id, c.ownTerm, c.turn.timeMS), Name: m.Name, Level: level,
		Configs: configs, Indexes: consecutive(id+1, m.Partitions),
	}
	c.decided(&ev)
	set := topicconf.Read(configs)
	for _, index := range ev.Indexes {
		c.op(journal.OpCreate, keeping(index, &set))
	}
	return admin.Created{}, nil
}

// checkPartitions tells whether a topic may have total partitions, added of them new.
func (c *Core) checkPartitions(total, added uint64) refused {
	if total == 0 || total > uint64(c.cfg.MaxPartitionsPerTopic) {
		return errcode.New(errcode.InvalidArgument, "%d partitions; a topic has 1 to %d", total, c.cfg.MaxPartitionsPerTopic)
	}
	if uint64(c.partitions)+added > uint64(c.cfg.MaxPartitions) {
		return errcode.New(errcode.LimitExceeded, "there are %d partitions; at most %d are allowed", c.partitions, c.cfg.MaxPartitions)
	}
	return nil
}

// consecutive lists n ids from first on.
func consecutive(first uint64, n uint32) []uint64 {
	ids := make([]uint64, n)
	for i := range ids {
		ids[i] = first + uint64(i)
	}
	return ids
}

// addPartitions decides that a topic grows to a total. It cannot shrink: offsets would be lost.
func (c *Core) addPartitions(m *admin.AddPartitions) (admin.Created, refused) {
	t, ok := c.topics.get(m.Name)
	if !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no topic %s", quoted(m.Name))
	}
	have := uint32(len(t.partitions))
	if m.Total < have {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "topic %q has %d partitions; their number cannot fall to %d", m.Name, have, m.Total)
	}
	if m.Total == have {
		return c.unchanged(0)
	}
	if no := c.checkPartitions(uint64(m.Total), uint64(m.Total-have)); no != nil {
		return admin.Created{}, no
	}
	if no := c.checkShared(m.Name, int(m.Total-have)); no != nil {
		return admin.Created{}, no
	}
	ev := journal.PartitionsAdded{Pos: c.in.Pos, ID: t.id, Indexes: consecutive(c.lastID+1, m.Total-have)}
	c.decided(&ev)
	for _, index := range ev.Indexes {
		c.op(journal.OpCreate, t.settings(index))
	}
	return admin.Created{}, nil
}

// deleteTopic decides that a topic goes, with its partitions. Empty means that no partition ever
// got a record: what retention has dropped since is persistsrv's knowledge, not core's.
func (c *Core) deleteTopic(m *admin.Delete) (admin.Created, refused) {
	t, ok := c.topics.get(m.Name)
	if !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no topic %s", quoted(m.Name))
	}
	if m.IfUnused && len(t.dest.bindings) > 0 {
		return admin.Created{}, errcode.New(errcode.InUse, "topic %q has %d bindings", m.Name, len(t.dest.bindings))
	}
	if m.IfEmpty {
		for i, ix := range t.partitions {
			if ix.next > 0 {
				return admin.Created{}, errcode.New(errcode.NotEmpty, "partition %d of topic %q has records", i, m.Name)
			}
		}
	}
	c.decided(&journal.TopicDeleted{Pos: c.in.Pos, ID: t.id})
	for _, q := range t.views {
		c.endUsers(q)
	}
	// Waits and persistsrv learn of it partition by partition; the event names the topic alone.
	for _, ix := range t.partitions {
		c.endIndex(ix)
	}
	return admin.Created{}, nil
}

// endIndex decides all that the end of an index means outside of hard state: persistsrv
// drops it, connsrv forgets it, its waits and consumers end.
func (c *Core) endIndex(ix *index) {
	c.op(journal.OpDelete, ipc.IndexSettings{Index: ix.id})
	c.refuseWaits(ix)
	// connsrv may serve reads of it so long: not before the deletion is sure is it told to stop.
	m := ipc.IndexGone{Index: ix.id}
	c.turn.sent(c.ownGate(ipc.LevelDisk), ipc.TypeIndexGone, m.Append(c.turn.recs))
}
