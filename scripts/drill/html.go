package drill

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"math"
	"strings"
	"time"
)

// The report: one HTML file with a picture of the run, and nothing outside of it.

// chart is one picture above a common axis of time, in pixels.
type chart struct {
	out    *bufio.Writer
	top    float64
	height float64
	end    time.Duration
}

const (
	chartWidth  = 1200.0
	chartLeft   = 70.0
	binWidth    = 100 * time.Millisecond
	leastPause  = 200 * time.Millisecond
	faultsTop   = 20.0
	faultLine   = 14.0
	chartHeight = 140.0
)

func (c *chart) x(t time.Duration) float64 {
	return chartLeft + (chartWidth-chartLeft)*float64(t)/float64(max(c.end, 1))
}

// text writes at a place.
func (c *chart) text(x, y float64, what string) {
	fmt.Fprintf(c.out, `<text x="%.1f" y="%.1f">%s</text>`+"\n", x, y, html.EscapeString(what))
}

// box is a rectangle of a class, with a tip.
func (c *chart) box(class string, from, to time.Duration, y, height float64, tip string) {
	fmt.Fprintf(c.out, `<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"><title>%s</title></rect>`+"\n",
		class, c.x(from), y, max(1, c.x(to)-c.x(from)), height, html.EscapeString(tip))
}

// line draws values, each of a width of time; the most of all is at the top.
func (c *chart) line(class string, values []float64, width time.Duration, most float64) {
	fmt.Fprintf(c.out, `<polyline class="%s" points="`, class)
	for i, v := range values {
		fmt.Fprintf(c.out, "%.1f,%.1f ", c.x(time.Duration(i)*width+width/2), c.top+c.height*(1-v/most))
	}
	fmt.Fprintln(c.out, `"/>`)
}

// frame draws the axis, with what is at its top and its bottom.
func (c *chart) frame(title, most, least string) {
	fmt.Fprintf(c.out, `<rect class="frame" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`+"\n", chartLeft, c.top, chartWidth-chartLeft, c.height)
	c.text(chartLeft+4, c.top-4, title)
	c.text(0, c.top+10, most)
	c.text(0, c.top+c.height, least)
}

const style = `body{font:14px sans-serif;margin:2em;max-width:1250px}svg{width:100%;height:auto}text{font:11px sans-serif}
.frame{fill:none;stroke:#999}.fault{fill:#c33}.shade{fill:#c33;opacity:.12}.pause{fill:#36c;opacity:.25}
polyline{fill:none;stroke-width:1.2}.acks{stroke:#171}.got{stroke:#a60}.p50{stroke:#171}.p99{stroke:#a1a}
table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:2px 8px;text-align:right}td:first-child{text-align:left}.bad{color:#c00}.good{color:#070}
code{background:#eee;padding:2px 4px}`

// WriteHTML writes the report.
func (r *Result) WriteHTML(w io.Writer) error {
	out := bufio.NewWriter(w)
	b := r.h.run
	class := map[bool]string{true: "good", false: "bad"}[len(r.Wrong) == 0]
	fmt.Fprintf(out, "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>TriMQ drill %d</title><style>%s</style></head><body>\n", b.Seed, style)
	fmt.Fprintf(out, "<h1>Drill with seed %d: <span class=%q>%s</span></h1>\n", b.Seed, class, r.Verdict())
	fmt.Fprintf(out, "<p>%s, %v of faults, load %s, %d messages acknowledged. Again: <code>%s</code></p>\n",
		b.Wall.UTC().Format(time.RFC3339), b.Duration, html.EscapeString(b.Load), r.Acked(), html.EscapeString(r.Again()))
	if len(r.Wrong) > 0 {
		fmt.Fprintln(out, "<ul class=\"bad\">")
		for _, v := range r.Wrong {
			fmt.Fprintf(out, "<li>%s</li>\n", html.EscapeString(v))
		}
		fmt.Fprintln(out, "</ul>")
	}
	r.picture(out)
	r.htmlTable(out)
	fmt.Fprintln(out, "</body></html>")
	return out.Flush()
}

