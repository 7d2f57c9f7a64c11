package seglog

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
)

// loadIndexes takes over the indexes of the index checkpoint, and checks their files. One
// whose files are not as they should be is rebuilt from the log; its start is kept.
func (r *recovery) loadIndexes() error {
	defer r.sortPacks()
	if r.whole {
		return r.startsOnDisk()
	}
	budget := r.l.set.VerifyIndexBytes
	for i := range r.ckpt.Indexes {
		st := &r.ckpt.Indexes[i]
		x := newIndex(st.Index)
		x.start, x.next, x.bytes, x.maxTime, x.term = st.Start, st.Next, st.Bytes, st.MaxTimeMS, st.Term
		x.keep = ipc.IndexSettings{Index: st.Index, RetentionBytes: st.RetentionBytes, RetentionMS: st.RetentionMS, Compaction: st.Compaction}
		why, err := r.checkIndex(x, st, &budget)
		if err != nil {
			return err
		}
		if why != nil {
			r.l.log.Warn("index is damaged: rebuilding it from the log", "index", x.id, "why", why)
			r.toRebuild(x)
			if x.base = st.Start; len(st.Files) > 0 {
				x.base = st.Files[0].Base
			}
		} else {
			x.settlePacks()
			x.next = max(x.next, x.covered)
			if err := r.frontOf(x, st.Start); err != nil {
				return err
			}
		}
		r.l.indexes[x.id] = x
	}
	return nil
}

// toRebuild empties an index in memory. Its files are written over in place.
func (r *recovery) toRebuild(x *index) {
	x.rebuild, x.files, x.bytes, x.maxTime, x.next = true, nil, 0, -1, 0
	x.frontFile, x.frontSlot, x.covered = 0, 0, 0
	r.l.stats.Rebuilt++
}

// startsOnDisk finds, without an index checkpoint, which indexes there are and what their
// files say of their starts.
func (r *recovery) startsOnDisk() error {
	fsys := vfs.Reading(r.l.fs)
	ids, err := commitlog.ListIndexes(fsys)
	if err != nil {
		return err
	}
	for _, id := range ids {
		bases, err := commitlog.ListIndexFiles(fsys, id)
		if err != nil {
			return err
		}
		x := newIndex(id)
		r.toRebuild(x)
		for i, base := range bases {
			if i == 0 && r.warm { // otherwise names before it may be lost
				x.base = base
			}
			h, err := r.header(id, base)
			if err != nil {
				return err
			}
			if r.warm || r.ckpt.LSN > 0 {
				x.start = max(x.start, h.Start)
			}
		}
		r.l.indexes[id] = x
	}
	for _, p := range r.l.packs { // of an index of which nothing else is left
		if id := p.header.Index; r.l.indexes[id] == nil && !p.broken {
			x := newIndex(id)
			r.toRebuild(x)
			r.l.indexes[id] = x
		}
	}
	return nil
}

// header reads the header of an index file; a zero one if it is damaged.
func (r *recovery) header(id, base uint64) (h commitlog.IndexHeader, err error) {
	f, err := r.l.fs.Open(commitlog.IndexName(id, base))
	if err != nil {
		return h, err
	}
	defer f.Close()
	var b [commitlog.IndexHeaderSize]byte
	if _, err := f.ReadAt(b[:], 0); err != nil && err != io.EOF {
		return h, err
	}
	if h, err = commitlog.DecodeIndexHeader(b[:]); err != nil || h.Index != id || h.Base != base {
		return commitlog.IndexHeader{}, nil
	}
	return h, nil
}

// checkIndex compares an index's files with what the index checkpoint says. why tells what is
// wrong with them.
func (r *recovery) checkIndex(x *index, st *commitlog.IndexState, budget *int64) (why, err error) {
	covered := uint64(0)
	for i, fst := range st.Files {
		end := st.Next
		if i+1 < len(st.Files) {
			end = st.Files[i+1].Base
		}
		switch {
		case fst.Base < covered && end > covered:
			return fmt.Errorf("the file from offset %d was compacted in part", fst.Base), nil // it was made anew with other files
		case fst.Base < covered:
			continue // compaction has put what it held into the file before
		}
		f, err := r.l.fs.Open(commitlog.IndexName(x.id, fst.Base))
		if isNotExist(err) {
			return fmt.Errorf("%s is missing", commitlog.IndexName(x.id, fst.Base)), nil
		}
		if err != nil {
			return nil, err
		}
		p, why, err := r.compacted(f, &fst, end)
		var start uint64
		if why == nil && err == nil {
			start, why, err = checkIndexFile(f, x.id, fst, budget)
		}
		f.Close()
		if why != nil || err != nil {
			return why, err
		}
		if p != nil {
			covered = p.header.End
		}
		if len(x.files) == 0 {
			x.storedLow = start
		}
		if x.stored, x.storedLow = max(x.stored, start), min(x.storedLow, start); r.warm {
			x.start = max(x.start, start)
		}
		x.files = append(x.files, indexFile{base: fst.Base, count: fst.Count, slots: fst.Slots, pack: p})
	}
	if len(x.files) == 0 {
		return errors.New("it has no file"), nil
	}
	return nil, nil
}

