package session

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/protocol/batch"
)

// A page that is not there is an error, not the end of the process; a bug stays one.
func TestUnreadablePageIsAnError(t *testing.T) {
	var b batch.Builder
	for i := range 100 {
		b.Add(int64(i), nil, make([]byte, 200), nil)
	}
	whole := b.Seal(batch.None, batch.NoProducer, 0, 0)
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mem, err := unix.Mmap(int(f.Fd()), 0, len(whole), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	if _, _, err := SliceMapped(nil, mem, batch.Place{}, 80, 5); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	if out, _, err := SliceMapped([]byte("x"), mem, batch.Place{}, 80, 5); err == nil || string(out) != "x" {
		t.Fatalf("%q %v", out, err)
	}
	if _, _, err := SliceMapped(nil, mem, batch.Place{}, 0, 5); err != nil {
		t.Errorf("what can be read: %v", err)
	}
	var c batch.Cutter
	if out, _, err := takeMapped(&c, []byte("x"), mem, 1, 80, 5, 1<<20); err == nil || string(out) != "x" {
		t.Fatalf("%q %v", out, err)
	}
	if _, n, err := takeMapped(&c, nil, mem, 2, 0, 5, 1<<20); err != nil || n != 5 {
		t.Errorf("what can be read: %d, %v", n, err)
	}
	defer func() {
		if recover() == nil {
			t.Error("a bug was swallowed")
		}
	}()
	_ = asFault("a bug")
}
