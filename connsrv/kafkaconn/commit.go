package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// Limits of a committed offset, as logicsrv has them.
const (
	maxMetadataBytes    = 4096
	codeMetadataTooLong = 12
)

// offsetCommit stores positions of a group. What names a partition that is not there, or cannot be
// stored, is left out; the rest is stored, or refused, together.
func (c *Conn) offsetCommit(k *call, m *kmsg.OffsetCommitRequest) {
	byID := m.Version >= topicIDOffsets
	c.nameTopics(k, byID, len(m.Topics), func(i int) (topicID, *string) { return m.Topics[i].TopicID, &m.Topics[i].Topic }, func(err error) {
		resp := kmsg.NewPtrOffsetCommitResponse()
		done := func(err error) {
			code := groupCode(m.Group, err)
			for i := range resp.Topics {
				for j := range resp.Topics[i].Partitions {
					if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
						p.ErrorCode = code
					}
				}
			}
			c.finish(k, resp)
		}
		list := fillCommits(m, resp)
		if err != nil {
			done(err)
			return
		}
		c.askResolved(k, list, func(then func(error)) {
			if offsets := c.commits(m, resp); len(offsets) > 0 {
				c.commit(k, m, offsets, then)
				return
			}
			c.finish(k, resp)
		}, done)
	})
}

// topicIDOffsets is the first version of OffsetCommit and OffsetFetch that names topics by their ids.
const topicIDOffsets = 10

// fillCommits makes the response to a commit, in which nothing has failed yet, and lists the partitions that are named.
func fillCommits(m *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) (list []wanted) {
	for i := range m.Topics {
		t := kmsg.NewOffsetCommitResponseTopic()
		t.Topic, t.TopicID = m.Topics[i].Topic, m.Topics[i].TopicID
		for _, p := range m.Topics[i].Partitions {
			if t.Topic != "" {
				list = append(list, wanted{t.Topic, p.Partition})
			}
			done := kmsg.NewOffsetCommitResponseTopicPartition()
			done.Partition = p.Partition
			t.Partitions = append(t.Partitions, done)
		}
		resp.Topics = append(resp.Topics, t)
	}
	return list
}

// commits lists the positions that can be stored, and says of the others why they cannot.
func (c *Conn) commits(m *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) (offsets []ipc.OffsetCommit) {
	for i := range m.Topics {
		t, unknown := c.loop.topics.byName[m.Topics[i].Topic], int16(codeUnknownTopic)
		if m.Version >= topicIDOffsets { // another one may have its name by now
			if t = c.loop.topics.byID[m.Topics[i].TopicID]; t == nil {
				unknown = codeUnknownTopicID
			}
		}
		for j := range m.Topics[i].Partitions {
			p, done := &m.Topics[i].Partitions[j], &resp.Topics[i].Partitions[j]
			index, ok := t.index(p.Partition)
			switch done.ErrorCode = commitCode(ok, p.Offset, orEmpty(p.Metadata)); {
			case !ok:
				done.ErrorCode = unknown
			case !c.may(access.Read, t.name):
				done.ErrorCode = codeTopicDenied
			case done.ErrorCode == codeNone:
				offsets = append(offsets, ipc.OffsetCommit{Index: index, Offset: uint64(p.Offset), Metadata: orEmpty(p.Metadata), Leader: leader(p.LeaderEpoch)})
			}
		}
	}
	return offsets
}

// leader is a leader epoch as it is committed: one more, or 0 where the client tells none.
func leader(epoch int32) uint32 { return uint32(max(epoch, -1)) + 1 }

// commitCode is why a position cannot be stored.
func commitCode(known bool, offset int64, metadata string) int16 {
	switch {
	case !known:
		return codeUnknownTopic
	case len(metadata) > maxMetadataBytes:
		return codeMetadataTooLong
	case offset < 0:
		return codeOffsetOutOfRange
	}
	return codeNone
}

// commit stores positions: for a member, or for a group that nobody is a member of.
func (c *Conn) commit(k *call, m *kmsg.OffsetCommitRequest, offsets []ipc.OffsetCommit, then func(error)) {
	typ, encode := ipc.TypeGroupCommit, func(head ipc.Head, b []byte) []byte {
		record := ipc.GroupCommit{
			Head: head, Group: m.Group, Member: m.MemberID, Instance: orEmpty(m.InstanceID), Epoch: m.Generation, Offsets: offsets,
		}
		return record.Append(b)
	}
	if m.Generation < 0 && m.MemberID == "" {
		typ, encode = ipc.TypeCommit, func(head ipc.Head, b []byte) []byte {
			record := ipc.CommitOffsets{Head: head, Group: m.Group, Offsets: offsets}
			return record.Append(b)
		}
	}
	c.ask(k, typ, encode, func(a answer) {
		_, err := decoded(c, a, ipc.DecodeDone)
		then(err)
	})
}

// offsetDelete forgets positions of a group, of topics that nobody in it is subscribed to.
func (c *Conn) offsetDelete(k *call, m *kmsg.OffsetDeleteRequest) {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	var list []wanted
	for i := range m.Topics {
		for _, p := range m.Topics[i].Partitions {
			list = append(list, wanted{m.Topics[i].Topic, p.Partition})
		}
	}
	c.resolve(k, list, func(err error) {
		if err != nil {
			c.finish(k, offsetsDeleted(m.Group, resp, err))
			return
		}
		ask := admin.DeleteOffsets{Group: m.Group}
		for i := range m.Topics {
			t := kmsg.NewOffsetDeleteResponseTopic()
			t.Topic = m.Topics[i].Topic
			for _, p := range m.Topics[i].Partitions {
				done := kmsg.NewOffsetDeleteResponseTopicPartition()
				done.Partition = p.Partition
				if index, ok := c.loop.topics.byName[t.Topic].index(p.Partition); ok {
					ask.Indexes = append(ask.Indexes, index)
				} else {
					done.ErrorCode = codeUnknownTopic
				}
				t.Partitions = append(t.Partitions, done)
			}
			resp.Topics = append(resp.Topics, t)
		}
		if len(ask.Indexes) == 0 {
			c.finish(k, resp)
			return
		}
		c.admin(k, admin.CmdDeleteOffsets, &ask, func(_ []byte, err error) {
			c.finish(k, offsetsDeleted(m.Group, resp, err))
		})
	})
}

// offsetsDeleted completes the response to OffsetDelete.
func offsetsDeleted(group string, resp *kmsg.OffsetDeleteResponse, err error) *kmsg.OffsetDeleteResponse {
	switch {
	case err == nil:
	case is(err, errcode.InUse):
		for i := range resp.Topics {
			for j := range resp.Topics[i].Partitions {
				if p := &resp.Topics[i].Partitions[j]; p.ErrorCode == codeNone {
					p.ErrorCode = codeGroupSubscribed
				}
			}
		}
	default:
		resp.ErrorCode, resp.Topics = groupCode(group, err), nil
	}
	return resp
}
