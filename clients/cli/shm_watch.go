package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/shmqueue"
)

// redraw puts a terminal's cursor into its first corner and clears what is there.
const redraw = "\x1b[H\x1b[2J"

// watched is a ring at two moments.
type watched struct {
	segment
	seg       *shmqueue.Segment
	last, now shmqueue.Snapshot
}

func watchSegments(c *cli.Context) error {
	if _, err := names(c, "", 0, 0); err != nil {
		return err
	}
	interval := c.Duration("interval")
	if interval <= 0 || c.Int("count") < 0 {
		return badUsage("--interval must be above 0, --count cannot be negative")
	}
	rings, err := openRings(c.Int("shm-key-base"))
	defer closeRings(rings)
	if err != nil {
		return err
	}
	tty := isTerminal(c.App.Writer)
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for n, last := 1, time.Now(); ; n++ {
		select {
		case <-tick.C:
		case <-c.Context.Done():
			return nil // the way to end it
		}
		now := time.Now()
		for _, w := range rings {
			if err := w.seg.Check(); err != nil {
				return err
			}
			w.last, w.now = w.now, w.seg.Ring().Snapshot()
		}
		var page bytes.Buffer // at once, so that the terminal does not flicker
		if tty {
			page.WriteString(redraw)
		}
		drawRings(&page, rings, now, now.Sub(last))
		if _, err := c.App.Writer.Write(page.Bytes()); err != nil {
			return err
		}
		last = now
		if n == c.Int("count") {
			return nil
		}
	}
}

// openRings attaches to the three rings and looks a first time.
func openRings(base int) (rings []*watched, err error) {
	for _, s := range segments(base) {
		if !s.ring() {
			continue
		}
		seg, err := shmqueue.Inspect(s.key)
		if err != nil {
			return rings, err
		}
		rings = append(rings, &watched{segment: s, seg: seg, now: seg.Ring().Snapshot()})
	}
	return rings, nil
}

func closeRings(rings []*watched) {
	for _, w := range rings {
		_ = w.seg.Detach() // it was only read
	}
}

// drawRings shows one page.
func drawRings(w io.Writer, rings []*watched, at time.Time, apart time.Duration) {
	fmt.Fprintf(w, "%s, rates over %s\n", stamp(at), apart.Round(time.Millisecond))
	t := newTable("RING", "FILL", "USED", "RECORDS/S", "CLAIMED B/S", "RELEASED B/S", "WAITS/S", "WAKES/S", "FULL/S", "CUTS", "PRODUCER", "CONSUMER", "SLEEPS")
	for _, x := range rings {
		h := viewRing(x.segment, x.now)
		per := func(before, now uint64) string { return rateText(ratePer(before, now, apart)) }
		sleeps := "-"
		if h.Sleeping {
			sleeps = h.Sleeper
		}
		t.add(x.name, h.fill(), h.Used, per(x.last.Records, x.now.Records), per(x.last.Tail, x.now.Tail), per(x.last.Head, x.now.Head),
			per(x.last.Waits, x.now.Waits), per(x.last.Wakes, x.now.Wakes), per(x.last.Full, x.now.Full), h.Cuts,
			h.Producer.short(), h.Consumer.short(), sleeps)
	}
	t.print(w)
	for _, x := range rings {
		if x.name == "log" {
			written, synced := x.now.Words[shmqueue.WordWritten], x.now.Words[shmqueue.WordSynced]
			fmt.Fprintf(w, "log: written lsn %d, %s/s, %d of them not synced; status: %s\n", written,
				rateText(ratePer(x.last.Words[shmqueue.WordWritten], written, apart)), written-min(synced, written), statusText(x.now.Words[shmqueue.WordStatus]))
		}
	}
}

// isTerminal says whether somebody watches.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
