package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/trimq/trimq/protocol/failpoint"
)

// ErrLocked says that another process holds the lock.
var ErrLocked = errors.New("locked by another process")

// OS is a directory of the operating system.
type OS struct{ root string }

// NewOS opens a directory, made if it is missing, and checks that files can be written there.
func NewOS(root string) (*OS, error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return nil, fmt.Errorf("data directory %s: %w", root, err)
	}
	if err := unix.Access(root, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return nil, fmt.Errorf("data directory %s cannot be written to: %w", root, err)
	}
	return &OS{root: root}, nil
}

func (o *OS) path(name string) string { return filepath.Join(o.root, filepath.FromSlash(name)) }

// Create implements FS.
func (o *OS) Create(name string) (File, error) {
	return o.open("create", name, unix.O_CREAT|unix.O_EXCL)
}

// Open implements FS.
func (o *OS) Open(name string) (File, error) { return o.open("open", name, 0) }

func (o *OS) open(op, name string, flags int) (File, error) {
	path := o.path(name)
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|flags, 0o600)
		if err == nil {
			return &osFile{fd: fd, path: path}, nil
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: op, Path: path, Err: err}
		}
	}
}

// Remove implements FS.
func (o *OS) Remove(name string) error { return os.Remove(o.path(name)) }

// Rename implements FS.
func (o *OS) Rename(from, to string) error { return os.Rename(o.path(from), o.path(to)) }

// List implements FS.
func (o *OS) List(dir string) ([]string, error) {
	d, err := os.Open(o.path(dir))
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// Mkdir implements FS.
func (o *OS) Mkdir(dir string) error { return os.MkdirAll(o.path(dir), 0o700) }

// SyncDir implements FS.
func (o *OS) SyncDir(dir string) error {
	d, err := os.Open(o.path(dir))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Space implements FS. What only root may use is not counted as free.
func (o *OS) Space() (free, total uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(o.root, &st); err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: o.root, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), st.Blocks * uint64(st.Bsize), nil
}

// Lock implements FS with flock, which the kernel takes back when the process dies.
func (o *OS) Lock(name string) (io.Closer, error) {
	f, err := os.OpenFile(o.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			err = ErrLocked
		}
		return nil, &fs.PathError{Op: "lock", Path: o.path(name), Err: err}
	}
	return f, nil
}

// osFile works on the descriptor itself: package os would copy the list of buffers for each
// gathered write.
type osFile struct {
	fd   int
	path string
	iov  []unix.Iovec // of the one writer
}

// maxIOV is Linux's UIO_MAXIOV: buffers that one call takes.
const maxIOV = 1024

func (f *osFile) fail(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.path, Err: err}
}

// ReadAt implements io.ReaderAt.
func (f *osFile) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		m, err := unix.Pread(f.fd, p[n:], off+int64(n))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return n, f.fail("read", err)
		}
		if m == 0 {
			return n, io.EOF
		}
		n += m
	}
	return n, nil
}

// WritevAt implements File. The buffers go into the kernel by as few calls as their number allows.
func (f *osFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	if err := failpoint.Fail("write"); err != nil {
		return 0, f.fail("write", err)
	}
	total := 0
	for len(bufs) > 0 {
		f.iov = f.iov[:0]
		want := 0
		for len(bufs) > 0 && len(f.iov) < maxIOV {
			if b := bufs[0]; len(b) > 0 {
				v := unix.Iovec{Base: unsafe.SliceData(b)}
				v.SetLen(len(b))
				f.iov = append(f.iov, v)
				want += len(b)
			}
			bufs = bufs[1:]
		}
		n, err := f.pwritev(off+int64(total), want)
		total += n
		if err != nil {
			return total, f.fail("write", err)
		}
	}
	return total, nil
}

// pwritev writes all of f.iov, however many calls that takes.
func (f *osFile) pwritev(off int64, want int) (int, error) {
	iov, done := f.iov, 0
	for done < want {
		at := uint64(off) + uint64(done)
		n, _, errno := unix.Syscall6(unix.SYS_PWRITEV, uintptr(f.fd), uintptr(unsafe.Pointer(&iov[0])),
			uintptr(len(iov)), uintptr(at), uintptr(at>>32), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return done, errno
		}
		if n == 0 {
			return done, io.ErrShortWrite
		}
		done += int(n)
		iov = advance(iov, int(n))
	}
	return done, nil
}

// advance drops the first n bytes from a list of buffers.
func advance(iov []unix.Iovec, n int) []unix.Iovec {
	for len(iov) > 0 && n >= int(iov[0].Len) {
		n -= int(iov[0].Len)
		iov = iov[1:]
	}
	if n > 0 {
		iov[0].Base = (*byte)(unsafe.Add(unsafe.Pointer(iov[0].Base), n))
		iov[0].SetLen(int(iov[0].Len) - n)
	}
	return iov
}

// Sync implements File.
func (f *osFile) Sync() error {
	if err := failpoint.Fail("sync"); err != nil {
		return f.fail("sync", err)
	}
	// An interrupted sync has proved nothing and dropped nothing: it may be repeated.
	for {
		err := unix.Fdatasync(f.fd)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.fail("sync", err)
		}
	}
}

// Reserve implements File. A file system that cannot reserve is no error: the writes then
// find out about a full disk.
func (f *osFile) Reserve(size int64) error {
	for {
		err := unix.Fallocate(f.fd, unix.FALLOC_FL_KEEP_SIZE, 0, size)
		switch err {
		case nil, unix.EOPNOTSUPP, unix.ENOSYS:
			return nil
		case unix.EINTR:
		default:
			return f.fail("reserve", err)
		}
	}
}

// Truncate implements File.
func (f *osFile) Truncate(size int64) error {
	for {
		err := unix.Ftruncate(f.fd, size)
		if err == nil {
			return nil
		}
		if err != unix.EINTR {
			return f.fail("truncate", err)
		}
	}
}

// Size implements File.
func (f *osFile) Size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, f.fail("stat", err)
	}
	return st.Size, nil
}

// Close implements File.
func (f *osFile) Close() error {
	if err := unix.Close(f.fd); err != nil {
		return f.fail("close", err)
	}
	return nil
}
