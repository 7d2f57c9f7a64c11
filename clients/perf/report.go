package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/trimq/trimq/clients/perf/usage"
)

// Report is what a run says in the end; --json prints it as it is.
type Report struct {
	Mode       string `json:"mode"`
	Topic      string `json:"topic"`
	Level      string `json:"level,omitempty"`
	Codec      string `json:"codec,omitempty"`
	Partitions int    `json:"partitions"`
	Producers  int    `json:"producers,omitempty"`
	Consumers  int    `json:"consumers,omitempty"`
	Size       int    `json:"message_bytes,omitempty"`
	BatchBytes int    `json:"batch_bytes,omitempty"`
	Commit     string `json:"commit,omitempty"`

	Messages     int64 `json:"messages"`     // sent, or received by consume
	Acknowledged int64 `json:"acknowledged"` // by callback
	Received     int64 `json:"received"`
	Lost         int64 `json:"lost"`
	Failed       int64 `json:"failed"`     // reported with an error
	Resent       int64 `json:"resent"`     // sent again after a broken connection, and stored once
	Duplicates   int64 `json:"duplicates"` // received twice
	Reordered    int64 `json:"reordered"`
	Corrupt      int64 `json:"corrupt"`
	Commits      int64 `json:"commits,omitempty"`

	Seconds   float64 `json:"seconds"`
	Rate      float64 `json:"rate"` // messages per second
	MBPerSec  float64 `json:"mb_per_second"`
	AskedRate float64 `json:"asked_rate,omitempty"`
	BehindMS  float64 `json:"generator_behind_ms,omitempty"` // the furthest that sending fell behind the schedule

	AckLatency *Percentiles    `json:"ack_latency_us,omitempty"`
	EndToEnd   *Percentiles    `json:"end_to_end_latency_us,omitempty"`
	Processes  []usage.Process `json:"processes"`

	Error   string `json:"error,omitempty"` // the first
	Stopped string `json:"stopped,omitempty"`
}

// finish computes rates from what was counted.
func (r *Report) finish(messages, bytes int64, seconds float64) {
	r.Seconds = round(seconds, 6)
	if seconds > 0 {
		r.Rate = round(float64(messages)/seconds, 1)
		r.MBPerSec = round(float64(bytes)/seconds/1e6, 1)
	}
}

func round(v float64, digits int) float64 {
	scale := 1.0
	for range digits {
		scale *= 10
	}
	return float64(int64(v*scale+0.5)) / scale
}

// sound tells that nothing was lost, doubled or changed.
func (r *Report) sound() bool {
	return r.Lost == 0 && r.Failed == 0 && r.Duplicates == 0 && r.Reordered == 0 && r.Corrupt == 0 && r.Error == ""
}

func (r *Report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r *Report) writeTable(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	line := func(name string, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line(r.Mode, "topic %s, %d partition(s)%s", r.Topic, r.Partitions, r.settings())
	line("messages", "%d", r.Messages)
	if r.Producers > 0 {
		line("acknowledged", "%d", r.Acknowledged)
	}
	if r.Consumers > 0 {
		line("received", "%d", r.Received)
	}
	line("lost", "%d", r.Lost)
	line("failed, doubled, reordered, corrupt", "%d, %d, %d, %d", r.Failed, r.Duplicates, r.Reordered, r.Corrupt)
	line("seconds", "%.3f", r.Seconds)
	line("rate", "%.0f msg/s, %.1f MB/s", r.Rate, r.MBPerSec)
	if r.AskedRate > 0 {
		line("asked rate", "%.0f msg/s, generator at most %.1f ms behind", r.AskedRate, r.BehindMS)
	}
	if r.Commits > 0 {
		line("commits", "%d (%s)", r.Commits, r.Commit)
	}
	latencyLine(line, "acknowledged after", r.AckLatency)
	latencyLine(line, "received after", r.EndToEnd)
	for _, p := range r.Processes {
		note := ""
		if p.Restarted {
			note = " (restarted)"
		}
		line(p.Name, "%.2f s CPU, peak %.1f MiB, of its own %.1f MiB%s", p.CPUSeconds, mib(p.PeakBytes), mib(p.OwnBytes), note)
	}
	if r.Stopped != "" {
		line("stopped", "%s", r.Stopped)
	}
	if r.Error != "" {
		line("first error", "%s", r.Error)
	}
	return t.Flush()
}

func (r *Report) settings() string {
	s := ""
	if r.Producers > 0 {
		s += fmt.Sprintf(", %d producer(s), %d B messages, batches of %d KiB, level %s, codec %s",
			r.Producers, r.Size, r.BatchBytes>>10, r.Level, r.Codec)
	}
	if r.Consumers > 0 {
		s += fmt.Sprintf(", %d consumer(s)", r.Consumers)
	}
	return s
}

func latencyLine(line func(string, string, ...any), name string, p *Percentiles) {
	if p != nil {
		line(name, "p50 %d, p90 %d, p99 %d, p99.9 %d, p99.99 %d, max %d us (%d samples)",
			p.P50, p.P90, p.P99, p.P999, p.P9999, p.Max, p.Samples)
	}
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
