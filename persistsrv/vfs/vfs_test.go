package vfs

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// both runs a test over the operating system and over its twin.
func both(t *testing.T, f func(t *testing.T, fs FS)) {
	t.Run("OS", func(t *testing.T) {
		o, err := NewOS(filepath.Join(t.TempDir(), "new", "root"))
		if err != nil {
			t.Fatal(err)
		}
		f(t, o)
	})
	t.Run("Mem", func(t *testing.T) { f(t, NewMem()) })
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, fsys FS, name, content string) File {
	t.Helper()
	f, err := fsys.Create(name)
	must(t, err)
	_, err = f.WritevAt([][]byte{[]byte(content)}, 0)
	must(t, err)
	return f
}

func get(t testing.TB, f File) string {
	t.Helper()
	size, err := f.Size()
	must(t, err)
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n != len(b) || err != nil && err != io.EOF {
		t.Fatalf("read %d of %d: %v", n, len(b), err)
	}
	return string(b)
}

func TestNames(t *testing.T) {
	both(t, func(t *testing.T, fsys FS) {
		_, err := fsys.Open("a")
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("open what is not there: %v", err)
		}
		if _, err = fsys.Create("d/a"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("create where no directory is: %v", err)
		}
		if _, err := fsys.List("d"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("list what is not there: %v", err)
		}
		must(t, fsys.Mkdir("d/e"))
		must(t, fsys.Mkdir("d/e"))
		must(t, put(t, fsys, "d/b", "bb").Close())
		must(t, put(t, fsys, "d/a", "aa").Close())
		if _, err = fsys.Create("d/a"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("create what is there: %v", err)
		}
		if names, err := fsys.List("d"); err != nil || !slices.Equal(names, []string{"a", "b", "e"}) {
			t.Errorf("list: %v %v", names, err)
		}
		if err := fsys.Remove("d"); !errors.Is(err, unix.ENOTEMPTY) {
			t.Errorf("remove a directory that is not empty: %v", err)
		}
		old, err := fsys.Open("d/b")
		must(t, err)
		must(t, fsys.Rename("d/a", "d/b"))
		f, err := fsys.Open("d/b")
		must(t, err)
		if s := get(t, f); s != "aa" {
			t.Errorf("after rename: %q", s)
		}
		if s := get(t, old); s != "bb" {
			t.Errorf("a file that was replaced is still open and holds %q", s)
		}
		if err := fsys.Rename("d/a", "d/c"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("rename what is not there: %v", err)
		}
		must(t, fsys.Remove("d/b"))
		if err := fsys.Remove("d/b"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("remove twice: %v", err)
		}
		must(t, fsys.SyncDir("d"))
		must(t, fsys.SyncDir(""))
		must(t, fsys.Remove("d/e"))
		if free, total, err := fsys.Space(); err != nil || free == 0 || total < free {
			t.Errorf("space: %d of %d, %v", free, total, err)
		}
	})
}

func TestFile(t *testing.T) {
	both(t, func(t *testing.T, fsys FS) {
		f, err := fsys.Create("f")
		must(t, err)
		// More buffers than one system call takes, some of them empty.
		var bufs [][]byte
		var want []byte
		for i := range 2500 {
			b := bytes.Repeat([]byte{byte(i)}, i%7)
			bufs, want = append(bufs, b), append(want, b...)
		}
		n, err := f.WritevAt(bufs, 100)
		if err != nil || n != len(want) {
			t.Fatalf("wrote %d of %d: %v", n, len(want), err)
		}
		if got := get(t, f); got != string(make([]byte, 100))+string(want) {
			t.Error("reads something else than was written")
		}
		must(t, f.Reserve(1<<16))
		if size, err := f.Size(); err != nil || size != int64(100+len(want)) {
			t.Errorf("size %d after Reserve: %v", size, err)
		}
		b := make([]byte, 50)
		if n, err := f.ReadAt(b, int64(80+len(want))); n != 20 || err != io.EOF {
			t.Errorf("read at the end: %d, %v", n, err)
		}
		must(t, f.Truncate(130))
		must(t, f.Truncate(140))
		if got := get(t, f); got != string(make([]byte, 100))+string(want[:30])+string(make([]byte, 10)) {
			t.Error("what was cut off came back")
		}
		must(t, f.Sync())
		must(t, f.Close())
	})
}

func TestLock(t *testing.T) {
	both(t, func(t *testing.T, fsys FS) {
		l, err := fsys.Lock("L")
		must(t, err)
		if _, err := fsys.Lock("L"); !errors.Is(err, ErrLocked) {
			t.Errorf("locked twice: %v", err)
		}
		must(t, l.Close())
		l, err = fsys.Lock("L")
		must(t, err)
		must(t, l.Close())
	})
}

// TestTwins does the same random calls to both and compares what they answer.
func TestTwins(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "vfs")
		must(t, err)
		defer os.RemoveAll(dir)
		o, err := NewOS(dir)
		must(t, err)
		m := NewMem()
		name := rapid.SampledFrom([]string{"a", "b", "d/a", "d/b", "d"})
		for range rapid.IntRange(1, 40).Draw(rt, "calls") {
			n1, n2 := name.Draw(rt, "name"), name.Draw(rt, "other name")
			off, size := rapid.Int64Range(0, 9000).Draw(rt, "offset"), rapid.IntRange(0, 5000).Draw(rt, "size")
			op := rapid.SampledFrom([]string{"create", "write", "truncate", "remove", "rename", "mkdir", "list", "read"}).Draw(rt, "op")
			a, ea := apply(o, op, n1, n2, off, size)
			b, eb := apply(m, op, n1, n2, off, size)
			if a != b || (ea == nil) != (eb == nil) {
				rt.Fatalf("%s %s %s: %q %v, the twin %q %v", op, n1, n2, a, ea, b, eb)
			}
		}
	})
}

