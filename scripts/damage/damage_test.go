package damage

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// tree makes a directory with two files of a log, and one of each other class.
func tree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, size := range map[string]int{
		"commitlog/1": 4000, "commitlog/2": 3000, "index/7/0": 700, "checkpoint/c": 100, "index.ckpt": 90, "TRIMQ": 20, "broker.id": 33, "trimq.toml": 50,
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i/Block + i%251 + size + 1)
		}
		b[size-1] |= 1
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.Walk(dir, func(path string, s os.FileInfo, err error) error {
		if err != nil || s.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path[len(dir)+1:]] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestHarms: each kind changes the file that it names, and no other; the same seed does the same.
func TestHarms(t *testing.T) {
	for class := range Classes {
		for _, kind := range Kinds {
			for seed := range uint64(5) {
				dir := tree(t)
				before := contents(t, dir)
				h, err := Plan(dir, class, kind, rand.New(rand.NewPCG(seed, 0)))
				if errors.Is(err, ErrNothing) {
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				if again, err := Plan(dir, class, kind, rand.New(rand.NewPCG(seed, 0))); again != h || err != nil {
					t.Errorf("%v, then %v %v", h, again, err)
				}
				if err := h.Do(dir); err != nil {
					t.Fatalf("%v: %v", h, err)
				}
				after := contents(t, dir)
				for name, b := range before {
					if touched := name == h.File || name == h.Other; touched == (after[name] == b) {
						t.Errorf("%v: %s touched: %v", h, name, touched)
					}
				}
			}
		}
	}
	if _, err := Plan(tree(t), "marker", SwapFiles, rand.New(rand.NewPCG(0, 0))); !errors.Is(err, ErrNothing) {
		t.Error(err)
	}
}
