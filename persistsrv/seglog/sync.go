package seglog

import (
	"fmt"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// NeedsSync says whether anything written is not durable.
func (l *Log) NeedsSync() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.written > l.synced.Load()
}

// Sync makes durable what is written, and returns the LSN up to which it is. An error is
// final: this process must not sync again, because the kernel may have dropped what it could
// not write, and would call the next sync a success.
func (l *Log) Sync() (uint64, error) {
	l.syncMu.Lock()
	defer l.syncMu.Unlock()
	if l.failed {
		return l.synced.Load(), fmt.Errorf("%w before", ErrSync)
	}
	l.mu.Lock()
	target, names := l.written, l.newNames
	segs := append([]*segment(nil), l.unsynced...)
	ends := make([]uint64, len(segs))
	for i, s := range segs {
		ends[i] = s.end
	}
	clean := target == l.synced.Load() && !names
	for i, s := range segs {
		clean = clean && s.synced == ends[i]
	}
	l.newNames = false
	l.mu.Unlock()
	if clean {
		return target, nil
	}
	began := time.Now()
	if err := l.syncSegments(segs, names); err != nil {
		l.failed = true
		return l.synced.Load(), err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, s := range segs {
		s.synced = ends[i]
		if s.sealed && s.synced == s.end && s != l.cur {
			l.settle(s)
		}
	}
	l.synced.Store(target)
	l.stats.Syncs++
	l.stats.SyncNS += uint64(time.Since(began))
	return target, nil
}

func (l *Log) syncSegments(segs []*segment, names bool) error {
	if !failpoint.Broken("persist-no-sync") {
		for _, s := range segs {
			if err := s.file.Sync(); err != nil {
				return fmt.Errorf("%w: segment %s: %w", ErrSync, s.name(), err)
			}
			failpoint.Hit("persist.sync")
		}
	}
	if names {
		for _, dir := range []string{commitlog.LogDir, ""} {
			if err := l.fs.SyncDir(dir); err != nil {
				return fmt.Errorf("%w: directory %q: %w", ErrSync, dir, err)
			}
			failpoint.Hit("persist.sync")
		}
	}
	return nil
}

// settle takes a sealed segment off the list of those to be synced, and closes it.
func (l *Log) settle(s *segment) {
	l.dropUnsynced(s)
	if s.file != nil {
		_ = s.file.Close() // synced: nothing can be lost by it
		s.file = nil
	}
}
