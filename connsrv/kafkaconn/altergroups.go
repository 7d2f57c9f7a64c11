package kafkaconn

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// incrementalAlterConfigs changes keys of groups, and leaves the others as they are.
func (c *Conn) incrementalAlterConfigs(k *call, m *kmsg.IncrementalAlterConfigsRequest) {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	resp.Resources = make([]kmsg.IncrementalAlterConfigsResponseResource, len(m.Resources))
	all := newTally(func() { c.finish(k, resp) })
	for i := range m.Resources {
		ask, r := &m.Resources[i], &resp.Resources[i]
		r.ResourceType, r.ResourceName = ask.ResourceType, ask.ResourceName
		if ask.ResourceType != kmsg.ConfigResourceTypeGroupConfig {
			r.ErrorCode, r.ErrorMessage = codeInvalidRequest, kmsg.StringPtr("groups have a configuration that can be changed")
			continue
		}
		changes := make([]groupChange, len(ask.Configs))
		for j := range ask.Configs {
			g := &ask.Configs[j]
			changes[j] = groupChange{int8(g.Op), g.Name, g.Value}
		}
		all.begin()
		c.alterGroup(k, ask.ResourceName, changes, m.ValidateOnly, func(code int16, text string) {
			r.ErrorCode, r.ErrorMessage = code, orNull(text)
			all.done()
		})
	}
	all.done()
}

// groupChange is what a client wants of one key of a group.
type groupChange struct {
	op    int8 // as IncrementalAlterConfigs has it
	name  string
	value *string
}

// alterGroup changes keys of a group, all of them or none.
func (c *Conn) alterGroup(k *call, group string, changes []groupChange, validateOnly bool, then func(code int16, text string)) {
	m := admin.SetGroup{Group: group}
	if group == "" {
		then(codeInvalidRequest, "a group has a name")
		return
	}
	for _, g := range changes {
		value := g.value
		switch kmsg.IncrementalAlterConfigOp(g.op) {
		case kmsg.IncrementalAlterConfigOpSet:
		case kmsg.IncrementalAlterConfigOpDelete:
			value = nil
		default:
			then(codeInvalidConfig, g.name+" is no list: it is set or deleted")
			return
		}
		if refusal := setGroupConfig(&m, g.name, value); refusal != "" {
			then(codeInvalidConfig, refusal)
			return
		}
	}
	if validateOnly || len(changes) == 0 {
		then(codeNone, "")
		return
	}
	c.admin(k, admin.CmdSetGroup, &m, func(_ []byte, err error) {
		if err != nil {
			then(codeOf(err), err.Error())
			return
		}
		c.forgetSettings(group)
		then(codeNone, "")
	})
}

// forgetSettings has the sessions of a group ask for its settings again.
func (c *Conn) forgetSettings(group string) {
	for key, s := range c.shares { // order: each by itself
		if key.group == group {
			s.askedMS = 0
		}
	}
}
