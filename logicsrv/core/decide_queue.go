package core

import (
	"encoding/binary"
	"encoding/hex"
	"strings"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/protocol/selector"
)

// createQueue decides a new queue. One that is not durable holds its messages at memory level
// unless another is asked for: they are written, but nobody waits for it.
func (c *Core) createQueue(m *admin.CreateQueue) (admin.Created, refused) {
	if _, there := c.queues.get(m.Name); !there && m.From == admin.FromNowhere {
		return admin.Created{}, errcode.New(errcode.NotFound, "there is no queue %s", quoted(m.Name))
	}
	vhost, local := admin.SplitVHost(m.Name)
	if local == "" {
		if no := c.checkVHost(vhost); no != nil {
			return admin.Created{}, no
		}
		m.Name = admin.InVHost(vhost, c.queueName())
	} else if no := c.checkWholeName("queue", m.Name); no != nil {
		return admin.Created{}, no
	} else if strings.HasPrefix(local, reservedPrefix) && c.dests[m.Name] == nil {
		return admin.Created{}, errcode.New(errcode.AccessRefused, "names that begin with %s are the broker's to give; leave the name of the queue empty to get one", reservedPrefix)
	}
	t, no := c.sourceOf(m)
	if no == nil {
		no = c.checkSettings(m, t)
	}
	if no == nil {
		no = c.checkShareQueue(m)
	}
	if no != nil {
		return admin.Created{}, no
	}
	level, no := c.queueLevel(m, t)
	if no != nil {
		return admin.Created{}, no
	}
	if q, ok := c.queues.get(m.Name); ok {
		return c.declareAgain(q, m, level)
	}
	// Queues and topics share their names: a binding, and a routing key on the default exchange,
	// must mean one of them.
	if _, ok := c.topics.get(m.Name); ok {
		return admin.Created{}, errcode.New(errcode.AlreadyExists, "a topic is called %q", m.Name)
	}
	if c.queues.len() >= c.cfg.MaxQueues {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "at most %d queues", c.cfg.MaxQueues)
	}
	if v := c.vhosts[vhost]; v.maxQueues >= 0 && int64(v.queues) >= v.maxQueues {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "queue limit in vhost %q (%d) is reached", vhost, v.maxQueues)
	}
	// The id is the index. persistsrv keeps all of it until it is trimmed: no retention.
	id := c.lastID + 1
	ev := journal.QueueCreated{Pos: c.in.Pos, Queue: id, Name: m.Name, Level: level, Settings: m.QueueSettings, Starts: starts(t, m)}
	if m.Exclusive {
		ev.Owner = c.owner(c.asking)
	}
	c.decided(&ev)
	if t == nil {
		c.op(journal.OpCreate, ipc.IndexSettings{Index: id})
	}
	return admin.Created{Index: id, Name: m.Name}, nil
}

// queueName is a name that no queue has had: ids are never used twice.
func (c *Core) queueName() string {
	seed := topicUUID(c.cfg.Shard, c.lastID+1, c.ownTerm, c.turn.timeMS)
	return reservedPrefix + "gen-" + hex.EncodeToString(binary.BigEndian.AppendUint64(seed[:12:12], c.lastID+1)[:16])
}

// sourceOf is the topic whose messages the queue is to hold; nil: its own.
func (c *Core) sourceOf(m *admin.CreateQueue) (*topic, refused) {
	if m.Topic == "" {
		if m.FilterKind != admin.FilterNone || m.From != admin.FromEarliest && m.From != admin.FromNowhere || len(m.Offsets) > 0 {
			return nil, errcode.New(errcode.InvalidArgument, "a filter or a position makes sense only for a queue over a topic")
		}
		return nil, nil
	}
	t, ok := c.topics.get(m.Topic)
	if !ok {
		return nil, errcode.New(errcode.NotFound, "there is no topic %s", quoted(m.Topic))
	}
	if len(m.Offsets) > len(t.partitions) || len(m.Offsets) > 0 && m.From != admin.FromOffsets {
		return nil, errcode.New(errcode.InvalidArgument, "%d offsets for the %d partitions of topic %s", len(m.Offsets), len(t.partitions), quoted(m.Topic))
	}
	for i, o := range m.Offsets {
		if o > t.partitions[i].next {
			return nil, errcode.New(errcode.OffsetOutOfRange, "offset %d of partition %d, which ends at %d", o, i, t.partitions[i].next)
		}
	}
	return t, nil
}

