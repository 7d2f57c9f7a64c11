package core

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/topicconf"
)

// alterTopic decides another configuration of a topic. persistsrv is told what it has to keep, and
// connsrv, once that is sure, to forget what it knows of the topic.
func (c *Core) alterTopic(m *admin.AlterTopic) (admin.Created, refused) {
	t, ok := c.topics.get(m.Name)
	if !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no topic %s", quoted(m.Name))
	}
	configs, err := topicconf.Apply(t.configs, m.Replace, m.Changes)
	if err != nil {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "topic %q: %v", m.Name, err)
	}
	if slices.Equal(configs, t.configs) {
		return c.unchanged(0)
	}
	c.decided(&journal.TopicConfigured{Pos: c.in.Pos, ID: t.id, Configs: configs})
	was, is := t.set, topicconf.Read(configs)
	if keeping(0, &was) != keeping(0, &is) {
		for _, ix := range t.partitions {
			if failpoint.Broken("keeping-not-told") {
				break
			}
			c.op(journal.OpConfigure, keeping(ix.id, &is))
		}
	}
	told := ipc.TopicChanged{Topic: t.name}
	c.turn.sent(c.ownGate(ipc.LevelDisk), ipc.TypeTopicChanged, told.Append(c.turn.recs))
	return admin.Created{}, nil
}

// deleteRecords decides that partitions begin later. What is not visible yet is nobody's to delete.
// Where they begin is persistsrv's knowledge: below it nothing is found any more, by whoever reads.
func (c *Core) deleteRecords(m *admin.DeleteRecords) (admin.Created, refused) {
	for _, to := range m.To {
		ix, ok := c.indexes.get(to.Index)
		switch {
		case !ok || ix.topic == nil:
			return admin.Created{}, errcode.New(errcode.UnknownIndex, "index %d is no partition of a topic", to.Index)
		case to.Offset > ix.visible && !failpoint.Broken("unseen-deleted"):
			return admin.Created{}, errcode.New(errcode.OffsetOutOfRange, "offset %d of index %d, which ends at %d", to.Offset, to.Index, ix.visible)
		}
	}
	if len(m.To) == 0 || journal.OpSize*len(m.To) > c.cfg.MaxEntryBytes/4 {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%d partitions to delete from", len(m.To))
	}
	ev := journal.RecordsDeleted{Pos: c.in.Pos}
	for _, to := range m.To {
		ev.To = append(ev.To, journal.IndexOffset(to))
	}
	c.decided(&ev)
	for _, to := range m.To {
		if failpoint.Broken("records-stay") {
			break
		}
		c.turn.ops = append(c.turn.ops, journal.IndexOp{Kind: journal.OpTrim, Index: to.Index, Offset: to.Offset})
	}
	return admin.Created{}, nil
}
