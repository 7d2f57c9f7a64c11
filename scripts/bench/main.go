package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds; medians are printed")
	count := flag.Int64("count", 4_000_000, "messages of a measurement")
	size := flag.Int64("size", 250, "bytes of a message")
	asJSON := flag.Bool("json", false, "print every round as JSON")
	flag.Parse()
	if err := bench(*rounds, *count, *size, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// measure is one kind of measurement with its limit.
type measure struct {
	name  string
	args  []string // of mq_perf
	limit func(dir string, bytes int64) (time.Duration, error)
}

// round is the outcome of one measurement.
type round struct {
	Name  string             `json:"name"`
	Rate  float64            `json:"rate"`  // messages/s
	Limit float64            `json:"limit"` // messages/s
	CPU   map[string]float64 `json:"cpu_seconds"`
	P50   float64            `json:"ack_p50_us"`
	P99   float64            `json:"ack_p99_us"`
}

// perfReport is the part of mq_perf --json that is used here.
type perfReport struct {
	Rate    float64 `json:"rate"`
	Lost    int64   `json:"lost"`
	Latency struct {
		P50 float64 `json:"p50"`
		P99 float64 `json:"p99"`
	} `json:"ack_latency_us"`
	Processes []struct {
		Name string  `json:"name"`
		CPU  float64 `json:"cpu_seconds"`
	} `json:"processes"`
}

func bench(rounds int, count, size int64, asJSON bool) (err error) {
	dir, err := os.MkdirTemp("", "trimq-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b, err := broker.New(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Signal("15"), b.Cleanup()) }()
	if err := b.Start(); err != nil {
		return err
	}
	page := func(dir string, n int64) (time.Duration, error) { return produceLimit(dir, n, false) }
	disk := func(dir string, n int64) (time.Duration, error) { return produceLimit(dir, n, true) }
	var all []round
	for i := range rounds {
		topic := fmt.Sprintf("bench-%d", i)
		for _, m := range []measure{
			{"produce, page", []string{"produce", "--level", "page", "--topic", topic}, page},
			{"consume, sync commits", []string{"consume", "--topic", topic}, consumeLimit},
			{"produce, disk", []string{"produce", "--level", "disk", "--topic", topic + "-disk"}, disk},
		} {
			r, err := one(b, dir, m, count, size)
			if err != nil {
				return fmt.Errorf("%s: %w", m.name, err)
			}
			fmt.Fprintf(os.Stderr, "round %d: %-22s %6.2f M/s, limit %6.2f M/s\n", i+1, r.Name, r.Rate/1e6, r.Limit/1e6)
			all = append(all, r)
		}
		for _, t := range []string{topic, topic + "-disk"} { // room for the next round
			if _, err := b.Run("topic", "delete", t); err != nil {
				return err
			}
		}
	}
	if asJSON {
		return json.NewEncoder(os.Stdout).Encode(all)
	}
	return table(all, count, size)
}

func one(b *broker.Broker, dir string, m measure, count, size int64) (round, error) {
	bytes := count * size
	if err := warm(dir, bytes+bytes/8); err != nil {
		return round{}, err
	}
	took, err := m.limit(dir, bytes)
	if err != nil {
		return round{}, fmt.Errorf("limit: %w", err)
	}
	if err := warm(dir, bytes+bytes/8); err != nil {
		return round{}, err
	}
	args := append(m.args, "--addr", b.Addr, "--run-dir", b.Config.RunDir, "--json", "--count", fmt.Sprint(count))
	if m.args[0] == "produce" {
		args = append(args, "--size", fmt.Sprint(size))
	}
	out, err := b.Program("mq_perf", args...)
	if err != nil {
		return round{}, err
	}
	var p perfReport
	if err := json.Unmarshal([]byte(out), &p); err != nil {
		return round{}, fmt.Errorf("mq_perf: %w\n%s", err, out)
	}
	if p.Lost != 0 {
		return round{}, fmt.Errorf("%d messages lost", p.Lost)
	}
	r := round{Name: m.name, Rate: p.Rate, Limit: float64(count) / took.Seconds(), CPU: map[string]float64{}, P50: p.Latency.P50, P99: p.Latency.P99}
	for _, proc := range p.Processes {
		r.CPU[proc.Name] = proc.CPU
	}
	return r, nil
}

// table prints the median of each figure, with the extremes of the rate and of the ratio.
func table(all []round, count, size int64) error {
	fmt.Printf("%d messages of %d B, %d processors, %s; medians (min … max)\n", count, size, runtime.NumCPU(), runtime.Version())
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, "MEASUREMENT\tM MSG/S\tLIMIT\tRATIO\tACK P50/P99 MS\tCPU S: CLIENT\tCONNSRV\tLOGICSRV\tPERSISTSRV")
	var names []string
	for _, r := range all {
		if !slices.Contains(names, r.Name) {
			names = append(names, r.Name)
		}
	}
	for _, name := range names {
		pick := func(f func(round) float64) []float64 {
			var v []float64
			for _, r := range all {
				if r.Name == name {
					v = append(v, f(r))
				}
			}
			slices.Sort(v)
			return v
		}
		rate := pick(func(r round) float64 { return r.Rate / 1e6 })
		limit := pick(func(r round) float64 { return r.Limit / 1e6 })
		ratio := pick(func(r round) float64 { return r.Rate / r.Limit })
		latency := "-"
		if p50 := pick(func(r round) float64 { return r.P50 / 1e3 }); strings.HasPrefix(name, "produce") {
			latency = fmt.Sprintf("%.1f / %.1f", median(p50), median(pick(func(r round) float64 { return r.P99 / 1e3 })))
		}
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%s\t%s", name, spread(rate), median(limit), spread(ratio), latency)
		for _, p := range []string{"client", "connsrv", "logicsrv", "persistsrv"} {
			fmt.Fprintf(w, "\t%.2f", median(pick(func(r round) float64 { return r.CPU[p] })))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func median(sorted []float64) float64 { return sorted[len(sorted)/2] }

func spread(sorted []float64) string {
	return fmt.Sprintf("%.2f (%.2f … %.2f)", median(sorted), sorted[0], sorted[len(sorted)-1])
}
