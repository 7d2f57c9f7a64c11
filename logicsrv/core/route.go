package core

import (
	"cmp"
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// The way of a message through exchanges. The router of an exchange calls hit for every
// destination whose binding matches, as often as bindings match; reach adds a queue's index to
// the targets, and an exchange to those that the message still has to go through, unless this
// routing has been there. For that each destination remembers the number of the last routing that
// reached it: no set has to be made or cleared for a message, and a round of exchanges ends.
//
// An exchange none of whose bindings match hands the message to its alternate exchange, if there
// is one by that name. It is the binding that counts, as in RabbitMQ: where it leads to an
// exchange that in turn reaches nothing, it is that one's alternate that is asked.
//
// A destination is a queue, a topic as a whole, or an exchange; for a topic the message's key
// chooses the partition, so a topic bound to an exchange is partitioned as if it had been
// produced to directly with that key.

// message is what a router looks at.
type message struct {
	key     string
	headers []ipc.Header
	more    []string // keys besides, by which every exchange on its way looks too
}

// route fills c.targets with the indexes that a message reaches, each once, in order of
// their ids: the walk of a router may differ between a core that lived and one that was
// loaded, the events may not.
func (c *Core) route(x *exchange, m *message) {
	c.targets, c.headersSeen = c.targets[:0], false
	c.routing++
	c.routeFrom(x, m)
	c.sortTargets()
}

// routeFrom adds what a message reaches from an exchange on.
func (c *Core) routeFrom(x *exchange, m *message) {
	if x.router == nil {
		c.reachNamed(m.key)
		for _, key := range m.more {
			c.reachNamed(key)
		}
		return
	}
	x.dest.routed = c.routing
	c.walk = append(c.walk[:0], x)
	for i := 0; i < len(c.walk); i++ { // what it comes through adds to the list
		c.routeThrough(c.walk[i], m)
	}
}

// reachNamed adds the queue or topic of a name. It is the key, too, which so cannot choose a partition as well.
func (c *Core) reachNamed(name string) {
	if d, ok := c.dests[name]; ok {
		c.reach(d, "")
	}
}

func (c *Core) sortTargets() {
	if len(c.targets) > 1 {
		slices.SortFunc(c.targets, func(a, b *index) int { return cmp.Compare(a.id, b.id) })
	}
}

// looksAtHeaders tells whether an exchange itself routes by headers.
func (x *exchange) looksAtHeaders() bool {
	return x.spec.Type == admin.Headers || x.spec.HashHeader != ""
}

// routeThrough lets one exchange find the destinations of a message.
func (c *Core) routeThrough(x *exchange, m *message) {
	c.matched = false
	c.headersSeen = c.headersSeen || x.looksAtHeaders()
	c.routeKey = m.key
	x.router.match(m, c.hit)
	for _, key := range m.more {
		c.routeKey = key
		x.router.match(&message{key: key, headers: m.headers}, c.hit)
	}
	if c.matched || x.alternate == "" || failpoint.Broken("alternate-ignored") {
		return
	}
	if a, ok := c.exchanges.get(x.alternate); ok {
		c.reach(&a.dest, "")
	}
}

// reach adds a destination to what the message goes to, unless it is there: a topic, too, whichever of its
// partitions a key chooses.
func (c *Core) reach(d *destination, key string) {
	if d.routed == c.routing {
		return
	}
	d.routed = c.routing
	switch {
	case d.queue != nil:
		c.targets = append(c.targets, d.queue.own.ix)
	case d.topic != nil:
		c.scratch = append(c.scratch[:0], key...)
		c.targets = append(c.targets, d.topic.choose(c.scratch))
	case !failpoint.Broken("exchanges-not-walked"):
		c.walk = append(c.walk, d.exchange)
	}
}
