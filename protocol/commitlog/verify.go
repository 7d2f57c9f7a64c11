package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
)

// Severity of a Finding.
type Severity uint8

const (
	Note  Severity = 1 // normal, but good to know: a torn end, a removed dead segment
	Error Severity = 2 // bytes are damaged or contradict each other
)

// Finding is something that Verify has seen.
type Finding struct {
	Severity Severity
	File     string
	Position uint64 // log position; in an index file the slot
	What     string
}

// Summary counts what Verify has read.
type Summary struct {
	Segments, Entries, Batches, Indexes, IndexEntries uint64
	Packs                                             uint64
	Bytes                                             uint64
	FirstLSN, LastLSN                                 uint64
	Errors                                            uint64
}

// Verify reads everything below a data directory and reports what it finds: every entry and
// every body of the log by their checksums, every index against the log, what references lead to,
// and all checkpoints.
// It changes nothing. The log may be written to at the same time: what comes after the
// beginning of Verify is not looked at.
func Verify(fsys FS, report func(Finding)) (Summary, error) {
	v := &verifier{fs: fsys, tell: report, cursors: map[uint64]*indexCursor{}, lost: map[uint64]bool{}, bytes: logBytes{fs: fsys}}
	defer v.bytes.close()
	for _, part := range []func() error{v.marker, v.knownDamage, v.indexCheckpoint, v.segments, v.packs, v.log, v.indexes, v.checkpoints} {
		if err := part(); err != nil {
			return v.sum, err
		}
	}
	return v.sum, nil
}

type verifier struct {
	fs      FS
	tell    func(Finding)
	sum     Summary
	cursors map[uint64]*indexCursor
	lost    map[uint64]bool // indexes that the log speaks of and that are not there
	holes   []*Damage
	known   []KnownDamage
	bytes   logBytes // for what references lead to
	// noteless is the LSN of the last entry with a note that fails its check.
	noteless uint64
	end      uint64 // log position behind the last entry
	synced   uint64 // LSN up to which the log had been synced by the index checkpoint
}

func (v *verifier) found(s Severity, file string, position uint64, format string, args ...any) {
	if s == Error {
		v.sum.Errors++
	}
	v.tell(Finding{Severity: s, File: file, Position: position, What: fmt.Sprintf(format, args...)})
}

// segments checks the segments' headers.
func (v *verifier) segments() error {
	segs, err := ListSegments(v.fs)
	if err != nil {
		return err
	}
	v.sum.Segments = uint64(len(segs))
	for i := range segs {
		s := &segs[i]
		v.sum.Bytes += uint64(s.Size)
		if s.HeaderErr != nil {
			v.found(Error, s.Name, s.Position, "%v", s.HeaderErr)
		}
	}
	return v.missing(segs)
}

// missing finds segments that are not there, though indexes lead into them. The index checkpoint is
// read after the directory: one that is removed because nothing needs it has lost its references in
// an index checkpoint before.
func (v *verifier) missing(segs []SegmentFile) error {
	c, err := ReadIndexCheckpoint(v.fs)
	if err != nil {
		return nil // told by indexCheckpoint
	}
	there := map[uint64]bool{}
	for i := range segs {
		there[segs[i].Position] = true
	}
	for i := range c.Segments {
		if s := &c.Segments[i]; s.Refs > 0 && !there[s.Position] {
			v.found(v.severity(s.BaseLSN, s.LastLSN), SegmentName(s.Position), s.Position,
				"is missing: lsn %d to %d, into which %d index entries lead", s.BaseLSN, s.LastLSN, s.Refs)
		}
	}
	return nil
}

// severity of the loss of entries: a note where it is known.
func (v *verifier) severity(first, last uint64) Severity {
	if Covers(v.known, first, last) {
		return Note
	}
	return Error
}

// knownDamage reads damage.known.
func (v *verifier) knownDamage() (err error) {
	if v.known, err = ReadKnownDamage(v.fs); err != nil {
		v.found(Error, KnownDamageName, 0, "%v", err)
	}
	return nil
}

// marker reads the file that says whose the directory is.
func (v *verifier) marker() error {
	text, err := readWhole(v.fs, MarkerName)
	if errors.Is(err, fs.ErrNotExist) {
		v.found(Note, MarkerName, 0, "is missing; persistsrv makes it anew at its next start")
		return nil
	}
	if err == nil {
		err = CheckMarker(text)
	}
	if err != nil {
		v.found(Error, MarkerName, 0, "%v", err)
	}
	return nil
}

