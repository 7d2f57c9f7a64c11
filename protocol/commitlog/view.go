package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/trimq/trimq/protocol/journal"
	"golang.org/x/sys/unix"
)

// Errors of a View and its indexes.
var (
	ErrUnknownIndex = errors.New("no such index")
	ErrBelowStart   = errors.New("offset is below the start of the index")
	ErrBeyondEnd    = errors.New("offset is at or beyond the end of the index")
	ErrDamaged      = errors.New("stored batch is damaged")
	ErrGap          = errors.New("compaction has left nothing of these offsets")
)

// maxIndexMaps bounds the mapped files of indexes; the kernel allows a process about 65,000
// mappings. Indexes that are not in use give theirs back.
const maxIndexMaps = 16384

// lookAgain is how often the log's directory is looked at for segments that were replaced.
const lookAgain = 200 * time.Millisecond

// View reads indexes and the log while persistsrv appends to them. Safe for many goroutines.
// Lock order: IndexView.mu → View.mu.
type View struct {
	root string

	mu      sync.RWMutex
	indexes map[uint64]*IndexView
	segs    []*Segment // in order: those of the log, then the packs
	dirTime [2]int64   // the mtimes of the log's directory and that of the packs when they were read
	closed  bool

	looked atomic.Int64 // when the directory was looked at last, in ns of the monotonic clock
	maps   atomic.Int64 // mapped files of indexes
	began  time.Time
}

// OpenView maps the data directory; what is not there yet is found when it is asked for.
func OpenView(dataDir string) (*View, error) {
	st, err := os.Stat(dataDir)
	if err == nil && !st.IsDir() {
		err = &fs.PathError{Op: "open", Path: dataDir, Err: unix.ENOTDIR}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	return &View{root: dataDir, indexes: map[uint64]*IndexView{}, began: time.Now()}, nil
}

// Close lets go of all that no Span retains.
func (v *View) Close() error {
	v.mu.Lock()
	indexes, segs := v.indexes, v.segs
	v.indexes, v.segs, v.closed = map[uint64]*IndexView{}, nil, true
	v.mu.Unlock()
	for _, ix := range indexes {
		ix.mu.Lock()
		ix.unmap()
		ix.mu.Unlock()
	}
	for _, s := range segs {
		s.Release()
	}
	return nil
}

// Index opens an index. An index without entries is known as soon as persistsrv has made
// it; before that, ErrUnknownIndex.
func (v *View) Index(id uint64) (*IndexView, error) {
	v.mu.RLock()
	ix := v.indexes[id]
	v.mu.RUnlock()
	if ix != nil {
		return ix, nil
	}
	if _, err := os.Stat(filepath.Join(v.root, IndexPath(id))); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, ErrUnknownIndex
		}
		return nil, fmt.Errorf("index %#x: %w", id, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil, fs.ErrClosed
	}
	if ix = v.indexes[id]; ix == nil {
		ix = &IndexView{v: v, id: id}
		v.indexes[id] = ix
	}
	return ix, nil
}

// Forget closes an index that is deleted.
func (v *View) Forget(id uint64) {
	v.mu.Lock()
	ix := v.indexes[id]
	delete(v.indexes, id)
	v.mu.Unlock()
	if ix != nil {
		ix.mu.Lock()
		ix.unmap()
		ix.mu.Unlock()
	}
}

// evict gives back the maps of indexes that nobody is just reading.
func (v *View) evict(keep *IndexView) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	want := int64(maxIndexMaps * 7 / 8)
	for _, ix := range v.indexes {
		if v.maps.Load() <= want {
			return
		}
		if ix != keep && ix.mu.TryLock() {
			ix.unmap()
			ix.mu.Unlock()
		}
	}
}

// segment returns the segment that holds n bytes from a log position on, retained; the
// caller calls Release.
func (v *View) segment(position uint64, n int) (*Segment, error) {
	if now := int64(time.Since(v.began)); now-v.looked.Load() > int64(lookAgain) {
		v.looked.Store(now)
		if err := v.refresh(false); err != nil {
			return nil, err
		}
	}
	if s := v.find(position, n); s != nil {
		return s, nil
	}
	if err := v.refresh(true); err != nil {
		return nil, err
	}
	if s := v.find(position, n); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: no segment of the log holds position %d", ErrDamaged, position)
}

