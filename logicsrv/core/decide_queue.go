package core

import (
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// createQueue decides a new queue. One that is not durable holds its messages at memory level
// unless another is asked for: they are written, but nobody waits for it.
func (c *Core) createQueue(m *admin.CreateQueue) (admin.Created, refused) {
	if no := checked(checkName("queue", m.Name)); no != nil {
		return admin.Created{}, no
	}
	standard := c.cfg.DefaultLevel
	if !m.Durable {
		standard = ipc.LevelMemory
	}
	level, no := levelOr(m.Level, standard)
	if no != nil {
		return admin.Created{}, no
	}
	if ix, ok := c.queues.get(m.Name); ok {
		if ix.level != level || ix.queue.durable != m.Durable {
			return admin.Created{}, errcode.New(errcode.Inequivalent, "queue %q has level %d, durable %t", m.Name, ix.level, ix.queue.durable)
		}
		return c.unchanged(ix.id)
	}
	// Queues and topics share their names: a binding, and a routing key on the default exchange,
	// must mean one of them.
	if _, ok := c.dests[m.Name]; ok {
		return admin.Created{}, errcode.New(errcode.AlreadyExists, "a topic is called %q", m.Name)
	}
	if c.queues.len() >= c.cfg.MaxQueues {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d queues", c.cfg.MaxQueues)
	}
	// The id is the index. persistsrv keeps all of it until the floor moves: no retention.
	id := c.lastID + 1
	c.decided(&journal.QueueCreated{Pos: c.in.Pos, Index: id, Name: m.Name, Level: level, Durable: m.Durable})
	c.op(journal.OpCreate, ipc.IndexSettings{Index: id})
	return admin.Created{Index: id}, nil
}

// deleteQueue decides that a queue goes, on conditions if asked. Whether it is used is not known
// while the resync is under way: then the client has to ask again, rather than be told what may
// be wrong.
func (c *Core) deleteQueue(m *admin.Delete) (admin.Created, refused) {
	ix, ok := c.queues.get(m.Name)
	if !ok {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no queue %s", quoted(m.Name))
	}
	q := ix.queue
	switch {
	case m.IfUnused && !c.resynced:
		return admin.Created{}, errcode.New(errcode.Unavailable, "it is not known yet who consumes queue %q", m.Name)
	case m.IfUnused && len(q.consumers) > 0:
		return admin.Created{}, errcode.New(errcode.InUse, "queue %q has %d consumers", m.Name, len(q.consumers))
	case m.IfEmpty && q.depth(ix.next) > 0:
		return admin.Created{}, errcode.New(errcode.NotEmpty, "queue %q has %d messages", m.Name, q.depth(ix.next))
	}
	c.decided(&journal.QueueDeleted{Pos: c.in.Pos, Index: ix.id})
	c.endIndex(ix)
	return admin.Created{Index: ix.id}, nil
}
