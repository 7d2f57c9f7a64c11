package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/trimq/trimq/clients/perf/usage"
	"github.com/trimq/trimq/scripts/broker"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// quantity is something that must not grow.
type quantity struct {
	name  string
	unit  string
	slack int64 // it varies by so much
}

// quantities of each daemon.
var (
	memory     = quantity{"own memory", "KiB", 16 << 10}
	files      = quantity{"open files", "", 16}
	threads    = quantity{"threads", "", 8}
	goroutines = quantity{"goroutines", "", 16}
	segments   = quantity{"segments", "", 0}
)

// series is what was seen of one quantity of one daemon, in order of time.
type series struct {
	daemon string
	quantity
	at     []time.Duration // since the beginning
	values []int64
}

// samples are all series, by "daemon quantity".
type samples struct {
	list []*series
}

func (s *samples) add(at time.Duration, daemon string, q quantity, value int64) {
	i := slices.IndexFunc(s.list, func(x *series) bool { return x.daemon == daemon && x.name == q.name })
	if i < 0 {
		i = len(s.list)
		s.list = append(s.list, &series{daemon: daemon, quantity: q})
	}
	s.list[i].at, s.list[i].values = append(s.list[i].at, at), append(s.list[i].values, value)
}

// take looks at all daemons. One that is just being started is left out.
func (s *samples) take(at time.Duration, b *broker.Broker) {
	for name, u := range usage.Read(b.Config.RunDir) {
		if name == usage.ClientName {
			continue
		}
		s.add(at, name, memory, u.OwnBytes>>10)
		s.entries(at, name, files, fmt.Sprintf("/proc/%d/fd", u.PID))
		s.entries(at, name, threads, fmt.Sprintf("/proc/%d/task", u.PID))
	}
	n := int64(0)
	for k := b.KeyBase; k < b.KeyBase+4; k++ {
		if _, err := shmqueue.Stat(k); err == nil {
			n++
		}
	}
	s.add(at, "all", segments, n)
}

// entries counts those of a directory, if it is there still.
func (s *samples) entries(at time.Duration, daemon string, q quantity, dir string) {
	if list, err := os.ReadDir(dir); err == nil {
		s.add(at, daemon, q, int64(len(list)))
	}
}

// stacksWritten is within what time a daemon has its stacks in its log.
const stacksWritten = 500 * time.Millisecond

// countGoroutines has the daemons write their stacks (signal 3), and counts them.
func (s *samples) countGoroutines(at time.Duration, b *broker.Broker) {
	sizes := map[string]int64{}
	for _, name := range tier.Daemons {
		if info, err := os.Stat(logOf(b, name)); err == nil {
			sizes[name] = info.Size()
		}
	}
	if b.Signal("3") != nil {
		return // none runs at this moment
	}
	time.Sleep(stacksWritten)
	for _, name := range tier.Daemons {
		text, err := os.ReadFile(logOf(b, name))
		if err != nil || int64(len(text)) < sizes[name] {
			continue
		}
		if n := stacks(string(text[sizes[name]:])); n > 0 {
			s.add(at, name, goroutines, int64(n))
		}
	}
}

func logOf(b *broker.Broker, name string) string { return filepath.Join(b.Config.LogDir, name+".log") }

// stacks counts the goroutines in a text as the runtime writes it.
func stacks(text string) (n int) {
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "goroutine ") && strings.HasSuffix(strings.TrimSpace(line), "]:") {
			n++
		}
	}
	return n
}

// median of the values in [from, to) parts of the whole time; false where there is none.
func (x *series) median(from, to float64, whole time.Duration) (int64, bool) {
	var list []int64
	for i, at := range x.at {
		if part := float64(at) / float64(whole); part >= from && part < to {
			list = append(list, x.values[i])
		}
	}
	if len(list) == 0 {
		return 0, false
	}
	slices.Sort(list)
	return list[len(list)/2], true
}

// grows compares the second quarter with the last.
func (x *series) grows(whole time.Duration) (second, last int64, grown bool) {
	second, ok := x.median(0.25, 0.5, whole)
	last, ok2 := x.median(0.75, 1.01, whole)
	return second, last, ok && ok2 && last > second+second/4 && last > second+x.slack
}
