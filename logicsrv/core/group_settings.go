package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/wire"
)

// Settings of groups: text by name, kept for whoever knows what they mean (the front end whose
// protocol has them; the broker itself looks at two, see share.go). They are there before the group
// is, and outlive it: a group is set up first, and joined then.

// Bounds of the settings of one group, and of their texts in bytes.
const (
	maxSettings     = 64
	maxSettingBytes = 256
)

// settingAt is where a setting stands, or would stand, in a list in order of name.
func settingAt(list []admin.Setting, name string) (int, bool) {
	return slices.BinarySearchFunc(list, name, func(s admin.Setting, name string) int { return strings.Compare(s.Name, name) })
}

// setGroup decides about settings of a group.
func (c *Core) setGroup(m *admin.SetGroup) (admin.Created, refused) {
	if no := checked(checkName("group", m.Group)); no != nil {
		return admin.Created{}, no
	}
	old, known := c.groupSettings.get(m.Group)
	list := slices.Clone(old)
	for _, s := range m.Set {
		if s.Name == "" || len(s.Name) > maxSettingBytes || len(s.Value) > maxSettingBytes {
			return admin.Created{}, errcode.New(errcode.InvalidArgument, "a setting of a group has a name and a value of at most %d bytes each, not %s", maxSettingBytes, quoted(s.Name))
		}
		if at, ok := settingAt(list, s.Name); ok {
			list[at].Value = s.Value
		} else {
			list = slices.Insert(list, at, s)
		}
	}
	for _, name := range m.Unset {
		if at, ok := settingAt(list, name); ok {
			list = slices.Delete(list, at, at+1)
		}
	}
	switch {
	case len(list) > maxSettings:
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d settings of a group", maxSettings)
	case !known && len(list) > 0 && c.groupSettings.len() >= c.cfg.MaxGroups:
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d groups with settings", c.cfg.MaxGroups)
	case slices.Equal(list, old):
		return c.unchanged(0)
	}
	c.decided(&journal.GroupConfigured{Pos: c.in.Pos, Group: m.Group, Settings: list})
	return admin.Created{}, nil
}

// applyGroupConfigured takes over the settings of a group.
func (c *Core) applyGroupConfigured(e *journal.GroupConfigured) error {
	if e.Group == "" || !risingSettings(e.Settings) {
		return misfit("%d settings of group %q", len(e.Settings), e.Group)
	}
	if len(e.Settings) == 0 {
		c.groupSettings.remove(e.Group)
		return nil
	}
	list := make([]admin.Setting, len(e.Settings))
	for i, s := range e.Settings {
		list[i] = admin.Setting{Name: strings.Clone(s.Name), Value: strings.Clone(s.Value)}
	}
	c.groupSettings.add(strings.Clone(e.Group), list)
	return nil
}

// risingSettings tells whether settings stand in order of name, no name twice.
func risingSettings(list []admin.Setting) bool {
	last := ""
	for _, s := range list {
		if s.Name <= last {
			return false
		}
		last = s.Name
	}
	return true
}

// describeSettings adds the settings of a group.
func (c *Core) describeSettings(p *page, name string, list []admin.Setting) bool {
	size := 8 + len(name)
	for _, s := range list {
		size += 4 + len(s.Name) + len(s.Value)
	}
	if !p.take(size) {
		return false
	}
	p.out.Configs = append(p.out.Configs, admin.GroupConfig{Group: name, Settings: list})
	return true
}

// appendSettings encodes the settings of groups, in order of name:
//
//	| list of: group str | list of (name str | value str) |
func (c *Core) appendSettings(b []byte) []byte {
	b = wire.AppendUvarint(b, uint64(c.groupSettings.len()))
	for name, list := range c.groupSettings.all {
		b = admin.AppendSettings(wire.AppendString(b, name), list)
	}
	return b
}

// groupSettings reads what appendSettings has written.
func (l *loader) groupSettings() {
	last := ""
	for range l.Count(2, loadThings) {
		name, list := l.String(), admin.ReadSettingList(&l.Cursor)
		if !l.ensure(name > last && len(list) > 0 && risingSettings(list)) {
			return
		}
		last = name
		l.c.groupSettings.add(name, list)
	}
}
