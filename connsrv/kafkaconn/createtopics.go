package kafkaconn

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// createTopics creates topics, each by itself: some may be there already, and some be refused.
func (c *Conn) createTopics(k *call, m *kmsg.CreateTopicsRequest) {
	resp := kmsg.NewPtrCreateTopicsResponse()
	specs := make([]admin.CreateTopic, len(m.Topics))
	named := map[string]int{}
	for i := range m.Topics {
		named[m.Topics[i].Topic]++
	}
	var names []string
	for i := range m.Topics {
		t := kmsg.NewCreateTopicsResponseTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = m.Topics[i].Topic, -1, -1
		code, text := c.topicSpec(&m.Topics[i], &specs[i])
		if named[t.Topic] > 1 {
			code, text = codeInvalidRequest, "the topic is named twice"
		}
		if t.ErrorCode = code; code != codeNone {
			t.ErrorMessage = &text
		} else {
			names = append(names, t.Topic)
		}
		resp.Topics = append(resp.Topics, t)
	}
	all := newTally(func() { c.created(k, m, resp, specs, names) })
	for i := range resp.Topics {
		if resp.Topics[i].ErrorCode != codeNone || m.ValidateOnly {
			continue
		}
		all.begin()
		c.createTopic(k, specs[i], func(err error) {
			resp.Topics[i].ErrorCode, resp.Topics[i].ErrorMessage = topicCode(err), textOf(err)
			all.done()
		})
	}
	all.done()
}

// topicCode is Kafka's code for an error about the creation or the growth of a topic.
func topicCode(err error) int16 {
	if is(err, errcode.InvalidArgument) {
		return codeInvalidPartitions
	}
	return codeOf(err)
}

// topicSpec reads what a client wants of a topic; a code says what cannot be had, with a text.
func (c *Conn) topicSpec(m *kmsg.CreateTopicsRequestTopic, spec *admin.CreateTopic) (code int16, text string) {
	*spec = admin.CreateTopic{Name: m.Topic, Partitions: uint32(max(0, m.NumPartitions))}
	switch {
	case !validTopic(m.Topic):
		return codeInvalidTopic, "the name of a topic has 1 to 249 letters, digits, '.', '_' and '-'"
	case !c.may(access.Configure, m.Topic):
		return codeTopicDenied, "the user may not make it"
	case len(m.ReplicaAssignment) > 0:
		if m.NumPartitions != -1 || m.ReplicationFactor != -1 {
			return codeInvalidRequest, "both replicas and their number are given"
		}
		spec.Partitions = uint32(len(m.ReplicaAssignment))
		if text := c.checkReplicas(m.ReplicaAssignment); text != "" {
			return codeInvalidAssignment, text
		}
	case m.NumPartitions == -1: // whatever the version, as with Kafka: kafkajs leaves it to us in version 3
		spec.Partitions = c.settings.Partitions
	case m.NumPartitions < 1:
		return codeInvalidPartitions, fmt.Sprintf("%d partitions; a topic has at least 1", m.NumPartitions)
	}
	if f := m.ReplicationFactor; len(m.ReplicaAssignment) == 0 && f != -1 && (f < 1 || int(f) > c.settings.MaxReplication) {
		return codeInvalidReplication, fmt.Sprintf("replication factor %d; this broker stands alone, and kafka_max_replication is %d", f, c.settings.MaxReplication)
	}
	if err := c.configure(spec, m.Configs); err != nil {
		return codeInvalidConfig, err.Error()
	}
	return codeNone, ""
}

// configure reads what configuration a topic shall have. A key without a value has its default.
func (c *Conn) configure(spec *admin.CreateTopic, list []kmsg.CreateTopicsRequestTopicConfig) error {
	var changes []topicconf.Change
	for _, g := range list {
		if g.Value != nil {
			changes = append(changes, topicconf.Change{Key: g.Name, Value: *g.Value})
		} else if topicconf.Find(g.Name) == nil {
			return fmt.Errorf("%s is no key that is known here", g.Name)
		}
	}
	configs, err := topicconf.Apply(nil, false, changes)
	if err == nil {
		err = c.refusedConfigs(configs)
	}
	spec.Configs = configs
	return err
}

// checkReplicas wants each partition once, and on this broker.
func (c *Conn) checkReplicas(list []kmsg.CreateTopicsRequestTopicReplicaAssignment) (refusal string) {
	seen := make([]bool, len(list))
	for i := range list {
		p := int(list[i].Partition)
		if p < 0 || p >= len(list) || seen[p] || len(list[i].Replicas) != 1 || list[i].Replicas[0] != nodeID {
			return fmt.Sprintf("partition %d on brokers %v; partitions are numbered from 0 on, and there is broker %d alone", p, list[i].Replicas, nodeID)
		}
		seen[p] = true
	}
	return ""
}

// created completes the response with what the topics are now. Where nothing was to be created, it
// tells which are there already.
func (c *Conn) created(k *call, m *kmsg.CreateTopicsRequest, resp *kmsg.CreateTopicsResponse, specs []admin.CreateTopic, names []string) {
	if len(names) == 0 {
		c.finish(k, resp)
		return
	}
	c.describeTopics(k, names, func(list []admin.TopicInfo, _ error) {
		byName := map[string]*admin.TopicInfo{}
		for i := range list {
			byName[list[i].Name] = &list[i]
		}
		for i := range resp.Topics {
			t := &resp.Topics[i]
			info := byName[t.Topic]
			switch {
			case t.ErrorCode != codeNone:
				continue
			case m.ValidateOnly && info != nil:
				t.ErrorCode, t.ErrorMessage = codeTopicExists, kmsg.StringPtr("the topic is there already")
				continue
			case info == nil:
				info = &admin.TopicInfo{Configs: specs[i].Configs, Partitions: make([]admin.PartitionInfo, specs[i].Partitions)}
			}
			t.TopicID, t.NumPartitions, t.ReplicationFactor = info.UUID, int32(len(info.Partitions)), 1
			t.Configs = createdConfigs(info.Configs)
		}
		c.finish(k, resp)
	})
}

// createdConfigs are a topic's settings, in the form of CreateTopics.
func createdConfigs(configs []ipc.Header) (list []kmsg.CreateTopicsResponseTopicConfig) {
	for _, shown := range shownTopic(configs) {
		g := kmsg.NewCreateTopicsResponseTopicConfig()
		g.Name, g.Value, g.Source = shown.name, &shown.value, int8(shown.source)
		list = append(list, g)
	}
	return list
}
