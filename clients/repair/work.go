package repair

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/trimq/trimq/protocol/commitlog"
	"golang.org/x/sys/unix"
)

// ErrInUse says that a broker works on the directory.
var ErrInUse = errors.New("a broker works on this data directory: stop it first (scripts/mq_server.stop.sh 15)")

// Lock keeps every persistsrv, and every other repair, out of a data directory until it is closed.
func Lock(dir string) (io.Closer, error) {
	f, err := os.OpenFile(filepath.Join(dir, commitlog.LockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return f, nil
}

// work is a repair at work.
type work struct {
	dir  string
	keep string // where this repair's copies go; made with the first
}

// Do does the steps, and tells of each. REQUIRES: the directory is locked, and has been since Look.
// It returns the folder with what it has changed, as that was.
func (p *Plan) Do(tell func(Step)) (kept string, err error) {
	w := &work{dir: p.dir}
	for _, s := range p.Steps {
		if err := s.do(w); err != nil {
			return w.keep, fmt.Errorf("%s: %w", s.What, err)
		}
		tell(s)
	}
	return w.keep, nil
}

// kept is where a file's copy goes.
func (w *work) kept(name string) (string, error) {
	root := filepath.Join(w.dir, commitlog.BeforeRepairDir)
	for n := 1; w.keep == ""; n++ {
		if err := os.MkdirAll(root, 0o700); err != nil {
			return "", err
		}
		path := filepath.Join(root, strconv.Itoa(n))
		switch err := os.Mkdir(path, 0o700); {
		case err == nil:
			w.keep = path
		case !errors.Is(err, os.ErrExist):
			return "", err
		}
	}
	to := filepath.Join(w.keep, filepath.FromSlash(name))
	return to, os.MkdirAll(filepath.Dir(to), 0o700)
}

// aside moves a file to where copies are.
func aside(name string) func(*work) error {
	return func(w *work) error {
		to, err := w.kept(name)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(to); err == nil {
			to += ".changed" // an earlier step has changed it, and what was before that is there
		}
		from := filepath.Join(w.dir, filepath.FromSlash(name))
		if err := os.Rename(from, to); err != nil {
			return err
		}
		return errors.Join(syncDir(filepath.Dir(to)), syncDir(filepath.Dir(from)))
	}
}

// asideAll moves all files of a folder; the folder stays.
func asideAll(name string) func(*work) error {
	return func(w *work) error {
		list, err := os.ReadDir(filepath.Join(w.dir, filepath.FromSlash(name)))
		for _, e := range list {
			err = errors.Join(err, aside(name+"/"+e.Name())(w))
		}
		return err
	}
}

// copyOf keeps a copy of a file that is going to be changed. What is not there needs none.
func (w *work) copyOf(name string) error {
	from, err := os.Open(filepath.Join(w.dir, filepath.FromSlash(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer from.Close()
	path, err := w.kept(name)
	if err != nil {
		return err
	}
	to, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil // an earlier step has changed it: what was before that is kept
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Sync(), to.Close(), syncDir(filepath.Dir(path)))
}

// replace writes a file anew under another name, and renames it into place.
func (w *work) replace(name string, fill func(f *os.File) error) error {
	if err := w.copyOf(name); err != nil {
		return err
	}
	path := filepath.Join(w.dir, filepath.FromSlash(name))
	tmp := path + commitlog.TmpSuffix
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(fill(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return errors.Join(os.Rename(tmp, path), syncDir(filepath.Dir(path)))
}

// write replaces a file's content.
func write(name string, content []byte) func(*work) error {
	return func(w *work) error {
		return w.replace(name, func(f *os.File) error { _, err := f.Write(content); return err })
	}
}

// know adds a line to damage.known.
func know(k commitlog.KnownDamage) func(*work) error {
	return func(w *work) error {
		old, err := os.ReadFile(filepath.Join(w.dir, commitlog.KnownDamageName))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		return write(commitlog.KnownDamageName, append(old, k.String()+"\n"...))(w)
	}
}

// patch replaces the first bytes of a file.
func patch(name string, head []byte) func(*work) error {
	return func(w *work) error {
		return w.replace(name, func(f *os.File) error {
			from, err := os.Open(filepath.Join(w.dir, filepath.FromSlash(name)))
			if err != nil {
				return err
			}
			defer from.Close()
			if _, err := io.Copy(f, from); err != nil {
				return err
			}
			_, err = f.WriteAt(head, 0)
			return err
		})
	}
}

// swap gives files their names. All are moved away before the first gets its own.
func swap(renames map[string]string) func(*work) error {
	return func(w *work) error {
		at := func(name string) string { return filepath.Join(w.dir, filepath.FromSlash(name)) }
		names := sorted(renames)
		for _, from := range names {
			if err := w.copyOf(from); err != nil {
				return err
			}
		}
		moved := map[string]string{}
		for _, from := range names {
			if moved[from] = at(from) + ".moved" + commitlog.TmpSuffix; os.Rename(at(from), moved[from]) != nil {
				return fmt.Errorf("cannot rename %s", from)
			}
		}
		for _, from := range names {
			if err := errors.Join(os.Rename(moved[from], at(renames[from])), syncDir(filepath.Dir(at(from)))); err != nil {
				return err
			}
		}
		return nil
	}
}

// endBefore ends the log before a place: its segment is cut there, and later ones are set aside,
// as are the indexes, and what speaks of entries that are no more.
func (l *looker) endBefore(at *stop) func(*work) error {
	segs := l.segs
	return func(w *work) error {
		for i := len(segs) - 1; i >= 0; i-- { // from the end, so that a death in between leaves no hole
			s := &segs[i]
			if s.Position >= at.position {
				if err := aside(s.Name)(w); err != nil {
					return err
				}
			} else if s.End > at.position {
				if err := cut(s.Name, commitlog.SegmentHeaderSize+int64(at.position-s.Position))(w); err != nil {
					return err
				}
			}
		}
		if _, err := os.Stat(filepath.Join(w.dir, commitlog.IndexCheckpointName)); err != nil {
			return nil // there is none
		}
		return aside(commitlog.IndexCheckpointName)(w)
	}
}

// cut ends a file early.
func cut(name string, size int64) func(*work) error {
	return func(w *work) error {
		return w.replace(name, func(f *os.File) error {
			from, err := os.Open(filepath.Join(w.dir, filepath.FromSlash(name)))
			if err != nil {
				return err
			}
			defer from.Close()
			_, err = io.CopyN(f, from, size)
			return err
		})
	}
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func sorted(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
