package trace

import (
	"fmt"
	"strings"

	"github.com/trimq/trimq/protocol/journal"
)

// Names are what people call what events have numbers for. Events add to them; what is older than
// the log has to come from a broker.
type Names struct {
	queues    map[uint64]string // by id
	places    map[uint64]string // by index
	owners    map[uint64]uint64 // by index: the id of the queue or topic
	limbos    map[uint64]bool
	consumers map[consumer]string // tags
}

// consumer is who consumes: the connection's number, as connsrv's log has it, and the
// client's number for the subscription.
type consumer struct{ conn, sub uint64 }

// NewNames knows nothing yet.
func NewNames() *Names {
	return &Names{
		queues: map[uint64]string{}, places: map[uint64]string{}, owners: map[uint64]uint64{},
		limbos: map[uint64]bool{}, consumers: map[consumer]string{},
	}
}

// Queue names a queue.
func (n *Names) Queue(id uint64, name string) { n.queues[id] = name }

// Place names an index: the queue or topic that it belongs to, and the priority or the number
// of the partition.
func (n *Names) Place(owner, index uint64, name string) {
	n.owners[index], n.places[index] = owner, name
}

// Index finds the index of a name that Place has got.
func (n *Names) Index(name string) (index uint64, ok bool) {
	for index, have := range n.places {
		if have == name {
			return index, true
		}
	}
	return 0, false
}

// Consumer names a consumer by its tag.
func (n *Names) Consumer(conn, sub uint64, tag string) { n.consumers[consumer{conn, sub}] = tag }

// Partition is how a partition is called.
func Partition(topic string, number int) string { return fmt.Sprintf("%s/%d", topic, number) }

// Lane is how the index of a queue for messages of a priority is called.
func Lane(queue string, priority uint32) string {
	if priority == 0 {
		return queue
	}
	return fmt.Sprintf("%s/%d", queue, priority)
}

func (n *Names) queue(id uint64) string {
	if name, ok := n.queues[id]; ok {
		return name
	}
	return fmt.Sprintf("queue %d", id)
}

// message is how one message in one place is called; it can be traced by that.
func (n *Names) message(p Place) string {
	if name, ok := n.places[p.Index]; ok {
		return fmt.Sprintf("%s@%d", name, p.Offset)
	}
	return fmt.Sprintf("#%d@%d", p.Index, p.Offset)
}

// partitionsAdded names partitions of a topic of which some are known.
func (n *Names) partitionsAdded(e *journal.PartitionsAdded) {
	topic, known := "", 0
	for index, owner := range n.owners {
		if owner == e.ID {
			topic, _, _ = strings.Cut(n.places[index], "/")
			known++
		}
	}
	for i, index := range e.Indexes {
		if known > 0 {
			n.Place(e.ID, index, Partition(topic, known+i))
		}
	}
}

// learn takes the names out of an event that makes something.
func (n *Names) learn(ev journal.Event) error {
	switch ev.Type {
	case journal.EvTopicCreated:
		e, err := journal.DecodeTopicCreated(ev)
		for i, index := range e.Indexes {
			n.Place(e.ID, index, Partition(e.Name, i))
		}
		return err
	case journal.EvQueueCreated:
		e, err := journal.DecodeQueueCreated(ev)
		n.Queue(e.Queue, e.Name)
		if e.Settings.Topic == "" {
			n.Place(e.Queue, e.Queue, e.Name)
		}
		return err
	case journal.EvPartitionsAdded:
		e, err := journal.DecodePartitionsAdded(ev)
		n.partitionsAdded(&e)
		return err
	case journal.EvLaneAdded:
		e, err := journal.DecodeLaneAdded(ev)
		n.Place(e.Queue, e.Index, Lane(n.queue(e.Queue), uint32(e.Priority)))
		return err
	case journal.EvLimboAdded:
		e, err := journal.DecodeLimboAdded(ev)
		n.limbos[e.Index] = true
		return err
	case journal.EvJoined:
		e, err := journal.DecodeJoined(ev)
		n.Consumer(e.Conn, e.Sub, e.Tag)
		return err
	}
	return nil
}
