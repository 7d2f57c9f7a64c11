package shell

import (
	"errors"
	"io/fs"
	"sync"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
)

// The notes of dead messages. The core asks for them (core.Wanted) and does no I/O; the loop hands
// the question on and waits for nothing; another goroutine, which may wait for the disk, reads the
// log (ReadNotes) and rings; and the next turn takes the answer in. Nothing of this outlives the
// process: what was asked and not answered is asked again by the next one.

// maxAsked is how many ranges are being read at a time.
const maxAsked = 64

// notes is what passes between the loop and the reader.
type notes struct {
	work chan struct{} // holds a token while there may be something to read

	mu    sync.Mutex
	asked []core.Wanted
	read  []core.Noted
	busy  int // ranges asked for and not answered

	reader *commitlog.NoteReader // ReadNotes' own
}

// NotesWanted is told when ReadNotes has something to do.
func (s *Shell) NotesWanted() <-chan struct{} { return s.notes.work }

// exchangeNotes gives the core what has been read, and takes over what it wants to know next.
func (s *Shell) exchangeNotes() (progress bool) {
	n := &s.notes
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.read {
		s.core.Noted(n.read[i])
	}
	progress = len(n.read) > 0
	n.read = n.read[:0]
	if n.busy < maxAsked {
		was := len(n.asked)
		n.asked = s.core.Wanted(n.asked, was+maxAsked-n.busy)
		n.busy += len(n.asked) - was
	}
	if len(n.asked) > 0 {
		select {
		case n.work <- struct{}{}:
		default:
		}
	}
	return progress
}

// notesRead tells whether there is an answer for the core.
func (s *Shell) notesRead() bool {
	s.notes.mu.Lock()
	defer s.notes.mu.Unlock()
	return len(s.notes.read) > 0
}

// ReadNotes reads what the core has asked for, and rings. It may wait for the disk; one
// goroutine calls it. An error says that some could not be read now, and shall be tried again
// after a while.
func (s *Shell) ReadNotes() error {
	n := &s.notes
	n.mu.Lock()
	asked := n.asked
	n.asked = nil
	n.mu.Unlock()
	if len(asked) == 0 {
		return nil
	}
	if n.reader == nil {
		n.reader = commitlog.NewNoteReader(s.opt.LogFS)
	}
	var read []core.Noted
	var again []core.Wanted
	var errs []error
	for _, w := range asked {
		var err error
		if read, err = s.readNotes(read, &w); err != nil {
			errs = append(errs, err)
			again = append(again, w)
		}
	}
	n.mu.Lock()
	n.read = append(n.read, read...)
	n.asked = append(again, n.asked...)
	n.busy -= len(asked) - len(again)
	n.mu.Unlock()
	s.bell.Ring()
	return errors.Join(errs...)
}

// readNotes reads the notes of one range, and takes what it has read off its front. What is
// damaged is answered too, or it would be waited for until the next start.
func (s *Shell) readNotes(out []core.Noted, w *core.Wanted) ([]core.Noted, error) {
	end := w.First + uint64(w.Count)
	answer := func(next uint64, n core.Noted) {
		n.Queue, n.Index, n.First, n.Count = w.Queue, w.Index, w.First, uint32(next-w.First)
		out = append(out, n)
		w.First, w.Count = next, uint32(end-next)
	}
	lost := func(next uint64, err error) {
		if s.opt.Log != nil {
			s.opt.Log.Error("dead messages cannot be read, and are dropped", "queue", w.Queue, "index", w.Index, "first", w.First, "next", next, "err", err)
		}
		answer(next, core.Noted{Unreadable: true})
	}
	err := s.notes.reader.Range(w.Index, w.First, end, func(n commitlog.Noted) {
		switch first, next := n.Part(w.First, end); {
		case first >= next:
		case errors.Is(n.Err, commitlog.ErrGap): // compaction has removed them meanwhile, or retention
			answer(next, core.Noted{Unreadable: true})
		case n.Err != nil:
			lost(next, n.Err)
		default:
			answer(next, core.Noted{Note: n.Note, Weight: n.Weight(first, next)})
		}
	})
	if errors.Is(err, fs.ErrNotExist) {
		lost(end, err) // deleted with its queue, which the core knows
		return out, nil
	}
	return out, err
}

// CloseNotes lets go of the reader's files. REQUIRES: ReadNotes is not under way.
func (s *Shell) CloseNotes() {
	if s.notes.reader != nil {
		s.notes.reader.Close()
		s.notes.reader = nil
	}
}
