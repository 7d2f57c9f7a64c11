package vfs

import (
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"
)

// memFile is an open file of one life of the process.
type memFile struct {
	m      *Mem
	n      *node
	name   string
	life   uint64
	closed bool
}

// enter begins a call. REQUIRES: m.mu is held.
func (f *memFile) enter(op string) error {
	if f.life != f.m.life {
		return &fs.PathError{Op: op, Path: f.name, Err: ErrStale}
	}
	if f.closed {
		return &fs.PathError{Op: op, Path: f.name, Err: fs.ErrClosed}
	}
	return f.m.enter(op, f.name)
}

// ReadAt implements io.ReaderAt.
func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("read"); err != nil {
		return 0, err
	}
	n := 0
	for n < len(p) && off+int64(n) < f.n.size {
		at := off + int64(n)
		part := min(int64(len(p)-n), pageSize-at%pageSize, f.n.size-at)
		dst := p[n : n+int(part)]
		if page := f.n.pages[at/pageSize]; page != nil {
			copy(dst, page[at%pageSize:])
		} else {
			clear(dst)
		}
		n += int(part)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WritevAt implements File.
func (f *memFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	limit := -1
	err := f.enter("write")
	var partial *Partial
	if errors.As(err, &partial) {
		limit = partial.N
	} else if err != nil {
		return 0, err
	}
	n := 0
	for _, b := range bufs {
		if limit >= 0 {
			b = b[:min(len(b), limit-n)]
		}
		done := f.write(b, off+int64(n))
		n += done
		if done < len(b) {
			return n, &fs.PathError{Op: "write", Path: f.name, Err: unix.ENOSPC}
		}
	}
	if partial != nil {
		return n, f.m.give("write", f.name, partial.Err)
	}
	return n, nil
}

// write copies into the pages as far as there is space.
func (f *memFile) write(b []byte, off int64) int {
	n := 0
	for n < len(b) {
		at := off + int64(n)
		page := f.n.pages[at/pageSize]
		if page == nil {
			if !f.room(int64(len(f.n.pages)+1)*pageSize, f.n.reserved) {
				return n
			}
			page = new([pageSize]byte)
			f.n.pages[at/pageSize] = page
		}
		n += copy(page[at%pageSize:], b[n:])
		f.n.dirty[at/pageSize] = true
		f.n.size = max(f.n.size, off+int64(n))
	}
	return n
}

// room says whether the file may come to take so many bytes of pages and of reserved space.
func (f *memFile) room(pages, reserved int64) bool {
	if f.m.capacity == 0 {
		return true
	}
	want := max(pages, (reserved+pageSize-1)/pageSize*pageSize)
	return want <= f.n.taken() || f.m.used()-f.n.taken()+want <= f.m.capacity
}

// Sync implements File. As on Linux, a sync that fails leaves the pages clean but not
// written: a second sync finds nothing to do, and says yes.
func (f *memFile) Sync() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("sync"); err != nil {
		clear(f.n.dirty)
		return err
	}
	if f.m.lies {
		return nil
	}
	for p := range f.n.dirty {
		f.n.persistPage(p)
	}
	clear(f.n.dirty)
	f.n.cutDisk(f.n.size)
	return nil
}

func (n *node) persistPage(p int64) {
	src := n.pages[p]
	if src == nil {
		delete(n.onDisk, p)
		return
	}
	dst := n.onDisk[p]
	if dst == nil {
		dst = new([pageSize]byte)
		n.onDisk[p] = dst
	}
	*dst = *src
}

// cutDisk sets the size on the disk; what lay behind is gone.
func (n *node) cutDisk(size int64) {
	if size < n.diskSize {
		cutPages(n.onDisk, size)
	}
	n.diskSize = size
}

func cutPages(pages map[int64]*[pageSize]byte, size int64) {
	for p, page := range pages {
		switch from := size - p*pageSize; {
		case from <= 0:
			delete(pages, p)
		case from < pageSize:
			clear(page[from:])
		}
	}
}

// Reserve implements File.
func (f *memFile) Reserve(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("reserve"); err != nil {
		return err
	}
	if !f.room(int64(len(f.n.pages))*pageSize, max(size, f.n.reserved)) {
		return &fs.PathError{Op: "reserve", Path: f.name, Err: unix.ENOSPC}
	}
	f.n.reserved = max(f.n.reserved, size)
	return nil
}

// Truncate implements File.
func (f *memFile) Truncate(size int64) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("truncate"); err != nil {
		return err
	}
	if size < f.n.size {
		cutPages(f.n.pages, size)
		if size%pageSize != 0 && f.n.pages[size/pageSize] != nil {
			f.n.dirty[size/pageSize] = true
		}
		for p := range f.n.dirty {
			if p*pageSize >= size {
				delete(f.n.dirty, p)
			}
		}
		for p := range f.n.onDisk {
			if p*pageSize >= size {
				f.n.dirty[p] = true // to be found gone by the next Sync
			}
		}
	}
	if size <= f.n.size {
		f.n.reserved = min(f.n.reserved, size)
	}
	f.n.size = size
	return nil
}

// Size implements File.
func (f *memFile) Size() (int64, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("size"); err != nil {
		return 0, err
	}
	return f.n.size, nil
}

// Close implements File.
func (f *memFile) Close() error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.enter("close"); err != nil {
		return err
	}
	f.closed = true
	return nil
}
