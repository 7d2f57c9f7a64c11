package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

// What runs within the virtual machine: before the cut, and after it on the same disk.

// guestDisk is where the disk is mounted that loses its power.
const guestDisk = "/mnt/d"

// unacknowledged is how many messages of a stream may have been sent and stored whose acknowledgement did not
// reach the outside: more than a producer's window has.
const unacknowledged = 20_000

// guestBroker is a broker on the disk, with the programs beside this one.
func guestBroker() (*broker.Broker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return broker.NewAt(filepath.Dir(self), guestDisk, layout)
}

// guestWrite loads a broker, tells the outside of each acknowledgement as it comes, and asks for the cut.
func guestWrite(s *settings) error {
	b, err := guestBroker()
	if err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return fmt.Errorf("%w\n%s", err, b.Logs())
	}
	r := rand.New(rand.NewPCG(s.seed, 0))
	l := newLoad(0, r)
	report(l, os.Stdout)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := l.begin(ctx, b.Addr); err != nil {
		return err
	}
	time.Sleep(time.Duration(2000+r.IntN(6000)) * time.Millisecond)
	if r.IntN(3) == 0 { // or what is at level page is synced with the rest
		l.hush()
		time.Sleep(time.Duration(500+r.IntN(1500)) * time.Millisecond)
	}
	fmt.Println("CUT-NOW")
	<-ctx.Done() // the work goes on until there is no more power
	return errors.Join(l.end(), errors.New("nobody has cut the power"))
}

// report has a load tell the outside what it was promised. A line that the cut takes away is a promise less
// to check.
func report(l *load, to io.Writer) {
	var mu sync.Mutex
	tell := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(to, format, args...)
	}
	for i, s := range l.streams {
		s.told = func(n int) { tell("acked %d %d\n", i, n) }
	}
	queue := l.streams[len(l.streams)-1]
	l.told = func(how settlement, v string) {
		if n, err := queue.numberOf(v); err == nil {
			tell("%s %d\n", how, n)
		}
	}
}

// guestCheck starts a broker on what is left and judges it by what was told before the cut.
func guestCheck(s *settings, path string) error {
	l := newLoad(0, rand.New(rand.NewPCG(s.seed, 0)))
	if err := l.recall(path); err != nil {
		return err
	}
	b, err := guestBroker()
	if err != nil {
		return err
	}
	if err := b.Start(); err != nil {
		return fmt.Errorf("%w: the broker does not start on what is left: %w\n%s", errWrong, err, b.Logs())
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	t, wrong, err := l.check(ctx, b.Addr)
	if err != nil {
		return fmt.Errorf("%w\n%s", err, b.Logs())
	}
	if out, err := b.Program("trimq", "log", "verify", b.Config.DataDir); err != nil {
		wrong = append(wrong, fmt.Sprintf("trimq log verify: %v\n%s", err, out))
	}
	fmt.Println(t)
	if len(wrong) > 0 {
		return fmt.Errorf("%w:\n%s", errWrong, strings.Join(wrong, "\n"))
	}
	return b.Cleanup()
}

// recall makes a load what it was when the power was cut, from what it told.
func (l *load) recall(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	acked, settled := make([]map[int]bool, len(l.streams)), map[int]settlement{}
	for i := range acked {
		acked[i] = map[int]bool{}
	}
	for in := bufio.NewScanner(f); in.Scan(); {
		var stream, n int
		var how settlement
		if _, err := fmt.Sscanf(in.Text(), "acked %d %d", &stream, &n); err == nil && stream < len(acked) {
			acked[stream][n] = true
		} else if _, err := fmt.Sscanf(in.Text(), "%s %d", &how, &n); err == nil && (how == asked || how == confirmed) {
			settled[n] = how
		}
	}
	for i, s := range l.streams {
		end := unacknowledged
		for n := range acked[i] {
			end = max(end, n+unacknowledged)
		}
		all := s.values()
		for n := range end {
			v, _ := all.next()
			s.sent, s.acked = append(s.sent, v), append(s.acked, acked[i][n])
			if s.topic == "" && settled[n] != "" {
				l.settled[v] = settled[n]
			}
		}
	}
	return nil
}
