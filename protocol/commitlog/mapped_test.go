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
