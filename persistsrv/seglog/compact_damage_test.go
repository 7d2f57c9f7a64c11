package seglog

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// TestDamagedPacks: of what a damaged pack held nothing is passed over without a word. What is whole of it is there.
func TestDamagedPacks(t *testing.T) {
	const n = 20
	for _, harm := range []struct {
		name string
		do   func(t *testing.T, pack string)
		lost int // records at most; -1: all that the pack held
	}{
		{"a bit of a batch", func(t *testing.T, pack string) { turnBit(t, pack, commitlog.PackHeaderSize+80) }, 2},
		{"a bit of the header", func(t *testing.T, pack string) { turnBit(t, pack, 40) }, 0},
		{"a bit of the entries", func(t *testing.T, pack string) { turnBit(t, pack, -20) }, 0},
		{"the end", func(t *testing.T, pack string) {
			st, err := os.Stat(pack)
			if err == nil {
				err = os.Truncate(pack, st.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, -1},
		{"all of it", func(t *testing.T, pack string) {
			if err := os.Remove(pack); err != nil {
				t.Fatal(err)
			}
		}, -1},
	} {
		t.Run(harm.name, func(t *testing.T) {
			dir := t.TempDir()
			d := newLaundry(t, dir)
			for i := range n {
				d.put(i)
			}
			d.wash()
			d.log.Close()
			packs, err := commitlog.ListPacks(commitlog.DirFS(dir))
			if err != nil || len(packs) != 1 {
				t.Fatalf("%d packs: %v", len(packs), err)
			}
			harm.do(t, filepath.Join(dir, packs[0].Name))
			if sum, err := commitlog.Verify(commitlog.DirFS(dir), func(commitlog.Finding) {}); err != nil || sum.Errors == 0 {
				t.Errorf("verify finds %d errors, %v", sum.Errors, err)
			}
			fs, err := vfs.NewOS(dir)
			if err != nil {
				t.Fatal(err)
			}
			l, err := Open(Options{FS: fs, Now: func() int64 { return d.now }, Salt: salts.Uint64, Settings: d.log.set})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			there, damaged := whatIsThere(t, dir, 2*n)
			lost := 0
			for _, o := range lastOffsets(n) {
				if slices.Contains(there, o) {
					continue
				}
				if lost++; !slices.Contains(damaged, o) {
					t.Errorf("offset %d is passed over", o)
				}
			}
			if harm.lost >= 0 && lost > harm.lost {
				t.Errorf("%d records are lost: %v", lost, damaged)
			}
		})
	}
}

// turnBit changes a bit of a file, at an offset from its start or its end.
func turnBit(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// whatIsThere asks for each offset of an index: which records are there, and which are told to be damaged.
func whatIsThere(t *testing.T, dir string, end uint64) (there, damaged []uint64) {
	t.Helper()
	v := viewOf(t, dir)
	ix, err := v.Index(compactedIndex)
	if err != nil {
		t.Fatal(err)
	}
	for at := uint64(0); at < end; at++ {
		spans, err := ix.Spans(at, end, 1, nil)
		switch {
		case errors.Is(err, commitlog.ErrDamaged):
			damaged = append(damaged, at)
			continue
		case err != nil:
			t.Fatalf("offset %d: %v", at, err)
		}
		s := &spans[0]
		b := s.Seg.Bytes(s.Off, s.Len)
		if batch.Check(b) != nil {
			damaged = append(damaged, at)
		} else if err := batch.Iterate(b, func(rec *batch.Record) error {
			if rec.Offset == at {
				there = append(there, at)
			}
			return nil
		}); err != nil {
			t.Fatalf("offset %d: %v", at, err)
		}
		s.Seg.Release()
	}
	return there, damaged
}
