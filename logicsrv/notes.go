package main

import (
	"log/slog"
	"sync"
	"time"

	"github.com/trimq/trimq/logicsrv/shell"
)

// noteRetry is how long the reader of notes waits after an error.
const noteRetry = time.Second

// readNotes reads the notes of dead messages in a goroutine of its own, for it may have to wait
// for the disk. stop ends it.
func readNotes(s *shell.Shell, log *slog.Logger) (stop func()) {
	done := make(chan struct{})
	var ended sync.WaitGroup
	ended.Go(func() {
		defer s.CloseNotes()
		var again <-chan time.Time
		for {
			select {
			case <-done:
				return
			case <-s.NotesWanted():
			case <-again:
			}
			again = nil
			if err := s.ReadNotes(); err != nil {
				log.Warn("notes of dead messages cannot be read now", "err", err)
				again = time.After(noteRetry)
			}
		}
	})
	return func() {
		close(done)
		ended.Wait()
	}
}
