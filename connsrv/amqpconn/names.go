package amqpconn

import "github.com/trimq/trimq/protocol/admin"

// Names of queues and exchanges are those of the core, where each vhost has names of its own; those of
// the vhost "/" are as they are, and the same for clients of all protocols.

// full is a name as the core has it.
func (c *Conn) full(name string) string { return admin.InVHost(c.vhost, name) }

// fullOrEmpty is full, but for the empty name, which is the same in all vhosts.
func (c *Conn) fullOrEmpty(name string) string {
	if name == "" {
		return ""
	}
	return c.full(name)
}

// local is a name as clients have it.
func (c *Conn) local(whole string) string { return localName(whole) }

func localName(whole string) string {
	_, name := admin.SplitVHost(whole)
	return name
}
