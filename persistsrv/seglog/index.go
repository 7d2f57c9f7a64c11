package seglog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// index is what is kept in memory of one index: nothing per entry.
type index struct {
	id         uint64
	start      uint64 // offsets below are gone
	next       uint64 // offset of the next record
	bytes      uint64 // of batches from start on
	maxTime    int64
	term       uint64 // of logicsrv when it made the index or changed its settings last
	keep       ipc.IndexSettings
	files      []indexFile // in order; the last one is appended to
	frontFile  int         // index in files of the first entry that is not trimmed
	frontSlot  int         // its slot there
	startMoved bool        // start is not stored in the file yet
	pending    []byte      // entries of the round that are not in the last file yet
	vec        [1][]byte   // for writing pending
	touched    bool        // is in round.touch
	dirty      bool        // has unsynced entries since the last index checkpoint
	made       bool        // its directory's name is not synced
	rebuild    bool        // only in recovery
	stored     uint64      // start as the files have it, the highest; only in recovery
	storedLow  uint64      // … and the lowest: a power cut may have taken what was written to one of them
	base       uint64      // a rebuild begins here, as the first file did, so that readers find all files as they were
	file       vfs.File
	older      *index // in tailFiles
	newer      *index
	fileBase   uint64 // of file

	covered uint64 // end of the offsets that packs cover; entries of the log below are old news
	cleaned uint64 // below it, it was compacted
	horizon int64  // Unix ms: then something may go that stands for a deletion; 0: there is nothing
	seen    uint64 // where it ended when it was compacted as far as could be
	retryMS int64  // not before that it is looked at again
}

// indexFile is one segment of an index.
type indexFile struct {
	base  uint64
	count uint32 // slots in use
	slots uint32
	dirty bool
	pack  *pack // that it leads into, if it was compacted: then it is full
}

func newIndex(id uint64) *index {
	return &index{id: id, keep: ipc.IndexSettings{Index: id}, maxTime: -1}
}

func slotOffset(slot uint32) int64 {
	return commitlog.IndexHeaderSize + int64(slot)*commitlog.IndexEntrySize
}

// addEntry appends an entry to an index, made if it is new. REQUIRES: mu is held. Done again
// after ErrFull it has no effect twice: nothing changes before the last call that can fail.
func (l *Log) addEntry(a *act) error {
	x := l.indexes[a.index]
	if x == nil {
		var err error
		if x, err = l.makeIndex(a.index, a.term); err != nil {
			return err
		}
	}
	if x.rebuild && a.entry.Offset < x.base {
		return nil
	}
	if a.entry.Offset < x.covered {
		return nil // only in recovery
	}
	if a.entry.Offset < x.next {
		return fmt.Errorf("index %#x: entry for offset %d, the next one is %d", x.id, a.entry.Offset, x.next)
	}
	if err := l.roomInIndex(x, a.entry.Offset); err != nil {
		return err
	}
	e := a.entry
	e.MaxTimeMS = max(e.MaxTimeMS, x.maxTime)
	x.maxTime = e.MaxTimeMS
	x.next = e.End()
	x.bytes += uint64(e.Length)
	x.pending = e.Append(x.pending)
	l.stats.IndexEntries++
	l.ref(&e)
	if !x.touched {
		x.touched = true
		l.round.touch = append(l.round.touch, x)
	}
	return nil
}

// roomInIndex begins a new file where the last one is used up.
func (l *Log) roomInIndex(x *index, base uint64) error {
	if n := len(x.files); n > 0 {
		f := &x.files[n-1]
		if f.count+uint32(len(x.pending)/commitlog.IndexEntrySize) < f.slots {
			return nil
		}
		if err := l.writePending(x); err != nil {
			return err
		}
	}
	return l.createIndexFile(x, base)
}

// createIndexFile begins a new file of an index. One of this name may be there: recovery
// writes the same entries into it again.
func (l *Log) createIndexFile(x *index, base uint64) error {
	name := commitlog.IndexName(x.id, base)
	f, err := l.fs.Create(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.fs.Mkdir(commitlog.IndexPath(x.id)); err == nil {
			x.made = true
			f, err = l.fs.Create(name)
		}
	}
	slots := l.set.IndexEntries
	if errors.Is(err, fs.ErrExist) {
		f, slots, err = l.reuseIndexFile(x, base)
	}
	if err != nil {
		return fmt.Errorf("create %s: %w", name, full(err))
	}
	h := commitlog.IndexHeader{Slots: slots, Index: x.id, Base: base, CreatedMS: l.now(), Start: x.start}
	if _, err := f.WritevAt([][]byte{h.Append(nil)}, 0); err != nil {
		f.Close()
		return fmt.Errorf("create %s: %w", name, full(err))
	}
	failpoint.Hit("persist.index")
	x.files = append(x.files, indexFile{base: base, slots: slots, dirty: true})
	x.dirty = true
	l.newDirs[x.id] = true
	l.files.put(x, f, base)
	return nil
}