// checkSettings refuses what makes no sense.
func (c *Core) checkSettings(m *admin.CreateQueue, t *topic) refused {
	wrong := func(format string, args ...any) refused {
		return errcode.New(errcode.InvalidArgument, format, args...)
	}
	switch {
	case t != nil && (m.MaxPriority > 0 || m.MaxMessages.Given || m.MaxBytes.Given || m.MessageTTLMS.Given || m.RewindMS.Given):
		return wrong("a queue over a topic has no priorities, limits, time to live or rewind time of its own: the topic's retention counts")
	case m.Overflow > admin.RejectDeadLetter:
		return wrong("%d is no overflow behaviour: drop-head=0, reject-publish=1, reject-publish-dlx=2", m.Overflow)
	case !m.DeadLetter && (m.DeadLetterExchange != "" || m.DeadLetterKey != "" || m.KeepKey):
		return wrong("a dead-letter key without a dead-letter exchange")
	case m.DeadLetter && m.KeepKey == (m.DeadLetterKey != ""):
		return wrong("dead letters either keep their keys or get one")
	case m.ExpiresMS.Given && m.ExpiresMS.N == 0:
		return wrong("a queue cannot expire after 0 ms")
	case m.RewindMS.Given && m.RewindMS.N == 0:
		return wrong("a rewind time of 0 ms keeps nothing")
	}
	if no := checked(checkTimes(&m.QueueSettings)); no != nil {
		return no
	}
	if no := checkFilter(&m.QueueSettings); no != nil {
		return no
	}
	if m.DeadLetterExchange != "" {
		if no := c.checkWholeName("dead-letter exchange", m.DeadLetterExchange); no != nil {
			return no
		}
	}
	return checked(checkBindingParts(&admin.CreateBinding{RoutingKey: m.DeadLetterKey}))
}

// checkFilter refuses a filter that connsrv could not evaluate, and says where it is wrong.
func checkFilter(m *admin.QueueSettings) refused {
	switch {
	case m.FilterKind == admin.FilterNone && m.Filter != "":
		return errcode.New(errcode.InvalidArgument, "a filter without its kind")
	case m.FilterKind == admin.FilterNone:
		return nil
	}
	if _, err := selector.Compile(selector.Kind(m.FilterKind), m.Filter); err != nil {
		return errcode.New(errcode.InvalidArgument, "the filter cannot be read: %v", err)
	}
	return nil
}

// checkTimes bounds the times and limits of a queue.
func checkTimes(m *admin.QueueSettings) (errcode.Code, string) {
	for _, o := range [...]admin.Opt{m.MessageTTLMS, m.ExpiresMS, m.RewindMS} {
		if o.N > maxDelayMS {
			return errcode.InvalidArgument, "a time of a queue lies beyond ten years"
		}
	}
	return errcode.OK, ""
}

// queueLevel is the durability level of a queue's messages.
func (c *Core) queueLevel(m *admin.CreateQueue, t *topic) (ipc.Level, refused) {
	standard := c.cfg.DefaultLevel
	switch {
	case t != nil:
		standard = t.level
	case !m.Durable:
		standard = ipc.LevelMemory
	}
	level, no := levelOr(m.Level, standard)
	if no == nil && t != nil && level != t.level {
		no = errcode.New(errcode.InvalidArgument, "a queue over a topic has the topic's level")
	}
	return level, no
}

