package kafkaconn

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// What Kafka's clients call configuration. Of a topic, retention is the client's to set when it
// creates it; the other keys say how things are, and no other value of them is taken. What Kafka has
// besides is not known here, and refused: to accept it would promise what is not done.

// config is one key.
type config struct {
	name string
	kind kmsg.ConfigType
	// value is that of a topic, or of the broker where there is no topic. "": the key is none of
	// the broker's.
	value func(c *Conn, t *admin.TopicInfo) string
	set   func(t *admin.CreateTopic, value int64) // nil: it cannot be set
}

// unlimited is Kafka's word for no limit.
const unlimited = "-1"

// fixed is the value of a key that has no other.
func fixed(v string) func(*Conn, *admin.TopicInfo) string {
	return func(*Conn, *admin.TopicInfo) string { return v }
}

// limitText is a limit as Kafka writes it.
func limitText(n int64) string {
	if n == 0 {
		return unlimited
	}
	return strconv.FormatInt(n, 10)
}

var topicConfigs = []config{
	{name: "cleanup.policy", kind: kmsg.ConfigTypeList, value: fixed("delete")},
	{name: "compression.type", kind: kmsg.ConfigTypeString, value: fixed("producer")},
	{name: "max.message.bytes", kind: kmsg.ConfigTypeInt, value: func(c *Conn, _ *admin.TopicInfo) string {
		return strconv.Itoa(c.loop.Lane.MaxBatch)
	}},
	{name: "message.timestamp.type", kind: kmsg.ConfigTypeString, value: fixed("CreateTime")},
	{name: "min.insync.replicas", kind: kmsg.ConfigTypeInt, value: fixed("1")},
	{
		name: "retention.bytes", kind: kmsg.ConfigTypeLong,
		value: func(_ *Conn, t *admin.TopicInfo) string { return limitText(t.RetentionBytes) },
		set:   func(t *admin.CreateTopic, v int64) { t.RetentionBytes = v },
	},
	{
		name: "retention.ms", kind: kmsg.ConfigTypeLong,
		value: func(_ *Conn, t *admin.TopicInfo) string { return limitText(t.RetentionMS) },
		set:   func(t *admin.CreateTopic, v int64) { t.RetentionMS = v },
	},
	{name: "unclean.leader.election.enable", kind: kmsg.ConfigTypeBoolean, value: fixed("false")},
}

var brokerConfigs = []config{
	{name: "auto.create.topics.enable", kind: kmsg.ConfigTypeBoolean, value: func(c *Conn, _ *admin.TopicInfo) string {
		return strconv.FormatBool(c.settings.AutoCreate)
	}},
	{name: "default.replication.factor", kind: kmsg.ConfigTypeInt, value: fixed("1")},
	{name: "message.max.bytes", kind: kmsg.ConfigTypeInt, value: func(c *Conn, _ *admin.TopicInfo) string {
		return strconv.Itoa(c.loop.Lane.MaxBatch)
	}},
	{name: "num.partitions", kind: kmsg.ConfigTypeInt, value: func(c *Conn, _ *admin.TopicInfo) string {
		return strconv.Itoa(int(c.settings.Partitions))
	}},
}

// isDefault tells whether a topic's value is the one that it has if its creator says nothing.
func (g *config) isDefault(value string) bool { return g.set == nil || value == unlimited }

// configure applies what the creator of a topic wants of it; the text says what cannot be had.
func (c *Conn) configure(t *admin.CreateTopic, name string, value *string) (refusal string) {
	i := slices.IndexFunc(topicConfigs, func(g config) bool { return g.name == name })
	if i < 0 {
		return fmt.Sprintf("%s is not known here", name)
	}
	g := &topicConfigs[i]
	switch {
	case value == nil:
		return ""
	case g.set == nil:
		if is := g.value(c, &admin.TopicInfo{}); *value != is {
			return fmt.Sprintf("%s is %s and cannot be %s", name, is, *value)
		}
		return ""
	}
	n, err := strconv.ParseInt(*value, 10, 64)
	switch {
	case err != nil || n < -1 || n == 0:
		return fmt.Sprintf("%s = %q: want a number above 0, or -1 for no limit", name, *value)
	case n > 0:
		g.set(t, n)
	}
	return ""
}

