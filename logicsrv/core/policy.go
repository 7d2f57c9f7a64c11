package core

import (
	"regexp"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
)

// A policy gives the queues and exchanges that its pattern matches settings that they were not created
// with. Of policies that match one counts: that of the highest priority; beside it one of operators,
// which bounds. What counts for a queue follows from how it was created and from these, so it is in
// no checkpoint; it is found anew when a policy changes, and counts from then on: a message that has come
// before keeps the time at which it expires.

// policy is one policy, ready to be compared with names.
type policy struct {
	name     string
	pattern  *regexp.Regexp
	applyTo  string
	priority int64

	ttl, expires, maxMessages, maxBytes, deliveryLimit admin.Opt

	overflow      admin.Opt
	deadLetter    *string
	deadLetterKey *string
	alternate     string
}

// overflowNames are AMQP's words for what a full queue does.
var overflowNames = map[string]admin.Overflow{
	"drop-head": admin.DropHead, "reject-publish": admin.RejectPublish, "reject-publish-dlx": admin.RejectDeadLetter,
}

// newPolicy reads a definition of a policy. What it sets that the broker does not know is kept there
// and has no effect.
func newPolicy(d *admin.Definition) *policy {
	p := &policy{name: d.Name, pattern: compiled(d.Text("pattern")), applyTo: d.Text("apply-to"), priority: d.Number("priority")}
	limit := func(key string) admin.Opt {
		v, ok := d.Value(admin.PolicyPrefix + key)
		return admin.Opt{Given: ok, N: uint64(v.Number)}
	}
	p.ttl, p.expires, p.deliveryLimit = limit("message-ttl"), limit("expires"), limit("delivery-limit")
	p.maxMessages, p.maxBytes = limit("max-length"), limit("max-length-bytes")
	if v, ok := d.Value(admin.PolicyPrefix + "overflow"); ok {
		p.overflow = admin.Some(uint64(overflowNames[v.Text]))
	}
	if v, ok := d.Value(admin.PolicyPrefix + "dead-letter-exchange"); ok {
		name := v.Text
		if name != "" {
			name = admin.InVHost(d.VHost, name)
		}
		p.deadLetter = &name
	}
	if v, ok := d.Value(admin.PolicyPrefix + "dead-letter-routing-key"); ok {
		p.deadLetterKey = &v.Text
	}
	if v, ok := d.Value(admin.PolicyPrefix + "alternate-exchange"); ok {
		p.alternate = admin.InVHost(d.VHost, v.Text)
	}
	return p
}

// typeNames are the words of apply-to for types of queues.
var typeNames = [...]string{admin.ClassicQueue: "classic_queues", admin.QuorumQueue: "quorum_queues", admin.StreamQueue: "streams"}

// title is the policy's name; empty where there is none.
func (p *policy) title() string {
	if p == nil {
		return ""
	}
	return p.name
}

// forQueues tells whether the policy is for queues of a type.
func (p *policy) forQueues(t admin.QueueType) bool {
	return p.applyTo == "all" || p.applyTo == "queues" || p.applyTo == typeNames[t]
}

// first is the one of the policies that counts for a name; nil: none matches.
func first(list []*policy, name string, applies func(*policy) bool) *policy {
	for _, p := range list {
		if applies(p) && p.pattern != nil && p.pattern.MatchString(name) {
			return p
		}
	}
	return nil
}

// govern finds out what counts for a queue; false: nothing has changed.
func (c *Core) govern(q *queue) (changed bool) {
	vhost, name := admin.SplitVHost(q.name)
	q.policy, q.operator = nil, nil
	if v := c.vhosts[vhost]; v != nil && !failpoint.Broken("policies-ignored") {
		applies := func(p *policy) bool { return p.forQueues(q.declared.Type) }
		q.policy, q.operator = first(v.policies, name, applies), first(v.operators, name, applies)
	}
	set := *q.declared
	if p := q.policy; p != nil {
		p.give(&set)
		p.bound(&set)
	}
	if q.operator != nil {
		q.operator.bound(&set)
	}
	before := q.set
	q.set = c.intern(&set)
	return before != nil && before != q.set
}

// give sets what a queue was not created with and that is no bound.
func (p *policy) give(set *admin.QueueSettings) {
	if p.overflow.Given && set.Overflow == admin.DropHead {
		set.Overflow = admin.Overflow(p.overflow.N)
	}
	if p.deadLetter != nil && !set.DeadLetter {
		set.DeadLetter, set.DeadLetterExchange, set.KeepKey = true, *p.deadLetter, true
	}
	if p.deadLetterKey != nil && set.DeadLetter && set.KeepKey && *p.deadLetterKey != "" {
		set.KeepKey, set.DeadLetterKey = false, *p.deadLetterKey
	}
}

// bound keeps limits and times within those of the policy. A queue over a topic has none of its own
// but that of deliveries and its own time.
func (p *policy) bound(set *admin.QueueSettings) {
	least(&set.ExpiresMS, p.expires)
	least(&set.DeliveryLimit, p.deliveryLimit)
	if set.Topic == "" {
		least(&set.MessageTTLMS, p.ttl)
		least(&set.MaxMessages, p.maxMessages)
		least(&set.MaxBytes, p.maxBytes)
	}
}

// least is the smaller one of two limits, of which none may be given.
func least(have *admin.Opt, other admin.Opt) {
	if other.Given && (!have.Given || other.N < have.N) {
		*have = other
	}
}

// governExchange finds out what counts for an exchange.
func (c *Core) governExchange(x *exchange) {
	x.alternate, x.policy = x.spec.Alternate, nil
	vhost, name := admin.SplitVHost(x.spec.Name)
	if v := c.vhosts[vhost]; v != nil && x.router != nil {
		x.policy = first(v.policies, name, func(p *policy) bool { return p.applyTo == "all" || p.applyTo == "exchanges" })
	}
	if x.policy != nil && x.alternate == "" {
		x.alternate = x.policy.alternate
	}
}

// governAll finds out what counts for all of a vhost, after a policy of it has changed.
func (c *Core) governAll(vhost string) {
	for name, q := range c.queues.all {
		if v, _ := admin.SplitVHost(name); v == vhost && c.govern(q) {
			c.overflows(q)
			c.unused(q)
		}
	}
	for name, x := range c.exchanges.all {
		if v, _ := admin.SplitVHost(name); v == vhost {
			c.governExchange(x)
		}
	}
}
