package commitlog

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// IndexView reads one index. Safe for many goroutines.
type IndexView struct {
	v  *View
	id uint64

	mu    sync.Mutex
	files []*indexMap // in order; empty: not looked at, or given back
	hint  place       // of the entry that was read last, or of the one behind it

	looked  int64 // when the directory was looked at last, in ns of the view's clock
	dirTime int64 // its mtime when the files were mapped; 0: it had only just changed, and may again within that tick
}

// place is a slot of an index.
type place struct{ file, slot int }

// indexMap is one mapped segment of an index.
type indexMap struct {
	base  uint64
	path  string
	inode uint64
	slots int
	count int // slots known to be in use
	size  int64
	gaps  bool // it was compacted: offsets without an entry are gone
	mem   []byte
}

// unmap gives the maps back; they are made again when they are needed. REQUIRES: mu is held.
func (ix *IndexView) unmap() {
	for _, f := range ix.files {
		f.close(ix.v)
	}
	ix.files, ix.hint = nil, place{}
}

func (f *indexMap) close(v *View) {
	_ = unix.Munmap(f.mem) // of our own mapping, whole: it cannot fail
	f.mem = nil
	v.maps.Add(-1)
}

// maxLooks bounds how often load begins again. Compaction replaces a file much more seldom.
const maxLooks = 10

// load maps the index's files, until they are those that are there at the same time: while they are opened compaction may
// put one in the place of several, and of those with the old one in front of them some would seem to be missing.
func (ix *IndexView) load() error {
	for range maxLooks {
		if err := ix.mapFiles(); err != nil {
			return err
		}
		if ix.whole() {
			break
		}
	}
	if ix.v.maps.Load() > maxIndexMaps {
		ix.v.evict(ix)
	}
	return nil
}

// whole tells whether all that is mapped is still there.
func (ix *IndexView) whole() bool {
	for _, f := range ix.files {
		var st unix.Stat_t
		if err := unix.Stat(f.path, &st); err != nil || st.Ino != f.inode {
			return false
		}
	}
	return true
}

// mapFiles reads the index's directory. Files that are known and the same stay mapped.
func (ix *IndexView) mapFiles() error {
	bases, err := ListIndexFiles(DirFS(ix.v.root), ix.id)
	if errors.Is(err, fs.ErrNotExist) {
		ix.unmap()
		return ErrUnknownIndex
	}
	if err != nil {
		return err
	}
	known := map[uint64]*indexMap{}
	for _, f := range ix.files {
		known[f.base] = f
	}
	var files []*indexMap
	for _, base := range bases {
		f, err := ix.open(base, known[base])
		if err != nil {
			for _, f := range files {
				if known[f.base] != f {
					f.close(ix.v)
				}
			}
			return err
		}
		if f != nil {
			files = append(files, f)
		}
	}
	for _, f := range files {
		if known[f.base] == f {
			delete(known, f.base)
		}
	}
	for _, f := range known {
		f.close(ix.v)
	}
	// A file that has one behind it is full, whatever was known of it.
	for _, f := range files[:max(0, len(files)-1)] {
		f.grow()
	}
	ix.files, ix.hint = files, place{}
	return nil
}

// open maps a file, or returns known if that is still the same file. nil: it is not there,
// or not begun.
func (ix *IndexView) open(base uint64, known *indexMap) (*indexMap, error) {
	path := filepath.Join(ix.v.root, IndexName(ix.id, base))
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open index: %w", err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	if known != nil && known.inode == st.Ino {
		return known, nil
	}
	if st.Size < IndexHeaderSize {
		return nil, nil
	}
	h, err := readIndexHeader(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	// Pages behind the file's end become readable when it grows.
	mem, err := unix.Mmap(int(file.Fd()), 0, IndexHeaderSize+int(h.Slots)*IndexEntrySize, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map index %s: %w", path, err)
	}
	ix.v.maps.Add(1)
	f := &indexMap{base: base, path: path, inode: st.Ino, slots: int(h.Slots), mem: mem, size: st.Size, gaps: h.Compacted}
	f.recount()
	return f, nil
}

// recount finds how many slots are in use: entries are a prefix, and what may follow them is
// zero.
func (f *indexMap) recount() {
	n := min(int((f.size-IndexHeaderSize)/IndexEntrySize), f.slots)
	for n > f.count {
		if _, ok := f.entry(n - 1); ok {
			break
		}
		n--
	}
	f.count = n
}

// grow looks whether the file has more entries than are known.
func (f *indexMap) grow() bool {
	if f.count == f.slots {
		return false
	}
	var st unix.Stat_t
	if err := unix.Stat(f.path, &st); err != nil || st.Ino != f.inode {
		return false
	}
	was := f.count
	f.size = max(f.size, st.Size)
	f.recount()
	return f.count > was
}

