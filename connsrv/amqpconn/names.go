package amqpconn

// Names of queues and exchanges are those of the core; a vhost of its own has names of its own.

// full is a name as the core has it.
func (c *Conn) full(name string) string { return name }

// fullOrEmpty is full, but for the empty name, which is the same in all vhosts.
func (c *Conn) fullOrEmpty(name string) string {
	if name == "" {
		return ""
	}
	return c.full(name)
}

// local is a name as clients have it.
func (c *Conn) local(name string) string { return name }
