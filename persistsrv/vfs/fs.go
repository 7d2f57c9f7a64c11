package vfs

import (
	"io"

	"github.com/trimq/trimq/protocol/commitlog"
)

// FS is a directory tree.
type FS interface {
	// Create makes a new, empty file; fs.ErrExist if there is one.
	Create(name string) (File, error)
	// Open opens a file for reading and writing; fs.ErrNotExist if there is none.
	Open(name string) (File, error)
	// Remove takes away a file or an empty directory.
	Remove(name string) error
	// Rename gives a file another name, replacing what has it.
	Rename(from, to string) error
	// List returns the sorted names in a directory; fs.ErrNotExist if there is none.
	List(dir string) ([]string, error)
	// Mkdir makes a directory and its parents; one that is there is no error.
	Mkdir(dir string) error
	// SyncDir makes the names in a directory durable.
	SyncDir(dir string) error
	// Space tells the bytes that may still be written, and the size of the file system.
	Space() (free, total uint64, err error)
	// Lock takes a lock that ends with the process; ErrLocked if another process has it.
	Lock(name string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	// WritevAt writes bufs one after the other at off. n < the sum only with an error.
	WritevAt(bufs [][]byte, off int64) (n int, err error)
	// Sync makes the file's bytes and size durable.
	Sync() error
	// Reserve takes disk space for bytes below size without changing the file's size.
	Reserve(size int64) error
	// Truncate sets the size. A smaller one, or the same, gives back what is cut off and the space
	// reserved behind; behind a larger one the file reads as zero, and what is reserved stays so.
	Truncate(size int64) error
	Size() (int64, error)
	Close() error
}

// Reading shows a file system to package commitlog's readers.
func Reading(fs FS) commitlog.FS { return reading{fs} }

type reading struct{ fs FS }

func (r reading) Open(name string) (commitlog.File, error) { return r.fs.Open(name) }
func (r reading) List(dir string) ([]string, error)        { return r.fs.List(dir) }
