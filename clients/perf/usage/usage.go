package usage

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Tiers are the daemons.
var Tiers = []string{"connsrv", "logicsrv", "persistsrv"}

// ClientName is what the calling process is called.
const ClientName = "client"

// ticksPerSecond is Linux' USER_HZ, the unit of times in /proc/PID/stat on every architecture
// that Go runs on.
const ticksPerSecond = 100

// Use is what one process has used so far.
type Use struct {
	PID        int
	CPUSeconds float64
	PeakBytes  int64 // VmHWM: shared memory that it has touched included
	OwnBytes   int64 // RssAnon: its own
}

// Read reads this process and every daemon whose pid file names a live process.
func Read(runDir string) map[string]Use {
	all := map[string]Use{}
	if u, err := readUsage("/proc", os.Getpid()); err == nil {
		all[ClientName] = u
	}
	for _, name := range Tiers {
		pid, err := readPID(filepath.Join(runDir, name+".pid"))
		if err != nil {
			continue
		}
		if u, err := readUsage("/proc", pid); err == nil {
			all[name] = u
		}
	}
	return all
}

func readPID(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(b)))
}

func readUsage(proc string, pid int) (Use, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return Use{}, err
	}
	u := Use{PID: pid}
	if u.CPUSeconds, err = parseStat(string(stat)); err != nil {
		return Use{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return Use{}, err
	}
	u.PeakBytes = statusBytes(string(status), "VmHWM:")
	u.OwnBytes = statusBytes(string(status), "RssAnon:")
	return u, nil
}

// parseStat adds utime and stime, the 14th and 15th field. The second is the command in
// parentheses, which may itself hold spaces and parentheses.
func parseStat(line string) (float64, error) {
	end := strings.LastIndexByte(line, ')')
	fields := strings.Fields(line[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("/proc stat %q is not understood", line)
	}
	user, err := strconv.ParseUint(fields[11], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc stat: %w", err)
	}
	system, err := strconv.ParseUint(fields[12], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc stat: %w", err)
	}
	return float64(user+system) / ticksPerSecond, nil
}

// statusBytes reads a line of /proc/PID/status such as "VmHWM:  123 kB"; 0 if it is not there.
func statusBytes(status, name string) int64 {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			kb, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}

// Process is one process's part in a report.
type Process struct {
	Name       string  `json:"name"`
	PID        int     `json:"pid"`
	CPUSeconds float64 `json:"cpu_seconds"`               // during the measured time
	PeakBytes  int64   `json:"peak_memory_bytes"`         // VmHWM: since its start, shared memory and mapped files included
	OwnBytes   int64   `json:"peak_private_memory_bytes"` // the most that was seen during the run of its own alone
	Restarted  bool    `json:"restarted,omitempty"`       // CPUSeconds counts the new process only
}

// sampleEvery is how often private memory is looked at: the kernel keeps no peak of it.
const sampleEvery = 200 * time.Millisecond

// Watch keeps the peaks of private memory until stop is closed, then gives them.
func Watch(runDir string, stop <-chan struct{}) <-chan map[string]int64 {
	out := make(chan map[string]int64, 1)
	go func() {
		peaks := map[string]int64{}
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			for name, u := range Read(runDir) {
				peaks[name] = max(peaks[name], u.OwnBytes)
			}
			select {
			case <-tick.C:
			case <-stop:
				out <- peaks
				return
			}
		}
	}()
	return out
}

// Between says what was used between two readings.
func Between(before, after map[string]Use, peaks map[string]int64) []Process {
	var list []Process
	for _, name := range append([]string{ClientName}, Tiers...) {
		a, ok := after[name]
		if !ok {
			continue
		}
		b, known := before[name]
		p := Process{Name: name, PID: a.PID, CPUSeconds: a.CPUSeconds, PeakBytes: a.PeakBytes, OwnBytes: max(a.OwnBytes, peaks[name])}
		if known && b.PID == a.PID {
			p.CPUSeconds = float64(int64((a.CPUSeconds-b.CPUSeconds)*ticksPerSecond+0.5)) / ticksPerSecond
		} else {
			p.Restarted = true
		}
		list = append(list, p)
	}
	return list
}
