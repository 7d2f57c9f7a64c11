package seglog

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/invariant"
	"github.com/trimq/trimq/protocol/journal"
)

// Open locks the data directory and recovers the log in it. ErrFull where recovery needs room
// that the disk has not: nothing is lost, and it may be tried again.
func Open(o Options) (*Log, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	invariant.Check(o.Salt != nil, "a log without a source of salts")
	l := &Log{
		fs: o.FS, set: o.Settings, now: o.Now, salt: o.Salt, log: o.Log, pace: o.Pace,
		indexes: map[uint64]*index{}, newDirs: map[uint64]bool{},
	}
	if l.pace == nil {
		l.pace = func(int) bool { return true }
	}
	l.files.limit = o.Settings.OpenIndexFiles
	l.SetReserve(o.Settings.DiskReserveBytes)
	if err := l.open(o); err != nil {
		_ = l.Close() // what failed is the error that counts
		return nil, err
	}
	return l, nil
}

func (l *Log) open(o Options) error {
	began := time.Now()
	if err := l.prepareDir(); err != nil {
		return err
	}
	if err := l.loadCheckpoints(); err != nil {
		return err
	}
	if err := l.checkSpace(); err != nil {
		return err
	}
	r := &recovery{l: l, hint: o.SyncedHint, rewrite: o.Rewrite, warm: o.Warm, broken: map[uint64]bool{}}
	if err := r.run(); err != nil {
		return fmt.Errorf("recover the log: %w", err)
	}
	for _, s := range l.segs {
		l.stats.LogBytes += s.end - s.position
	}
	l.ckpt = checkpointing{changed: true, atMS: l.now()}
	l.scrub = scrub{end: r.from, done: len(r.files) == 0 || r.files[0].Position >= r.from || l.stats.Rebuilt > 0 && r.whole}
	l.log.Info("recovered", "lsn", l.written, "position", l.end, "segments", len(l.segs), "indexes", len(l.indexes),
		"scanned", l.stats.RecoveryScanned, "torn", l.stats.TornBytes, "rebuilt", l.stats.Rebuilt,
		"rewritten", l.stats.Rewritten, "damages", len(l.damages), "took", time.Since(began))
	return nil
}

// ours are the names that a data directory has.
var ours = []string{
	commitlog.LogDir, commitlog.IndexDir, commitlog.CheckpointDir, commitlog.PackDir, commitlog.MarkerName, commitlog.LockName,
	commitlog.IndexCheckpointName, commitlog.KnownDamageName, commitlog.BeforeRepairDir,
	// Of the other daemons, of the operator, and of the file system.
	"broker.id", "parked", "run", "log", "trimq.toml", "lost+found",
}

func isOurs(name string) bool {
	return slices.Contains(ours, strings.TrimSuffix(name, commitlog.TmpSuffix)) || strings.HasPrefix(name, ".broker.id.")
}

// prepareDir locks the directory, sees that it is ours, and removes unfinished files.
func (l *Log) prepareDir() error {
	names, err := l.fs.List("")
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	var foreign []string
	for _, name := range names {
		if !isOurs(name) {
			foreign = append(foreign, name)
		}
	}
	marked := slices.Contains(names, commitlog.MarkerName)
	if !marked && len(foreign) > 0 {
		return fmt.Errorf("data directory holds files that are not TriMQ's (%s): name an empty directory",
			strings.Join(foreign[:min(len(foreign), 5)], ", "))
	}
	if l.lock, err = l.fs.Lock(commitlog.LockName); err != nil {
		if errors.Is(err, vfs.ErrLocked) {
			return fmt.Errorf("data directory is in use by another persistsrv: %w", err)
		}
		return fmt.Errorf("lock the data directory: %w", full(err))
	}
	if marked {
		return l.checkMarker()
	}
	if err := l.replaceFile("", commitlog.MarkerName, []byte(commitlog.MarkerText)); err != nil {
		return fmt.Errorf("mark the data directory: %w", err)
	}
	return nil
}

func (l *Log) checkMarker() error {
	f, err := l.fs.Open(commitlog.MarkerName)
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	defer f.Close()
	b := make([]byte, len(commitlog.MarkerText)+1)
	n, _ := f.ReadAt(b, 0)
	if err := commitlog.CheckMarker(b[:n]); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	for _, dir := range []string{"", commitlog.LogDir, commitlog.CheckpointDir, commitlog.PackDir} {
		if err := l.removeUnfinished(dir); err != nil {
			return err
		}
	}
	return nil
}

func (l *Log) removeUnfinished(dir string) error {
	names, err := l.fs.List(dir)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	return l.removeTmp(dir, names)
}

// removeTmp removes the unfinished files among those of a directory.
func (l *Log) removeTmp(dir string, names []string) error {
	for _, name := range names {
		if !strings.HasSuffix(name, commitlog.TmpSuffix) {
			continue
		}
		if dir != "" {
			name = dir + "/" + name
		}
		if err := l.fs.Remove(name); err != nil {
			return fmt.Errorf("remove unfinished file: %w", err)
		}
	}
	return nil
}

// loadCheckpoints reads what logicsrv's checkpoints still need of the log.
func (l *Log) loadCheckpoints() error {
	lsns, err := commitlog.ListCheckpoints(vfs.Reading(l.fs))
	if err != nil {
		return err
	}
	for _, lsn := range lsns {
		k := keptCheckpoint{lsn: lsn}
		var b [journal.CheckpointHeaderSize]byte
		f, err := l.fs.Open(commitlog.CheckpointName(lsn))
		if err != nil {
			return fmt.Errorf("checkpoint: %w", err)
		}
		// A damaged one counts as needing everything.
		if n, _ := f.ReadAt(b[:], 0); n == len(b) && string(b[:8]) == journal.CheckpointMagic {
			k.resultsFrom = leUint64(b[24:])
		}
		f.Close()
		l.state.kept = append(l.state.kept, k)
	}
	return nil
}

func leUint64(b []byte) uint64 {
	var v uint64
	for i := 7; i >= 0; i-- {
		v = v<<8 | uint64(b[i])
	}
	return v
}
