package kafkaconn

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/topicconf"
)

// alteration is what a client wants of the configuration of one resource.
type alteration struct {
	kind     kmsg.ConfigResourceType
	name     string
	replace  bool // keys that are not named get their defaults
	nullSet  bool // a key is to have the value null
	changes  []topicconf.Change
	code     int16
	text     string
	repeated bool // it is named more than once
}

// refuse says why it is not done.
func (a *alteration) refuse(code int16, format string, args ...any) {
	a.code, a.text = code, fmt.Sprintf(format, args...)
}

// incrementalAlterConfigs changes keys, and leaves the others as they are.
func (c *Conn) incrementalAlterConfigs(k *call, m *kmsg.IncrementalAlterConfigsRequest) {
	list := make([]alteration, len(m.Resources))
	for i := range m.Resources {
		r, a := &m.Resources[i], &list[i]
		a.kind, a.name = r.ResourceType, r.ResourceName
		for j := range r.Configs {
			g := &r.Configs[j]
			a.nullSet = a.nullSet || g.Value == nil && g.Op != kmsg.IncrementalAlterConfigOpDelete
			a.changes = append(a.changes, topicconf.Change{Op: topicconf.Op(g.Op), Key: g.Name, Value: given(g.Value)})
		}
	}
	c.alter(k, list, m.ValidateOnly, func() {
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		for i := range list {
			r := kmsg.NewIncrementalAlterConfigsResponseResource()
			r.ResourceType, r.ResourceName, r.ErrorCode, r.ErrorMessage = list[i].kind, list[i].name, list[i].code, list[i].message()
			resp.Resources = append(resp.Resources, r)
		}
		c.finish(k, resp)
	})
}

// alterConfigs gives resources a configuration: keys that are not named have their defaults then.
func (c *Conn) alterConfigs(k *call, m *kmsg.AlterConfigsRequest) {
	list := make([]alteration, len(m.Resources))
	for i := range m.Resources {
		r, a := &m.Resources[i], &list[i]
		a.kind, a.name, a.replace = r.ResourceType, r.ResourceName, true
		for j := range r.Configs {
			g := &r.Configs[j]
			a.nullSet = a.nullSet || g.Value == nil
			a.changes = append(a.changes, topicconf.Change{Op: topicconf.Set, Key: g.Name, Value: given(g.Value)})
		}
	}
	c.alter(k, list, m.ValidateOnly, func() {
		resp := kmsg.NewPtrAlterConfigsResponse()
		for i := range list {
			r := kmsg.NewAlterConfigsResponseResource()
			r.ResourceType, r.ResourceName, r.ErrorCode, r.ErrorMessage = list[i].kind, list[i].name, list[i].code, list[i].message()
			resp.Resources = append(resp.Resources, r)
		}
		c.finish(k, resp)
	})
}

