package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// What processes use, from /proc. The daemons are found by the pid files in run_dir.

var tiers = []string{"connsrv", "logicsrv", "persistsrv"}

const clientName = "client"

// ticksPerSecond is Linux' USER_HZ, the unit of times in /proc/PID/stat on every architecture
// that Go runs on.
const ticksPerSecond = 100

// usage is what one process has used so far.
type usage struct {
	pid        int
	cpuSeconds float64
	peakBytes  int64 // VmHWM: shared memory that it has touched included
	heapBytes  int64 // RssAnon: its own
}

// usages reads this process and every daemon whose pid file names a live process.
func usages(runDir string) map[string]usage {
	all := map[string]usage{}
	if u, err := readUsage("/proc", os.Getpid()); err == nil {
		all[clientName] = u
	}
	for _, name := range tiers {
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

func readUsage(proc string, pid int) (usage, error) {
	dir := filepath.Join(proc, strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return usage{}, err
	}
	u := usage{pid: pid}
	if u.cpuSeconds, err = parseStat(string(stat)); err != nil {
		return usage{}, err
	}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return usage{}, err
	}
	u.peakBytes = statusBytes(string(status), "VmHWM:")
	u.heapBytes = statusBytes(string(status), "RssAnon:")
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

// watchMemory keeps the peaks of private memory until stop is closed, then gives them.
func watchMemory(runDir string, stop <-chan struct{}) <-chan map[string]int64 {
	out := make(chan map[string]int64, 1)
	go func() {
		peaks := map[string]int64{}
		tick := time.NewTicker(sampleEvery)
		defer tick.Stop()
		for {
			for name, u := range usages(runDir) {
				peaks[name] = max(peaks[name], u.heapBytes)
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

// processes says what was used between two readings.
func processes(before, after map[string]usage, peaks map[string]int64) []Process {
	var list []Process
	for _, name := range append([]string{clientName}, tiers...) {
		a, ok := after[name]
		if !ok {
			continue
		}
		b, known := before[name]
		p := Process{Name: name, PID: a.pid, CPUSeconds: a.cpuSeconds, PeakBytes: a.peakBytes, OwnBytes: max(a.heapBytes, peaks[name])}
		if known && b.pid == a.pid {
			p.CPUSeconds = float64(int64((a.cpuSeconds-b.cpuSeconds)*ticksPerSecond+0.5)) / ticksPerSecond
		} else {
			p.Restarted = true
		}
		list = append(list, p)
	}
	return list
}
