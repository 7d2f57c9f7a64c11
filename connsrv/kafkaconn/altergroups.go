package kafkaconn

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/admin"
)

// alterGroupOf changes the configuration of a group, and calls done.
func (c *Conn) alterGroupOf(k *call, a *alteration, validateOnly bool, done func()) {
	changes := make([]groupChange, len(a.changes))
	for i := range a.changes {
		g := &a.changes[i]
		changes[i] = groupChange{int8(g.Op), g.Key, &g.Value}
	}
	c.alterGroup(k, a.name, changes, validateOnly, func(code int16, text string) {
		if code != codeNone {
			a.refuse(code, "%s", text)
		}
		done()
	})
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
	if !slices.ContainsFunc(changes, func(g groupChange) bool { return g.name == groupLimit }) {
		c.setGroup(k, &m, validateOnly, then)
		return
	}
	c.shareQueuesOf(k, group, func(queues []admin.QueueInfo, err error) {
		switch {
		case err != nil:
			then(codeOf(err), err.Error())
		case len(queues) > 0: // they have theirs
			then(codeInvalidConfig, groupLimit+" counts from the first fetch of a group on: delete the group's offsets first")
		default:
			c.setGroup(k, &m, validateOnly, then)
		}
	})
}

// setGroup has the keys of a group changed that can be.
func (c *Conn) setGroup(k *call, m *admin.SetGroup, validateOnly bool, then func(code int16, text string)) {
	if validateOnly || len(m.Set)+len(m.Unset) == 0 {
		then(codeNone, "")
		return
	}
	c.admin(k, admin.CmdSetGroup, m, func(_ []byte, err error) {
		if err != nil {
			then(codeOf(err), err.Error())
			return
		}
		c.forgetSettings(m.Group)
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
