package shell

import (
	"slices"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
)

// BenchmarkLongestStep lets checkpoints of logicsrv, of 100 MB each, pass between entries, and says
// how long the longest step of the writer was meanwhile: the median of b.N, and the worst.
func BenchmarkLongestStep(b *testing.B) {
	for _, c := range []struct {
		name  string
		parts uint32 // of 200 KiB
	}{{"without", 0}, {"100MB", 500}} {
		b.Run(c.name, func(b *testing.B) {
			r := newBenchRig(b, 4<<10)
			kicks, idle := make(chan bool, 1), make(chan error)
			go func() {
				for range kicks {
					if err := r.sh.Maintain(); err != nil {
						idle <- err
						return
					}
				}
				idle <- nil
			}()
			var longest []time.Duration
			for range b.N {
				longest = append(longest, r.checkpoint(c.parts, func() {
					select {
					case kicks <- true:
					default:
					}
				}))
				r.restart()
			}
			close(kicks)
			if err := <-idle; err != nil {
				b.Fatal(err)
			}
			slices.Sort(longest)
			b.ReportMetric(float64(longest[len(longest)/2].Microseconds())/1000, "ms-median-longest")
			b.ReportMetric(float64(longest[len(longest)-1].Microseconds())/1000, "ms-worst-longest")
			b.ReportMetric(0, "ns/op") // says nothing
		})
	}
}

// checkpoint sends one in parts, an entry before each, and returns the longest step.
func (r *benchRig) checkpoint(parts uint32, maintain func()) (longest time.Duration) {
	bytes := make([]byte, 200<<10)
	for i := range max(parts, 500) {
		r.put(ipc.LevelPage)
		if i < parts {
			p := ipc.CheckpointPart{LSN: 1, ResultsFrom: 1, Part: i, Parts: parts, Bytes: bytes}
			r.buf = p.Append(r.buf[:0])
			if _, err := r.prodC.Put(uint16(ipc.TypeCheckpoint), 0, r.buf); err != nil {
				r.b.Fatal(err)
			}
		}
		start := time.Now()
		r.step()
		longest = max(longest, time.Since(start))
		if r.sh.MaintainDue() {
			maintain()
		}
	}
	return longest
}
