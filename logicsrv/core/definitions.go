package core

import (
	"regexp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
)

// What is defined besides queues, exchanges, topics and bindings: vhosts, users and what they may do,
// policies, limits, parameters of tools. The core keeps all of it, as texts and numbers, and knows the
// meaning of little: of vhosts, of the policies, and of one limit. Who may do what is connsrv's to see
// to, which has a copy and is told when that is out of date.

// vhost is what follows from the definition of a vhost and its limits.
type vhost struct {
	name      string
	queues    int   // that are there now
	maxQueues int64 // below 0: no limit
	policies  []*policy
	operators []*policy
}

// guest is the user that is there from the start, as RabbitMQ has it: connsrv lets it in from the same
// machine only. Its password is its name.
var guest = admin.Definition{Kind: admin.DefUser, Name: "guest", Values: []admin.Value{
	admin.TextValue("hashing_algorithm", "rabbit_password_hashing_sha256"),
	admin.TextValue("password_hash", "VHJpTU0F99NKwAqPYKny2lzQRcDZcLOOEqwMbPe6rncA1KGL"),
	admin.TextValue("scram_sha_256", "4096,B6rLBFi7W/b8i3pqQrK4hw==,QswRtgdRzRtT6LdLRaC2Q/FKJDLc9dVe5hDsQ+s5Gkg=,KJ2HFyL+97SFFG1Z47M9ztBAK9dRJm2rD+k5H1ZZkEI="),
	admin.TextValue("scram_sha_512", "4096,KxXdS3plNuLUJ55fXZxWIA==,NyoScwyYZYKcP7o5t2iwm9c1W4hVRSa+sc63Gd6rByJYpEDgk5jVPRfHNCuR73OQsNb/TPWr6gzIgDmt6zFOxg==,tOGMwVHam1NS5gXdqwF9KgermlFAuTPc9NZJK/DnvGE4pubmf5Rks31xRoPvbZ6ZTgimrnCFrVec9dU2Xv/Gdg=="),
	admin.TextValue("tags", "administrator"),
}}

// predefine is what is defined before the first event: the vhost of native clients, and who may come
// in. From then on these are definitions like others, and may be gone in a checkpoint.
func (c *Core) predefine() {
	everything := []admin.Value{admin.TextValue("configure", ".*"), admin.TextValue("read", ".*"), admin.TextValue("write", ".*")}
	for _, d := range []admin.Definition{
		{Kind: admin.DefVHost, Name: admin.DefaultVHost},
		guest,
		{Kind: admin.DefPermission, VHost: admin.DefaultVHost, Name: "guest", Values: everything},
	} {
		c.enterDefinition(&d)
	}
}

// enterDefinition makes something so. REQUIRES: d is canonical, its strings stay.
func (c *Core) enterDefinition(d *admin.Definition) {
	kept := *d
	c.definitions.add(d.Identity(), &kept)
	switch d.Kind {
	case admin.DefVHost:
		if c.vhosts[d.Name] == nil {
			c.vhosts[d.Name] = c.newVHost(d.Name)
		}
	case admin.DefVHostLimit:
		if v := c.vhosts[d.Name]; v != nil {
			v.maxQueues = limitOf(d, "max-queues")
		}
	case admin.DefPolicy, admin.DefOperatorPolicy:
		c.rankPolicies(d.VHost)
	}
}

// newVHost makes one. Queues of one that had the name before may not be gone yet.
func (c *Core) newVHost(name string) *vhost {
	v := &vhost{name: name, maxQueues: -1}
	for whole := range c.queues.all {
		if in, _ := admin.SplitVHost(whole); in == name {
			v.queues++
		}
	}
	return v
}

// dropDefinition is the reverse of enterDefinition.
func (c *Core) dropDefinition(d *admin.Definition) {
	c.definitions.remove(d.Identity())
	switch d.Kind {
	case admin.DefVHost:
		delete(c.vhosts, d.Name)
	case admin.DefVHostLimit:
		if v := c.vhosts[d.Name]; v != nil {
			v.maxQueues = -1
		}
	case admin.DefPolicy, admin.DefOperatorPolicy:
		c.rankPolicies(d.VHost)
	}
}

// countQueue counts the queues of a vhost. One that is gone takes its queues along.
func (c *Core) countQueue(q *queue, n int) {
	vhost, _ := admin.SplitVHost(q.name)
	if v := c.vhosts[vhost]; v != nil {
		v.queues += n
	}
}

// limitOf is a limit; below 0: none.
func limitOf(d *admin.Definition, key string) int64 {
	if v, ok := d.Value(key); ok {
		return v.Number
	}
	return -1
}

// defined is a definition of a kind; nil: there is none.
func (c *Core) defined(kind admin.DefinitionKind, vhost, name, item string) *admin.Definition {
	d, _ := c.definitions.get((&admin.Definition{Kind: kind, VHost: vhost, Name: name, Item: item}).Identity())
	return d
}

// definitionsOf lists the definitions that are about something.
func (c *Core) definitionsOf(about func(*admin.Definition) bool) (out []*admin.Definition) {
	for _, d := range c.definitions.all {
		if about(d) {
			out = append(out, d)
		}
	}
	return out
}

// rankPolicies sorts the policies of a vhost by what counts first: those of the highest priority, of
// equal ones the first by name.
func (c *Core) rankPolicies(name string) {
	v := c.vhosts[name]
	if v == nil {
		return
	}
	v.policies, v.operators = nil, nil
	for _, d := range c.definitions.all { // in order of name
		if d.VHost != name {
			continue
		}
		switch d.Kind {
		case admin.DefPolicy:
			v.policies = append(v.policies, newPolicy(d))
		case admin.DefOperatorPolicy:
			v.operators = append(v.operators, newPolicy(d))
		}
	}
	for _, list := range [...][]*policy{v.policies, v.operators} {
		slices.SortStableFunc(list, func(a, b *policy) int {
			switch {
			case a.priority > b.priority:
				return -1
			case a.priority < b.priority:
				return 1
			}
			return 0
		})
	}
}

// compiled is a pattern as it is compared with names; nil: it is none.
func compiled(pattern string) *regexp.Regexp {
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil
	}
	return re
}
