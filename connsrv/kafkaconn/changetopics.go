package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
)

// deleteTopics deletes topics, by name or by id.
func (c *Conn) deleteTopics(k *call, m *kmsg.DeleteTopicsRequest) {
	resp := kmsg.NewPtrDeleteTopicsResponse()
	for i := range m.TopicNames {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic = &m.TopicNames[i]
		resp.Topics = append(resp.Topics, t)
	}
	known := true
	for i := range m.Topics {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = m.Topics[i].Topic, m.Topics[i].TopicID
		known = known && (t.Topic != nil || c.loop.topics.byID[t.TopicID] != nil)
		resp.Topics = append(resp.Topics, t)
	}
	if known {
		c.deleteNamed(k, resp)
		return
	}
	c.describeTopics(k, nil, func([]admin.TopicInfo, error) { c.deleteNamed(k, resp) })
}

// deleteNamed deletes the topics of a response, and fills in how that went.
func (c *Conn) deleteNamed(k *call, resp *kmsg.DeleteTopicsResponse) {
	all := newTally(func() { c.finish(k, resp) })
	for i := range resp.Topics {
		t := &resp.Topics[i]
		if t.Topic == nil {
			known := c.loop.topics.byID[t.TopicID]
			if known == nil {
				t.ErrorCode = codeUnknownTopicID
				continue
			}
			t.Topic = &known.name
		} else if known := c.loop.topics.byName[*t.Topic]; known != nil {
			t.TopicID = known.id
		} else if !validTopic(*t.Topic) {
			t.ErrorCode = codeUnknownTopic
			continue
		}
		if !c.may(access.Configure, *t.Topic) {
			t.ErrorCode = codeTopicDenied
			continue
		}
		all.begin()
		c.admin(k, admin.CmdDeleteTopic, &admin.Delete{Name: *t.Topic}, func(_ []byte, err error) {
			if t.ErrorCode, t.ErrorMessage = codeOf(err), textOf(err); err == nil {
				c.loop.topics.forgetName(*t.Topic)
			}
			all.done()
		})
	}
	all.done()
}

// createPartitions lets topics grow.
func (c *Conn) createPartitions(k *call, m *kmsg.CreatePartitionsRequest) {
	resp := kmsg.NewPtrCreatePartitionsResponse()
	var names []string
	for i := range m.Topics {
		t := kmsg.NewCreatePartitionsResponseTopic()
		t.Topic = m.Topics[i].Topic
		resp.Topics = append(resp.Topics, t)
		names = append(names, t.Topic)
	}
	if len(names) == 0 {
		c.finish(k, resp)
		return
	}
	c.describeTopics(k, names, func([]admin.TopicInfo, error) {
		all := newTally(func() { c.finish(k, resp) })
		for i := range resp.Topics {
			t := &resp.Topics[i]
			if !c.may(access.Configure, t.Topic) {
				t.ErrorCode = codeTopicDenied
				continue
			}
			err := c.checkGrowth(&m.Topics[i])
			if t.ErrorCode, t.ErrorMessage = topicCode(err), textOf(err); err != nil || m.ValidateOnly {
				continue
			}
			all.begin()
			c.admin(k, admin.CmdAddPartitions, &admin.AddPartitions{Name: t.Topic, Total: uint32(m.Topics[i].Count)}, func(_ []byte, err error) {
				t.ErrorCode, t.ErrorMessage = topicCode(err), textOf(err)
				c.loop.topics.forgetName(t.Topic)
				all.done()
			})
		}
		all.done()
	})
}

// checkGrowth checks the number of partitions that a topic shall have.
func (c *Conn) checkGrowth(m *kmsg.CreatePartitionsRequestTopic) error {
	t := c.loop.topics.byName[m.Topic]
	if t == nil {
		return errcode.New(errcode.NotFound, "there is no topic %q", m.Topic)
	}
	have := len(t.indexes)
	if int(m.Count) <= have {
		return errcode.New(errcode.InvalidArgument, "topic %q has %d partitions already, and was to have %d", m.Topic, have, m.Count)
	}
	return nil
}