// picture draws the faults, what went through, how late, and the pauses.
func (r *Result) picture(out *bufio.Writer) {
	h := r.h
	c := &chart{out: out, end: r.end()}
	names, rows := h.faultRows()
	below := faultsTop + faultLine*float64(len(names)+1)
	fmt.Fprintf(out, `<svg viewBox="0 0 %.0f %.0f" xmlns="http://www.w3.org/2000/svg">`+"\n", chartWidth, below+2*(chartHeight+40))
	for i, name := range names {
		c.text(chartLeft+4, faultsTop+faultLine*float64(i)+10, name)
	}
	for _, f := range h.faults {
		from, to := h.since(f.from), h.since(f.to)
		c.box("shade", from, to, faultsTop, below+2*chartHeight+20, f.name)
		c.box("fault", from, to, faultsTop+faultLine*float64(rows[f.name])+1, faultLine-2, fmt.Sprintf("%s at %v, healed after %v", f.name, from.Round(time.Millisecond), (to-from).Round(time.Millisecond)))
	}
	c.top, c.height = below, chartHeight
	acks, got := h.traffic.perBin(binWidth, c.end)
	most := 1.0
	for i := range acks {
		most = max(most, acks[i], got[i])
	}
	c.frame("acknowledged (green) and delivered (orange) a second, of each 100 ms; pauses of acknowledgements above 200 ms (blue)", fmt.Sprintf("%.0f", most), "0")
	for _, p := range pauses(h.traffic.ackTimes(), leastPause, c.end) {
		c.box("pause", p.from, p.to, c.top, c.height, fmt.Sprintf("no acknowledgement for %v from %v", p.long().Round(time.Millisecond), p.from.Round(time.Millisecond)))
	}
	c.line("acks", acks, binWidth, most)
	c.line("got", got, binWidth, most)
	c.top += chartHeight + 30
	r.latencies(c)
	for s := time.Duration(0); s <= c.end; s += 5 * time.Second {
		c.text(c.x(s), c.top+c.height+12, fmt.Sprintf("%d s", int(s.Seconds())))
	}
	fmt.Fprintln(out, "</svg>")
}

// latencies draws how late acknowledgements came, in a logarithmic scale from 0.1 ms.
func (r *Result) latencies(c *chart) {
	p50, p99 := r.h.traffic.latencies(time.Second, c.end)
	scale := func(list []time.Duration) []float64 {
		values := make([]float64, len(list))
		for i, d := range list {
			values[i] = max(0, math.Log10(max(1, float64(d)/float64(100*time.Microsecond))))
		}
		return values
	}
	const decades = 5 // 10 s
	c.frame("latency of acknowledgements: median (green) and 99th percentile (violet) of each second", "10 s", "0.1 ms")
	c.line("p50", scale(p50), time.Second, decades)
	c.line("p99", scale(p99), time.Second, decades)
}

// end is when the last thing happened.
func (r *Result) end() time.Duration {
	end := r.h.run.Duration
	for _, f := range r.h.faults {
		end = max(end, r.h.since(f.to))
	}
	if n := len(r.h.traffic.acks); n > 0 {
		end = max(end, r.h.traffic.acks[n-1].at)
	}
	return end
}

// faultRows gives each name of a fault a row, in order of coming.
func (h *history) faultRows() (names []string, rows map[string]int) {
	rows = map[string]int{}
	for _, f := range h.faults {
		if _, ok := rows[f.name]; !ok {
			rows[f.name] = len(names)
			names = append(names, f.name)
		}
	}
	return names, rows
}

// htmlTable is WriteTable in HTML.
func (r *Result) htmlTable(out *bufio.Writer) {
	fmt.Fprintln(out, "<h2>What each kind of fault did (medians)</h2><table>")
	row := func(tag string, cells ...string) {
		fmt.Fprint(out, "<tr>")
		for _, c := range cells {
			fmt.Fprintf(out, "<%s>%s</%s>", tag, html.EscapeString(c), tag)
		}
		fmt.Fprintln(out, "</tr>")
	}
	row("th", strings.Split("fault|times|ms until healed|ms without acks|ms without deliveries|acks/s before|during|after", "|")...)
	for _, e := range r.h.effects() {
		row("td", e.name, fmt.Sprint(e.times), ms(e.lasted), ms(e.ackPause), ms(e.gotPause), fmt.Sprintf("%.0f", e.before), fmt.Sprintf("%.0f", e.during), fmt.Sprintf("%.0f", e.after))
	}
	fmt.Fprintln(out, "</table>")
}
