package core

import (
	"regexp"
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// maxDefinitions bounds what is defined.
const maxDefinitions = 100_000

// keysOf are the properties that a definition of a kind may have. Those that end with a dot begin a
// family of keys.
var keysOf = map[admin.DefinitionKind][]string{
	admin.DefVHost:           {"default_queue_type", "description", "tags", "tracing"},
	admin.DefUser:            {"hashing_algorithm", "password_hash", "scram_sha_256", "scram_sha_512", "tags"},
	admin.DefPermission:      {"configure", "read", "write"},
	admin.DefTopicPermission: {"read", "write"},
	admin.DefPolicy:          {"apply-to", admin.PolicyPrefix, "pattern", "priority"},
	admin.DefOperatorPolicy:  {"apply-to", admin.PolicyPrefix, "pattern", "priority"},
	admin.DefParameter:       {"value"},
	admin.DefGlobalParameter: {"value"},
	admin.DefVHostLimit:      {"max-connections", "max-queues"},
	admin.DefUserLimit:       {"max-channels", "max-connections"},
}

// define decides that something is so from now on.
func (c *Core) define(m *admin.Definition) (admin.Created, refused) {
	if !m.Canonical() {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%s %s: a property is given twice", m.Kind, quoted(m.Name))
	}
	for _, check := range [...]func(*admin.Definition) refused{checkNames, checkKeys, c.checkReferences, checkPatterns, checkPolicy} {
		if no := check(m); no != nil {
			return admin.Created{}, no
		}
	}
	was, there := c.definitions.get(m.Identity())
	switch {
	case there && slices.Equal(was.Values, m.Values):
		return c.unchanged(0)
	case !there && c.definitions.len() >= maxDefinitions:
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d users, vhosts, permissions, policies and parameters", maxDefinitions)
	}
	ev := journal.Defined{Pos: c.in.Pos, Definition: *m}
	if m.Kind == admin.DefVHost && !there {
		ev.Base = c.lastID + 1
	}
	c.decided(&ev)
	c.tellDefined()
	return admin.Created{Existed: there}, nil
}

// undefine decides that something is no longer.
func (c *Core) undefine(m *admin.Definition) (admin.Created, refused) {
	_, there := c.definitions.get(m.Identity())
	switch {
	case !there:
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no %s %s", m.Kind, quoted(m.Name))
	case len(m.Values) > 0:
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%s %s: what is to go is named without properties", m.Kind, quoted(m.Name))
	case m.Kind == admin.DefVHost && m.Name == admin.DefaultVHost:
		return admin.Created{}, errcode.New(errcode.AccessRefused, "the vhost %q is that of native clients and cannot be deleted", m.Name)
	}
	if m.Kind == admin.DefVHost {
		if name := c.topicIn(m.Name); name != "" {
			return admin.Created{}, errcode.New(errcode.NotEmpty, "vhost %s has streams, %s for one: delete them first", quoted(m.Name), quoted(name))
		}
	}
	c.decided(&journal.Undefined{Pos: c.in.Pos, Definition: *m})
	if m.Kind == admin.DefVHost {
		c.applyNew() // what lies in it goes at the end of this turn
	}
	c.tellDefined()
	return admin.Created{}, nil
}

// topicIn is a topic of a vhost; empty: it has none.
func (c *Core) topicIn(vhost string) string {
	for whole := range c.topics.all {
		if in, name := admin.SplitVHost(whole); in == vhost {
			return name
		}
	}
	return ""
}

// tellDefined has connsrv read its copy of the definitions anew, once the change is sure.
func (c *Core) tellDefined() {
	c.changes++
	m := ipc.Defined{Count: c.changes}
	c.turn.sent(c.ownGate(ipc.LevelDisk), ipc.TypeDefined, m.Append(c.turn.recs))
}

// checkNames wants the parts of an identity that the kind has, and no others.
func checkNames(m *admin.Definition) refused {
	inVHost := m.Kind >= admin.DefPermission && m.Kind <= admin.DefParameter
	withItem := m.Kind == admin.DefTopicPermission || m.Kind == admin.DefParameter
	if no := checked(checkName(m.Kind.String(), m.Name)); no != nil {
		return no
	}
	if inVHost != (m.VHost != "") || !withItem && m.Item != "" {
		return errcode.New(errcode.InvalidArgument, "%s %s of vhost %s, %s: what belongs to a vhost names it, other things do not", m.Kind, quoted(m.Name), quoted(m.VHost), quoted(m.Item))
	}
	if m.Item == "" { // a topic permission for the default exchange
		return nil
	}
	return checked(checkName(m.Kind.String(), m.Item))
}

// checkKeys refuses properties that the kind does not have.
func checkKeys(m *admin.Definition) refused {
	for i := range m.Values {
		key := m.Values[i].Key
		known := slices.ContainsFunc(keysOf[m.Kind], func(k string) bool {
			return key == k || strings.HasSuffix(k, ".") && strings.HasPrefix(key, k) && len(key) > len(k)
		})
		if !known {
			return errcode.New(errcode.InvalidArgument, "a %s has no property %s; it has %s", m.Kind, quoted(key), strings.Join(keysOf[m.Kind], ", "))
		}
	}
	return nil
}

// checkReferences wants the vhost and the user that are named to be there.
func (c *Core) checkReferences(m *admin.Definition) refused {
	vhost, user := m.VHost, ""
	switch m.Kind {
	case admin.DefPermission, admin.DefTopicPermission, admin.DefUserLimit:
		user = m.Name
	case admin.DefVHostLimit:
		vhost = m.Name
	}
	if vhost != "" && c.vhosts[vhost] == nil {
		return errcode.New(errcode.NotFound, "there is no vhost %s", quoted(vhost))
	}
	if user != "" && c.defined(admin.DefUser, "", user, "") == nil {
		return errcode.New(errcode.NotFound, "there is no user %s", quoted(user))
	}
	return nil
}

// checkPatterns wants patterns that can be compared with names.
func checkPatterns(m *admin.Definition) refused {
	for _, key := range [...]string{"configure", "read", "write", "pattern"} {
		if _, err := regexp.Compile(m.Text(key)); err != nil {
			return errcode.New(errcode.InvalidArgument, "%s %s: %s: %v (patterns are those of RE2: no look-around, no back references)", m.Kind, quoted(m.Name), key, err)
		}
	}
	return nil
}

// checkPolicy wants a policy to be for something and its settings to make sense.
func checkPolicy(m *admin.Definition) refused {
	if m.Kind != admin.DefPolicy && m.Kind != admin.DefOperatorPolicy {
		return nil
	}
	wrong := func(format string, args ...any) refused {
		return errcode.New(errcode.InvalidArgument, m.Kind.String()+" "+quoted(m.Name)+": "+format, args...)
	}
	if to := m.Text("apply-to"); !slices.Contains([]string{"all", "queues", "exchanges", "classic_queues", "quorum_queues", "streams"}, to) {
		return wrong("apply-to is %s; it can be all, queues, exchanges, classic_queues, quorum_queues or streams", quoted(to))
	}
	set := 0
	for i := range m.Values {
		v := &m.Values[i]
		key, ok := strings.CutPrefix(v.Key, admin.PolicyPrefix)
		if !ok {
			continue
		}
		set++
		switch key {
		case "message-ttl", "max-length", "max-length-bytes", "expires", "delivery-limit":
			if !v.IsNumber || v.Number < 0 || v.Number > maxDelayMS && key != "max-length-bytes" && key != "max-length" || key == "expires" && v.Number == 0 {
				return wrong("%s must be a number from 0 on (expires: from 1 on), a time of ten years at most", key)
			}
		case "overflow":
			if _, ok := overflowNames[v.Text]; !ok {
				return wrong("overflow is %s; it can be drop-head, reject-publish or reject-publish-dlx", quoted(v.Text))
			}
		case "dead-letter-exchange", "dead-letter-routing-key", "alternate-exchange":
			if v.IsNumber || len(v.Text) > maxNameBytes || strings.ContainsFunc(v.Text, isControl) {
				return wrong("%s must be a name", key)
			}
		}
	}
	if set == 0 {
		return wrong("it sets nothing")
	}
	return nil
}