// starts is where a queue over a topic begins in each partition.
func starts(t *topic, m *admin.CreateQueue) (out []admin.SeekTo) {
	if t == nil {
		return nil
	}
	for i, ix := range t.partitions {
		at := admin.SeekTo{Index: ix.id}
		switch {
		case m.From == admin.FromLatest:
			at.Offset = ix.next
		case i < len(m.Offsets):
			at.Offset = m.Offsets[i]
		}
		out = append(out, at)
	}
	return out
}

// declareAgain answers a create of what exists.
func (c *Core) declareAgain(q *queue, m *admin.CreateQueue, level ipc.Level) (admin.Created, refused) {
	switch {
	case c.locked(q, c.asking):
		return admin.Created{}, errcode.New(errcode.Locked, "queue %s belongs to another connection", quoted(q.name))
	case q.level != level:
		return admin.Created{}, errcode.New(errcode.Inequivalent, "queue %s has level %d, not %d", quoted(q.name), q.level, level)
	}
	if what, is, not := difference(q.declared, &m.QueueSettings); what != "" {
		return admin.Created{}, errcode.New(errcode.Inequivalent, "queue %s has %s %s, not %s", quoted(q.name), what, is, not)
	}
	c.unused(q)
	made, no := c.unchanged(q.id)
	made.Name = q.name
	return made, no
}

// deleteQueue decides that a queue goes, on conditions if asked. Whether it is used is not known
// while the resync is under way: then the client has to ask again, rather than be told what may
// be wrong.
func (c *Core) deleteQueue(m *admin.Delete) (admin.Created, refused) {
	q, no := c.queueNamed(m.Name)
	if no != nil {
		return admin.Created{}, no
	}
	switch ready := q.readyNow(); {
	case m.IfUnused && !c.resynced:
		return admin.Created{}, errcode.New(errcode.Unavailable, "it is not known yet who consumes queue %q", m.Name)
	case m.IfUnused && len(q.consumers) > 0:
		return admin.Created{}, errcode.New(errcode.InUse, "queue %q has %d consumers", m.Name, len(q.consumers))
	case m.IfEmpty && ready > 0:
		return admin.Created{}, errcode.New(errcode.NotEmpty, "queue %q has %d messages", m.Name, ready)
	}
	return admin.Created{Index: q.id, Name: q.name, Messages: c.endQueue(q, c.in.Pos)}, nil
}

// queueNamed finds a queue that the connection may use.
func (c *Core) queueNamed(name string) (*queue, refused) {
	q, ok := c.queues.get(name)
	switch {
	case !ok:
		return nil, errcode.New(errcode.NotFound, "there is no queue %s", quoted(name))
	case c.locked(q, c.asking):
		return nil, errcode.New(errcode.Locked, "queue %s belongs to another connection", quoted(name))
	}
	return q, nil
}

// purgeQueue decides that all that is ready is done with. What is in hand, leased or dead stays;
// before all loops have told what is in hand, that is not known.
func (c *Core) purgeQueue(m *admin.Purge) (admin.Created, refused) {
	q, no := c.queueNamed(m.Name)
	if no != nil {
		return admin.Created{}, no
	}
	if !c.resynced {
		return admin.Created{}, errcode.New(errcode.Unavailable, "it is not known yet what consumers of queue %q hold", m.Name)
	}
	ev := journal.Purged{Pos: c.in.Pos, Queue: q.id, Messages: q.readyNow()}
	kept := 0
	for _, k := range q.cursors {
		x := journal.PurgedIndex{Index: k.ix.id, Next: min(k.ix.next, k.floor+maxSpan/2)}
		for first, next := range k.taken.runs {
			if failpoint.Broken("purge-too-much") {
				break
			}
			k.pending(first, next, func(first, next uint64) {
				for ; first < next; first += maxCount {
					x.Kept = append(x.Kept, ipc.Range{First: first, Count: uint32(min(maxCount, next-first))})
				}
			})
		}
		kept += len(x.Kept)
		ev.Indexes = append(ev.Indexes, x)
	}
	if size := 12*kept + 17*len(ev.Indexes); size > c.cfg.MaxEntryBytes/4 {
		return admin.Created{}, errcode.New(errcode.LimitExceeded, "what is in hand of queue %q lies in %d ranges, too many to purge around them", m.Name, kept)
	}
	c.decided(&ev)
	return admin.Created{Index: q.id, Name: q.name, Messages: ev.Messages}, nil
}

