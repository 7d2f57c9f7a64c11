package model

import (
	"maps"
	"regexp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/journal"
)

// hasVHost tells whether a vhost is there.
func (m *Model) hasVHost(name string) bool {
	d := admin.Definition{Kind: admin.DefVHost, Name: name}
	_, ok := m.definitions[d.Identity()]
	return ok
}

// defined: something is so from now on. A new vhost has the exchanges that AMQP wants to be there.
func (m *Model) defined(e *journal.Defined) {
	d := e.Definition
	if m.judging() {
		if c, ok := m.cause.(*command); !ok || c.define == nil || c.cmd != admin.CmdDefine || !sameDefinition(c.define, &d) {
			m.cfg.Fail("%s %s is defined, asked for was %+v", d.Kind, d.Name, m.cause)
		}
	}
	if d.Kind == admin.DefVHost && !m.hasVHost(d.Name) {
		for name, x := range predeclared() {
			if name != "" {
				x.spec.Name = admin.InVHost(d.Name, name)
				m.exchanges[x.spec.Name] = x
			}
		}
	}
	m.definitions[d.Identity()] = d
	m.govern(d.VHost)
}

// undefined: something is no longer; with a vhost all goes that lies in it.
func (m *Model) undefined(e *journal.Undefined) {
	d := e.Definition
	if m.judging() {
		if c, ok := m.cause.(*command); !ok || c.define == nil || c.cmd != admin.CmdUndefine || c.define.Identity() != d.Identity() {
			m.cfg.Fail("%s %s is no longer defined, asked for was %+v", d.Kind, d.Name, m.cause)
		}
	}
	delete(m.definitions, d.Identity())
	if d.Kind == admin.DefVHost {
		maps.DeleteFunc(m.definitions, func(_ string, o admin.Definition) bool { return o.VHost == d.Name })
		m.empty(d.Name)
		return
	}
	m.govern(d.VHost)
}

// empty ends what lies in a vhost: its exchanges at once, its queues soon.
func (m *Model) empty(vhost string) {
	in := func(name string) bool {
		v, _ := admin.SplitVHost(name)
		return v == vhost
	}
	for _, q := range m.queues {
		q.evicted = q.evicted || in(q.name)
	}
	for _, name := range slices.Sorted(maps.Keys(m.exchanges)) {
		if in(name) && m.exchanges[name] != nil {
			m.endExchange(name)
		}
	}
}

// govern finds out what counts for the queues of a vhost.
func (m *Model) govern(vhost string) {
	for _, q := range m.queues {
		if v, _ := admin.SplitVHost(q.name); v != vhost {
			continue
		}
		was := q.set
		if q.set = m.effective(q.name, q.declared); q.set != was {
			q.unusedMS = m.now() // its time without use begins anew
			q.vague = q.vague || q.set.MaxBytes.Given && !was.MaxBytes.Given
			m.saw(RulePolicy)
		}
	}
}

// counting is the policy of a kind that counts for a name; nil: none matches.
func (m *Model) counting(kind admin.DefinitionKind, whole string, kinds ...string) *admin.Definition {
	vhost, name := admin.SplitVHost(whole)
	var best *admin.Definition
	for _, id := range slices.Sorted(maps.Keys(m.definitions)) { // of equals the first by name
		d := m.definitions[id]
		if d.Kind != kind || d.VHost != vhost || !slices.Contains(kinds, d.Text("apply-to")) {
			continue
		}
		if regexp.MustCompile(d.Text("pattern")).MatchString(name) && (best == nil || d.Number("priority") > best.Number("priority")) {
			best = &d
		}
	}
	return best
}

// effective is what counts for a queue: what it was created with, under the policies.
func (m *Model) effective(name string, set admin.QueueSettings) admin.QueueSettings {
	policy := m.counting(admin.DefPolicy, name, "all", "queues")
	bounds := []*admin.Definition{policy, m.counting(admin.DefOperatorPolicy, name, "all", "queues")}
	if policy != nil {
		lend(policy, &set)
	}
	for _, d := range bounds {
		if d != nil {
			bound(d, &set)
		}
	}
	return set
}

// lend gives a queue what it has nothing of its own for.
func lend(d *admin.Definition, set *admin.QueueSettings) {
	words := map[string]admin.Overflow{"reject-publish": admin.RejectPublish, "reject-publish-dlx": admin.RejectDeadLetter}
	if set.Overflow == admin.DropHead {
		set.Overflow = words[d.Text(admin.PolicyPrefix+"overflow")]
	}
	if v, ok := d.Value(admin.PolicyPrefix + "dead-letter-exchange"); ok && !set.DeadLetter {
		set.DeadLetter, set.KeepKey, set.DeadLetterExchange = true, true, admin.InVHost(d.VHost, v.Text)
	}
	if key := d.Text(admin.PolicyPrefix + "dead-letter-routing-key"); key != "" && set.DeadLetter && set.KeepKey {
		set.KeepKey, set.DeadLetterKey = false, key
	}
}

// bound takes the smaller of a policy's and a queue's own limits and times.
func bound(d *admin.Definition, set *admin.QueueSettings) {
	limits := map[string]*admin.Opt{"expires": &set.ExpiresMS, "delivery-limit": &set.DeliveryLimit}
	if set.Topic == "" {
		limits["message-ttl"], limits["max-length"], limits["max-length-bytes"] = &set.MessageTTLMS, &set.MaxMessages, &set.MaxBytes
	}
	for key, own := range limits {
		if v, ok := d.Value(admin.PolicyPrefix + key); ok && (!own.Given || uint64(v.Number) < own.N) {
			*own = admin.Some(uint64(v.Number))
		}
	}
}

// alternate is the exchange that gets what matches no binding of another; empty: there is none.
func (m *Model) alternate(x *exchange) string {
	if x.spec.Alternate != "" {
		return x.spec.Alternate
	}
	d := m.counting(admin.DefPolicy, x.spec.Name, "all", "exchanges")
	if d == nil || d.Text(admin.PolicyPrefix+"alternate-exchange") == "" {
		return ""
	}
	return admin.InVHost(d.VHost, d.Text(admin.PolicyPrefix+"alternate-exchange"))
}

func sameDefinition(a, b *admin.Definition) bool {
	return a.Identity() == b.Identity() && slices.Equal(a.Values, b.Values)
}

// answeredDefinition judges the answer to a definition.
func (m *Model) answeredDefinition(c *command, o *Output, ev journal.Event, before bool) {
	d := c.define
	was, there := m.definitions[d.Identity()]
	code, refused := m.refused(o)
	legal := true
	switch {
	case before:
	case refused:
		legal = code == errcode.NotFound && (c.cmd == admin.CmdUndefine && !there || d.VHost != "" && !m.hasVHost(d.VHost))
	case ev.Type == journal.EvUnchanged:
		legal = c.cmd == admin.CmdDefine && there && sameDefinition(d, &was)
	}
	if !legal {
		m.cfg.Fail("%s of %s %s is answered with %v, for which there is no reason", admin.Text(c.cmd), d.Kind, d.Name, code)
	}
}
