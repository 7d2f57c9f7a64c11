package commitlog

import (
	"os"
	"path/filepath"
	"testing"
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
