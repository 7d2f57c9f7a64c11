package kafkaconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// body is what an administrative command consists of.
type body interface{ Append(b []byte) []byte }

// admin gives logicsrv an administrative command, and has then called with the reply's body.
func (c *Conn) admin(k *call, cmd admin.Command, m body, then func(reply []byte, err error)) {
	c.ask(k, ipc.TypeAdmin, func(head ipc.Head, b []byte) []byte {
		record := ipc.Admin{Head: head, Command: uint16(cmd), Body: m.Append(nil)}
		return record.Append(b)
	}, func(a answer) {
		reply, err := decoded(c, a, ipc.DecodeAdminReply)
		then(reply.Body, err)
	})
}

// describe asks for things of a kind: those of the names, or all where there are none. take is
// called for each page, then at the end or with the first error.
func (c *Conn) describe(k *call, ask admin.Describe, take func(*admin.Description), then func(error)) {
	c.admin(k, admin.CmdDescribe, &ask, func(reply []byte, err error) {
		if err != nil {
			then(err)
			return
		}
		d, err := admin.DecodeDescription(reply)
		if err != nil {
			c.settings.Log.Error("a description of logicsrv cannot be decoded", "err", err)
			then(errcode.New(errcode.Internal, "the broker's answer cannot be read"))
			return
		}
		take(&d)
		if last := lastName(&d); d.More && last > ask.After {
			ask.After = last
			c.describe(k, ask, take, then)
			return
		}
		then(nil)
	})
}

// lastName is the name behind which the next page begins.
func lastName(d *admin.Description) string {
	switch {
	case len(d.Topics) > 0:
		return d.Topics[len(d.Topics)-1].Name
	case len(d.Memberships) > 0:
		return d.Memberships[len(d.Memberships)-1].Name
	case len(d.Summaries) > 0:
		return d.Summaries[len(d.Summaries)-1].Name
	case len(d.Txnals) > 0:
		return d.Txnals[len(d.Txnals)-1].ID
	case len(d.Producers) > 0:
		return d.Producers[len(d.Producers)-1].Topic
	case len(d.Queues) > 0:
		return d.Queues[len(d.Queues)-1].Name
	case len(d.Definitions) > 0:
		return d.Definitions[len(d.Definitions)-1].Identity()
	case len(d.Configs) > 0:
		return d.Configs[len(d.Configs)-1].Group
	}
	return ""
}

// describeTopics asks for topics by name, or for all where there are no names, and learns them.
// then gets them as they are now, in order of name.
func (c *Conn) describeTopics(k *call, names []string, then func([]admin.TopicInfo, error)) {
	var list []admin.TopicInfo
	c.describe(k, admin.Describe{Kind: admin.KindTopic, Names: names}, func(d *admin.Description) {
		list = append(list, c.learned(d)...)
		for _, name := range d.Missing {
			c.loop.topics.forgetName(name)
		}
	}, func(err error) { then(list, err) })
}

// learned takes a page of topics into the catalogue. Those of other vhosts, whose whole names no topic of
// Kafka's clients can have, do not exist here.
func (c *Conn) learned(d *admin.Description) (list []admin.TopicInfo) {
	for i := range d.Topics {
		t := &d.Topics[i]
		if !validTopic(t.Name) {
			continue
		}
		list = append(list, *t)
		c.loop.topics.learn(t)
		for _, p := range t.Partitions {
			c.loop.Lane.Ends.Raise(p.Index, p.Visible)
		}
	}
	return list
}

// lookUp learns topics by name; what is not in the catalogue then is not there.
func (c *Conn) lookUp(k *call, names []string, then func(error)) {
	c.describeTopics(k, names, func(_ []admin.TopicInfo, err error) { then(err) })
}

// wanted is a partition that a request names.
type wanted struct {
	name   string
	number int32
}

// resolve sees that the partitions of a request are in the catalogue, if they are there at all, and
// has then called: at once where all of them are.
func (c *Conn) resolve(k *call, list []wanted, then func(error)) {
	var names []string
	for i, w := range list {
		if _, ok := c.loop.topics.byName[w.name].index(w.number); ok || i > 0 && len(names) > 0 && names[len(names)-1] == w.name {
			continue
		}
		names = append(names, w.name)
	}
	if len(names) == 0 {
		then(nil)
		return
	}
	c.lookUp(k, names, then)
}

// askResolved looks the partitions of a request up and has logicsrv asked about them; done learns what came of it. If one
// of them has gone since the catalogue learned it, all that is done once more. What cannot be looked up is not asked about:
// nothing is known of it, which is not to say that it is not there.
func (c *Conn) askResolved(k *call, list []wanted, ask func(done func(error)), done func(error)) {
	once := func(done func(error)) {
		c.resolve(k, list, func(err error) {
			if err != nil {
				done(err)
				return
			}
			ask(done)
		})
	}
	once(func(err error) {
		if !is(err, errcode.UnknownIndex) {
			done(err)
			return
		}
		for _, w := range list {
			c.loop.topics.forgetName(w.name)
		}
		once(done)
	})
}

// describeByID asks for topics by their ids, and learns them.
func (c *Conn) describeByID(k *call, ids []topicID, then func([]admin.TopicInfo, error)) {
	var list []admin.TopicInfo
	ask := admin.Describe{Kind: admin.KindTopicID}
	for i := range ids {
		ask.Names = append(ask.Names, string(ids[i][:]))
	}
	c.describe(k, ask, func(d *admin.Description) { list = append(list, c.learned(d)...) }, func(err error) { then(list, err) })
}

// knowTopics sees that topics are in the catalogue, if they are there at all.
func (c *Conn) knowTopics(k *call, ids []topicID, then func(error)) {
	unknown := slices.DeleteFunc(slices.Clone(ids), func(id topicID) bool { return id == topicID{} || c.loop.topics.byID[id] != nil })
	if len(unknown) == 0 {
		then(nil)
		return
	}
	c.describeByID(k, unknown, func(_ []admin.TopicInfo, err error) { then(err) })
}

// nameTopics gives the topics that a request names by their ids the names that they have. One that is not there
// gets none.
func (c *Conn) nameTopics(k *call, byID bool, n int, topic func(i int) (id topicID, name *string), then func(error)) {
	if !byID {
		then(nil)
		return
	}
	ids := make([]topicID, n)
	for i := range ids {
		ids[i], _ = topic(i)
	}
	c.knowTopics(k, ids, func(err error) {
		for i := range ids {
			if t := c.loop.topics.byID[ids[i]]; t != nil {
				_, name := topic(i)
				*name = t.name
			}
		}
		then(err)
	})
}

// createTopic creates a topic. Errors are those of logicsrv.
func (c *Conn) createTopic(k *call, m admin.CreateTopic, then func(error)) {
	c.admin(k, admin.CmdCreateTopic, &m, func(reply []byte, err error) {
		if err == nil {
			var created admin.Created
			if created, err = admin.DecodeCreated(reply); err == nil && created.Existed {
				err = errcode.New(errcode.AlreadyExists, "topic %q is there already", m.Name)
			}
		}
		then(err)
	})
}

// maxTopicName bounds the name of a topic, in bytes.
const maxTopicName = 249

// validTopic tells whether a topic may have that name.
func validTopic(name string) bool {
	if name == "" || len(name) > maxTopicName || name == "." || name == ".." {
		return false
	}
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_', b == '-':
		default:
			return false
		}
	}
	return true
}
