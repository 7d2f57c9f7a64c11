package commitlog

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// vanishing lists one file more than there is: it was removed between the list and the look.
type vanishing struct {
	FS
	name string
}

func (v vanishing) List(dir string) ([]string, error) {
	names, err := v.FS.List(dir)
	return append([]string{v.name}, names...), err
}

// TestSegmentRemovedWhileListing: persistsrv removes dead segments when it begins a new one, which is
// also when readers look for that. One that vanishes under their eyes hides none of the others.
func TestSegmentRemovedWhileListing(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, LogDir), 0o700); err != nil {
		t.Fatal(err)
	}
	h := SegmentHeader{Position: 4096, BaseLSN: 7, Capacity: 1 << 20}
	if err := os.WriteFile(filepath.Join(dir, SegmentName(4096)), h.Append(nil), 0o600); err != nil {
		t.Fatal(err)
	}
	segs, err := ListSegments(vanishing{DirFS(dir), filepath.Base(SegmentName(0))})
	if err != nil || len(segs) != 1 || segs[0].Position != 4096 {
		t.Fatalf("%+v, %v", segs, err)
	}
}

// TestAdoptSegment: a file that another program has left open is read, though its name is gone, and
// closed with the last reference; what is no segment's is refused.
func TestAdoptSegment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "segment")
	if err := os.WriteFile(path, []byte("what waits to be sent"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s, err := AdoptSegment(fd)
	if err != nil {
		t.Fatal(err)
	}
	s.Retain()
	s.Release()
	if b := s.Bytes(5, 5); string(b) != "waits" || s.Fd() != fd {
		t.Errorf("%q of descriptor %d", b, s.Fd())
	}
	s.Release()
	for unix.Fstat(fd, new(unix.Stat_t)) == nil {
		runtime.Gosched() // it is closed beside us
	}
	if _, err := AdoptSegment(fd); err == nil {
		t.Error("a closed descriptor is taken")
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	if _, err := AdoptSegment(pipe[0]); err == nil {
		t.Error("a pipe is taken")
	}
}