// compacted finds the pack of an index file, if it was compacted. This may have happened after the index
// checkpoint, which has another file of the same name then: such a file is full, and says so itself. The file stands for
// offsets up to end.
func (r *recovery) compacted(f vfs.File, st *commitlog.FileState, end uint64) (p *pack, why, err error) {
	var b [commitlog.IndexHeaderSize + commitlog.IndexEntrySize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	h, bad := commitlog.DecodeIndexHeader(b[:n])
	switch {
	case bad != nil: // the caller sees it
		return nil, nil, nil
	case !h.Compacted && st.Pack != 0:
		return nil, fmt.Errorf("the file from offset %d does not lead into its pack", st.Base), nil
	case !h.Compacted:
		return nil, nil, nil
	}
	e, ok := commitlog.DecodeEntry(b[commitlog.IndexHeaderSize:])
	if !ok {
		return nil, fmt.Errorf("the first entry of the file from offset %d fails its check", st.Base), nil
	}
	if p = r.l.packAt(e.Origin); p != nil && p.broken && st.Pack == p.position {
		if err := r.mendPack(p, f, &h, end); err != nil {
			return nil, nil, err
		}
	}
	if p == nil || p.broken {
		return nil, fmt.Errorf("the file from offset %d leads to a pack at position %d, which is not there", st.Base, e.Origin), nil
	}
	st.Count, st.Slots = h.Slots, h.Slots
	if st.Pack != p.position {
		r.repacked, r.l.newDirs[h.Index] = true, true
	}
	return p, nil, nil
}

// checkIndexFile reads the header, the last entry, and as long as the budget lasts all entries.
func checkIndexFile(f vfs.File, id uint64, st commitlog.FileState, budget *int64) (start uint64, why, err error) {
	var b [commitlog.IndexHeaderSize]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return 0, nil, err
	}
	h, bad := commitlog.DecodeIndexHeader(b[:n]) // zeros that are not there do not count
	if bad != nil {
		return 0, bad, nil
	}
	if h.Index != id || h.Base != st.Base || h.Slots != st.Slots {
		return 0, fmt.Errorf("header of index %#x, offset %d, %d slots in a file of %#x, %d, %d", h.Index, h.Base, h.Slots, id, st.Base, st.Slots), nil
	}
	first := max(0, int(st.Count)-1)
	if all := int64(st.Count) * commitlog.IndexEntrySize; all <= *budget {
		*budget -= all
		first = 0
	}
	buf := make([]byte, (int(st.Count)-first)*commitlog.IndexEntrySize)
	if n, err := f.ReadAt(buf, slotOffset(uint32(first))); err != nil && err != io.EOF {
		return 0, nil, err
	} else if n < len(buf) {
		return 0, fmt.Errorf("file from offset %d is %d bytes short", st.Base, len(buf)-n), nil
	}
	for i := 0; i < len(buf); i += commitlog.IndexEntrySize {
		if _, ok := commitlog.DecodeEntry(buf[i:]); !ok {
			return 0, fmt.Errorf("entry %d of the file from offset %d fails its check", first+i/commitlog.IndexEntrySize, st.Base), nil
		}
	}
	return h.Start, nil, nil
}

// frontOf finds the first entry that is there. Those that were trimmed after the index
// checkpoint still stand in its counts, and are taken out.
func (r *recovery) frontOf(x *index, checkpointed uint64) error {
	start := x.start
	x.start = checkpointed
	if err := r.l.findFront(x); err != nil {
		return err
	}
	if start <= checkpointed {
		return nil
	}
	x.start = max(x.start, start)
	if err := r.l.forget(x, start); err != nil {
		return err
	}
	return nil
}

// rebuildBelow reads the log below the index checkpoint for the indexes that need it.
func (r *recovery) rebuildBelow() error {
	if r.l.stats.Rebuilt == 0 || r.whole || len(r.files) == 0 {
		return nil
	}
	r.pre = true
	defer func() { r.pre = false }()
	r.last = 0
	if err := r.scan(r.files[0].Position, r.ckpt.Position); err != nil {
		return err
	}
	for i := range r.ckpt.Indexes {
		st := &r.ckpt.Indexes[i]
		x := r.l.indexes[st.Index]
		if !x.rebuild {
			continue
		}
		if st.Next > 0 {
			if err := r.restorePacks(x, st.Next-1); err != nil {
				return err
			}
		}
		x.next = max(x.next, st.Next)
	}
	return nil
}

