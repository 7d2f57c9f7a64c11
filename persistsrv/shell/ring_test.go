package shell

import (
	"testing"

	"github.com/trimq/trimq/shmqueue"
)

// TestRingsForWhatIsAwaited: while logicsrv sleeps, a cursor that moves wakes it from the LSN on that
// it has shown, and not before.
func TestRingsForWhatIsAwaited(t *testing.T) {
	r := newRig(t, script(11, 12))
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	rings := 0
	bell := r.ringA.Bell()
	bell.SetWake(func() { rings++ })
	bell.Ring() // the first wakes in any case
	await := func(written, synced uint64) {
		r.ringA.Word(shmqueue.WordAwaitWritten).Store(written)
		r.ringA.Word(shmqueue.WordAwaitSynced).Store(synced)
		bell.Arm()
		rings = 0
	}
	never := ^uint64(0)
	for _, c := range []struct {
		what            string
		written, synced uint64 // LSNs from now
		write, sync     int    // rings
	}{
		{"every move", 0, 0, 1, 0},
		{"no move", never, never, 0, 0},
		{"written", 1, never, 1, 0},
		{"synced", never, 1, 0, 1},
		{"later ones", 2, 2, 0, 0},
	} {
		lsn := uint64(r.sent)
		ahead := func(n uint64) uint64 {
			if n == 0 || n == never {
				return n
			}
			return lsn + n
		}
		await(ahead(c.written), ahead(c.synced))
		r.send(1)
		if _, err := r.sh.Step(); err != nil || rings != c.write {
			t.Fatalf("awaits %s: %d rings when it was written, %v; want %d", c.what, rings, err, c.write)
		}
		rings = 0
		if err := r.sh.SyncLog(); err != nil || rings != c.sync {
			t.Fatalf("awaits %s: %d rings when it was synced, %v; want %d", c.what, rings, err, c.sync)
		}
		r.follow()
	}
}

// TestSyncAtOnce: the loop syncs by itself only where that keeps nobody waiting.
func TestSyncAtOnce(t *testing.T) {
	r := newRig(t, script(11, 60))
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	awaited := r.ringA.Word(shmqueue.WordAwaitWritten)
	step := func() {
		t.Helper()
		r.send(1)
		if _, err := r.sh.Step(); err != nil {
			t.Fatal(err)
		}
		r.follow()
		r.sh.syncTook.Store(0) // whatever the machine is busy with
	}
	want := func(what string, want bool) {
		t.Helper()
		before := r.synced
		done, err := r.sh.SyncAtOnce()
		r.follow()
		if err != nil || done != want || done != (r.synced > before) || done && r.synced != r.told {
			t.Fatalf("%s: done %t, %v, synced %d → %d of %d", what, done, err, before, r.synced, r.told)
		}
	}
	step()
	want("nobody has said what is waited for", false)
	awaited.Store(^uint64(0))
	want("a moment ago somebody waited for the page cache", false)
	r.now += calmMS
	want("nobody has for a while", true)
	step()
	want("nobody does", true)
	step()
	r.sh.syncTook.Store(int64(calmSync) + 1)
	want("syncs take long", false)
	if err := r.sh.SyncLog(); err != nil {
		t.Fatal(err)
	}
	r.follow()
	if r.sh.syncTook.Load() == int64(calmSync)+1 {
		t.Fatal("nobody has noted how long the sync took")
	}
	step()
	want("they no longer do", true)
	step()
	r.sh.syncMu.Lock()
	want("another one is under way", false)
	r.sh.syncMu.Unlock()
	awaited.Store(uint64(r.sent) + 1)
	step()
	want("somebody waits for the page cache", false)
}