// given is a text that may be null.
func given(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// message is the text of a refusal.
func (a *alteration) message() *string {
	if a.code == codeNone {
		return nil
	}
	return &a.text
}

// alter carries alterations out, each by itself, and calls then.
func (c *Conn) alter(k *call, list []alteration, validateOnly bool, then func()) {
	all := newTally(then)
	var names []string
	for i := range list {
		a := &list[i]
		a.repeated = slices.ContainsFunc(list[:i], func(b alteration) bool { return b.kind == a.kind && b.name == a.name })
		switch c.checkRight(a); {
		case a.code != codeNone:
		case a.kind == kmsg.ConfigResourceTypeTopic:
			names = append(names, a.name)
		case a.kind == kmsg.ConfigResourceTypeGroupConfig:
			all.begin()
			c.alterGroupOf(k, a, validateOnly, all.done)
		}
	}
	if len(names) > 0 {
		all.begin()
		c.alterTopics(k, list, names, validateOnly, all.done)
	}
	all.done()
}

// alterTopics carries those out that are about topics.
func (c *Conn) alterTopics(k *call, list []alteration, names []string, validateOnly bool, then func()) {
	c.describeTopics(k, names, func(topics []admin.TopicInfo, err error) {
		all := newTally(then)
		for i := range list {
			a := &list[i]
			if a.kind != kmsg.ConfigResourceTypeTopic || a.code != codeNone {
				continue
			}
			if c.checkTopicChange(a, topics, err); a.code != codeNone || validateOnly {
				continue
			}
			all.begin()
			c.admin(k, admin.CmdAlterTopic, &admin.AlterTopic{Name: a.name, Replace: a.replace, Changes: a.changes}, func(_ []byte, err error) {
				if err != nil {
					a.refuse(configCode(err), "%v", err)
				}
				c.loop.topics.forgetName(a.name)
				all.done()
			})
		}
		all.done()
	})
}

// checkRight refuses what the client may not change, or what is wrong whatever the topic has now.
func (c *Conn) checkRight(a *alteration) {
	switch {
	case a.kind == kmsg.ConfigResourceTypeTopic && !c.may(access.Configure, a.name):
		a.refuse(codeTopicDenied, "the user may not change it")
	case a.kind == kmsg.ConfigResourceTypeGroupConfig && !c.may(access.Configure, a.name):
		a.refuse(codeGroupDenied, "the user may not change it")
	case a.kind == kmsg.ConfigResourceTypeBroker && !c.mayAdminister():
		a.refuse(codeClusterDenied, "only administrators may do that")
	default:
		a.check()
	}
}

// check refuses what is wrong whatever the topic has now.
func (a *alteration) check() {
	switch {
	case a.repeated:
		a.refuse(codeInvalidRequest, "each resource may be named once")
	case a.kind == kmsg.ConfigResourceTypeBroker && !thisBroker(a.name):
		a.refuse(codeInvalidRequest, "there is broker %d alone", nodeID)
	case a.kind == kmsg.ConfigResourceTypeBroker && len(a.changes) > 0:
		a.refuse(codeInvalidRequest, "%s: the broker's configuration is in its file, and read when it starts", a.changes[0].Key)
	case a.kind == kmsg.ConfigResourceTypeBroker: // nothing is to be changed
	case a.kind == kmsg.ConfigResourceTypeGroupConfig && a.replace:
		a.refuse(codeInvalidRequest, "keys of groups are changed one by one: IncrementalAlterConfigs")
	case a.kind != kmsg.ConfigResourceTypeTopic && a.kind != kmsg.ConfigResourceTypeGroupConfig:
		a.refuse(codeInvalidRequest, "topics and groups have a configuration that can be changed")
	case a.kind == kmsg.ConfigResourceTypeTopic && !validTopic(a.name):
		a.refuse(codeInvalidTopic, "no topic can have the name %q", a.name)
	case a.nullSet:
		a.refuse(codeInvalidRequest, "a value is null")
	}
	for i, g := range a.changes {
		if a.code == codeNone && slices.ContainsFunc(a.changes[:i], func(b topicconf.Change) bool { return b.Key == g.Key }) {
			a.refuse(codeInvalidRequest, "%s is named twice", g.Key)
		}
	}
}

// checkTopicChange refuses what is wrong for the topic as it is.
func (c *Conn) checkTopicChange(a *alteration, topics []admin.TopicInfo, err error) {
	at := slices.IndexFunc(topics, func(t admin.TopicInfo) bool { return t.Name == a.name })
	switch {
	case err != nil:
		a.refuse(codeOf(err), "%v", err)
	case at < 0:
		a.refuse(codeUnknownTopic, "there is no topic %q", a.name)
	default:
		configs, err := topicconf.Apply(topics[at].Configs, a.replace, a.changes)
		if err == nil {
			err = c.refusedConfigs(configs)
		}
		if err != nil {
			a.refuse(codeInvalidConfig, "%v", err)
		}
	}
}
