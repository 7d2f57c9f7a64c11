package seglog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sort"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
)

// trimChunk is how many entries are read at once when an index is trimmed.
const trimChunk = 1024

// trim moves an index's start up to an offset, at most to its end, and removes files that
// hold nothing from there on. REQUIRES: mu is held. Done again after an error it goes on.
func (l *Log) trim(x *index, to uint64) error {
	to = min(to, x.next)
	if err := l.writePending(x); err != nil {
		return err
	}
	if to > x.start {
		if err := l.forget(x, to); err != nil {
			return err
		}
		x.start, x.startMoved, x.dirty, l.ckpt.changed = max(x.start, to), true, true, true
	}
	return l.storeStart(x)
}

// forget takes entries that end at or below an offset out of the counts.
func (l *Log) forget(x *index, to uint64) error {
	for {
		entries, err := l.frontEntries(x, trimChunk)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Count > 0 && e.End() > to {
				return nil
			}
			l.unref(&e)
			x.bytes -= min(x.bytes, uint64(e.Length))
			x.frontSlot++
			if e.Count > 0 {
				x.start, x.startMoved = max(x.start, e.End()), true
			}
		}
		if len(entries) == 0 {
			if x.frontFile+1 >= len(x.files) {
				return nil
			}
			x.frontFile, x.frontSlot = x.frontFile+1, 0
			x.startBehindPack()
		}
	}
}

// startBehindPack moves the start to where the front file begins, if the file before it was compacted: all
// that it had is trimmed, and nothing is left in between.
func (x *index) startBehindPack() {
	if x.frontFile > 0 && x.files[x.frontFile-1].pack != nil && x.start < x.files[x.frontFile].base {
		x.start, x.startMoved = x.files[x.frontFile].base, true
	}
}

