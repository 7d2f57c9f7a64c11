package reactor

import (
	"fmt"
	"io"
	"testing"

	"golang.org/x/sys/unix"
)

// cpuSeconds is what this process (sender and receiver) has used.
func cpuSeconds() float64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
}

// BenchmarkSend sends ranges of a file to one connection, each asked for on its own and up
// to 16 at a time: from the mapping (writev) and by sendfile, from the page cache and, as
// far as the file system lets it be dropped, from the disk. The figure that decides which
// ranges go which way is CPU-s/GB, which counts sender and receiver.
func BenchmarkSend(b *testing.B) {
	const fileBytes = 64 << 20
	for _, cold := range []bool{false, true} {
		for _, mapped := range []bool{true, false} {
			for _, n := range []int{4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
				name := fmt.Sprintf("cold=%v/mapped=%v/%dKiB", cold, mapped, n>>10)
				b.Run(name, func(b *testing.B) { benchmarkSend(b, fileBytes, n, mapped, cold) })
			}
		}
	}
}

func benchmarkSend(b *testing.B, fileBytes, n int, mapped, cold bool) {
	limits := testLimits
	limits.MemoryBytes = 16 << 20
	s := startServer(b, 1, "127.0.0.1:0", limits)
	file := newTestFile(b, fileBytes, mapped)
	if err := file.f.Sync(); err != nil {
		b.Fatal(err)
	}
	s.env.file.Store(file)
	c := s.dial()
	const window = 16
	asked, off := 0, 0
	ask := func() {
		if cold && off == 0 {
			_ = unix.Madvise(file.mem, unix.MADV_DONTNEED)
			_ = unix.Fadvise(int(file.f.Fd()), 0, 0, unix.FADV_DONTNEED)
		}
		write(b, c, rangeFrame(off, n))
		asked++
		if off += n; off+n > fileBytes {
			off = 0
		}
	}
	b.SetBytes(int64(n))
	b.ResetTimer()
	before := cpuSeconds()
	buf := make([]byte, n)
	for i := range b.N {
		for asked < b.N && asked < i+window {
			ask()
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	total := float64(b.N) * float64(n) / 1e9
	b.ReportMetric((cpuSeconds()-before)/total, "CPU-s/GB")
	b.ReportMetric(float64(s.counters.cold.Load())/float64(b.N*n)*100, "%sendfile")
}
