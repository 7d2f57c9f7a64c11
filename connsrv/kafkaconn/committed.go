package kafkaconn

import (
	"cmp"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// offsetFetch reads committed positions, of one group or, from version 8 on, of several. One form
// serves all versions: that of the latest.
func (c *Conn) offsetFetch(k *call, m *kmsg.OffsetFetchRequest) {
	groups := m.Groups
	if m.Version < 8 {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = m.Group
		if m.Topics != nil {
			g.Topics = []kmsg.OffsetFetchRequestGroupTopic{}
		}
		for i := range m.Topics {
			t := kmsg.NewOffsetFetchRequestGroupTopic()
			t.Topic, t.Partitions = m.Topics[i].Topic, m.Topics[i].Partitions
			g.Topics = append(g.Topics, t)
		}
		groups = []kmsg.OffsetFetchRequestGroup{g}
	}
	c.nameGroupTopics(k, m.Version >= topicIDOffsets, groups, func(err error) {
		switch {
		case err != nil:
			c.finish(k, offsetFetchResponse(m.Version, refusedOffsets(groups, err)))
		case !m.RequireStable || m.Version < 7:
			c.fetchOffsets(k, m.Version, groups, nil)
		default:
			c.fetchStable(k, m.Version, groups)
		}
	})
}

// nameGroupTopics gives the topics that are asked for by ids their names.
func (c *Conn) nameGroupTopics(k *call, byID bool, groups []kmsg.OffsetFetchRequestGroup, then func(error)) {
	var topics []*kmsg.OffsetFetchRequestGroupTopic
	for i := range groups {
		for j := range groups[i].Topics {
			topics = append(topics, &groups[i].Topics[j])
		}
	}
	c.nameTopics(k, byID, len(topics), func(i int) (topicID, *string) { return topics[i].TopicID, &topics[i].Topic }, then)
}

// fetchStable reads positions, but for those that are about to change.
func (c *Conn) fetchStable(k *call, version int16, groups []kmsg.OffsetFetchRequestGroup) {
	c.heldBy(k, groups, func(held map[string][]uint64, err error) {
		if err != nil {
			c.finish(k, offsetFetchResponse(version, refusedOffsets(groups, err)))
			return
		}
		c.fetchOffsets(k, version, groups, held)
	})
}

// heldBy asks for the partitions of which open transactions hold positions for groups. It is asked before
// the positions are: one that is held later is no older than those.
func (c *Conn) heldBy(k *call, groups []kmsg.OffsetFetchRequestGroup, then func(map[string][]uint64, error)) {
	ask := admin.Describe{Kind: admin.KindHeld}
	for i := range groups {
		ask.Names = append(ask.Names, groups[i].Group)
	}
	held := map[string][]uint64{}
	c.describe(k, ask, func(d *admin.Description) {
		for i := range d.Held {
			held[d.Held[i].Group] = d.Held[i].Indexes
		}
	}, func(err error) { then(held, err) })
}

// refusedOffsets refuses all groups.
func refusedOffsets(groups []kmsg.OffsetFetchRequestGroup, err error) []kmsg.OffsetFetchResponseGroup {
	found := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	for i := range groups {
		found[i] = kmsg.NewOffsetFetchResponseGroup()
		found[i].Group, found[i].ErrorCode = groups[i].Group, groupCode(groups[i].Group, err)
	}
	return found
}

// fetchOffsets reads the positions of groups, but for those that transactions hold.
func (c *Conn) fetchOffsets(k *call, version int16, groups []kmsg.OffsetFetchRequestGroup, held map[string][]uint64) {
	found := make([]kmsg.OffsetFetchResponseGroup, len(groups))
	all := newTally(func() {
		for i := range found {
			c.markUnstable(&found[i], held[found[i].Group])
		}
		c.finish(k, offsetFetchResponse(version, found))
	})
	for i := range groups {
		all.begin()
		found[i] = kmsg.NewOffsetFetchResponseGroup()
		found[i].Group = groups[i].Group
		c.committed(k, &groups[i], &found[i], all.done)
	}
	all.done()
}

// markUnstable says of positions that they are about to change.
func (c *Conn) markUnstable(found *kmsg.OffsetFetchResponseGroup, held []uint64) {
	for i := range found.Topics {
		t := &found.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			if index, ok := c.loop.topics.byName[t.Topic].index(p.Partition); ok && slices.Contains(held, index) {
				*p = committedPartition(p.Partition, nil)
				p.ErrorCode = codeUnstableOffset
			}
		}
	}
}

