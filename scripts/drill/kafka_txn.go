package drill

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trimq/trimq/clients/trimq"
)

// Transactions of Kafka's clients: movers (kafka_mover.go) make of each message of the topic in one of the
// topic out, in transactions with their group's positions; tellers (kafka_teller.go) have transactions of
// several topics and partitions; others send to the same partitions outside of all transactions. Readers of
// both protocols see what was committed.

// ktxnLoad is such a run.
type ktxnLoad struct{ *world }

// moversGroup is the group of the movers, outTopics what is written to in transactions.
const moversGroup = "movers"

var outTopics = map[string]uint32{"out": 3, "tally": 2}

// txnTimeout is how long a transaction may be open. What a fault takes is shorter, mostly.
const txnTimeout = 15 * time.Second

// lay makes what the run needs.
func (w ktxnLoad) lay(c *trimq.Client) error {
	for _, t := range []trimq.TopicSpec{
		{Name: "in", Partitions: 3, Level: trimq.LevelDisk}, {Name: "out", Partitions: outTopics["out"], Level: trimq.LevelDisk},
		{Name: "tally", Partitions: outTopics["tally"], Level: w.level(trimq.LevelPage)},
	} {
		if _, err := c.CreateTopic(w.life, t); err != nil {
			return err
		}
	}
	w.h.note(&opMoved{"in"})
	for topic := range outTopics {
		w.h.note(&opDealt{topic})
	}
	return nil
}

// employ starts the clients.
func (w ktxnLoad) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	for i, s := range []kafkaStyle{
		{next: toTopic("in", 3), burst: 6}, {next: toTopic("in", 3), burst: 3}, {next: toTopic("out", outTopics["out"]), burst: 2},
		{next: toTopic("tally", outTopics["tally"]), burst: 2},
	} {
		run(func(r *rand.Rand) { w.produceKafka(fmt.Sprintf("kafka-%d", i), s, r, time.Hour) })
	}
	for _, topic := range []string{"in", "tally"} {
		run(func(r *rand.Rand) { w.extend("native-"+topic, topic, r) })
	}
	for i := range 3 {
		run(func(r *rand.Rand) { w.move(moverID(i), r) })
	}
	for i := range 4 {
		run(func(r *rand.Rand) { w.tell(fmt.Sprintf("teller-%d", i), tellerID(i), r, "out", "tally") })
	}
	for topic, partitions := range outTopics {
		run(func(r *rand.Rand) {
			w.readKafka("kafka-reader-"+topic, topic, partitions, r, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
		})
		run(func(r *rand.Rand) { w.follow("native-reader-"+topic, topic, r, topic == "tally") })
	}
	return all
}

// balancer is how the movers share out partitions: in one of the ways that groups have.
func (w ktxnLoad) balancer() kgo.GroupOpt {
	return kafkaGroups[w.o.Seed%uint64(len(kafkaGroups))].balancer()
}

// moverID and tellerID are transactional ids. The last two tellers have one between them, and fence each other.
func moverID(i int) string  { return fmt.Sprintf("mover-%d", i) }
func tellerID(i int) string { return fmt.Sprintf("teller-%d", min(i, 2)) }

// settle ends what transactions are open, has the movers' work finished, and looks at all that there is.
func (w ktxnLoad) settle(first *party, n *nemesis) error {
	n.heal()
	if n.r.IntN(2) == 0 {
		n.reboot()
	}
	for i := range 3 {
		if err := errors.Join(w.fence(moverID(i)), w.fence(tellerID(i))); err != nil {
			return err
		}
	}
	if err := errors.Join(w.moveRest(first), w.readAll(first, "in")); err != nil {
		return err
	}
	for topic, partitions := range outTopics {
		if err := w.readOut(first, topic, partitions); err != nil {
			return err
		}
	}
	return w.shut(first)
}

// fence begins an epoch of a transactional id, which ends what is open under it.
func (w ktxnLoad) fence(id string) error {
	x, err := w.newKafka("fence-"+id, kgo.TransactionalID(id))
	if err != nil {
		return err
	}
	defer x.leave(false)
	if _, _, err = x.c.ProducerID(w.life); err != nil {
		return fmt.Errorf("transactional id %s: %w", id, err)
	}
	return nil
}

