package drill

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/ipc"
)

// Compacted topics of Kafka's clients: producers of both protocols, some in transactions, tell news of a few
// subjects, and that there is nothing to be told any more. Readers follow, or read all from the start, over and
// over. In the end the last news of each subject are there, whatever has died while the topics were compacted.

// tableLoad is such a run.
type tableLoad struct{ ktxnLoad }

// tableTopics are the topics, with so many partitions: state has transactions in it. What holds a transaction open
// holds up compaction; nothing does so in table.
var tableTopics = map[string]uint32{"state": 2, "table": 2}

// tableSettings have compaction look at partitions all the time.
var tableSettings = map[string]string{"compact_ms": "100", "compact_bytes": `"64Ki"`, "compact_keys": "1000"}

// keptDeletions is for how long deletions stay: in one topic for longer than the run lasts.
var keptDeletions = map[string]time.Duration{"state": time.Hour, "table": time.Second}

// nameHeader has the name of a message that has no value.
const nameHeader = "name"

// lay makes what the run needs.
func (w tableLoad) lay(c *trimq.Client) error {
	for topic, partitions := range tableTopics {
		level := trimq.LevelDisk
		if topic == "table" {
			level = w.level(trimq.LevelPage)
		}
		_, err := c.CreateTopic(w.life, trimq.TopicSpec{Name: topic, Partitions: partitions, Level: level, Configs: []ipc.Header{
			{Key: "cleanup.policy", Value: "compact"}, {Key: "delete.retention.ms", Value: fmt.Sprint(keptDeletions[topic].Milliseconds())},
			{Key: "min.cleanable.dirty.ratio", Value: "0.1"}, {Key: "segment.ms", Value: "1"},
		}})
		if err != nil {
			return err
		}
		w.h.note(&opDealt{topic})
		w.h.note(&opTable{topic, keptDeletions[topic]})
	}
	return nil
}

// someSubject chooses what a message is about, and whether it says that there is nothing to be told of it. Of many
// subjects there is hardly ever more than one message.
func someSubject(r *rand.Rand) (subject string, deletes bool) {
	if r.IntN(4) == 0 {
		return fmt.Sprintf("rare-%d", r.IntN(3000)), r.IntN(8) == 0
	}
	return fmt.Sprintf("subject-%d", r.IntN(30)), r.IntN(8) == 0
}

// toTable chooses a message for one of the topics.
func toTable(topic string) func(*rand.Rand) (sentMessage, trimq.Message) {
	return func(r *rand.Rand) (sentMessage, trimq.Message) {
		m := sentMessage{topic: topic, partition: r.Uint32N(tableTopics[topic])}
		m.subject, m.deletes = someSubject(r)
		return m, trimq.Message{Topic: topic, Partition: trimq.ToPartition(m.partition), Key: []byte(m.subject)}
	}
}

// employ starts the clients.
func (w tableLoad) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	for i, topic := range []string{"state", "table", "table"} {
		run(func(r *rand.Rand) {
			w.produceKafka(fmt.Sprintf("kafka-%d", i), kafkaStyle{acks: kgo.AllISRAcks(), next: toTable(topic), burst: 10}, r, time.Hour)
		})
	}
	run(func(r *rand.Rand) { // producers that come and go
		for i := 0; w.ctx.Err() == nil; i++ {
			life := time.Duration(200+r.IntN(3000)) * time.Millisecond
			w.produceKafka(fmt.Sprintf("kafka-fly-%d", i), kafkaStyle{acks: kgo.AllISRAcks(), next: toTable("table"), burst: 10}, r, life)
		}
	})
	run(func(r *rand.Rand) { w.produce("native", r, true, time.Hour, toTable("table")) })
	for i := range 2 {
		run(func(r *rand.Rand) { w.tell(fmt.Sprintf("teller-%d", i), tellerID(i), r, "state") })
	}
	committed := kgo.FetchIsolationLevel(kgo.ReadCommitted())
	for topic, partitions := range tableTopics {
		run(func(r *rand.Rand) { w.readKafka("kafka-reader-"+topic, topic, partitions, r, committed) })
		run(func(r *rand.Rand) {
			for i, good := 0, true; good && w.ctx.Err() == nil; i++ {
				good = w.readKafkaFrom(fmt.Sprintf("kafka-again-%s-%d", topic, i), topic, partitions, map[string]uint64{}, r, committed)
			}
		})
		run(func(r *rand.Rand) { w.follow("native-reader-"+topic, topic, r, topic == "table") })
	}
	return all
}

// settle ends what transactions are open, and looks at all that there is.
func (w tableLoad) settle(first *party, n *nemesis) error {
	n.heal()
	if n.r.IntN(2) == 0 {
		n.reboot()
	}
	if err := errors.Join(w.fence(tellerID(0)), w.fence(tellerID(1))); err != nil {
		return err
	}
	for topic, partitions := range tableTopics {
		if err := w.readOut(first, topic, partitions); err != nil {
			return err
		}
	}
	if err := w.shut(first); err != nil {
		return err
	}
	return w.countPasses()
}

// countPasses tells how often partitions were compacted, from persistsrv's log file: a run without a pass has
// shown nothing.
func (w tableLoad) countPasses() error {
	text, err := os.ReadFile(filepath.Join(w.o.Dir, brokerDir, "log", "persistsrv.log"))
	if err != nil {
		return err
	}
	n := bytes.Count(text, []byte("msg=compacted "))
	w.logf("%d passes of compaction", n)
	if n == 0 {
		return errors.New("nothing was compacted")
	}
	return nil
}
