package roomtest

import (
	"testing"
	"unsafe"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/shmqueue"
)

// Lane is an event loop's way into a ring of so many bytes, in plain memory; in takes what comes out of it.
// dir is that of the log that it reads. maxBatch is as session.Rings has it.
func Lane(tb testing.TB, capacity uint64, maxBatch int) (lane *session.Lane, in *shmqueue.Consumer, dir string) {
	tb.Helper()
	size := shmqueue.MemorySize(capacity)
	words := make([]uint64, (size+7)/8)
	mem := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), size)
	must(tb, shmqueue.Format(mem, capacity, 99))
	ring, err := shmqueue.Open(mem)
	must(tb, err)
	out, err := ring.Producer()
	must(tb, err)
	in, err = ring.Consumer()
	must(tb, err)
	dir = tb.TempDir()
	view, err := commitlog.OpenView(dir)
	must(tb, err)
	tb.Cleanup(func() { _ = view.Close() })
	return session.NewLane(&session.Rings{
		Requests: out, Capacity: capacity, MaxRecord: ring.MaxRecord(), MaxBatch: maxBatch, Bell: ring.Bell(),
		Status: ring.Word(shmqueue.WordStatus), View: view, Counters: shmqueue.HeapMetrics().Tier(shmqueue.TierConn), Loops: 1,
	}, 0), in, dir
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}
