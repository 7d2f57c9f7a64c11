package commitlog

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A start that moves is seen at once; one that does not fit its check is damage, whatever bit it is,
// and no offset is said to be gone, or to be there, because of it.
func TestStartIsChecked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, IndexName(7, 0))
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	h := IndexHeader{Slots: 16, Index: 7}
	b := h.Append(nil)
	for i := range uint64(4) {
		e := Entry{Offset: 10 * i, Position: 64, Length: 61, Count: 10}
		b = e.Append(b)
	}
	must(t, os.WriteFile(path, b, 0o644))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	v, err := OpenView(dir)
	must(t, err)
	defer v.Close()
	ix, err := v.Index(7)
	must(t, err)
	for _, start := range []uint64{0, 5, 20, 1 << 40} {
		words := AppendIndexStart(nil, start)
		_, err := f.WriteAt(words, IndexStartOffset)
		must(t, err)
		if got, err := ix.Start(); got != start || err != nil {
			t.Fatalf("start %d, want %d (%v)", got, start, err)
		}
		for bit := range 128 {
			words[bit/8] ^= 1 << (bit % 8)
			_, err := f.WriteAt(words, IndexStartOffset)
			must(t, err)
			if _, err := ix.Start(); !errors.Is(err, ErrDamaged) {
				t.Errorf("start %d with bit %d: %v", start, bit, err)
			}
			if _, err := ix.Find(25); !errors.Is(err, ErrDamaged) {
				t.Errorf("find with bit %d: %v", bit, err)
			}
			if _, err := ix.ByTime(0); !errors.Is(err, ErrDamaged) {
				t.Errorf("by time with bit %d: %v", bit, err)
			}
			words[bit/8] ^= 1 << (bit % 8)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
