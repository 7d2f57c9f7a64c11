package drill

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/loopdisk"
)

// world is one run: a broker, its clients, and a nemesis.
type world struct {
	o      Options
	kinds  []string       // of faults
	addr   string         // of the broker
	guests string         // … for clients of another protocol; empty: there are none
	loop   *loopdisk.Disk // nil: the power is not cut
	small  *smallDisk     // nil: the disk is not filled
	mood   atomic.Int32
	family family
	b      *broker.Broker
	h      *history
	ctx    context.Context // ends when clients are to finish
	life   context.Context // ends when patience does, or the broker does not come back
	end    context.CancelFunc
	acked  atomic.Int64
	power  bool // the power fails: everything is at level disk, and nobody acknowledges unasked

	mu    sync.Mutex
	links []*link
	dark  time.Time // the power was off until then
}

// patience bounds every wait; no healthy run comes near it.
const patience = 60 * time.Second

// logf tells whoever watches the run.
func (w *world) logf(format string, args ...any) { w.o.Log(fmt.Sprintf(format, args...)) }

// giveUp ends a run whose broker does not come back.
func (w *world) giveUp(why error) {
	w.h.report("%v", why)
	w.end()
}

// excused tells that an error is no wonder: the daemons had a dead disk a moment ago.
func (w *world) excused() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.dark.Add(slack))
}

// complain reports what a client was told, unless it is no wonder.
func (w *world) complain(err error, format string, args ...any) {
	if err != nil && !w.excused() {
		w.h.report(format+": %v", append(args, err)...)
	}
}

// darken says until when the power is off.
func (w *world) darken(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dark = until
}

func (w *world) topics() []string {
	return append([]string{"disk", "page", "mirror", "grows", "keyed"}, lineTopics...)
}
func (w *world) queues() []string { return []string{"all", "red", "small", "auto"} }

// level is what a run without power cuts has at level l.
func (w *world) level(l trimq.Level) trimq.Level {
	if w.power {
		return trimq.LevelDisk
	}
	return l
}

// route is the topic exchange of the run, computed without it: keys are colour.size.
func route(colour, size string) []string {
	if colour == "none" {
		return nil
	}
	places := []string{"all", "auto", "mirror"}
	if colour == "red" {
		places = append(places, "red")
	}
	if size == "small" {
		places = append(places, "small")
	}
	return places
}

// lay makes what the run needs.
func (w *world) lay(c *trimq.Client) error {
	for _, t := range []trimq.TopicSpec{
		{Name: "disk", Partitions: 3, Level: trimq.LevelDisk}, {Name: "page", Partitions: 2, Level: w.level(trimq.LevelPage)},
		{Name: "mirror", Partitions: 1, Level: w.level(trimq.LevelPage)}, {Name: "grows", Partitions: 1, Level: trimq.LevelDisk},
		{Name: "keyed", Partitions: 3, Level: w.level(trimq.LevelPage)},
		{Name: lineTopics[0], Partitions: 1, Level: trimq.LevelDisk}, {Name: lineTopics[1], Partitions: 1, Level: w.level(trimq.LevelPage)},
	} {
		if _, err := c.CreateTopic(w.life, t); err != nil {
			return err
		}
	}
	for i, q := range w.queues() {
		level := w.level([]trimq.Level{trimq.LevelDisk, trimq.LevelPage}[i%2])
		if _, err := c.CreateQueue(w.life, trimq.QueueSpec{Name: q, Level: level, QueueSettings: trimq.QueueSettings{Durable: true}}); err != nil {
			return err
		}
	}
	for _, x := range []string{"x", "side"} {
		if _, err := c.CreateExchange(w.life, trimq.ExchangeSpec{Name: x, Type: trimq.Topic, Durable: true}); err != nil {
			return err
		}
	}
	for key, places := range map[string][]string{
		"red.*": {"all", "auto", "mirror", "red"}, "blue.#": {"all", "auto", "mirror"}, "red.small": {"small"}, "blue.small": {"small"},
	} {
		for _, p := range places {
			if _, err := c.CreateBinding(w.life, trimq.BindingSpec{Exchange: "x", Queue: p, RoutingKey: key}); err != nil {
				return err
			}
		}
	}
	w.h.note(&opQueue{Name: "auto", AutoAck: !w.power})
	return nil
}

// toTopic chooses a message for a topic's partition, toExchange one for the exchange.
func toTopic(topic string, partitions uint32) func(*rand.Rand) (sentMessage, trimq.Message) {
	return func(r *rand.Rand) (sentMessage, trimq.Message) {
		p := r.Uint32N(partitions)
		return sentMessage{topic: topic, partition: p}, trimq.Message{Topic: topic, Partition: trimq.ToPartition(p)}
	}
}

// toKeyed leaves the partition to the key.
func toKeyed(r *rand.Rand) (sentMessage, trimq.Message) {
	key := fmt.Sprintf("key-%d", r.IntN(20))
	return sentMessage{topic: "keyed", key: key}, trimq.Message{Topic: "keyed", Key: []byte(key)}
}

