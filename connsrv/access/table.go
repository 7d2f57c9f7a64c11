package access

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/netip"
	"regexp"
	"slices"
	"sync/atomic"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/definitions"
)

// Why somebody is not let in, or not there.
var (
	ErrRefused  = errors.New("user or password is wrong, or the user may not come from there")
	ErrNoVHost  = errors.New("there is no such vhost")
	ErrNoAccess = errors.New("the user has no permissions in the vhost")
)

// guest may come from this machine alone.
const guest = "guest"

// Op is what is to be done with a queue or exchange.
type Op uint8

const (
	Configure Op = iota // make, change, delete
	Write               // publish to, bind a queue to something
	Read                // consume, get, purge, bind something to an exchange
	opCount
)

// Current holds the newest table.
type Current struct{ p atomic.Pointer[Table] }

// Load is the newest table; nil: none has been read yet.
func (c *Current) Load() *Table { return c.p.Load() }

// Store replaces it.
func (c *Current) Store(t *Table) { c.p.Store(t) }

// Table is who may do what, at one moment.
type Table struct {
	users  map[string]*User
	vhosts map[string]*admin.Definition
	limits map[string]map[string]int64 // of vhosts
	name   string                      // of the cluster; "": none was given
	all    []admin.Definition
}

// User is one who may come in.
type User struct {
	Name   string
	Tags   []string
	def    *admin.Definition
	grants map[string]*grant      // by vhost
	topics map[[2]string]*[2]rule // by vhost and exchange: write, read
	limits map[string]int64
}

// grant is what a user may do in a vhost.
type grant [opCount]rule

// rule compares names with a pattern.
type rule struct {
	all bool // the pattern matches everything: the usual case costs nothing
	re  *regexp.Regexp
}

func newRule(pattern string) rule {
	switch pattern {
	case ".*", "^.*$", "^.*", ".*$":
		return rule{all: true}
	case "": // RabbitMQ's form of nothing
		return rule{}
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return rule{} // logicsrv takes none such
	}
	return rule{re: re}
}

func (r rule) match(name string) bool { return r.all || r.re != nil && r.re.MatchString(name) }

// NewTable makes a table of definitions. It keeps them.
func NewTable(all []admin.Definition) *Table {
	t := &Table{users: map[string]*User{}, vhosts: map[string]*admin.Definition{}, limits: map[string]map[string]int64{}, all: all}
	for i := range all {
		switch d := &all[i]; d.Kind {
		case admin.DefVHost:
			t.vhosts[d.Name] = d
		case admin.DefVHostLimit:
			t.limits[d.Name] = definitions.LimitsOf(d)
		case admin.DefGlobalParameter:
			if d.Name == ClusterName && json.Unmarshal([]byte(d.Text("value")), &t.name) != nil {
				t.name = "" // it is no text
			}
		case admin.DefUser:
			t.users[d.Name] = &User{
				Name: d.Name, Tags: definitions.ParseTags(d.Text("tags")), def: d, grants: map[string]*grant{}, topics: map[[2]string]*[2]rule{},
			}
		}
	}
	for i := range all {
		if u := t.users[all[i].Name]; u != nil {
			u.add(&all[i])
		}
	}
	return t
}

// add enters what is said about a user.
func (u *User) add(d *admin.Definition) {
	switch d.Kind {
	case admin.DefPermission:
		u.grants[d.VHost] = &grant{
			Configure: newRule(d.Text("configure")), Write: newRule(d.Text("write")), Read: newRule(d.Text("read")),
		}
	case admin.DefTopicPermission:
		u.topics[[2]string{d.VHost, d.Item}] = &[2]rule{newRule(d.Text("write")), newRule(d.Text("read"))}
	case admin.DefUserLimit:
		u.limits = definitions.LimitsOf(d)
	}
}

// Login is the user of this name, if the password is right and it may come from there.
func (t *Table) Login(name, password string, from netip.Addr) (*User, error) {
	u := t.users[name]
	if u == nil || !u.MayComeFrom(from) || !definitions.Verify(u.def, password) {
		return nil, ErrRefused
	}
	return u, nil
}

// MayComeFrom tells whether the user may come in from an address.
func (u *User) MayComeFrom(from netip.Addr) bool { return u.Name != guest || from.Unmap().IsLoopback() }

// User is the user of this name; nil: there is none.
func (t *Table) User(name string) *User { return t.users[name] }

// Scram is what a SCRAM server knows of the user; see definitions.ScramOf.
func (u *User) Scram(key string) (definitions.Scram, bool) { return definitions.ScramOf(u.def, key) }

// Has tells whether the user has one of the tags.
func (u *User) Has(tags ...string) bool {
	return slices.ContainsFunc(tags, func(tag string) bool { return slices.Contains(u.Tags, tag) })
}

// Limit is a limit of the user; below 0: none.
func (u *User) Limit(key string) int64 {
	if n, ok := u.limits[key]; ok {
		return n
	}
	return -1
}

// Enter tells whether a user may use a vhost, and if not, why.
func (t *Table) Enter(user, vhost string) error {
	if t.vhosts[vhost] == nil {
		return ErrNoVHost
	}
	if u := t.users[user]; u == nil || u.grants[vhost] == nil {
		return ErrNoAccess
	}
	return nil
}

// VHostLimit is a limit of a vhost; below 0: none.
func (t *Table) VHostLimit(vhost, key string) int64 {
	if n, ok := t.limits[vhost][key]; ok {
		return n
	}
	return -1
}

// May tells whether a user may do something with what is called so in a vhost.
func (t *Table) May(user, vhost string, what Op, name string) bool {
	u := t.users[user]
	if u == nil || what >= opCount {
		return false
	}
	g := u.grants[vhost]
	return g != nil && g[what].match(name)
}

// MayTopic tells whether a user may write or read a routing key at a topic exchange. Where nothing is
// said about that, May alone counts.
func (t *Table) MayTopic(user, vhost, exchange string, what Op, key string) bool {
	u := t.users[user]
	if u == nil {
		return false
	}
	rules := u.topics[[2]string{vhost, exchange}]
	switch {
	case rules == nil:
		return true
	case what == Write:
		return rules[0].match(key)
	}
	return rules[1].match(key)
}

// ClusterName is the global parameter that gives the broker a name for people.
const ClusterName = "cluster_name"

// ClusterName is the name that the broker was given, or another where it was given none. t may be nil.
func (t *Table) ClusterName(otherwise string) string {
	if t == nil {
		return otherwise
	}
	return cmp.Or(t.name, otherwise)
}

// Definitions are all that the table was made of. They are not to be changed.
func (t *Table) Definitions() []admin.Definition { return t.all }

// HasTopics tells whether something is said about routing keys of an exchange.
func (t *Table) HasTopics(user, vhost, exchange string) bool {
	u := t.users[user]
	return u != nil && u.topics[[2]string{vhost, exchange}] != nil
}
