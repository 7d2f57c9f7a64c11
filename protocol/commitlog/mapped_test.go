package commitlog

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMappedPagesAreLetGo: a segment that is read through its mapping from one end to the other never has
// more than maxTouched of its pages in the process, and the bytes are the file's all the same, a second time too.
func TestMappedPagesAreLetGo(t *testing.T) {
	const step, size = 1 << 20, 3 * maxTouched
	path := filepath.Join(t.TempDir(), "segment")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < size; off += step {
		if _, err := f.WriteAt([]byte(fmt.Sprintf("%12d", off)), off); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	s, err := AdoptSegment(fd)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Release()
	most, sum := int64(0), byte(0)
	for range 2 {
		for off := int64(0); off < size; off += step {
			b := s.Bytes(off, step)
			if want := fmt.Sprintf("%12d", off); string(b[:12]) != want {
				t.Fatalf("at %d: %q", off, b[:12])
			}
			for i := 0; i < len(b); i += os.Getpagesize() {
				sum += b[i]
			}
			most = max(most, resident(t, path))
		}
	}
	if most == 0 || most > maxTouched+2*step {
		t.Errorf("%d bytes in the process at most, want no more than %d (%d)", most, maxTouched, sum)
	}
}

// resident is how many bytes of a file's mappings this process has.
func resident(t *testing.T, path string) int64 {
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		t.Skip("no /proc/self/smaps here:", err)
	}
	defer f.Close()
	sum, ours := int64(0), false
	for in := bufio.NewScanner(f); in.Scan(); {
		line := in.Text()
		if head, _, _ := strings.Cut(line, " "); strings.Contains(head, "-") {
			ours = strings.HasSuffix(line, path)
		}
		var kb int64
		if _, err := fmt.Sscanf(line, "Rss: %d kB", &kb); err == nil && ours {
			sum += kb << 10
		}
	}
	return sum
}

// TestSegmentGetsShorter: a file that ran ahead of the log, and was cut off there because the log goes on in
// another one, holds what it did, and nothing of what would have come into its zeros.
func TestSegmentGetsShorter(t *testing.T) {
	root := t.TempDir()
	path := filepath.Join(root, "segment")
	h := SegmentHeader{BaseLSN: 1, Capacity: 1 << 16, Salt: 1}
	must(t, os.WriteFile(path, append(h.Append(nil), make([]byte, 4096)...), 0o600))
	s, err := openSegment(root, listed{"segment", 0, SegmentHeaderSize}, nil)
	must(t, err)
	defer s.Release()
	if !s.holds(0, 100) {
		t.Fatal("it does not hold what it begins with")
	}
	must(t, os.Truncate(path, SegmentHeaderSize+200))
	for n, want := range map[int]bool{100: true, 200: true, 201: false, 4096: false} {
		if got := s.holds(0, n); got != want {
			t.Errorf("%d bytes of 200: %t", n, got)
		}
	}
}
