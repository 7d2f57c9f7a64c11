package core

import (
	"slices"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/journal"
)

// The rules are those of apply.go.

// applyDefinition applies the events of definitions.
func (c *Core) applyDefinition(ev journal.Event, timeMS int64) error {
	switch ev.Type {
	case journal.EvDefined:
		e, err := journal.DecodeDefined(ev)
		return firstError(err, func() error { return c.applyDefined(&e) })
	case journal.EvUndefined:
		e, err := journal.DecodeUndefined(ev)
		return firstError(err, func() error { return c.applyUndefined(&e.Definition) })
	}
	return c.applyGroup(ev, timeMS)
}

// applyDefined makes something so. A new vhost has the exchanges that AMQP wants to be there.
func (c *Core) applyDefined(e *journal.Defined) error {
	d := cloneDefinition(&e.Definition)
	_, there := c.definitions.get(d.Identity())
	if fresh := d.Kind == admin.DefVHost && !there; fresh != (e.Base != 0) || d.Name == "" || strings.ContainsFunc(d.VHost+d.Name+d.Item, isControl) {
		return misfit("%s %q with ids from %d on", d.Kind, d.Name, e.Base)
	}
	c.enterDefinition(&d)
	if e.Base != 0 {
		for i, a := range amqpExchanges {
			if err := c.claimID(e.Base + uint64(i)); err != nil {
				return err
			}
			c.addExchange(newExchange(e.Base+uint64(i), admin.CreateExchange{Name: admin.InVHost(d.Name, a.name), Type: a.typ, Durable: true}))
		}
	}
	if d.Kind == admin.DefPolicy || d.Kind == admin.DefOperatorPolicy {
		c.governAll(d.VHost)
	}
	return nil
}

// applyUndefined ends something, and with a user what it may do, with a vhost all that lies in it: its
// exchanges at once, its queues in the turns that follow.
func (c *Core) applyUndefined(m *admin.Definition) error {
	d, there := c.definitions.get(m.Identity())
	if !there || d.Kind == admin.DefVHost && d.Name == admin.DefaultVHost {
		return misfit("%s %q is not there", m.Kind, m.Name)
	}
	c.dropDefinition(d)
	switch d.Kind {
	case admin.DefPolicy, admin.DefOperatorPolicy:
		c.governAll(d.VHost)
	case admin.DefUser:
		c.dropDefinitions(func(o *admin.Definition) bool {
			return o.Name == d.Name && (o.Kind == admin.DefPermission || o.Kind == admin.DefTopicPermission || o.Kind == admin.DefUserLimit)
		})
	case admin.DefVHost:
		c.dropDefinitions(func(o *admin.Definition) bool {
			return o.VHost == d.Name || o.Kind == admin.DefVHostLimit && o.Name == d.Name
		})
		c.emptyVHost(d.Name)
	}
	return nil
}

func (c *Core) dropDefinitions(about func(*admin.Definition) bool) {
	for _, d := range c.definitionsOf(about) {
		c.dropDefinition(d)
	}
}

// emptyVHost dooms the queues of a vhost and ends its exchanges.
func (c *Core) emptyVHost(vhost string) {
	for name, q := range c.queues.all {
		if v, _ := admin.SplitVHost(name); v == vhost && !failpoint.Broken("vhosts-leave-queues") {
			c.doomQueue(q)
		}
	}
	for _, name := range slices.Clone(c.exchanges.keys()) {
		if x, ok := c.exchanges.get(name); ok { // others may have gone with it
			if v, _ := admin.SplitVHost(name); v == vhost {
				c.emptied = append(c.emptied, x)
				c.dropEmptied()
			}
		}
	}
}

// cloneDefinition keeps a definition whose strings alias an event.
func cloneDefinition(d *admin.Definition) admin.Definition {
	out := admin.Definition{Kind: d.Kind, VHost: strings.Clone(d.VHost), Name: strings.Clone(d.Name), Item: strings.Clone(d.Item)}
	for _, v := range d.Values {
		v.Key, v.Text = strings.Clone(v.Key), strings.Clone(v.Text)
		out.Values = append(out.Values, v)
	}
	return out
}
