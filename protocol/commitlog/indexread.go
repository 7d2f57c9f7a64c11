package commitlog

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// ListIndexes returns the ids of all indexes in order. A directory that is not there is no index.
func ListIndexes(fsys FS) ([]uint64, error) {
	names, err := fsys.List(IndexDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the indexes: %w", err)
	}
	var ids []uint64
	for _, name := range names {
		id, ok := ParseIndexDir(name)
		if !ok {
			return nil, fmt.Errorf("%s/%s is not an index: move it away", IndexDir, name)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids, nil
}

// ListIndexFiles returns the base offsets of an index's segments in order.
func ListIndexFiles(fsys FS, index uint64) ([]uint64, error) {
	names, err := fsys.List(IndexPath(index))
	if err != nil {
		return nil, fmt.Errorf("list index %#x: %w", index, err)
	}
	return IndexBases(index, names)
}

// IndexBases is ListIndexFiles for who knows what is in the index's directory.
func IndexBases(index uint64, names []string) (bases []uint64, err error) {
	for _, name := range names {
		if strings.HasSuffix(name, TmpSuffix) {
			continue
		}
		base, ok := ParseIndexName(name)
		if !ok {
			return nil, fmt.Errorf("%s/%s is not a segment of an index: move it away", IndexPath(index), name)
		}
		bases = append(bases, base)
	}
	slices.Sort(bases)
	return bases, nil
}

// ReadIndexFile reads one segment of an index: its header, and its entries up to the first
// slot that is not in use or not whole. used is how many slots the file has bytes for; more
// used than entries means that the rest is zero or damaged.
func ReadIndexFile(fsys FS, index, base uint64) (h IndexHeader, entries []Entry, used int, err error) {
	name := IndexName(index, base)
	b, err := readWhole(fsys, name)
	if err != nil {
		return h, nil, 0, fmt.Errorf("read %s: %w", name, err)
	}
	if h, err = DecodeIndexHeader(b); err != nil {
		return h, nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	if h.Index != index || h.Base != base {
		return h, nil, 0, formatErrorf("index header", "index %#x from offset %d in a file named %s", h.Index, h.Base, name)
	}
	b = b[IndexHeaderSize:]
	used = min(len(b)/IndexEntrySize, int(h.Slots))
	for i := range used {
		e, ok := DecodeEntry(b[i*IndexEntrySize:])
		if !ok {
			break
		}
		entries = append(entries, e)
	}
	return h, entries, used, nil
}

// ReadIndex reads a whole index: the earliest offset that is there, and all entries, those
// below it included as long as their file is. For tools and tests.
func ReadIndex(fsys FS, index uint64) (start uint64, entries []Entry, err error) {
	bases, err := ListIndexFiles(fsys, index)
	if err != nil {
		return 0, nil, err
	}
	covered := uint64(0)
	for i, base := range bases {
		if base < covered {
			continue
		}
		h, es, _, err := ReadIndexFile(fsys, index, base)
		if err != nil {
			return 0, nil, err
		}
		if i == 0 {
			start = h.Start
		}
		if covered, err = CoveredTo(fsys, &h, es); err != nil {
			return 0, nil, err
		}
		entries = append(entries, es...)
	}
	return start, entries, nil
}

// BatchReader reads what index entries point to, for tools and tests: connsrv uses a View.
type BatchReader struct{ log logBytes }

// NewBatchReader reads below a data directory, as it is at the first read.
func NewBatchReader(fsys FS) *BatchReader { return &BatchReader{logBytes{fs: fsys}} }

// Batch reads an entry's batch, with the offset that its first record has, or would have, in that
// index.
func (r *BatchReader) Batch(e Entry) ([]byte, error) {
	b, err := r.log.read(e.Position, int(e.Length))
	if e.Flags&FlagRebase != 0 && len(b) >= 8 {
		putOffset(b, e.Base())
	}
	return b, err
}

// Bytes reads n bytes at a log position, such as an entry's note.
func (r *BatchReader) Bytes(position uint64, n int) ([]byte, error) { return r.log.read(position, n) }

// Close closes the files.
func (r *BatchReader) Close() { r.log.close() }

// ReadBatch is BatchReader.Batch for one batch.
func ReadBatch(fsys FS, e Entry) ([]byte, error) {
	r := NewBatchReader(fsys)
	defer r.Close()
	return r.Batch(e)
}