// frontEntries reads up to n entries from the first one that is not trimmed on, all of one
// file. A damaged slot is an entry without records.
func (l *Log) frontEntries(x *index, n int) ([]commitlog.Entry, error) {
	if len(x.files) == 0 {
		return nil, nil
	}
	f := &x.files[x.frontFile]
	n = min(n, int(f.count)-x.frontSlot)
	if n <= 0 {
		return nil, nil
	}
	b := make([]byte, n*commitlog.IndexEntrySize)
	if err := l.readIndexFile(x, f.base, b, slotOffset(uint32(x.frontSlot))); err != nil {
		return nil, err
	}
	entries := make([]commitlog.Entry, 0, n)
	for i := range n {
		e, ok := commitlog.DecodeEntry(b[i*commitlog.IndexEntrySize:])
		if !ok {
			e = commitlog.Entry{}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// readIndexFile fills b from one of the index's files.
func (l *Log) readIndexFile(x *index, base uint64, b []byte, off int64) error {
	f := x.file
	if f == nil || x.fileBase != base {
		var err error
		if f, err = l.fs.Open(commitlog.IndexName(x.id, base)); err != nil {
			return fmt.Errorf("read %s: %w", commitlog.IndexName(x.id, base), err)
		}
		defer f.Close()
	}
	if _, err := f.ReadAt(b, off); err != nil && err != io.EOF {
		return fmt.Errorf("read %s: %w", commitlog.IndexName(x.id, base), err)
	}
	return nil
}

// storeStart writes the start word of the first file that is still wanted, and of those that
// are not, by which their readers learn that they must look for another file. These are
// removed only when an index checkpoint knows the new start: the entry that asked for the
// trim may yet be lost by a power cut.
func (l *Log) storeStart(x *index) error {
	if !x.startMoved {
		return nil
	}
	for i := min(x.frontFile, len(x.files)-1); i >= 0; i-- {
		if err := l.writeStart(x, x.files[i].base); err != nil {
			return err
		}
		x.files[i].dirty = true
		failpoint.Hit("persist.trim")
	}
	x.startMoved = false
	return nil
}

func (l *Log) writeStart(x *index, base uint64) error {
	f := x.file
	if f == nil || x.fileBase != base {
		var err error
		if f, err = l.fs.Open(commitlog.IndexName(x.id, base)); isNotExist(err) {
			return nil
		} else if err != nil {
			return fmt.Errorf("trim index %#x: %w", x.id, err)
		}
		defer f.Close()
	}
	b := commitlog.AppendIndexStart(nil, x.start)
	if _, err := f.WritevAt([][]byte{b}, commitlog.IndexStartOffset); err != nil {
		return fmt.Errorf("trim index %#x: %w", x.id, full(err))
	}
	return nil
}

// Retain trims all indexes that have a limit by time or size. ErrFull and other errors leave
// the rest for the next time.
func (l *Log) Retain() error {
	if l.round.phase != gathering {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	for _, id := range l.indexIDs() {
		x := l.indexes[id]
		if x.keep.RetentionBytes <= 0 && x.keep.RetentionMS <= 0 || x.start == x.next {
			continue
		}
		to, err := l.retainFrom(x, now)
		if err != nil {
			return err
		}
		if to > x.start {
			if err := l.trim(x, to); err != nil {
				return err
			}
		}
	}
	return nil
}

// retainFrom is the offset that an index may be trimmed to. By size the last batch always
// stays; by time nothing need.
func (l *Log) retainFrom(x *index, now int64) (uint64, error) {
	k := x.keep
	to, bytes := x.start, x.bytes
	slot, file := x.frontSlot, x.frontFile
	defer func() { x.frontSlot, x.frontFile = slot, file }()
	chunk := 1
	for {
		entries, err := l.frontEntries(x, chunk)
		if err != nil {
			return to, err
		}
		for _, e := range entries {
			old := k.RetentionMS > 0 && e.MaxTimeMS < now-k.RetentionMS
			big := k.RetentionBytes > 0 && bytes > uint64(k.RetentionBytes) && e.End() < x.next
			if e.Count > 0 && !old && !big {
				return to, nil
			}
			to = max(to, e.End())
			bytes -= min(bytes, uint64(e.Length))
			x.frontSlot++
		}
		if len(entries) == 0 {
			if x.frontFile+1 >= len(x.files) {
				return to, nil
			}
			x.frontFile, x.frontSlot = x.frontFile+1, 0
		}
		chunk = trimChunk
	}
}

// findFront finds the first entry that is not trimmed, after an index was loaded.
func (l *Log) findFront(x *index) error {
	for x.frontFile = 0; x.frontFile < len(x.files); x.frontFile++ {
		f := &x.files[x.frontFile]
		b := make([]byte, int(f.count)*commitlog.IndexEntrySize)
		if err := l.readIndexFile(x, f.base, b, slotOffset(0)); err != nil {
			return err
		}
		x.frontSlot = sort.Search(int(f.count), func(i int) bool {
			e, ok := commitlog.DecodeEntry(b[i*commitlog.IndexEntrySize:])
			return ok && e.End() > x.start
		})
		if x.frontSlot < int(f.count) {
			break
		}
	}
	if x.frontFile == len(x.files) && x.frontFile > 0 {
		x.frontFile--
	}
	x.startBehindPack()
	return nil
}

func isNotExist(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// configuring follows the parts of a Configure.
type configuring struct {
	term uint64
	next uint32          // part that must come
	seen map[uint64]bool // indexes that were named, or made since the first part; nil: a part was missed
}

// keep says that an index is wanted.
func (c *configuring) keep(id uint64) {
	if c.seen != nil {
		c.seen[id] = true
	}
}

// Configure takes over settings that logicsrv tells at its start. When the last of the parts
// has come, and none was missed, indexes that an earlier term made and nobody has named are
// removed. Told twice it has no effect twice. REQUIRES: nothing is pending.
func (l *Log) Configure(c *ipc.Configure) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g := &l.config
	switch {
	case c.Part == 0:
		*g = configuring{term: c.Term, next: c.Part, seen: map[uint64]bool{}}
	case g.seen == nil || c.Term != g.term || c.Part != g.next:
		g.seen = nil
	}
	for _, s := range c.Settings {
		x := l.indexes[s.Index]
		if x == nil && l.term >= c.Term {
			continue // told again after a restart: an entry of the term has deleted it since
		}
		if x == nil {
			var err error
			if x, err = l.makeIndex(s.Index, c.Term); err != nil {
				return err
			}
		}
		g.keep(s.Index)
		// What an entry of this term has set is later than this.
		if x.term < c.Term {
			x.keep = s
		}
	}
	if g.seen == nil {
		return nil
	}
	g.next = c.Part + 1
	if c.Part+1 < c.Parts {
		return nil
	}
	return l.deleteUnnamed(c.Term)
}

func (l *Log) deleteUnnamed(term uint64) error {
	for _, id := range l.indexIDs() {
		x := l.indexes[id]
		if x.term >= term || l.config.seen[id] {
			continue
		}
		l.log.Info("remove index that nobody wants", "index", id)
		if err := l.deleteIndex(id); err != nil {
			return err
		}
	}
	l.config.seen = nil
	return nil
}
