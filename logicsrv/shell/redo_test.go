package shell

import (
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// TestRedoneInputStaysUntilItsEntryIsDurable: a batch whose producer was content with less than its
// topic's level is answered again after a restart, and yet stays in ring 12345 until its entry is
// synced: should the sync fail, persistsrv writes the entry again from there.
func TestRedoneInputStaysUntilItsEntryIsDurable(t *testing.T) {
	r := ready(t, 1<<16)
	head := r.a.Head()
	r.produce(ipc.LevelPage)
	r.settle()
	r.write()
	r.settle()
	r.want("appended req=2 base=0")
	if r.a.Head() != head {
		t.Fatal("ring 12345 was released before the topic's level was reached")
	}
	if rec := r.start(); rec.Known != 1 {
		t.Fatalf("%d inputs are known", rec.Known)
	}
	r.settle()
	r.want("marker term=2 ask=1", "appended req=2 base=0")
	if r.a.Head() != head {
		t.Fatal("after the restart ring 12345 was released before the topic's level was reached")
	}
	r.sync()
	r.settle()
	if r.a.Head() != r.a.Tail() {
		t.Fatalf("ring 12345 is released up to %d, it ends at %d", r.a.Head(), r.a.Tail())
	}
}

// TestFullLogRingHidesNoInput: while a checkpoint waits for room in ring 65432 the shell must not
// fall asleep beside an input whose bell rang a moment too early.
func TestFullLogRingHidesNoInput(t *testing.T) {
	r := ready(t, 1<<16)
	r.shell.checkpoint.wanted = true
	other := make([]byte, 1024)
	for { // the log's ring is full of what persistsrv has not released
		if _, err := r.shell.logOut.Put(uint16(ipc.TypeCheckpoint), 0, other); err != nil {
			break
		}
	}
	for { // to the last byte
		if _, err := r.shell.logOut.Put(uint16(ipc.TypeCheckpoint), 0, other[:16]); err != nil {
			break
		}
	}
	r.settle()
	if r.shell.checkpoint.out.total == 0 {
		t.Fatal("the checkpoint found room")
	}
	if !r.shell.stillIdle() {
		t.Fatal("nothing to do, and not idle")
	}
	r.topic() // exists already: an answer without room in ring 65432
	if r.shell.stillIdle() {
		t.Fatal("an input is there, and the shell would sleep")
	}
}
