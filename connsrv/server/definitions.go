package server

import (
	"context"
	"time"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
)

// readAgain is how soon the definitions are asked for once more where that failed.
const readAgain = time.Second

// Access is who may come in and what they may do. Its table is nil until logicsrv has told.
func (s *Server) Access() *access.Current { return &s.access }

// VHosts are the names of all vhosts; nil: they are not known yet.
func (s *Server) VHosts() (names []string) {
	t := s.access.Load()
	if t == nil {
		return nil
	}
	for _, d := range t.Definitions() {
		if d.Kind == admin.DefVHost {
			names = append(names, d.Name)
		}
	}
	return names
}

// changed notes that logicsrv may have other definitions than those that were read last.
func (s *Server) changed() {
	select {
	case s.stale <- struct{}{}:
	default: // noted already
	}
}

// FollowDefinitions keeps the table of Access up to date until ctx ends: it reads the definitions
// whenever logicsrv has begun or tells of a change.
func (s *Server) FollowDefinitions(ctx context.Context, read func(context.Context) ([]admin.Definition, error)) {
	s.changed()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.stale:
		case <-again:
		}
		again = nil
		if err := s.ReadDefinitions(ctx, read); err != nil {
			s.log.Debug("definitions could not be read", "err", err)
			again = time.After(readAgain)
		}
	}
}

// ReadDefinitions brings the table of Access up to what is defined now. Any goroutine may call it.
func (s *Server) ReadDefinitions(ctx context.Context, read func(context.Context) ([]admin.Definition, error)) error {
	s.reading.Lock() // what was read later is stored later
	defer s.reading.Unlock()
	all, err := read(ctx)
	if err == nil {
		s.access.Store(access.NewTable(all))
	}
	return err
}