// describeConfigs tells the configuration of topics and of this broker.
func (c *Conn) describeConfigs(k *call, m *kmsg.DescribeConfigsRequest) {
	var names []string
	for i := range m.Resources {
		if m.Resources[i].ResourceType == kmsg.ConfigResourceTypeTopic && validTopic(m.Resources[i].ResourceName) {
			names = append(names, m.Resources[i].ResourceName)
		}
	}
	answer := func(list []admin.TopicInfo, err error) {
		c.groupSettings(k, groupsIn(m), func(of map[string][]admin.Setting, groupErr error) {
			resp := kmsg.NewPtrDescribeConfigsResponse()
			for i := range m.Resources {
				ask := &m.Resources[i]
				if ask.ResourceType == kmsg.ConfigResourceTypeGroupConfig {
					resp.Resources = append(resp.Resources, describedGroup(m, ask, of, groupErr))
				} else {
					resp.Resources = append(resp.Resources, c.describedResource(m, ask, list, err))
				}
			}
			c.finish(k, resp)
		})
	}
	if len(names) == 0 {
		answer(nil, nil)
		return
	}
	c.describeTopics(k, names, answer)
}

// describedResource describes one topic, or the broker.
func (c *Conn) describedResource(
	m *kmsg.DescribeConfigsRequest, ask *kmsg.DescribeConfigsRequestResource, list []admin.TopicInfo, err error,
) kmsg.DescribeConfigsResponseResource {
	r := kmsg.NewDescribeConfigsResponseResource()
	r.ResourceType, r.ResourceName = ask.ResourceType, ask.ResourceName
	at := slices.IndexFunc(list, func(t admin.TopicInfo) bool { return t.Name == ask.ResourceName })
	switch {
	case ask.ResourceType == kmsg.ConfigResourceTypeBroker && (ask.ResourceName == "" || ask.ResourceName == strconv.Itoa(nodeID)):
		r.Configs = c.described(m, ask, brokerConfigs, kmsg.ConfigSourceStaticBrokerConfig, nil)
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic && at >= 0:
		r.Configs = c.described(m, ask, topicConfigs, kmsg.ConfigSourceDynamicTopicConfig, &list[at])
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic && validTopic(ask.ResourceName):
		if r.ErrorCode = codeOf(err); err == nil {
			r.ErrorCode = codeUnknownTopic
		}
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic:
		r.ErrorCode = codeInvalidTopic
	default:
		r.ErrorCode, r.ErrorMessage = codeInvalidRequest, kmsg.StringPtr("topics and broker 0 have a configuration")
	}
	return r
}

// described lists the keys that are asked for.
func (c *Conn) described(
	m *kmsg.DescribeConfigsRequest, ask *kmsg.DescribeConfigsRequestResource, table []config, source kmsg.ConfigSource, t *admin.TopicInfo,
) (list []kmsg.DescribeConfigsResponseResourceConfig) {
	for i := range table {
		g := &table[i]
		if ask.ConfigNames != nil && !slices.Contains(ask.ConfigNames, g.name) {
			continue
		}
		d := kmsg.NewDescribeConfigsResponseResourceConfig()
		value := g.value(c, t)
		d.Name, d.Value, d.ReadOnly, d.ConfigType, d.Source = g.name, &value, true, g.kind, kmsg.ConfigSourceDefaultConfig
		if d.IsDefault = t == nil || g.isDefault(value); !d.IsDefault || t == nil {
			d.Source = source
		}
		if m.IncludeSynonyms {
			s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
			s.Name, s.Value, s.Source = g.name, &value, d.Source
			d.ConfigSynonyms = append(d.ConfigSynonyms, s)
		}
		list = append(list, d)
	}
	return list
}
