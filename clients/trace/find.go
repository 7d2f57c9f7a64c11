package trace

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// ErrNotFound says that the log does not hold the message: it is not there yet, or not any more.
var ErrNotFound = errors.New("the log does not hold it")

// Origin is where a message was stored: once, however many queues it is in.
type Origin struct {
	LSN    uint64 // of the log entry
	Body   int    // which of its batches
	Record uint32 // which of that batch's records
}

// Find looks for the origin of the message that has an offset in an index.
func Find(fs commitlog.FS, p Place) (Origin, error) {
	e, err := indexEntry(fs, p)
	if err != nil {
		return Origin{}, err
	}
	if e.Position >= commitlog.PackPosition {
		return Origin{}, fmt.Errorf("offset %d of index %d was compacted, and what the log said of it may be gone: %w", p.Offset, p.Index, ErrNotFound)
	}
	lsn, body, err := entryAt(fs, e.Position)
	return Origin{LSN: lsn, Body: body, Record: e.Skip + uint32(p.Offset-e.Offset)}, err
}

// indexEntry reads the entry of an index that an offset is in.
func indexEntry(fs commitlog.FS, p Place) (commitlog.Entry, error) {
	bases, err := commitlog.ListIndexFiles(fs, p.Index)
	if err != nil {
		return commitlog.Entry{}, err
	}
	i := sort.Search(len(bases), func(i int) bool { return bases[i] > p.Offset }) - 1
	if i < 0 {
		return commitlog.Entry{}, fmt.Errorf("offset %d of index %d: %w", p.Offset, p.Index, ErrNotFound)
	}
	_, entries, _, err := commitlog.ReadIndexFile(fs, p.Index, bases[i])
	if err != nil {
		return commitlog.Entry{}, err
	}
	k := sort.Search(len(entries), func(k int) bool { return entries[k].End() > p.Offset })
	switch {
	case k == len(entries) || entries[k].Offset > p.Offset:
		return commitlog.Entry{}, fmt.Errorf("offset %d of index %d: %w", p.Offset, p.Index, ErrNotFound)
	case entries[k].Position == 0:
		return commitlog.Entry{}, fmt.Errorf("offset %d of index %d: its batch was damaged", p.Offset, p.Index)
	}
	return entries[k], nil
}

// entryAt finds the log entry one of whose bodies begins at a log position.
func entryAt(fs commitlog.FS, position uint64) (lsn uint64, body int, err error) {
	segments, err := commitlog.ListSegments(fs)
	if err != nil {
		return 0, 0, err
	}
	i := sort.Search(len(segments), func(i int) bool { return segments[i].Position > position }) - 1
	if i < 0 || !segments[i].Salted {
		return 0, 0, fmt.Errorf("the log segment with position %d: %w", position, ErrNotFound)
	}
	f, err := fs.Open(segments[i].Name)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	s := commitlog.NewScanner(f, segments[i])
	s.Heads = true
	for at := segments[i].Position; at <= position; {
		e, place, err := s.At(at)
		if err != nil {
			return 0, 0, fmt.Errorf("the log at position %d: %w", at, err)
		}
		for b := range e.Bodies {
			if place.Position+e.BodyOffset(b) == position {
				return e.LSN, b, nil
			}
		}
		at += uint64(place.Length)
	}
	return 0, 0, fmt.Errorf("a batch at log position %d: %w", position, ErrNotFound)
}

// FindHeader looks through all messages of the log for the first one with a header of this value.
// unread is how many batches it could not look into.
func FindHeader(fs commitlog.FS, key, value string) (o Origin, unread int, err error) {
	r, err := commitlog.NewReader(fs, 0)
	if err != nil {
		return o, 0, err
	}
	defer r.Close()
	var records batch.Reader
	var buf []byte
	for {
		e, _, err := r.Next()
		var damage *commitlog.Damage
		switch {
		case err == io.EOF:
			return o, unread, fmt.Errorf("a message with header %s=%s: %w", key, value, ErrNotFound)
		case errors.As(err, &damage):
			continue
		case err != nil:
			return o, unread, err
		}
		for i := range e.Bodies {
			if buf, err = r.Body(i, buf[:0]); err != nil {
				return o, unread, err
			}
			n, found := hasHeader(&records, buf, key, value)
			if found {
				return Origin{e.LSN, i, n}, unread, nil
			}
			if records.Err() != nil {
				unread++
			}
		}
	}
}

// hasHeader looks for the first record of a batch with a header of this value.
func hasHeader(r *batch.Reader, b []byte, key, value string) (n uint32, found bool) {
	if r.Reset(b) != nil {
		return 0, false
	}
	var rec batch.Record
	for ; r.Next(&rec); n++ {
		h := rec.Headers()
		for k, v, ok := h.Next(); ok; k, v, ok = h.Next() {
			if string(k) == key && string(v) == value {
				return n, true
			}
		}
	}
	return 0, false
}

// Follow tells what has happened to a message, from its origin to the end of the log.
func Follow(fs commitlog.FS, o Origin, names *Names, emit func(Step)) error {
	r, err := commitlog.NewReader(fs, o.LSN)
	if err != nil {
		return err
	}
	defer r.Close()
	r.HeadsOnly(true)
	s := newStory(names, emit)
	for begun := false; ; begun = true {
		e, _, err := r.Next()
		var damage *commitlog.Damage
		switch {
		case err == io.EOF:
			return nil
		case errors.As(err, &damage):
			s.emit(Step{TimeMS: s.timeMS, LSN: s.lsn, What: fmt.Sprintf("the log is damaged here, something may be missing: %v", damage)})
			continue
		case err != nil:
			return err
		case !begun && e.LSN != o.LSN:
			return fmt.Errorf("log entry %d: %w", o.LSN, ErrNotFound)
		}
		if !begun {
			err = s.begin(e, o)
		} else {
			err = s.entry(e)
		}
		if err != nil {
			return fmt.Errorf("log entry %d: %w", e.LSN, err)
		}
	}
}

// LearnNames takes all names out of the log that are still there, and the tags that consumers had
// before an entry.
func LearnNames(fs commitlog.FS, names *Names, before uint64) error {
	r, err := commitlog.NewReader(fs, 0)
	if err != nil {
		return err
	}
	defer r.Close()
	r.HeadsOnly(true)
	for {
		e, _, err := r.Next()
		var damage *commitlog.Damage
		switch {
		case err == io.EOF || err == nil && before != 0 && e.LSN >= before:
			return nil
		case errors.As(err, &damage):
			continue
		case err != nil:
			return err
		}
		events := journal.Events(e.Events)
		for ev, ok := events.Next(); ok; ev, ok = events.Next() {
			if err := names.learn(ev); err != nil {
				return fmt.Errorf("log entry %d: %w", e.LSN, err)
			}
		}
	}
}
