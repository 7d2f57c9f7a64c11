package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/scripts/tour"
	"github.com/trimq/trimq/shmqueue/tier"
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
	// maxRoutes to one point are known.
	maxRoutes = 8
)

// smallSettings make files roll, and checkpoints come with every tour.
var smallSettings = map[string]string{
	"ring_request_bytes": `"64Ki"`, "ring_response_bytes": `"64Ki"`, "ring_log_bytes": `"64Ki"`, "max_frame_bytes": `"8Ki"`,
	"segment_bytes": `"64Ki"`, "index_entries": "64", "page_flush_ms": "20", "retention_check_ms": "50", "disk_reserve_bytes": `"16Mi"`,
	"checkpoint_seconds": "1", "checkpoint_bytes": `"64Ki"`, "checkpoint_events": "400", "turn_inputs": "64", "event_loops": "2",
	"group_initial_delay_ms": "0", "group_heartbeat_ms": "100", "compact_ms": "50",
}

// route says how a point was come to.
type route struct {
	by    means
	via   point  // a point of the same daemon to die at first; zero: none
	count uint64 // crossings in one go
}

// outcome is what a step has shown.
type outcome struct {
	point point
	route route
	nth   uint64 // crossing, from the beginning of the step
	died  bool
	took  time.Duration
	err   error
}

// walk is one broker, and what is known of the points in it.
type walk struct {
	b      *broker.Broker
	tables tables
	r      *rand.Rand
	routes map[point][]route // the gentlest first
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
	w := &walk{b: b, r: rand.New(rand.NewPCG(seed, 0)), routes: map[point][]route{}}
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
func (w *walk) tour(m means, daemon string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	w.tours++
	ended := make(chan error, 1)
	go func() {
		ended <- tour.Go(ctx, w.b.Addr, fmt.Sprintf("tour-%d", w.tours), slog.New(slog.DiscardHandler))
	}()
	var toured, done error
	if m.behind {
		toured, done = <-ended, m.do(w, daemon)
	} else {
		time.Sleep(time.Duration(w.r.IntN(60)) * time.Millisecond)
		if done = m.do(w, daemon); done != nil {
			cancel()
		}
		toured = <-ended
	}
	return errors.Join(done, toured, w.heal(), w.book.write(ctx))
}

// explore takes a tour with each means against each daemon, and notes how points are come to.
func (w *walk) explore() error {
	for _, m := range allMeans {
		for _, d := range tier.Daemons {
			if !m.each && d != tier.Daemons[0] {
				continue
			}
			before := w.tables.count()
			if err := w.tour(m, d); err != nil {
				return fmt.Errorf("%s %s, nobody dies: %w", m.name, d, err)
			}
			w.learn(before, func(point) route { return route{by: m} })
		}
	}
	return nil
}

// learn notes the routes to points that were crossed since, unless enough are known.
func (w *walk) learn(before map[point]uint64, by func(p point) route) {
	for p, n := range w.tables.count() {
		r := by(p)
		known := slices.ContainsFunc(w.routes[p], func(k route) bool { return k.by.name == r.by.name && k.via == r.via })
		if n == before[p] || known || len(w.routes[p]) == maxRoutes || r.via == p {
			continue
		}
		r.count = n - before[p]
		w.routes[p] = append(w.routes[p], r)
	}
}

// step lets the daemon die at a point, by the first route that leads there this time.
func (w *walk) step(p point, nth int) (o outcome) {
	for _, r := range w.routes[p] {
		if o = w.try(p, r, w.crossing(r, nth)); o.died || o.err != nil {
			break
		}
	}
	return o
}

// crossing chooses one: the first, and then others that come in the same go.
func (w *walk) crossing(r route, nth int) uint64 {
	if nth == 0 || r.count < 2 {
		return 1
	}
	return 2 + w.r.Uint64N(r.count-1)
}

// try goes one route.
func (w *walk) try(p point, r route, nth uint64) outcome {
	time.Sleep(served)
	o := outcome{point: p, route: r, nth: nth}
	before, began := w.tables.count(), time.Now()
	at := before[p] + nth
	o.err = w.arm(p, at)
	if r.via.name != "" {
		o.err = errors.Join(o.err, w.arm(r.via, before[r.via]+1))
	}
	if o.err == nil {
		o.err = w.tour(r.by, p.daemon)
	}
	if o.err == nil {
		o.err = w.linger(p, at)
	}
	o.took = time.Since(began)
	o.died = w.tables.count()[p] >= at
	o.err = errors.Join(o.err, w.arm(p, 0))
	if r.via.name != "" {
		o.err = errors.Join(o.err, w.arm(r.via, 0))
	}
	if o.died && r.via.name == "" {
		w.learn(before, func(q point) route {
			if q.daemon == p.daemon {
				return route{by: r.by, via: p}
			}
			return route{by: r.by}
		})
	}
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
