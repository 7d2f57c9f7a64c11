package kafkaconn

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
)

// describeUsers lists the users that the stub has, one on a page; false: something else is asked for.
func (s *stub) describeUsers(m *ipc.Admin, ask *admin.Describe) bool {
	if ask.Kind != admin.KindDefinition {
		return false
	}
	d := admin.Description{Kind: ask.Kind}
	slices.SortFunc(s.users, func(a, b admin.Definition) int { return strings.Compare(a.Identity(), b.Identity()) })
	for _, u := range s.users {
		switch {
		case len(ask.Names) > 0 && !slices.Contains(ask.Names, u.Identity()), ask.After != "" && u.Identity() <= ask.After:
		case len(d.Definitions) > 0:
			d.More = true
		default:
			d.Definitions = append(d.Definitions, u)
		}
	}
	s.answer(m, &d)
	return true
}

// define takes a user.
func (s *stub) define(m *ipc.Admin) bool {
	if admin.Command(m.Command) != admin.CmdDefine {
		return false
	}
	d, err := admin.DecodeDefinition(m.Body)
	must(s.tb, err)
	if !d.Canonical() {
		s.tb.Errorf("%+v is not canonical", d)
	}
	s.users = append(slices.DeleteFunc(s.users, func(u admin.Definition) bool { return u.Name == d.Name }), d)
	s.answer(m, &admin.Created{})
	return true
}
