package seglog

import (
	"errors"
	"fmt"
	"io"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// scrub reads, slice by slice after the start, what recovery had no need to read, so that old
// damage is told before somebody needs the bytes. Only Maintain uses it.
type scrub struct {
	r    *commitlog.Reader
	next uint64 // LSN to go on with; 0: from the first one
	end  uint64 // log position where recovery began
	done bool
}

// ScrubDue says whether there is something left to be read.
func (l *Log) ScrubDue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.scrub.done
}

// Scrub reads about so many bytes of the log and checks them. Damage is reported, and batches
// that fail their own check are marked in the indexes, so that reading them is an error.
func (l *Log) Scrub(bytes int64) error {
	s := &l.scrub
	for s.r == nil || bytes > 0 {
		done, n, err := l.scrubEntry()
		if err != nil || done {
			l.endScrub(err)
			return nil
		}
		bytes -= n
	}
	return nil
}

// endScrub says how it went. A part of the disk that cannot be read is no reason to stop.
func (l *Log) endScrub(err error) {
	s := &l.scrub
	if s.r != nil {
		s.r.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.r, s.done = nil, true
	if err != nil && s.next < l.written {
		l.reportDamage(commitlog.Damage{Segment: commitlog.LogDir, LSN: s.next, Why: "reading the log ended with an error: " + err.Error()})
	}
}

// scrubEntry checks one entry; n is its size.
func (l *Log) scrubEntry() (done bool, n int64, err error) {
	s := &l.scrub
	if s.r == nil {
		if s.r, err = commitlog.NewReader(vfs.Reading(l.fs), s.next); err != nil {
			return false, 0, err
		}
		s.r.VerifyBodies(true)
	}
	e, p, err := s.r.Next()
	var d *commitlog.Damage
	switch {
	case err == io.EOF:
		return true, 0, nil
	case isNotExist(err): // a dead segment was removed meanwhile
		err = s.r.Close()
		s.r = nil
		return s.next == 0, 1, err
	case errors.As(err, &d):
		if d.Removed || d.Position >= s.end {
			return false, 1, nil
		}
		return false, int64(d.End - d.Position), l.foundDamage(*d)
	case err != nil:
		return false, 0, err
	}
	s.next = e.LSN + 1
	return p.Position+uint64(p.Length) >= s.end, int64(p.Length), nil
}

// foundDamage reports a damaged place, and marks what cannot be read any longer.
func (l *Log) foundDamage(d commitlog.Damage) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reportDamage(d)
	l.round.refs.forget() // entries that are about to be marked
	for _, id := range l.indexIDs() {
		if err := l.markDamaged(l.indexes[id], d.Position, d.End); err != nil {
			return err
		}
	}
	return nil
}

// markDamaged marks the entries of an index that lead to a broken batch in a range of the log.
// References may lead there from anywhere in the index. REQUIRES: mu is held.
func (l *Log) markDamaged(x *index, from, to uint64) error {
	for i := range x.files {
		f := &x.files[i]
		b := make([]byte, int(f.count)*commitlog.IndexEntrySize)
		if err := l.readIndexFile(x, f.base, b, slotOffset(0)); err != nil {
			return err
		}
		for slot := range f.count {
			e, ok := commitlog.DecodeEntry(b[int(slot)*commitlog.IndexEntrySize:])
			if !ok || e.Position < from || e.Position >= to || e.Flags&commitlog.FlagDamaged != 0 || l.batchIsWhole(e) {
				continue
			}
			if err := l.markSlot(x, f, slot, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// batchIsWhole reads the batch that an index entry leads to.
func (l *Log) batchIsWhole(e commitlog.Entry) bool {
	b, err := commitlog.ReadBatch(vfs.Reading(l.fs), e)
	if err != nil {
		return false
	}
	_, err = batch.Validate(b)
	return err == nil
}

func (l *Log) markSlot(x *index, f *indexFile, slot uint32, e commitlog.Entry) error {
	name := commitlog.IndexName(x.id, f.base)
	file, err := l.fs.Open(name)
	if err != nil {
		return fmt.Errorf("mark a damaged batch: %w", err)
	}
	defer file.Close()
	e.Flags |= commitlog.FlagDamaged
	if _, err := file.WritevAt([][]byte{e.Append(nil)}, slotOffset(slot)); err != nil {
		return fmt.Errorf("mark a damaged batch: %s: %w", name, full(err))
	}
	f.dirty, x.dirty, l.ckpt.changed = true, true, true
	return nil
}