// seekQueue decides that a queue goes on from other offsets.
func (c *Core) seekQueue(m *admin.Seek) (admin.Created, refused) {
	q, no := c.queueNamed(m.Name)
	if no != nil {
		return admin.Created{}, no
	}
	if q.topic == nil && !q.set.RewindMS.Given {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "queue %q keeps nothing to go back to: it was made without a rewind time", m.Name)
	}
	for _, to := range m.To {
		k := q.cursor(to.Index)
		switch {
		case k == nil:
			return admin.Created{}, errcode.New(errcode.UnknownIndex, "queue %q has no index %d", m.Name, to.Index)
		case to.Offset > k.ix.next:
			return admin.Created{}, errcode.New(errcode.OffsetOutOfRange, "offset %d of index %d, which ends at %d", to.Offset, to.Index, k.ix.next)
		case k.taken.n > 0 && to.Offset+maxSpan/2 < k.ix.next:
			return admin.Created{}, errcode.New(errcode.LimitExceeded, "offset %d of index %d, which ends at %d, lies too far back while messages are in hand; acknowledge them first", to.Offset, to.Index, k.ix.next)
		case q.topic == nil && to.Offset < k.keptFrom(c.turn.timeMS):
			return admin.Created{}, errcode.New(errcode.OffsetOutOfRange, "offset %d of index %d, of which messages from %d on are kept", to.Offset, to.Index, k.keptFrom(c.turn.timeMS))
		}
	}
	if len(m.To) == 0 || 16*len(m.To) > c.cfg.MaxEntryBytes/4 {
		return admin.Created{}, errcode.New(errcode.InvalidArgument, "%d offsets to go to", len(m.To))
	}
	c.decided(&journal.Sought{Pos: c.in.Pos, Queue: q.id, To: m.To})
	return admin.Created{Index: q.id, Name: q.name}, nil
}

// sought makes a cursor that was set to another offset look at everything anew. It is part of
// apply; what consumers hold they go on holding, and those who have ended until it has come back.
func (c *Core) sought(k *cursor) {
	k.taken.clear()
	k.leases.within(0, noOffset, k.take)
	k.dead.within(0, noOffset, k.take)
	for _, list := range [...][]*consumer{k.queue.consumers, k.queue.pullers} {
		for _, owner := range list {
			k.takeHeld(owner)
		}
	}
	for _, r := range c.returning {
		k.takeHeld(r.k)
	}
	k.scan, k.idle = 0, false
	c.touch(k.queue)
	c.overflows(k.queue)
}

// takeHeld takes what is in somebody's hand.
func (k *cursor) takeHeld(owner *consumer) {
	h := owner.held(k)
	if h == nil || failpoint.Broken("seek-forgets") {
		return
	}
	for first, next := range h.runs {
		if first = max(first, k.floor); first < next {
			k.take(first, next)
		}
	}
}

// dropDone takes what is done with out of the hands of those who have ended: it does not come back
// from there any more, whatever a seek makes of it.
func (c *Core) dropDone(k *cursor) {
	for _, r := range c.returning {
		h := r.k.held(k)
		if h == nil {
			continue
		}
		var kept offsetSet
		for first, next := range h.runs {
			k.pending(first, next, func(first, next uint64) { kept.add(first, next) })
		}
		*h = kept
	}
}
