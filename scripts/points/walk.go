package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/tour"
)

// patience bounds every wait; no healthy step comes near it.
const patience = 60 * time.Second

const (
	// served is for how long daemons are let work between steps: the supervisor gives up who dies
	// again and again without having served in between.
	served = 250 * time.Millisecond
	// background is within what time each daemon has done all that it does unasked, for
	// smallSettings.
	background = 1500 * time.Millisecond
)

// smallSettings make files roll, and checkpoints come with every tour.
var smallSettings = map[string]string{
	"ring_request_bytes": `"1Mi"`, "ring_response_bytes": `"256Ki"`, "ring_log_bytes": `"256Ki"`, "max_frame_bytes": `"64Ki"`,
	"segment_bytes": `"64Ki"`, "index_entries": "64", "page_flush_ms": "20", "retention_check_ms": "50", "disk_reserve_bytes": `"16Mi"`,
	"checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`, "checkpoint_events": "400", "turn_inputs": "64", "event_loops": "2",
	"group_initial_delay_ms": "0", "group_heartbeat_ms": "100",
}

// route says how a point was come to.
type route struct {
	by    means
	via   point  // a point of the same daemon to die at first; zero: none
	count uint64 // crossings in one go
}

// outcome is what a step has shown.
type outcome struct {
	point  point
	route  route
	nth    uint64 // crossing, from the beginning of the step
	died   bool
	paused time.Duration // from the beginning of the step to the end of its tour
	err    error
}

// walk is one broker, and what is known of the points in it.
type walk struct {
	b      *broker.Broker
	tables tables
	r      *rand.Rand
	routes map[point]route
	tours  int
	book   *chronicle
}

// start brings a broker up that counts its crossings in dir.
func start(dir, bin string, seed uint64) (*walk, error) {
	b, err := broker.New(dir, smallSettings)
	if err != nil {
		return nil, err
	}
	b.Bin, b.Env = bin, []string{"TRIMQ_POINTS=" + dir}
	w := &walk{b: b, r: rand.New(rand.NewPCG(seed, 0)), routes: map[point]route{}}
	if w.tables, err = openTables(dir); err != nil {
		return nil, err
	}
	if err := b.Start(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.book, err = openChronicle(ctx, b.Addr)
	return w, err
}

// tour takes one while something is done, and looks that nothing of earlier ones is lost.
func (w *walk) tour(do func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.tours++
	ended := make(chan error, 1)
	go func() {
		ended <- tour.Go(ctx, w.b.Addr, fmt.Sprintf("tour-%d", w.tours), slog.New(slog.DiscardHandler))
	}()
	time.Sleep(time.Duration(w.r.IntN(60)) * time.Millisecond)
	err := do()
	if err != nil {
		cancel()
	}
	return errors.Join(err, <-ended, w.heal(), w.book.write(ctx))
}

// explore takes a tour with each means against each daemon, and notes how points are come to.
func (w *walk) explore(list []means, daemons []string) error {
	for _, m := range list {
		for _, d := range daemons {
			if m.name != "kill" && d != daemons[0] {
				continue // it is done to all daemons at once
			}
			before := w.tables.count()
			if err := w.tour(func() error { return m.do(w, d) }); err != nil {
				return fmt.Errorf("%s %s, nobody dies: %w", m.name, d, err)
			}
			w.learn(before, func(p point, n uint64) route { return route{by: m, count: n} })
		}
	}
	return nil
}

// learn notes the routes to points that were crossed since, and to which none is known yet.
func (w *walk) learn(before map[point]uint64, by func(p point, n uint64) route) {
	for p, n := range w.tables.count() {
		if _, known := w.routes[p]; !known && n > before[p] {
			w.routes[p] = by(p, n-before[p])
		}
	}
}

// step lets the daemon die at a point.
func (w *walk) step(p point, nth uint64) outcome {
	time.Sleep(served)
	r := w.routes[p]
	o := outcome{point: p, route: r, nth: nth}
	before, began := w.tables.count(), time.Now()
	at := before[p] + nth
	o.err = w.arm(p, at)
	if r.via.name != "" {
		o.err = errors.Join(o.err, w.arm(r.via, before[r.via]+1))
	}
	if o.err == nil {
		o.err = w.tour(func() error { return r.by.do(w, p.daemon) })
	}
	if o.err == nil {
		o.err = w.linger(p, at)
	}
	o.paused = time.Since(began)
	o.died = w.tables.count()[p] >= at
	o.err = errors.Join(o.err, w.arm(p, 0))
	w.learn(before, func(q point, n uint64) route {
		if q.daemon == p.daemon && r.via.name == "" {
			return route{by: r.by, via: p, count: n}
		}
		return route{by: r.by, count: n}
	})
	return o
}

// linger gives what happens in the background, as checkpoints do, the time for it.
func (w *walk) linger(p point, at uint64) error {
	if w.tables.count()[p] >= at {
		return nil
	}
	for end := time.Now().Add(background); w.tables.count()[p] < at && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return errors.Join(w.heal(), w.book.write(ctx))
}

func (w *walk) arm(p point, at uint64) error { return w.tables[p.daemon].DieAt(p.name, at) }

// chronicle is a topic that lives as long as the walk, and is read from its start after each step.
type chronicle struct {
	client *trimq.Client
	p      *trimq.Producer
	n      int
}

const chronicleTopic = "chronicle"

func openChronicle(ctx context.Context, addr string) (*chronicle, error) {
	client, err := trimq.Dial(ctx, []string{addr}, trimq.WithName(chronicleTopic), trimq.WithBackoff(5*time.Millisecond, 200*time.Millisecond))
	if err != nil {
		return nil, err
	}
	if _, err := client.CreateTopic(ctx, trimq.TopicSpec{Name: chronicleTopic, Partitions: 1}); err != nil {
		return nil, err
	}
	p, err := client.NewProducer(trimq.WithRetryFor(patience))
	return &chronicle{client: client, p: p}, err
}

// write adds a line, and reads all of them.
func (c *chronicle) write(ctx context.Context) error {
	if _, err := c.p.ProduceSync(ctx, &trimq.Message{Topic: chronicleTopic, Value: fmt.Append(nil, c.n)}); err != nil {
		return fmt.Errorf("chronicle: %w", err)
	}
	c.n++
	k, err := c.client.NewConsumer(ctx, []string{chronicleTopic})
	if err != nil {
		return err
	}
	for at := 0; at < c.n && err == nil; {
		var f *trimq.Fetch
		if f, err = k.Poll(ctx); err != nil {
			err = fmt.Errorf("chronicle, at line %d of %d: %w", at, c.n, err)
			break
		}
		for _, r := range f.Records {
			if want := fmt.Sprint(at); string(r.Value) != want || r.Offset != uint64(at) {
				err = fmt.Errorf("chronicle: offset %d holds %q, want %s", r.Offset, r.Value, want)
			}
			at++
		}
		f.Release()
	}
	return errors.Join(err, k.Close(ctx))
}
