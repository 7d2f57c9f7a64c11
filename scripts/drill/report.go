package drill

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Acked counts the messages that were acknowledged.
func (r *Result) Acked() int { return len(r.h.traffic.acks) }

// Again is the command that repeats the run, but for its timing.
func (r *Result) Again() string {
	b := r.h.run
	return fmt.Sprintf("trimq drill --seed %d --duration %v --load %s --faults %s", b.Seed, b.Duration, b.Load, strings.Join(b.Faults, ","))
}

// Verdict is the run in two words.
func (r *Result) Verdict() string {
	if len(r.Wrong) == 0 {
		return "good"
	}
	return fmt.Sprintf("%d violations", len(r.Wrong))
}

// Row is the run as a line of a table: when, seed, load, how long, faults, messages, verdict.
func (r *Result) Row() string {
	b := r.h.run
	return fmt.Sprintf("| %s | %d | %s | %v | %d | %d | %s |", b.Wall.UTC().Format("2006-01-02 15:04"), b.Seed, b.Load, b.Duration,
		len(r.h.faults), r.Acked(), r.Verdict())
}

func ms(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Millisecond)) }

// WriteTable prints what each kind of fault did: medians of the longest pauses and of the rates.
func (r *Result) WriteTable(out io.Writer) {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "fault\ttimes\tms until healed\tms without acks\tms without deliveries\tacks/s before\tduring\tafter\t")
	for _, e := range r.h.effects() {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s\t%.0f\t%.0f\t%.0f\t\n", e.name, e.times, ms(e.lasted), ms(e.ackPause), ms(e.gotPause), e.before, e.during, e.after)
	}
	t.Flush()
}
