package definitions

import (
	"fmt"

	"github.com/trimq/trimq/protocol/admin"
)

// Step is one thing of a file: a command, or why there is none.
type Step struct {
	Command
	Problem error
}

// Plan is what a file comes to, in an order in which each thing finds what it needs: vhosts, users,
// permissions, policies, then exchanges, queues and bindings. salts gives SaltBytes random bytes for
// each user with a password.
func (f *File) Plan(salts func() []byte) (steps []Step) {
	p := &planner{}
	for i := range f.VHosts {
		p.add(f.VHosts[i].Command())
	}
	for i := range f.Users {
		u := &f.Users[i]
		p.add(u.Command(salts()))
		if cmd, given, err := LimitsCommand(admin.DefUserLimit, u.Name, u.Limits); given {
			p.add(cmd, err)
		}
	}
	for i := range f.Permissions {
		p.add(f.Permissions[i].Command())
	}
	for i := range f.TopicPermissions {
		p.add(f.TopicPermissions[i].Command())
	}
	for i := range f.Policies {
		p.add(f.Policies[i].Command(false))
	}
	for i := range f.Parameters {
		p.add(f.Parameters[i].Command())
	}
	for i := range f.GlobalParameters {
		g := f.GlobalParameters[i]
		g.Component, g.VHost = "", ""
		p.add(g.Command())
	}
	f.planThings(p)
	return p.steps
}

// planThings adds exchanges, queues and bindings.
func (f *File) planThings(p *planner) {
	headers := map[[2]string]bool{{"amq.headers"}: true, {"amq.match"}: true}
	for i := range f.Exchanges {
		x := &f.Exchanges[i]
		headers[[2]string{x.Name, x.VHost}] = x.Type == "headers"
		p.add(x.Command())
	}
	for i := range f.Queues {
		p.add(f.Queues[i].Command())
	}
	for i := range f.Bindings {
		b := &f.Bindings[i]
		p.add(b.Command(headers[[2]string{b.Source, b.VHost}] || headers[[2]string{b.Source}], false))
	}
}

type planner struct{ steps []Step }

func (p *planner) add(cmd Command, err error) { p.steps = append(p.steps, Step{cmd, err}) }

// String is a step in words.
func (s *Step) String() string {
	if s.Problem != nil {
		return s.Problem.Error()
	}
	return fmt.Sprint(s.What)
}

// In moves all of a file that lies in a vhost into another one; what lies in none is left out.
func (f *File) In(vhost string) {
	f.Users, f.VHosts, f.Permissions, f.TopicPermissions, f.GlobalParameters = nil, nil, nil, nil, nil
	for i := range f.Parameters {
		f.Parameters[i].VHost = vhost
	}
	for i := range f.Policies {
		f.Policies[i].VHost = vhost
	}
	for i := range f.Exchanges {
		f.Exchanges[i].VHost = vhost
	}
	for i := range f.Queues {
		f.Queues[i].VHost = vhost
	}
	for i := range f.Bindings {
		f.Bindings[i].VHost = vhost
	}
}
