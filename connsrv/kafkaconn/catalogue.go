package kafkaconn

import (
	"slices"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/topicconf"
)

// topicID is a topic's UUID.
type topicID = [16]byte

// topic is what is known of one.
type topic struct {
	name    string
	id      topicID
	indexes []uint64 // of partitions 0, 1, …
	configs []ipc.Header
	set     topicconf.Settings // what they mean
}

// configure gives the topic its configuration.
func (t *topic) configure(configs []ipc.Header) { t.configs, t.set = configs, topicconf.Read(configs) }

// maxBatch is how large a batch of a producer may be, in bytes.
func (t *topic) maxBatch() int {
	if t.set.MaxMessageBytes >= 0 {
		return int(t.set.MaxMessageBytes)
	}
	return topicconf.DefaultMaxMessageBytes
}

// partition is a partition by its topic and number.
type partition struct {
	topic  *topic
	number int32
}

// catalogue is what an event loop knows of topics: what logicsrv has told. It may be old, see the
// package's invariant 6.
type catalogue struct {
	byName  map[string]*topic
	byID    map[topicID]*topic
	byIndex map[uint64]partition
}

func (k *catalogue) clear() {
	k.byName, k.byID, k.byIndex = map[string]*topic{}, map[topicID]*topic{}, map[uint64]partition{}
}

// learn takes in what logicsrv says of a topic.
func (k *catalogue) learn(info *admin.TopicInfo) *topic {
	if old := k.byName[info.Name]; old != nil {
		if old.id == info.UUID && len(old.indexes) == len(info.Partitions) && slices.Equal(old.configs, info.Configs) {
			return old
		}
		k.forget(old)
	}
	t := &topic{name: info.Name, id: info.UUID, indexes: make([]uint64, len(info.Partitions))}
	t.configure(info.Configs)
	for i := range info.Partitions {
		t.indexes[i] = info.Partitions[i].Index
		k.byIndex[t.indexes[i]] = partition{t, int32(i)}
	}
	k.byName[t.name], k.byID[t.id] = t, t
	return t
}

func (k *catalogue) forget(t *topic) {
	delete(k.byName, t.name)
	delete(k.byID, t.id)
	for _, index := range t.indexes {
		delete(k.byIndex, index)
	}
}

// forgetName forgets a topic that is not there any longer.
func (k *catalogue) forgetName(name string) {
	if t := k.byName[name]; t != nil {
		k.forget(t)
	}
}

// forgetIndex forgets the topic of an index.
func (k *catalogue) forgetIndex(index uint64) {
	if p, ok := k.byIndex[index]; ok {
		k.forget(p.topic)
	}
}

// index is that of a partition; false: there is no such one, as far as is known.
func (t *topic) index(number int32) (uint64, bool) {
	if t == nil || number < 0 || int(number) >= len(t.indexes) {
		return 0, false
	}
	return t.indexes[number], true
}
