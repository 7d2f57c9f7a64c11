package commitlog

import (
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxTouched is how many bytes of segments a process reads through its mappings before it lets go of their
// pages. They stay in the page cache, and coming back to one costs a minor fault; but without this, all that
// was ever read would count as the process's own memory for whoever looks at it, and page tables would grow
// with the log.
const maxTouched = 32 << 20

// mappings are the segments of this process that are mapped.
var mappings struct {
	touched atomic.Int64 // bytes asked for since their pages were last let go

	mu   sync.Mutex
	segs []*Segment
}

// mapSegment maps a whole segment. Pages behind the file's end become readable when it grows.
func mapSegment(s *Segment) error {
	b, err := unix.Mmap(s.fd, 0, int(s.capacity), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	mappings.mu.Lock()
	defer mappings.mu.Unlock()
	s.mapped = b
	mappings.segs = append(mappings.segs, s)
	return nil
}

// unmapSegment ends mapSegment.
func unmapSegment(s *Segment) {
	mappings.mu.Lock()
	mappings.segs = slices.DeleteFunc(mappings.segs, func(o *Segment) bool { return o == s })
	mappings.mu.Unlock()
	_ = unix.Munmap(s.mapped) // of our own mapping, whole: it cannot fail
	s.mapped = nil
}

// touch counts bytes that are about to be read through a mapping.
func touch(n int) {
	if mappings.touched.Add(int64(n)) < maxTouched {
		return
	}
	mappings.mu.Lock()
	defer mappings.mu.Unlock()
	if mappings.touched.Swap(0) < maxTouched {
		return // another one was first
	}
	for _, s := range mappings.segs {
		// Who reads meanwhile finds the same bytes: the mapping is of a file, and shared.
		_ = unix.Madvise(s.mapped, unix.MADV_DONTNEED) // a kernel that refuses it keeps the pages: no harm
	}
}