// At finds the place of n bytes from a log position on: their segment, retained for the caller,
// who calls Release, and their offset in its file. ErrDamaged where no segment holds them.
func (v *View) At(position uint64, n int) (*Segment, int64, error) {
	seg, err := v.segment(position, n)
	if err != nil {
		return nil, 0, err
	}
	return seg, seg.offset(position), nil
}

// find looks among the known segments. The one with the largest position that is not above
// the wanted one counts: an older file may go on behind the place where a newer one begins.
func (v *View) find(position uint64, n int) *Segment {
	v.mu.RLock()
	defer v.mu.RUnlock()
	i, found := slices.BinarySearchFunc(v.segs, position, func(s *Segment, p uint64) int { return compare(s.position, p) })
	if !found {
		i--
	}
	if i < 0 || !v.segs[i].holds(position, n) {
		return nil
	}
	v.segs[i].Retain()
	return v.segs[i]
}

// refresh reads the log's directory again, and that of the packs, if one of them has changed or force is
// set. Files that were replaced are opened anew; what is gone is let go.
func (v *View) refresh(force bool) error {
	times, fresh, err := v.dirTimes()
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if !force && times == v.dirTime || v.closed {
		return nil
	}
	files, err := v.listSegments()
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked
		}
		return err
	}
	known := map[uint64]*Segment{}
	for _, s := range v.segs {
		known[s.position] = s
	}
	var segs []*Segment
	for _, f := range files {
		s, err := openSegment(v.root, f, known[f.position])
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if s == known[f.position] {
			delete(known, f.position)
		}
		segs = append(segs, s)
	}
	v.segs, v.dirTime = segs, [2]int64{}
	if !fresh {
		v.dirTime = times
	}
	for _, s := range known {
		s.Release()
	}
	return nil
}

// dirTimes are the mtimes of the two directories; 0 where there is none. fresh: one has changed just now,
// and the clock of file systems is coarse, so that another change may follow that shows the same time.
func (v *View) dirTimes() (times [2]int64, fresh bool, err error) {
	for i, dir := range [2]string{LogDir, PackDir} {
		st, err := os.Stat(filepath.Join(v.root, dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return times, false, fmt.Errorf("look at the log: %w", err)
		}
		times[i] = st.ModTime().UnixNano()
		fresh = fresh || time.Since(st.ModTime()) <= lookAgain
	}
	return times, fresh, nil
}

// listed is a file that holds batches: a segment of the log or a pack.
type listed struct {
	name     string
	position uint64
	head     int64 // bytes before its first position
}

// listSegments lists them in the order of their positions.
func (v *View) listSegments() (files []listed, err error) {
	segs, err := ListSegments(DirFS(v.root))
	if err != nil {
		return nil, err
	}
	for i := range segs {
		files = append(files, listed{segs[i].Name, segs[i].Position, SegmentHeaderSize})
	}
	packs, err := ListPacks(DirFS(v.root))
	for i := range packs {
		files = append(files, listed{packs[i].Name, packs[i].Position, PackHeaderSize})
	}
	return files, err
}

// noteChunk is what is read at once of a note; few are longer.
const noteChunk = 512

// Note reads the note at a log position, as a Span names it, into buf, which grows where it has
// to: the event aliases what is returned. ErrDamaged where no whole note lies there.
func (v *View) Note(position uint64, buf []byte) (journal.Event, []byte, error) {
	seg, err := v.segment(position, journal.EventHeaderSize)
	if err != nil {
		return journal.Event{}, buf, err
	}
	defer seg.Release()
	buf, err = seg.readNote(buf[:0], seg.offset(position))
	if err != nil {
		return journal.Event{}, buf, fmt.Errorf("read the note at position %d: %w", position, err)
	}
	ev, err := journal.ReadNote(buf)
	if err != nil {
		return journal.Event{}, buf, fmt.Errorf("%w: the note at position %d: %w", ErrDamaged, position, err)
	}
	return ev, buf, nil
}

// readNote reads what may be a note at an offset of the file, or as much of it as there is.
func (s *Segment) readNote(buf []byte, off int64) ([]byte, error) {
	buf = slices.Grow(buf, noteChunk)[:noteChunk]
	n, err := s.readAt(buf, off)
	if err != nil {
		return buf[:0], err
	}
	size, err := journal.PeekNote(buf[:n])
	if err != nil || size <= n || !s.holdsAt(off, size) {
		return buf[:n], nil // whole, or none: the caller finds out
	}
	buf = slices.Grow(buf, size-len(buf))[:size]
	n, err = s.readAt(buf, off)
	return buf[:n], err
}