// log reads all entries with their bodies, and compares the indexes as it goes along.
func (v *verifier) log() error {
	r, err := NewReader(v.fs, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	r.VerifyBodies(true)
	for {
		e, p, err := r.Next()
		var d *Damage
		switch {
		case err == io.EOF:
			if t := r.Torn(); t != nil {
				severity := Note
				if v.sum.LastLSN < v.synced {
					severity = v.severity(v.sum.LastLSN+1, v.synced)
				}
				v.found(severity, t.Segment, t.Position, "the log ends before the file does: %v", t.Why)
			} else if v.sum.LastLSN < v.synced {
				v.found(v.severity(v.sum.LastLSN+1, v.synced), LogDir, v.end, "ends at lsn %d; lsn %d had been synced", v.sum.LastLSN, v.synced)
			}
			return nil
		case errors.As(err, &d):
			v.damage(d)
			continue
		case err != nil:
			return err
		}
		if v.sum.Entries++; v.sum.FirstLSN == 0 {
			v.sum.FirstLSN = e.LSN
		}
		v.sum.LastLSN = e.LSN
		v.sum.Batches += uint64(len(e.Bodies))
		v.end = p.Position + uint64(p.Length)
		if err := v.items(e, p); err != nil {
			return err
		}
	}
}

func (v *verifier) damage(d *Damage) {
	v.holes = append(v.holes, d)
	switch {
	case d.Removed:
		v.found(Note, d.Segment, d.Position, "lsn %d to %d are not there: dead segments were removed", d.LSN, d.NextLSN-1)
	case !d.Proven && d.LSN > v.synced:
		v.found(Note, d.Segment, d.Position, "torn end with whole entries behind it, or damage: lsn %d to %d: %s", d.LSN, d.NextLSN-1, d.Why)
	default:
		v.found(v.severity(d.LSN, d.NextLSN-1), d.Segment, d.Position, "damaged up to position %d, lsn %d to %d: %s", d.End, d.LSN, d.NextLSN-1, d.Why)
	}
}

// indexes looks at what the log has not led to.
func (v *verifier) indexes() error {
	ids, err := ListIndexes(v.fs)
	if err != nil {
		return err
	}
	v.sum.Indexes = uint64(len(ids))
	for _, id := range ids {
		c, err := v.cursor(id)
		if err != nil {
			return err
		}
		if c == nil {
			v.found(Error, IndexPath(id), 0, "has no file")
			continue
		}
		v.sum.IndexEntries += uint64(len(c.entries))
		for _, e := range c.entries[c.slot:] {
			// Behind the log's end lies what was written since Verify began.
			if !c.broken && e.Origin < v.end && !v.inHole(e.Origin) {
				v.found(Error, c.name, uint64(c.slot), "comes from position %d, where the log has no such entry", e.Origin)
				break
			}
		}
	}
	severity := Error
	if len(v.holes) > 0 {
		severity = Note // that it was deleted may be what is damaged, or stood in a dead segment
	}
	for _, id := range slices.Sorted(maps.Keys(v.lost)) {
		if !slices.Contains(ids, id) {
			v.found(severity, IndexPath(id), 0, "is missing; persistsrv makes it anew at its next start")
		}
	}
	return nil
}

// checkpoints reads logicsrv's checkpoints.
func (v *verifier) checkpoints() error {
	lsns, err := ListCheckpoints(v.fs)
	if err != nil {
		return err
	}
	for _, lsn := range lsns {
		b, err := readWhole(v.fs, CheckpointName(lsn))
		if errors.Is(err, fs.ErrNotExist) {
			continue // replaced by a newer one while we read
		}
		if err == nil {
			_, _, _, err = openCheckpoint(b, lsn)
		}
		if err != nil {
			v.found(Error, CheckpointName(lsn), 0, "%v", err)
		}
	}
	return nil
}

// indexCheckpoint reads index.ckpt.
func (v *verifier) indexCheckpoint() error {
	c, err := ReadIndexCheckpoint(v.fs)
	if errors.Is(err, fs.ErrNotExist) {
		v.found(Note, IndexCheckpointName, 0, "is missing; persistsrv reads the whole log at its next start")
	} else if err != nil {
		v.found(Error, IndexCheckpointName, 0, "%v", err)
	}
	if err == nil {
		v.synced = c.LSN
	}
	return nil
}
