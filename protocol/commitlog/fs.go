package commitlog

import (
	"io"
	"os"
	"path/filepath"
	"slices"
)

// FS is what the readers need of a file system. Names are relative and use '/'.
type FS interface {
	Open(name string) (File, error)
	List(dir string) ([]string, error) // sorted names; fs.ErrNotExist if there is no such directory
}

// File is an open file.
type File interface {
	io.ReaderAt
	Size() (int64, error)
	Close() error
}

// DirFS reads below a directory of the operating system.
func DirFS(root string) FS { return dirFS(root) }

type dirFS string

func (d dirFS) Open(name string) (File, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(name)))
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d dirFS) List(dir string) ([]string, error) {
	f, err := os.Open(filepath.Join(string(d), filepath.FromSlash(dir)))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

type osFile struct{ *os.File }

func (f osFile) Size() (int64, error) {
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}
