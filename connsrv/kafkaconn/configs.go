package kafkaconn

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// What Kafka's clients call configuration. That of a topic is its own, and package topicconf knows its
// keys; that of this broker comes from its configuration file, and is shown as far as it has words in
// Kafka's language. What Kafka has besides is not known here, and refused: to accept it would promise
// what is not done.

// brokerConfig is a key of this broker.
type brokerConfig struct {
	name  string
	kind  kmsg.ConfigType
	value func(c *Conn) string
	file  bool // the configuration file says it
}

// fixed is the value of a key that has no other.
func fixed(v string) func(*Conn) string { return func(*Conn) string { return v } }

// asTopics is the value of a key that says what topics have that do not say.
func asTopics(key string) func(*Conn) string { return fixed(topicconf.Value(nil, key)) }

var brokerConfigs = []brokerConfig{
	{"advertised.listeners", kmsg.ConfigTypeString, func(c *Conn) string {
		at := c.advertised()
		return fmt.Sprintf("PLAINTEXT://%s:%d", at.Host, at.Port)
	}, true},
	{"auto.create.topics.enable", kmsg.ConfigTypeBoolean, func(c *Conn) string { return strconv.FormatBool(c.settings.AutoCreate) }, true},
	{"broker.id", kmsg.ConfigTypeInt, fixed(strconv.Itoa(nodeID)), true},
	{"compression.type", kmsg.ConfigTypeString, asTopics(topicconf.CompressionType), false},
	{"default.replication.factor", kmsg.ConfigTypeInt, fixed("1"), false},
	{"delete.topic.enable", kmsg.ConfigTypeBoolean, fixed("true"), false},
	{"log.cleanup.policy", kmsg.ConfigTypeList, asTopics(topicconf.CleanupPolicy), false},
	{"log.message.timestamp.type", kmsg.ConfigTypeString, asTopics(topicconf.TimestampType), false},
	{"log.retention.bytes", kmsg.ConfigTypeLong, asTopics(topicconf.RetentionBytes), false},
	{"log.retention.ms", kmsg.ConfigTypeLong, asTopics(topicconf.RetentionMS), false},
	{"message.max.bytes", kmsg.ConfigTypeInt, asTopics(topicconf.MaxMessageBytes), false},
	{"min.insync.replicas", kmsg.ConfigTypeInt, asTopics(topicconf.MinInSync), false},
	{"node.id", kmsg.ConfigTypeInt, fixed(strconv.Itoa(nodeID)), true},
	{"num.partitions", kmsg.ConfigTypeInt, func(c *Conn) string { return strconv.Itoa(int(c.settings.Partitions)) }, true},
}

// shownConfig is a key with its value, as all responses show it.
type shownConfig struct {
	name, value string
	kind        kmsg.ConfigType
	source      kmsg.ConfigSource
	readOnly    bool
	synonyms    []shownConfig // from where the value comes, and what it would be otherwise
}

// configTypes are Kafka's names for the types of values.
var configTypes = map[topicconf.Kind]kmsg.ConfigType{
	topicconf.Bool: kmsg.ConfigTypeBoolean, topicconf.String: kmsg.ConfigTypeString, topicconf.Int: kmsg.ConfigTypeInt,
	topicconf.Long: kmsg.ConfigTypeLong, topicconf.Double: kmsg.ConfigTypeDouble, topicconf.List: kmsg.ConfigTypeList,
}

// shownTopic lists the configuration of a topic.
func shownTopic(configs []ipc.Header) (list []shownConfig) {
	for _, key := range topicconf.Keys() {
		g := shownConfig{name: key.Name, value: key.Default, kind: configTypes[key.Kind], source: kmsg.ConfigSourceDefaultConfig}
		byDefault := g
		if topicconf.IsSet(configs, key.Name) {
			g.value, g.source = topicconf.Value(configs, key.Name), kmsg.ConfigSourceDynamicTopicConfig
			g.synonyms = append(g.synonyms, g)
		}
		g.synonyms = append(g.synonyms, byDefault)
		list = append(list, g)
	}
	return list
}

// shownBroker lists the configuration of this broker.
func (c *Conn) shownBroker() (list []shownConfig) {
	for _, key := range brokerConfigs {
		g := shownConfig{name: key.name, value: key.value(c), kind: key.kind, source: kmsg.ConfigSourceDefaultConfig, readOnly: true}
		if key.file {
			g.source = kmsg.ConfigSourceStaticBrokerConfig
		}
		g.synonyms = append(g.synonyms, g)
		list = append(list, g)
	}
	return list
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
	case ask.ResourceType == kmsg.ConfigResourceTypeBroker && thisBroker(ask.ResourceName):
		r.Configs = listed(m, ask, c.shownBroker())
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic && at >= 0:
		r.Configs = listed(m, ask, shownTopic(list[at].Configs))
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic && validTopic(ask.ResourceName):
		if r.ErrorCode, r.ErrorMessage = codeOf(err), textOf(err); err == nil {
			r.ErrorCode = codeUnknownTopic
		}
	case ask.ResourceType == kmsg.ConfigResourceTypeTopic:
		r.ErrorCode = codeInvalidTopic
	default:
		r.ErrorCode, r.ErrorMessage = codeInvalidRequest, kmsg.StringPtr(fmt.Sprintf("topics and broker %d have a configuration", nodeID))
	}
	return r
}

// thisBroker tells whether a resource is this broker, or what all brokers have in common.
func thisBroker(name string) bool { return name == "" || name == strconv.Itoa(nodeID) }

// listed lists the keys that are asked for.
func listed(
	m *kmsg.DescribeConfigsRequest, ask *kmsg.DescribeConfigsRequestResource, all []shownConfig,
) (list []kmsg.DescribeConfigsResponseResourceConfig) {
	for i := range all {
		g := &all[i]
		if ask.ConfigNames != nil && !slices.Contains(ask.ConfigNames, g.name) {
			continue
		}
		d := kmsg.NewDescribeConfigsResponseResourceConfig()
		d.Name, d.Value, d.ReadOnly, d.ConfigType, d.Source = g.name, &g.value, g.readOnly, g.kind, g.source
		d.IsDefault = g.source == kmsg.ConfigSourceDefaultConfig
		if m.IncludeSynonyms {
			for j := range g.synonyms {
				s := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
				s.Name, s.Value, s.Source = g.synonyms[j].name, &g.synonyms[j].value, g.synonyms[j].source
				d.ConfigSynonyms = append(d.ConfigSynonyms, s)
			}
		}
		list = append(list, d)
	}
	return list
}

// refusedConfigs is why a topic cannot have a configuration, though its keys and values are sound; nil: it can.
func (c *Conn) refusedConfigs(configs []ipc.Header) error {
	if n, _ := strconv.Atoi(topicconf.Value(configs, topicconf.MinInSync)); n > c.settings.MaxReplication {
		return fmt.Errorf("%s = %d: there is one copy of a topic here, and kafka_max_replication is %d", topicconf.MinInSync, n, c.settings.MaxReplication)
	}
	return nil
}