// entry decodes a slot below the file's end.
func (f *indexMap) entry(slot int) (Entry, bool) {
	return DecodeEntry(f.mem[IndexHeaderSize+slot*IndexEntrySize:])
}

// start is the file's start word, which persistsrv moves; ErrDamaged where its complement does not fit.
func (f *indexMap) start() (uint64, error) {
	word := func(at int) uint64 { return (*atomic.Uint64)(unsafe.Pointer(&f.mem[at])).Load() }
	for range startTries {
		if start := word(IndexStartOffset); word(IndexStartOffset+8) == ^start {
			return start, nil
		}
	}
	return 0, fmt.Errorf("%w: the start of %s", ErrDamaged, f.path)
}

// renew looks, now and then, whether compaction has put other files in the place of those that are mapped:
// what they lead to may stay readable for long, and a reader would go on to see what is not there any more.
func (ix *IndexView) renew() error {
	now := int64(time.Since(ix.v.began))
	if len(ix.files) == 0 || now-ix.looked <= int64(lookAgain) {
		return nil
	}
	ix.looked = now
	st, err := os.Stat(filepath.Join(ix.v.root, IndexPath(ix.id)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // who finds nothing more in what is mapped finds that out
	case err != nil:
		return fmt.Errorf("look at index %#x: %w", ix.id, err)
	case st.ModTime().UnixNano() == ix.dirTime:
		return nil
	}
	if err := ix.load(); err != nil {
		return err
	}
	if ix.dirTime = 0; time.Since(st.ModTime()) > lookAgain {
		ix.dirTime = st.ModTime().UnixNano()
	}
	return nil
}

// again reads, and reads again as long as what looks like damage goes on and other files are there each time: compaction
// has put one in the place of one that was mapped, or of some between two of those that were being mapped, and what
// that one led to is gone.
func (ix *IndexView) again(read func() error) error {
	err := read()
	for errors.Is(err, ErrDamaged) {
		was := ix.inodes()
		if loadErr := ix.load(); loadErr != nil {
			return loadErr
		}
		if slices.Equal(was, ix.inodes()) {
			return err
		}
		err = read()
	}
	return err
}

// inodes tell the mapped files from others.
func (ix *IndexView) inodes() (list []uint64) {
	for _, f := range ix.files {
		list = append(list, f.inode)
	}
	return list
}

// begin sees that files are mapped, and that the first one is still in use.
func (ix *IndexView) begin() error {
	if len(ix.files) == 1 && ix.files[0].count < ix.files[0].slots {
		return nil
	}
	if len(ix.files) > 1 {
		if gone, err := ix.frontGone(); err != nil || !gone {
			return err
		}
	}
	if err := ix.load(); err != nil {
		return err
	}
	for len(ix.files) > 1 {
		gone, err := ix.frontGone()
		if err != nil || !gone {
			return err
		}
		ix.files[0].close(ix.v)
		ix.files = ix.files[1:]
	}
	return nil
}

// frontGone tells whether the first file is not in use any more. REQUIRES: there are two at least.
func (ix *IndexView) frontGone() (bool, error) {
	start, err := ix.files[0].start()
	return start >= ix.files[1].base, err
}

// trimmed tells whether an entry is not there any more.
func (ix *IndexView) trimmed(e *Entry) bool {
	if ix.begin() != nil || len(ix.files) == 0 {
		return false
	}
	start, err := ix.files[0].start()
	return err == nil && e.End() <= start
}

// Start is the earliest offset still there.
func (ix *IndexView) Start() (uint64, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if err := ix.current(); err != nil || len(ix.files) == 0 {
		return 0, err
	}
	return ix.files[0].start()
}

// current is begin, with a look at files that were replaced.
func (ix *IndexView) current() error {
	if err := ix.renew(); err != nil {
		return err
	}
	return ix.begin()
}

// Bytes is how many bytes the batches behind the start have. It looks at every entry.
func (ix *IndexView) Bytes() (n int64, err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if err := ix.current(); err != nil || len(ix.files) == 0 {
		return 0, err
	}
	next, err := ix.files[0].start()
	if err != nil {
		return 0, err
	}
	for _, f := range ix.files {
		f.grow()
		for slot := range f.count {
			// What compaction has put into another file may still be in this one.
			if e, ok := f.entry(slot); ok && e.End() > next {
				n += int64(e.Length)
				next = e.End()
			}
		}
	}
	return n, nil
}

// Find returns the entry that contains offset or, where compaction has removed what was there, the next
// one; ErrBelowStart, ErrBeyondEnd, and ErrDamaged where the log's damage has torn a hole into the index.
func (ix *IndexView) Find(offset uint64) (Entry, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	var e Entry
	err := ix.again(func() (err error) {
		_, e, err = ix.find(offset)
		return err
	})
	return e, err
}

// find is Find with the entry's place.
func (ix *IndexView) find(offset uint64) (place, Entry, error) {
	if err := ix.current(); err != nil {
		return place{}, Entry{}, err
	}
	if len(ix.files) == 0 {
		return place{}, Entry{}, ErrBeyondEnd
	}
	if start, err := ix.files[0].start(); err != nil || offset < start {
		return place{}, Entry{}, cmp.Or(err, error(ErrBelowStart))
	}
	p, e, err := ix.search(offset)
	if err != ErrBeyondEnd {
		return p, e, err
	}
	if ix.files[len(ix.files)-1].grow() {
		if p, e, err = ix.search(offset); err != ErrBeyondEnd {
			return p, e, err
		}
	}
	// There may be a new file, or another one in the place of one that we have mapped.
	if err := ix.load(); err != nil {
		return place{}, Entry{}, err // not ErrBeyondEnd: who cannot look does not know the end
	}
	if len(ix.files) == 0 {
		return place{}, Entry{}, ErrBeyondEnd
	}
	ix.files[len(ix.files)-1].grow()
	return ix.search(offset)
}

// search looks for an offset among the entries that are known.
func (ix *IndexView) search(offset uint64) (place, Entry, error) {
	if h := ix.hint; h.file < len(ix.files) {
		// That entry or, for who reads a batch at a time, the next one.
		for last := min(h.slot+2, ix.files[h.file].count); h.slot < last; h.slot++ {
			if e, ok := ix.files[h.file].entry(h.slot); ok && e.Offset <= offset && offset < e.End() {
				return h, e, nil
			}
		}
	}
	i := sort.Search(len(ix.files), func(i int) bool { return ix.files[i].base > offset }) - 1
	if i < 0 {
		return place{}, Entry{}, ErrDamaged // the files that held it are gone
	}
	f := ix.files[i]
	damaged := false
	slot := sort.Search(f.count, func(k int) bool {
		e, ok := f.entry(k)
		damaged = damaged || !ok
		return e.End() > offset
	})
	switch {
	case damaged:
		return place{}, Entry{}, fmt.Errorf("%w: %s", ErrDamaged, f.path)
	case slot == f.count && i == len(ix.files)-1:
		return place{}, Entry{}, ErrBeyondEnd
	case slot == f.count && f.gaps:
		return ix.first(i + 1)
	case slot == f.count:
		return place{}, Entry{}, ErrDamaged // between two files
	}
	e, ok := f.entry(slot)
	if !ok || e.Offset > offset && !f.gaps {
		return place{}, Entry{}, ErrDamaged // between two entries
	}
	return place{i, slot}, e, nil
}

// first is the first entry from a file on that follows compacted ones.
func (ix *IndexView) first(file int) (place, Entry, error) {
	f := ix.files[file]
	if f.count == 0 && !f.grow() {
		return place{}, Entry{}, ErrBeyondEnd
	}
	e, ok := f.entry(0)
	if !ok {
		return place{}, Entry{}, fmt.Errorf("%w: %s", ErrDamaged, f.path)
	}
	return place{file, 0}, e, nil
}

// follows tells whether nothing is missing between what ends at an offset, in a file, and an entry: it
// lies behind it, and closely, or what was between them was compacted.
func (ix *IndexView) follows(file int, end uint64, e *Entry) bool {
	return e.Offset == end || e.Offset > end && ix.files[file].gaps
}

// next is the entry behind a place.
func (ix *IndexView) next(p place) (place, Entry, bool) {
	f := ix.files[p.file]
	if p.slot++; p.slot >= f.count && p.file+1 < len(ix.files) {
		p = place{p.file + 1, 0}
		f = ix.files[p.file]
	}
	if p.slot >= f.count && !f.grow() {
		return p, Entry{}, false
	}
	e, ok := f.entry(p.slot)
	return p, e, ok
}

// ByTime returns the first entry with a record as late as ms; ErrBeyondEnd if there is none.
func (ix *IndexView) ByTime(ms int64) (Entry, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if err := ix.current(); err != nil {
		return Entry{}, err
	}
	if n := len(ix.files); n > 0 && !ix.files[n-1].grow() && ix.files[n-1].count == ix.files[n-1].slots {
		if err := ix.load(); err != nil {
			return Entry{}, err
		}
	}
	for _, f := range ix.files {
		start, err := ix.files[0].start()
		if err != nil {
			return Entry{}, err
		}
		slot := sort.Search(f.count, func(k int) bool {
			e, _ := f.entry(k)
			return e.MaxTimeMS >= ms && e.End() > start
		})
		if slot == f.count {
			continue
		}
		e, ok := f.entry(slot)
		if !ok {
			return Entry{}, fmt.Errorf("%w: %s", ErrDamaged, f.path)
		}
		return e, nil
	}
	return Entry{}, ErrBeyondEnd
}