// finishIndexes clears what indexes have on disk beyond the entries that they should have,
// removes indexes that should not be, and counts again what a rebuild has made uncertain.
func (r *recovery) finishIndexes() error {
	l := r.l
	fsys := vfs.Reading(l.fs)
	onDisk, err := commitlog.ListIndexes(fsys)
	if err != nil {
		return err
	}
	for _, id := range onDisk {
		x := l.indexes[id]
		if x != nil && r.whole && r.ckpt.LSN == 0 && len(x.files) == 0 && x.term == 0 {
			// The log is there from its first entry on, and none speaks of this index.
			delete(l.indexes, id)
			x = nil
		}
		if x == nil {
			if err := l.removeIndexDir(id); err != nil {
				return err
			}
		}
	}
	for _, id := range l.indexIDs() {
		x := l.indexes[id]
		if x.rebuild {
			if err := r.restorePacks(x, ^uint64(0)); err != nil {
				return err
			}
			x.settlePacks()
		}
		if len(x.files) == 0 {
			x.next = max(x.next, x.start)
			if err := l.createIndexFile(x, x.next); err != nil {
				return err
			}
		}
		if err := r.clearSurplus(x); err != nil {
			return err
		}
		if err := l.forget(x, x.start); err != nil {
			return err
		}
		x.start = min(x.start, x.next)
		if err := r.settleStart(x); err != nil {
			return err
		}
	}
	if l.stats.Rebuilt == 0 && !r.repacked {
		return nil
	}
	return r.recount()
}

// settleStart makes the start words say what recovery has found; it may be less than before.
func (r *recovery) settleStart(x *index) error {
	if x.start < x.stored || x.rebuild {
		for i := range x.files {
			if err := r.l.writeStart(x, x.files[i].base); err != nil {
				return err
			}
			x.files[i].dirty = true
		}
	}
	x.startMoved = x.start != x.stored || x.start != x.storedLow
	x.rebuild = false
	return r.l.storeStart(x)
}

// clearSurplus removes files that an index should not have, and zeroes slots behind the last
// entry of each file: entries of a log whose end was lost, or that another file has. Files do not shrink, for the sake of readers.
func (r *recovery) clearSurplus(x *index) error {
	l := r.l
	names, err := l.fs.List(commitlog.IndexPath(x.id))
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	if err := l.removeTmp(commitlog.IndexPath(x.id), names); err != nil {
		return err
	}
	bases, err := commitlog.IndexBases(x.id, names)
	if err != nil {
		return err
	}
	for _, base := range bases {
		if !slices.ContainsFunc(x.files, func(f indexFile) bool { return f.base == base }) {
			if err := l.fs.Remove(commitlog.IndexName(x.id, base)); err != nil {
				return err
			}
		}
	}
	last := len(x.files) - 1
	for i := range x.files[:last] {
		// A pass of compaction has begun the next file before this one was full, and the index was made anew with
		// other files meanwhile, of which a power cut has left this one.
		if file := &x.files[i]; file.count < file.slots {
			f, err := l.fs.Open(commitlog.IndexName(x.id, file.base))
			if err != nil {
				return err
			}
			if err = zeroBehind(f, file); err != nil {
				f.Close()
				return err
			}
			if err = f.Close(); err != nil {
				return err
			}
		}
	}
	f, err := l.tailFile(x)
	if err != nil {
		return err
	}
	return zeroBehind(f, &x.files[last])
}

// zeroBehind zeroes what a file has behind its last entry.
func zeroBehind(f vfs.File, file *indexFile) error {
	size, err := f.Size()
	if err != nil {
		return err
	}
	at := slotOffset(file.count)
	if size <= at {
		return nil
	}
	b := make([]byte, size-at)
	if _, err := f.ReadAt(b, at); err != nil && err != io.EOF {
		return err
	}
	if !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) {
		return nil
	}
	clear(b)
	file.dirty = true
	if _, err := f.WritevAt([][]byte{b}, at); err != nil {
		return full(err)
	}
	return nil
}

// recount counts again which segments are pointed into.
func (r *recovery) recount() error {
	l := r.l
	for _, s := range l.segs {
		s.refs, s.live = 0, 0
	}
	for _, p := range l.packs {
		p.refs, p.live = 0, 0
	}
	for _, id := range l.indexIDs() {
		x := l.indexes[id]
		if err := l.findFront(x); err != nil {
			return err
		}
		if err := l.recountIndex(x); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) recountIndex(x *index) error {
	file, slot := x.frontFile, x.frontSlot
	defer func() { x.frontFile, x.frontSlot = file, slot }()
	x.bytes = 0
	for {
		entries, err := l.frontEntries(x, trimChunk)
		if err != nil {
			return err
		}
		for _, e := range entries {
			l.ref(&e)
			x.bytes += uint64(e.Length)
			x.frontSlot++
		}
		if len(entries) == 0 {
			if x.frontFile+1 >= len(x.files) {
				return nil
			}
			x.frontFile, x.frontSlot = x.frontFile+1, 0
		}
	}
}
