//go:build failpoints

package sim

import (
	"strconv"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/topicconf"
)

// keeper alters the configuration of topics, and deletes the first records of their partitions.
type keeper struct {
	commander
	topics []string
}

// castKeeper adds one, in some histories. REQUIRES: they have topics.
func (w *world) castKeeper(topics ...string) {
	if w.rng.IntN(2) == 0 {
		w.clients = append(w.clients, &keeper{commander: commander{party: party{w: w, name: "keeper"}}, topics: topics})
	}
}

func (k *keeper) tick() {
	w, r := k.w, k.w.rng
	if k.stopped || k.asking || !w.admin.done() || r.IntN(8) > 0 || !k.ready(k) {
		return
	}
	name := k.topics[r.IntN(len(k.topics))]
	if r.IntN(2) == 0 {
		m := w.drawAlteration(name)
		k.ask(admin.CmdAlterTopic, m.Append(nil), nil)
		return
	}
	indexes := w.names[name]
	if len(indexes) == 0 {
		return
	}
	index := indexes[r.IntN(len(indexes))]
	m := admin.DeleteRecords{To: []admin.SeekTo{{Index: index, Offset: r.Uint64N(w.shadow(index).next + 3)}}}
	w.trace("%s deletes %+v", k.name, m.To)
	k.ask(admin.CmdDeleteRecords, m.Append(nil), nil)
}

// drawAlteration draws another configuration. Nothing is kept for so short that it would go by itself.
func (w *world) drawAlteration(topic string) admin.AlterTopic {
	r := w.rng
	m := admin.AlterTopic{Name: topic, Replace: r.IntN(4) == 0}
	for _, key := range []string{topicconf.MaxMessageBytes, topicconf.RetentionBytes, topicconf.RetentionMS} {
		switch r.IntN(3) {
		case 0:
			m.Changes = append(m.Changes, topicconf.Change{Key: key, Value: strconv.Itoa((1 + r.IntN(3)) << 29)})
		case 1:
			m.Changes = append(m.Changes, topicconf.Change{Op: topicconf.Unset, Key: key})
		}
	}
	m.Changes = append(m.Changes, w.laundry.alter()...)
	return m
}