// readOut notes what committed readers are given of a topic when all is over: Kafka's, and then native ones.
func (w ktxnLoad) readOut(first *party, topic string, partitions uint32) error {
	ends, err := w.mark(topic, partitions)
	if err != nil {
		return err
	}
	from := map[int32]kgo.Offset{}
	for p := range partitions {
		from[int32(p)] = kgo.NewOffset().At(0)
	}
	x, err := w.newKafka("last-reader-"+topic, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	defer x.leave(false)
	ctx, cancel := context.WithTimeout(w.life, cmp.Or(w.o.Settle, patience/2))
	defer cancel()
	open := newReached(ends)
	for len(open) > 0 && ctx.Err() == nil {
		x.poll(ctx, 0, func(where string, _ time.Time, seen []sight) {
			w.h.note(&opFinal{where, seen})
			open.see(where, seen)
		})
	}
	if len(open) > 0 {
		w.h.report("%s: committed readers do not come to the ends %v", topic, open)
		return nil
	}
	return w.readNatively(ctx, first, topic, newReached(ends))
}

// reached has the last offset of each partition that a reader has not come to yet.
type reached map[string]uint64

func newReached(ends map[string]uint64) reached {
	r := reached{}
	for where, last := range ends {
		r[where] = last
	}
	return r
}

func (r reached) see(where string, seen []sight) {
	if last, ok := r[where]; ok && len(seen) > 0 && seen[len(seen)-1].Offset >= last {
		delete(r, where)
	}
}

// mark sends a last message to each partition of a topic, and gives their offsets.
func (w ktxnLoad) mark(topic string, partitions uint32) (ends map[string]uint64, err error) {
	x, err := w.newKafkaProducer("mark-"+topic, kafkaStyle{}, rand.New(rand.NewPCG(1, 1)))
	if err != nil {
		return nil, err
	}
	defer x.leave(false)
	ends = map[string]uint64{}
	for p := range partitions {
		m := sentMessage{topic: topic, partition: p}
		if tableTopics[topic] > 0 {
			m.subject = "mark"
		}
		n := w.h.send(x.name, m)
		rec, err := x.c.ProduceSync(w.life, kafkaRecord(&m, x.name, n, 0)).First()
		x.settled(n, rec, err)
		if err != nil {
			return nil, fmt.Errorf("the mark of %s/%d: %w", topic, p, err)
		}
		ends[place(topic, p)] = uint64(rec.Offset)
	}
	return ends, nil
}

// readNatively notes what a native consumer is given of a topic.
func (w ktxnLoad) readNatively(ctx context.Context, first *party, topic string, open reached) error {
	k, err := first.client.NewConsumer(w.life, []string{topic})
	if err != nil {
		return err
	}
	defer k.Close(w.life)
	at := map[string]uint64{}
	for len(open) > 0 {
		f, err := k.Poll(ctx)
		if err != nil {
			return fmt.Errorf("%s, of which native consumers do not come to the ends %v: %w", topic, open, err)
		}
		where, seen := place(f.Topic, f.Partition), sights(f.Records)
		w.h.note(&opRead{Where: where, Next: at[where], Records: seen})
		if open.see(where, seen); len(seen) > 0 {
			at[where] = seen[len(seen)-1].Offset + 1
		}
		f.Release()
	}
	return nil
}

// kafkaTxn is one transaction of a client at work.
type kafkaTxn struct {
	*kafkaClient
	deal   *deal
	all    sync.WaitGroup // of its messages that are not answered
	failed atomic.Bool    // one of them was not taken
}

// newTxn notes a transaction. Until its commit is asked for nothing of it may be seen.
func (x *kafkaClient) newTxn(n int) *kafkaTxn {
	return &kafkaTxn{kafkaClient: x, deal: x.h.ledger.open(fmt.Sprintf("transaction %d of %s", n, x.name), rolledBack, "")}
}

// send sends one message of it, made of source, or of nothing.
func (t *kafkaTxn) send(topic, source string, r *rand.Rand) {
	m := sentMessage{topic: topic, partition: r.Uint32N(outTopics[topic] + tableTopics[topic]), deal: t.deal, source: source}
	if tableTopics[topic] > 0 {
		m.subject, m.deletes = someSubject(r)
	}
	n := t.h.send(t.name, m)
	t.all.Add(1)
	rec := kafkaRecord(&m, t.name, n, r.IntN(200))
	t.c.Produce(t.life, rec, func(rec *kgo.Record, err error) {
		defer t.all.Done()
		o := &opSettled{Who: t.name, N: n, Fate: unknown}
		if err != nil {
			t.failed.Store(true)
		} else {
			o.Fate = acked
			o.Offset = new(uint64(rec.Offset))
			t.w.acked.Add(1)
		}
		t.h.note(o)
	})
}

// taken waits until it is known what became of all messages, and tells whether all were taken. The client may
// stand still for good when its connections break, with messages that it neither sends nor gives up: then what
// was not answered will not be, and the transaction's time is over.
func (t *kafkaTxn) taken() bool {
	done := make(chan struct{})
	go func() {
		t.all.Wait()
		close(done)
	}()
	select {
	case <-done:
		return !t.failed.Load()
	case <-time.After(txnTimeout):
		t.h.note(&opSender{Name: t.name, Killed: true})
		return false
	}
}

// doomed has a client die, within a few milliseconds from now; what it is about then must end with ctx.
func (x *kafkaClient) doomed(ctx context.Context, r *rand.Rand) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	time.AfterFunc(time.Duration(r.IntN(6000))*time.Microsecond, func() {
		x.cut()
		cancel()
	})
	return ctx
}

// superseded tells whether an error says that somebody else has the transactional id by now, or that the
// transaction has lasted for too long.
func superseded(err error) bool {
	for _, e := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.InvalidTxnState, kerr.InvalidProducerIDMapping, context.DeadlineExceeded} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
