package kafkaconn

import (
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
)

// How far share groups have got: described for anybody; set and forgotten for groups without members.

// describeShareGroupOffsets tells how far groups have got.
func (c *Conn) describeShareGroupOffsets(k *call, m *kmsg.DescribeShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrDescribeShareGroupOffsetsResponse()
	resp.Groups = make([]kmsg.DescribeShareGroupOffsetsResponseGroup, len(m.Groups))
	all := newTally(func() { c.finish(k, resp) })
	for i := range m.Groups {
		all.begin()
		ask, g := &m.Groups[i], &resp.Groups[i]
		g.GroupID = ask.GroupID
		c.shareGroup(k, ask.GroupID, func(_ *admin.Membership, err error) {
			if err != nil {
				g.ErrorCode, g.ErrorMessage = groupCode(ask.GroupID, err), textOf(err)
				all.done()
				return
			}
			c.describeShareOffsets(k, ask, g, all.done)
		})
	}
	all.done()
}

// shareGroup finds a share group; errcode.NotFound where there is none of that name.
func (c *Conn) shareGroup(k *call, name string, then func(*admin.Membership, error)) {
	c.memberships(k, []string{name}, func(byName map[string]*admin.Membership, err error) {
		d := byName[name]
		if err == nil && (d == nil || d.Type != admin.GroupShare) {
			err = errcode.New(errcode.NotFound, "there is no share group %q", name)
		}
		then(d, err)
	})
}

// describeShareOffsets fills in how far a group has got: in the topics that are asked for, or in all
// that it has begun to work on.
func (c *Conn) describeShareOffsets(k *call, ask *kmsg.DescribeShareGroupOffsetsRequestGroup, g *kmsg.DescribeShareGroupOffsetsResponseGroup, then func()) {
	c.shareQueuesOf(k, ask.GroupID, func(queues []admin.QueueInfo, err error) {
		byTopic := map[string]*admin.QueueInfo{}
		var names []string
		for i := range queues {
			byTopic[queues[i].Settings.Topic] = &queues[i]
			names = append(names, queues[i].Settings.Topic)
		}
		if ask.Topics != nil {
			names = names[:0]
			for i := range ask.Topics {
				names = append(names, ask.Topics[i].Topic)
			}
		}
		if err != nil || len(names) == 0 {
			g.ErrorCode, g.ErrorMessage = codeOf(err), textOf(err)
			then()
			return
		}
		c.describeTopics(k, names, func([]admin.TopicInfo, error) {
			for i, name := range names {
				var parts []int32
				if ask.Topics != nil {
					parts = ask.Topics[i].Partitions
				}
				g.Topics = append(g.Topics, c.shareOffsetsIn(name, byTopic[name], parts))
			}
			then()
		})
	})
}

// shareOffsetsIn tells how far a group has got in a topic; where it has not begun, −1 is told. parts
// nil: in all partitions.
func (c *Conn) shareOffsetsIn(name string, q *admin.QueueInfo, parts []int32) kmsg.DescribeShareGroupOffsetsResponseGroupTopic {
	r := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopic()
	r.Topic = name
	t := c.loop.topics.byName[name]
	if t != nil {
		r.TopicID = t.id
	}
	if parts == nil && q != nil {
		for i := range q.Indexes {
			parts = append(parts, int32(q.Indexes[i].Number))
		}
	}
	for _, number := range parts {
		p := kmsg.NewDescribeShareGroupOffsetsResponseGroupTopicPartition()
		p.Partition, p.StartOffset, p.LeaderEpoch = number, -1, leaderEpoch
		if _, ok := t.index(number); !ok {
			p.ErrorCode = codeUnknownTopic
		} else if q != nil && int(number) < len(q.Indexes) {
			x := &q.Indexes[number]
			p.StartOffset = max(int64(x.Floor), c.startOf(x.Index))
			p.Lag = max(0, int64(x.Visible)-p.StartOffset)
		}
		r.Partitions = append(r.Partitions, p)
	}
	return r
}

// shareQueuesOf lists the queues of a share group, in order of their topics.
func (c *Conn) shareQueuesOf(k *call, group string, then func([]admin.QueueInfo, error)) {
	prefix := shareQueueName(group, "")
	var list []admin.QueueInfo
	var page func(after string)
	page = func(after string) {
		c.admin(k, admin.CmdDescribe, &admin.Describe{Kind: admin.KindQueue, After: after}, func(reply []byte, err error) {
			var d admin.Description
			if err == nil {
				d, err = admin.DecodeDescription(reply)
			}
			last := ""
			for i := range d.Queues {
				if last = d.Queues[i].Name; last == prefix+d.Queues[i].Settings.Topic {
					list = append(list, d.Queues[i])
				}
			}
			if err == nil && d.More && strings.HasPrefix(last, prefix) {
				page(last)
				return
			}
			then(list, err)
		})
	}
	page(prefix)
}

