package shell

import (
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/shmqueue"
)

// TestScript shows the way of a script into log and indexes, and that both rings are free at
// its end.
func TestScript(t *testing.T) {
	r := newRig(t, script(1, 120))
	r.run(func() { t.Fatal("died") })
	if n := r.logged(); n != 120 {
		t.Fatalf("the log has %d entries", n)
	}
	r.checkIndexes(120)
	for range 5 {
		if _, err := r.sh.Step(); err != nil {
			t.Fatal(err)
		}
	}
	r.follow()
	if r.ringC.Head() != r.ringC.Tail() || r.ringA.Head() != r.ringA.Tail() {
		t.Fatalf("ring C holds %d bytes, ring A %d", r.ringC.Tail()-r.ringC.Head(), r.ringA.Tail()-r.ringA.Head())
	}
	if read := r.ringC.Word(shmqueue.WordRead).Load(); read != r.ringC.Tail() {
		t.Fatalf("read is %d, the ring's tail %d", read, r.ringC.Tail())
	}
	if lsns, err := commitlog.ListCheckpoints(vfs.Reading(r.mem)); err != nil || len(lsns) != 2 {
		t.Fatalf("checkpoints %v, %v", lsns, err)
	}
	_, lsn, from, err := commitlog.LatestCheckpoint(vfs.Reading(r.mem))
	if err != nil || lsn != 114 || from != 111 {
		t.Fatalf("latest checkpoint lsn %d, results from %d: %v", lsn, from, err)
	}
}
