package shell

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/trimq/trimq/protocol/commitlog"
)

// An index that cannot be looked at has no known end: a reader who was told that it is beyond
// it would go on elsewhere.
func TestViewThatCannotLook(t *testing.T) {
	r, dir := osRig(t, script(31, 60))
	r.run(func() { t.Fatal("died") })
	v, err := commitlog.OpenView(filepath.Clean(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	ix, err := v.Index(1)
	if err != nil {
		t.Fatal(err)
	}
	next := r.model(60)[1].next
	if _, err := ix.Find(next); !errors.Is(err, commitlog.ErrBeyondEnd) {
		t.Fatal(err)
	}
	files := filepath.Dir(filepath.Join(dir, commitlog.IndexName(1, 0)))
	if err := os.Rename(files, files+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ix.Find(next); err == nil || errors.Is(err, commitlog.ErrBeyondEnd) {
		t.Errorf("a directory that cannot be read: %v", err)
	}
}

// A segment under the name of another has batches where the other has them, of other offsets: they
// must not be taken for those that are looked for.
func TestViewOfSwappedSegments(t *testing.T) {
	r, dir := osRig(t, script(31, 60))
	r.run(func() { t.Fatal("died") })
	segs, err := commitlog.ListSegments(commitlog.DirFS(dir))
	if err != nil || len(segs) < 3 {
		t.Fatal(segs, err)
	}
	at := func(i int) string { return filepath.Join(dir, segs[i].Name) }
	for _, pair := range [][2]string{{at(0), at(0) + commitlog.TmpSuffix}, {at(1), at(0)}, {at(0) + commitlog.TmpSuffix, at(1)}} {
		if err := os.Rename(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	v, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	for i := range segs {
		seg, _, err := v.At(segs[i].Position, 8)
		if swapped := i < 2; swapped != errors.Is(err, commitlog.ErrDamaged) {
			t.Errorf("segment %d: %v", i, err)
		}
		if err == nil {
			seg.Release()
		}
	}
}