// alterShareGroupOffsets sets a group that has no members to offsets, and makes it where it is not
// there.
func (c *Conn) alterShareGroupOffsets(k *call, m *kmsg.AlterShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrAlterShareGroupOffsetsResponse()
	refuse := func(code int16, text string) {
		resp.ErrorCode, resp.ErrorMessage, resp.Topics = code, &text, nil
		c.finish(k, resp)
	}
	c.memberships(k, []string{m.GroupID}, func(byName map[string]*admin.Membership, err error) {
		switch d := byName[m.GroupID]; {
		case m.GroupID == "":
			refuse(codeInvalidGroupID, "a group has a name")
			return
		case err != nil:
			refuse(codeOf(err), err.Error())
			return
		case d != nil && d.Type != admin.GroupShare:
			refuse(codeGroupNotFound, "this is no share group")
			return
		case d != nil && len(d.Members)+int(d.MembersLeft) > 0:
			refuse(codeNonEmptyGroup, "the group has members: stop them first")
			return
		}
		var names []string
		for i := range m.Topics {
			names = append(names, m.Topics[i].Topic)
		}
		if len(names) == 0 {
			c.finish(k, resp)
			return
		}
		c.groupSettings(k, []string{m.GroupID}, func(of map[string][]admin.Setting, _ error) {
			c.describeTopics(k, names, func([]admin.TopicInfo, error) {
				c.shareQueuesOf(k, m.GroupID, func(queues []admin.QueueInfo, err error) {
					if err != nil {
						refuse(codeOf(err), err.Error())
						return
					}
					set := shareSettingsOf(of[m.GroupID])
					c.setShareOffsets(k, m, resp, queues, &set)
				})
			})
		})
	})
}

// setShareOffsets sets each topic's queue, or makes it.
func (c *Conn) setShareOffsets(k *call, m *kmsg.AlterShareGroupOffsetsRequest, resp *kmsg.AlterShareGroupOffsetsResponse, queues []admin.QueueInfo, set *shareSettings) {
	resp.Topics = make([]kmsg.AlterShareGroupOffsetsResponseTopic, len(m.Topics))
	all := newTally(func() { c.finish(k, resp) })
	for i := range m.Topics {
		ask, r := &m.Topics[i], &resp.Topics[i]
		r.Topic = ask.Topic
		t := c.loop.topics.byName[ask.Topic]
		seek := admin.Seek{Name: shareQueueName(m.GroupID, ask.Topic)}
		for _, p := range ask.Partitions {
			set := kmsg.NewAlterShareGroupOffsetsResponseTopicPartition()
			set.Partition = p.Partition
			switch index, ok := t.index(p.Partition); {
			case !c.may(access.Read, ask.Topic):
				set.ErrorCode, set.ErrorMessage = codeTopicDenied, kmsg.StringPtr("the user may not read it")
			case !ok:
				set.ErrorCode, set.ErrorMessage = codeUnknownTopic, kmsg.StringPtr("there is no such partition")
			default:
				at := min(max(p.StartOffset, 0), int64(c.loop.Lane.Ends[index]))
				seek.To = append(seek.To, admin.SeekTo{Index: index, Offset: uint64(at)})
			}
			r.Partitions = append(r.Partitions, set)
		}
		if t != nil && c.maySee(t.name) {
			r.TopicID = t.id
		}
		if len(seek.To) == 0 {
			continue
		}
		all.begin()
		c.setShareQueue(k, m.GroupID, t, &seek, queues, set, func(err error) {
			for j := range r.Partitions {
				if p := &r.Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode, p.ErrorMessage = codeOf(err), textOf(err)
				}
			}
			all.done()
		})
	}
	all.done()
}

// setShareQueue sets a share group's queue over a topic, which is made where it is not there: the
// partitions that are not named begin there as the group is to begin.
func (c *Conn) setShareQueue(k *call, group string, t *topic, seek *admin.Seek, queues []admin.QueueInfo, set *shareSettings, then func(error)) {
	for i := range queues {
		if queues[i].Name == seek.Name {
			c.admin(k, admin.CmdSeek, seek, func(_ []byte, err error) { then(err) })
			return
		}
	}
	offsets := make([]uint64, len(t.indexes))
	if set.reset == resetLatest {
		for i, index := range t.indexes {
			offsets[i] = c.loop.Lane.Ends[index]
		}
	}
	for _, to := range seek.To {
		offsets[c.loop.topics.byIndex[to.Index].number] = to.Offset
	}
	c.makeShareQueue(k, group, t, set, offsets, func(_ uint64, err error) { then(err) })
}

// deleteShareGroupOffsets forgets how far a group without members has got in some topics.
func (c *Conn) deleteShareGroupOffsets(k *call, m *kmsg.DeleteShareGroupOffsetsRequest) {
	resp := kmsg.NewPtrDeleteShareGroupOffsetsResponse()
	c.shareGroup(k, m.GroupID, func(d *admin.Membership, err error) {
		if err == nil && len(d.Members)+int(d.MembersLeft) > 0 {
			err = errcode.New(errcode.InUse, "the group has members: stop them first")
		}
		if err != nil {
			resp.ErrorCode, resp.ErrorMessage = groupCode(m.GroupID, err), textOf(err)
			c.finish(k, resp)
			return
		}
		resp.Topics = make([]kmsg.DeleteShareGroupOffsetsResponseTopic, len(m.Topics))
		all := newTally(func() { c.finish(k, resp) })
		for i := range m.Topics {
			r := &resp.Topics[i]
			r.Topic = m.Topics[i].Topic
			if t := c.loop.topics.byName[r.Topic]; t != nil {
				r.TopicID = t.id
			}
			all.begin()
			c.admin(k, admin.CmdDeleteQueue, &admin.Delete{Name: shareQueueName(m.GroupID, r.Topic)}, func(_ []byte, err error) {
				r.ErrorCode, r.ErrorMessage = codeOf(err), textOf(err)
				all.done()
			})
		}
		all.done()
	})
}