func apply(fsys FS, op, n1, n2 string, off int64, size int) (string, error) {
	switch op {
	case "create":
		f, err := fsys.Create(n1)
		if err != nil {
			return "", err
		}
		return "", f.Close()
	case "remove":
		return "", fsys.Remove(n1)
	case "rename":
		if filepath.Dir(n1) != filepath.Dir(n2) || n1 == "d" || n2 == "d" || n1 == n2 {
			return "", nil
		}
		return "", fsys.Rename(n1, n2)
	case "mkdir":
		return "", fsys.Mkdir("d")
	case "list":
		names, err := fsys.List("")
		return strings.Join(names, " "), err
	}
	f, err := fsys.Open(n1)
	if err != nil {
		return "", err
	}
	defer f.Close()
	switch op {
	case "write":
		_, err = f.WritevAt([][]byte{bytes.Repeat([]byte{byte(size)}, size), {1, 2, 3}}, off)
		return "", err
	case "truncate":
		return "", f.Truncate(off)
	}
	b := make([]byte, size)
	n, err := f.ReadAt(b, off)
	if err == io.EOF {
		err = nil
	}
	return string(b[:n]), err
}

// TestCrash shows what a power cut keeps: all that was synced, and of the rest some sectors
// and names, in the end every combination.
func TestCrash(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(400) {
		m := NewMem()
		f := put(t, m, "synced", strings.Repeat("s", 1024))
		must(t, f.Sync())
		must(t, m.SyncDir(""))
		_, err := f.WritevAt([][]byte{bytes.Repeat([]byte("u"), 1024)}, 512)
		must(t, err)
		must(t, put(t, m, "new", "n").Close())
		m.Crash(rand.New(rand.NewPCG(seed, 0)))
		if _, err := f.Size(); !errors.Is(err, ErrStale) {
			t.Fatalf("a file outlives the machine: %v", err)
		}
		g, err := m.Open("synced")
		must(t, err)
		s := get(t, g)
		if len(s) < 1024 || s[:512] != strings.Repeat("s", 512) {
			t.Fatalf("seed %d: synced bytes are gone: %d", seed, len(s))
		}
		_, err = m.Open("new")
		state := s[512:513] + s[1023:1024] + string(rune('0'+(len(s)-1024+511)/512))
		if len(s) > 1024 {
			state += string(s[len(s)-1])
		}
		if err == nil {
			state += "+"
		}
		seen[state] = true
	}
	for _, want := range []string{"ss0", "ss0+", "ss1u", "uu0", "uu0+", "uu1u", "uu1u+"} {
		if !seen[want] {
			t.Errorf("never saw %s among %v", want, seen)
		}
	}
	for s := range seen {
		if s[0] != s[1] {
			t.Errorf("%s: a sector was torn", s)
		}
	}
}

// TestFailedSyncDropsPages shows the twin to be as unforgiving as Linux: after a sync that
// failed, the next one says yes and the bytes are on no disk.
func TestFailedSyncDropsPages(t *testing.T) {
	m := NewMem()
	f := put(t, m, "f", "old")
	must(t, f.Sync())
	must(t, m.SyncDir(""))
	_, err := f.WritevAt([][]byte{[]byte("new")}, 0)
	must(t, err)
	m.SetFault(func(c Call) error {
		if c.Op == "sync" {
			return unix.EIO
		}
		return nil
	})
	if err := f.Sync(); !errors.Is(err, unix.EIO) {
		t.Fatal(err)
	}
	m.SetFault(nil)
	must(t, f.Sync())
	if s := get(t, f); s != "new" {
		t.Fatalf("the page cache has %q", s)
	}
	m.Crash(rand.New(rand.NewPCG(1, 1)))
	f, err = m.Open("f")
	must(t, err)
	if s := get(t, f); s != "old" {
		t.Fatalf("the disk has %q", s)
	}
}

// TestCapacity shows how the twin is full: Reserve fails as a whole, a write where the room
// ends, and what is removed makes room.
func TestCapacity(t *testing.T) {
	m := NewMem()
	m.SetCapacity(5 * pageSize)
	f := put(t, m, "f", "x")
	if err := f.Reserve(6 * pageSize); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
	must(t, f.Reserve(4*pageSize))
	g, err := m.Create("g")
	must(t, err)
	n, err := g.WritevAt([][]byte{make([]byte, pageSize), make([]byte, pageSize)}, 0)
	if n != pageSize || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("wrote %d: %v", n, err)
	}
	_, err = f.WritevAt([][]byte{make([]byte, 4*pageSize)}, 0)
	must(t, err) // it was reserved
	must(t, m.Remove("f"))
	_, err = g.WritevAt([][]byte{make([]byte, 3*pageSize)}, 0)
	must(t, err)
}

// TestPartialWrite shows a write that stops in the middle.
func TestPartialWrite(t *testing.T) {
	m := NewMem()
	f := put(t, m, "f", "")
	m.SetFault(func(Call) error { return &Partial{N: 5, Err: unix.EIO} })
	if n, err := f.WritevAt([][]byte{[]byte("abc"), []byte("defg")}, 0); n != 5 || !errors.Is(err, unix.EIO) {
		t.Fatal(n, err)
	}
	m.SetFault(nil)
	if s := get(t, f); s != "abcde" {
		t.Fatal(s)
	}
}
