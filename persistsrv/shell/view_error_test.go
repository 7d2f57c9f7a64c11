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