func toExchange(r *rand.Rand) (sentMessage, trimq.Message) {
	colour, size := []string{"red", "blue"}[r.IntN(2)], []string{"small", "large"}[r.IntN(2)]
	if r.IntN(200) == 0 { // seldom: what is sent behind a refused message must be sent again
		colour = "none"
	}
	return sentMessage{places: route(colour, size)}, trimq.Message{Exchange: "x", RoutingKey: colour + "." + size, Mandatory: true}
}

// smallSettings make files roll, rings fill and checkpoints come often.
func smallSettings(r *rand.Rand) map[string]string {
	pick := func(values ...string) string { return values[r.IntN(len(values))] }
	return map[string]string{
		"ring_request_bytes": pick(`"1Mi"`, `"4Mi"`, `"64Mi"`), "ring_response_bytes": pick(`"256Ki"`, `"1Mi"`), "ring_log_bytes": pick(`"256Ki"`, `"1Mi"`),
		"max_frame_bytes": `"96Ki"`, "window_bytes": pick(`"128Ki"`, `"16Mi"`), "window_requests": pick("8", "256"),
		"segment_bytes": pick(`"1Mi"`, `"4Mi"`), "index_entries": pick("128", "1024"), "page_flush_ms": pick("20", "1000"),
		"checkpoint_seconds": pick("1", "5"), "checkpoint_bytes": pick(`"1Mi"`, `"64Mi"`), "checkpoint_events": pick("2000", "100000"),
		"turn_inputs": pick("8", "1024"), "event_loops": pick("1", "3"), "retention_check_ms": pick("100", "1000"),
	}
}

// runners starts clients, each with random numbers of its own, which follow from the seed.
func runners(seed uint64) (all *sync.WaitGroup, run func(f func(r *rand.Rand))) {
	all = &sync.WaitGroup{}
	n := uint64(0)
	return all, func(f func(r *rand.Rand)) {
		n++
		r := rand.New(rand.NewPCG(seed, n))
		all.Add(1)
		go func() {
			defer all.Done()
			f(r)
		}()
	}
}

// employ starts the clients.
func (w *world) employ(seed uint64) *sync.WaitGroup {
	all, run := runners(seed)
	forever := time.Hour
	for _, p := range []struct {
		name       string
		idempotent bool
		next       func(*rand.Rand) (sentMessage, trimq.Message)
	}{{"disk", true, toTopic("disk", 3)}, {"page", true, toTopic("page", 2)}, {"both", true, toTopic("disk", 3)}, {"plain", false, toTopic("page", 2)},
		{"keyed", true, toKeyed}, {"keyed2", true, toKeyed},
		{"exchange", true, toExchange}, {"exchange2", true, toExchange}} {
		run(func(r *rand.Rand) { w.produce(p.name, r, p.idempotent, forever, p.next) })
	}
	run(func(r *rand.Rand) { // producers that come and go
		for i := 0; w.ctx.Err() == nil; i++ {
			next := toExchange
			if i%2 == 0 {
				next = toTopic("disk", 3)
			}
			w.produce(fmt.Sprintf("fly-%d", i), r, true, time.Duration(200+r.IntN(3000))*time.Millisecond, next)
		}
	})
	for i, topic := range []string{"disk", "page", "disk", "mirror"} {
		run(func(r *rand.Rand) { w.follow(fmt.Sprintf("group-%d", i), topic, r, i >= 2) })
	}
	for i, queue := range []string{"all", "all", "red", "small", "small", "auto"} {
		run(func(r *rand.Rand) { w.work(fmt.Sprintf("worker-%d", i), queue, r) })
	}
	for _, topic := range lineTopics {
		for i := range 3 {
			run(func(r *rand.Rand) { w.extend(fmt.Sprintf("append-%d-%s", i, topic), topic, r) })
		}
		run(func(r *rand.Rand) { w.follow("tail-"+topic, topic, r, false) })
		run(func(r *rand.Rand) { w.look("look-"+topic, topic, r) })
	}
	if slices.Contains(w.kinds, "client") {
		for _, role := range []string{roleProducer, roleWorker} {
			run(func(r *rand.Rand) { w.bringUp(role, r) })
		}
	}
	run(w.govern)
	return all
}

// settle looks at all that there is when everybody is gone, after another restart or not.
func (w *world) settle(first *party, n *nemesis) error {
	n.heal()
	if n.r.IntN(2) == 0 {
		n.reboot()
	}
	w.watch(first)
	for _, t := range w.topics() {
		if err := w.readAll(first, t); err != nil {
			return err
		}
	}
	for _, q := range w.queues() {
		if err := w.drain(first, q); err != nil {
			return err
		}
	}
	return w.shut(first)
}

// shut stops the broker, and has its log checked.
func (w *world) shut(first *party) error {
	first.leave(false)
	if err := w.b.Signal("15"); err != nil {
		return err
	}
	out, err := w.b.Program("trimq", "log", "verify", w.b.Config.DataDir)
	if err != nil {
		return fmt.Errorf("log verify: %w", err)
	}
	w.logf("%s", strings.TrimSpace(out))
	return nil
}
