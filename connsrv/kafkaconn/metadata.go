package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
)

// metadata tells where partitions are: all here. Topics are asked for by name or id; the broker's
// own state is asked each time, so that what was created a moment ago is there.
func (c *Conn) metadata(k *call, m *kmsg.MetadataRequest) {
	if m.Topics == nil || m.Version == 0 && len(m.Topics) == 0 {
		c.describeTopics(k, nil, func(list []admin.TopicInfo, err error) {
			resp := c.metadataResponse()
			for i := range list {
				resp.Topics = append(resp.Topics, metadataTopic(&list[i]))
			}
			c.finish(k, resp)
		})
		return
	}
	var names []string
	var ids []topicID
	for i := range m.Topics {
		switch t := m.Topics[i].Topic; {
		case t == nil || *t == "":
			ids = append(ids, m.Topics[i].TopicID)
		case validTopic(*t):
			names = append(names, *t)
		}
	}
	c.topicsByID(k, ids, func(identified []admin.TopicInfo, err error) {
		if err != nil || len(names) == 0 {
			c.finishMetadata(k, m, identified, err)
			return
		}
		c.describeTopics(k, names, func(list []admin.TopicInfo, err error) {
			if err != nil {
				c.finishMetadata(k, m, nil, err)
				return
			}
			c.autoCreate(k, m, append(identified, list...))
		})
	})
}

// topicsByID asks for topics by their ids, where there are any.
func (c *Conn) topicsByID(k *call, ids []topicID, then func([]admin.TopicInfo, error)) {
	ids = slices.DeleteFunc(ids, func(id topicID) bool { return id == topicID{} })
	if len(ids) == 0 {
		then(nil, nil)
		return
	}
	c.describeByID(k, ids, then)
}

// autoCreate creates the topics that are not there, if the client and the configuration want it so.
func (c *Conn) autoCreate(k *call, m *kmsg.MetadataRequest, have []admin.TopicInfo) {
	var missing []string
	if c.settings.AutoCreate && (m.Version < 4 || m.AllowAutoTopicCreation) {
		for i := range m.Topics {
			if t := m.Topics[i].Topic; t != nil && validTopic(*t) && c.loop.topics.byName[*t] == nil && c.may(access.Configure, *t) {
				missing = append(missing, *t)
			}
		}
	}
	if len(missing) == 0 {
		c.finishMetadata(k, m, have, nil)
		return
	}
	left := len(missing)
	for _, name := range missing {
		c.createTopic(k, admin.CreateTopic{Name: name, Partitions: c.settings.Partitions}, func(err error) {
			if err != nil && !is(err, errcode.AlreadyExists) && !is(err, errcode.Inequivalent) {
				c.settings.Log.Debug("a topic that a client asked for could not be created", "err", err)
			}
			if left--; left > 0 {
				return
			}
			c.describeTopics(k, missing, func(created []admin.TopicInfo, err error) {
				c.finishMetadata(k, m, append(have, created...), err)
			})
		})
	}
}

// finishMetadata answers for the topics that were asked for, in their order. Of what could not be looked up
// the client is to ask again.
func (c *Conn) finishMetadata(k *call, m *kmsg.MetadataRequest, have []admin.TopicInfo, err error) {
	byName, byID := map[string]*admin.TopicInfo{}, map[topicID]*admin.TopicInfo{}
	for i := range have {
		byName[have[i].Name], byID[have[i].UUID] = &have[i], &have[i]
	}
	resp := c.metadataResponse()
	for i := range m.Topics {
		asked := &m.Topics[i]
		named := asked.Topic != nil && *asked.Topic != ""
		info := byID[asked.TopicID]
		if named {
			info = byName[*asked.Topic]
		}
		if info != nil {
			resp.Topics = append(resp.Topics, metadataTopic(info))
			continue
		}
		t := kmsg.NewMetadataResponseTopic()
		t.Topic, t.TopicID = asked.Topic, asked.TopicID
		switch {
		case named && !validTopic(*asked.Topic) || !named && asked.TopicID == topicID{}:
			t.ErrorCode = codeInvalidTopic
		case err != nil:
			t.ErrorCode = codeLeaderNotAvailable
		case !named:
			t.ErrorCode = codeUnknownTopicID
		default:
			t.ErrorCode = codeUnknownTopic
		}
		if t.Topic == nil && m.Version < 12 {
			t.Topic = kmsg.StringPtr("")
		}
		resp.Topics = append(resp.Topics, t)
	}
	c.finish(k, resp)
}

// metadataResponse begins a response with the brokers that there are.
func (c *Conn) metadataResponse() *kmsg.MetadataResponse {
	resp := kmsg.NewPtrMetadataResponse()
	at := c.advertised()
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = nodeID, at.Host, int32(at.Port)
	resp.Brokers = append(resp.Brokers, b)
	resp.ClusterID, resp.ControllerID = kmsg.StringPtr(c.settings.Cluster), nodeID
	return resp
}

// metadataTopic describes a topic as it is.
func metadataTopic(info *admin.TopicInfo) kmsg.MetadataResponseTopic {
	t := kmsg.NewMetadataResponseTopic()
	t.Topic, t.TopicID, t.IsInternal = kmsg.StringPtr(info.Name), info.UUID, internal(info.Name)
	for i := range info.Partitions {
		p := kmsg.NewMetadataResponseTopicPartition()
		p.Partition, p.Leader, p.LeaderEpoch = int32(i), nodeID, leaderEpoch
		p.Replicas, p.ISR = []int32{nodeID}, []int32{nodeID}
		t.Partitions = append(t.Partitions, p)
	}
	return t
}

// leaderEpoch is that of all partitions: see the package's invariant 9.
const leaderEpoch = 0

// advertised is where the client shall connect: as configured, or where it has.
func (c *Conn) advertised() Endpoint {
	if c.settings.Advertised.Host != "" {
		return c.settings.Advertised
	}
	return Endpoint{Host: c.local.Addr().Unmap().WithZone("").String(), Port: c.local.Port()}
}