// reuseIndexFile opens a file of an index that is to be written again, or begins it anew where it was
// compacted: its readers have it mapped, and it holds other entries.
func (l *Log) reuseIndexFile(x *index, base uint64) (f vfs.File, slots uint32, err error) {
	name := commitlog.IndexName(x.id, base)
	if f, err = l.fs.Open(name); err != nil {
		return nil, 0, err
	}
	var b [commitlog.IndexHeaderSize]byte
	_, _ = f.ReadAt(b[:], 0)
	h, bad := commitlog.DecodeIndexHeader(b[:])
	switch {
	case bad == nil && h.Compacted:
		f.Close()
		if err = l.fs.Remove(name); err == nil {
			f, err = l.fs.Create(name)
		}
	case bad == nil && h.Index == x.id && h.Base == base:
		return f, h.Slots, nil
	}
	return f, l.set.IndexEntries, err
}

// writePending appends the gathered entries to the index's last file.
func (l *Log) writePending(x *index) error {
	if len(x.pending) == 0 {
		return nil
	}
	f := &x.files[len(x.files)-1]
	file, err := l.tailFile(x)
	if err != nil {
		return err
	}
	x.vec[0] = x.pending
	if _, err := file.WritevAt(x.vec[:], slotOffset(f.count)); err != nil {
		return fmt.Errorf("append to %s: %w", commitlog.IndexName(x.id, f.base), full(err))
	}
	f.count += uint32(len(x.pending) / commitlog.IndexEntrySize)
	f.dirty, x.dirty = true, true
	x.pending = x.pending[:0]
	return nil
}

// tailFile opens the index's last file.
func (l *Log) tailFile(x *index) (vfs.File, error) {
	base := x.files[len(x.files)-1].base
	if x.file != nil && x.fileBase == base {
		l.files.use(x)
		return x.file, nil
	}
	f, err := l.fs.Open(commitlog.IndexName(x.id, base))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", commitlog.IndexName(x.id, base), err)
	}
	l.files.put(x, f, base)
	return f, nil
}

// makeIndex makes an index and its directory with a first file, so that readers find it.
func (l *Log) makeIndex(id, term uint64) (*index, error) {
	x := newIndex(id)
	x.term = term
	if err := l.createIndexFile(x, 0); err != nil {
		return nil, err
	}
	l.indexes[id] = x
	l.config.keep(id)
	return x, nil
}

func (l *Log) setSettings(a *act) error {
	x := l.indexes[a.index]
	if x == nil {
		var err error
		if x, err = l.makeIndex(a.index, a.term); err != nil {
			return err
		}
	}
	switch a.op {
	case journal.OpCompact:
		c := &a.keep.Compaction
		c.TombstoneMS, c.ClosingMS, c.ClosingBytes = x.keep.Compaction.TombstoneMS, x.keep.Compaction.ClosingMS, x.keep.Compaction.ClosingBytes
		x.keep.Compaction = *c
	case journal.OpClosing:
		c := &x.keep.Compaction
		c.On, c.TombstoneMS, c.ClosingMS, c.ClosingBytes = true, a.keep.Compaction.TombstoneMS, a.keep.Compaction.ClosingMS, a.keep.Compaction.ClosingBytes
	default:
		x.keep = a.keep
	}
	x.term, x.seen, x.retryMS = a.term, 0, 0
	l.config.keep(a.index)
	return nil
}

// deleteIndex removes an index and its files. Done again it goes on where it stopped.
func (l *Log) deleteIndex(id uint64) error {
	x := l.indexes[id]
	if x == nil {
		return nil
	}
	if err := l.trim(x, x.next); err != nil {
		return err
	}
	l.files.drop(x)
	x.pending = x.pending[:0]
	if err := l.removeIndexDir(id); err != nil {
		return err
	}
	if i := slices.Index(l.round.touch, x); i >= 0 {
		l.round.touch = slices.Delete(l.round.touch, i, i+1)
	}
	delete(l.indexes, id)
	delete(l.newDirs, id)
	l.gone, l.ckpt.changed = true, true
	return nil
}

// removeIndexDir removes whatever an index has on disk.
func (l *Log) removeIndexDir(id uint64) error {
	dir := commitlog.IndexPath(id)
	names, err := l.fs.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete index %#x: %w", id, err)
	}
	for _, name := range names {
		if err := l.fs.Remove(dir + "/" + name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("delete index %#x: %w", id, full(err))
		}
	}
	if err := l.fs.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete index %#x: %w", id, full(err))
	}
	failpoint.Hit("persist.index")
	return nil
}