// offsetFetchResponse puts what was found into the form of a version.
func offsetFetchResponse(version int16, found []kmsg.OffsetFetchResponseGroup) *kmsg.OffsetFetchResponse {
	resp := kmsg.NewPtrOffsetFetchResponse()
	if version >= 8 {
		resp.Groups = found
		return resp
	}
	resp.ErrorCode = found[0].ErrorCode
	for i := range found[0].Topics {
		t := kmsg.NewOffsetFetchResponseTopic()
		t.Topic = found[0].Topics[i].Topic
		for _, p := range found[0].Topics[i].Partitions {
			same := kmsg.NewOffsetFetchResponseTopicPartition()
			same.Partition, same.Offset, same.LeaderEpoch, same.Metadata, same.ErrorCode = p.Partition, p.Offset, p.LeaderEpoch, p.Metadata, p.ErrorCode
			t.Partitions = append(t.Partitions, same)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// committed reads positions of one group: those that are asked for, or all, and then calls done.
func (c *Conn) committed(k *call, ask *kmsg.OffsetFetchRequestGroup, found *kmsg.OffsetFetchResponseGroup, done func()) {
	if ask.Topics == nil {
		c.allCommitted(k, found, done)
		return
	}
	var list []wanted
	for i := range ask.Topics {
		for _, number := range ask.Topics[i].Partitions {
			if ask.Topics[i].Topic != "" { // none has that name, and an id that is not known has got it
				list = append(list, wanted{ask.Topics[i].Topic, number})
			}
		}
	}
	c.resolve(k, list, func(err error) {
		if err != nil { // nothing is known of them: that is not to say that they have no positions
			found.ErrorCode = groupCode(ask.Group, err)
			done()
			return
		}
		var indexes []uint64
		known := map[wanted]uint64{} // the catalogue may have forgotten them when the answer comes
		for _, w := range list {
			if index, ok := c.loop.topics.byName[w.name].index(w.number); ok {
				indexes = append(indexes, index)
				known[w] = index
			}
		}
		if len(indexes) == 0 { // none named would mean all of them
			fillCommitted(ask, found, func(wanted) *ipc.OffsetCommit { return nil })
			done()
			return
		}
		c.readCommitted(k, ask.Group, indexes, func(offsets []ipc.OffsetCommit, err error) {
			found.ErrorCode = groupCode(ask.Group, err)
			at := make(map[uint64]*ipc.OffsetCommit, len(offsets))
			for i := range offsets {
				at[offsets[i].Index] = &offsets[i]
			}
			fillCommitted(ask, found, func(w wanted) *ipc.OffsetCommit { return at[known[w]] })
			done()
		})
	})
}

// readCommitted asks logicsrv; no indexes: for all.
func (c *Conn) readCommitted(k *call, group string, indexes []uint64, then func([]ipc.OffsetCommit, error)) {
	c.ask(k, ipc.TypeOffsets, func(head ipc.Head, b []byte) []byte {
		record := ipc.FetchOffsets{Head: head, Group: group, Indexes: indexes}
		return record.Append(b)
	}, func(a answer) {
		m, err := decoded(c, a, ipc.DecodeOffsetList)
		then(m.Offsets, err)
	})
}

// fillCommitted answers for the partitions that are asked for, in their order.
func fillCommitted(ask *kmsg.OffsetFetchRequestGroup, found *kmsg.OffsetFetchResponseGroup, at func(wanted) *ipc.OffsetCommit) {
	for i := range ask.Topics {
		t := kmsg.NewOffsetFetchResponseGroupTopic()
		t.Topic, t.TopicID = ask.Topics[i].Topic, ask.Topics[i].TopicID
		for _, number := range ask.Topics[i].Partitions {
			p := committedPartition(number, at(wanted{t.Topic, number}))
			if t.Topic == "" && t.TopicID != (topicID{}) {
				p.ErrorCode = codeUnknownTopicID
			}
			t.Partitions = append(t.Partitions, p)
		}
		found.Topics = append(found.Topics, t)
	}
}

// committedPartition describes a position; nil: there is none.
func committedPartition(number int32, o *ipc.OffsetCommit) kmsg.OffsetFetchResponseGroupTopicPartition {
	p := kmsg.NewOffsetFetchResponseGroupTopicPartition()
	p.Partition, p.Offset, p.LeaderEpoch, p.Metadata = number, -1, -1, kmsg.StringPtr("")
	if o != nil {
		p.Offset, p.LeaderEpoch, p.Metadata = int64(o.Offset), int32(o.Leader)-1, &o.Metadata
	}
	return p
}

// allCommitted reads all positions of a group.
func (c *Conn) allCommitted(k *call, found *kmsg.OffsetFetchResponseGroup, done func()) {
	c.readCommitted(k, found.Group, nil, func(offsets []ipc.OffsetCommit, err error) {
		found.ErrorCode = groupCode(found.Group, err)
		c.nameIndexes(k, len(offsets), func(i int) uint64 { return offsets[i].Index }, func(err error) {
			if err != nil {
				found.ErrorCode = groupCode(found.Group, err)
			}
			c.listCommitted(found, offsets)
			done()
		})
	})
}

// nameIndexes sees that the topics of indexes are in the catalogue, as far as they are there.
func (c *Conn) nameIndexes(k *call, n int, index func(i int) uint64, then func(error)) {
	for i := range n {
		if _, ok := c.loop.topics.byIndex[index(i)]; !ok {
			c.describeTopics(k, nil, func(_ []admin.TopicInfo, err error) { then(err) })
			return
		}
	}
	then(nil)
}

// listCommitted lists positions by topic and partition.
func (c *Conn) listCommitted(found *kmsg.OffsetFetchResponseGroup, offsets []ipc.OffsetCommit) {
	type named struct {
		partition
		at *ipc.OffsetCommit
	}
	var list []named
	for i := range offsets {
		if p, ok := c.loop.topics.byIndex[offsets[i].Index]; ok {
			list = append(list, named{p, &offsets[i]})
		}
	}
	slices.SortFunc(list, func(a, b named) int {
		return cmp.Or(cmp.Compare(a.topic.name, b.topic.name), cmp.Compare(a.number, b.number))
	})
	for i := range list {
		n := len(found.Topics)
		if n == 0 || found.Topics[n-1].Topic != list[i].topic.name {
			t := kmsg.NewOffsetFetchResponseGroupTopic()
			t.Topic, t.TopicID = list[i].topic.name, list[i].topic.id
			found.Topics = append(found.Topics, t)
			n++
		}
		t := &found.Topics[n-1]
		t.Partitions = append(t.Partitions, committedPartition(list[i].number, list[i].at))
	}
}
