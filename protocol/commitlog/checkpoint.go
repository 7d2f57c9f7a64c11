package commitlog

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/trimq/trimq/protocol/journal"
)

// ErrNoCheckpoint says that there is no checkpoint at all: state begins empty at LSN 0.
var ErrNoCheckpoint = errors.New("no checkpoint")

// LatestCheckpoint reads logicsrv's newest checkpoint that is whole. Where a newer one is
// damaged, the older is returned together with an error that says why (blob != nil);
// ErrNoCheckpoint if there is none.
//
// persistsrv puts the envelope around the blob: the bytes of all CheckpointParts, one after
// the other, are the blob that comes back here.
func LatestCheckpoint(fsys FS) (blob []byte, lsn, resultsFrom uint64, err error) {
	lsns, err := ListCheckpoints(fsys)
	if err != nil {
		return nil, 0, 0, err
	}
	var why error
	for _, at := range slices.Backward(lsns) {
		b, err := readWhole(fsys, CheckpointName(at))
		if err == nil {
			lsn, resultsFrom, blob, err = openCheckpoint(b, at)
		}
		if err == nil {
			if blob == nil {
				blob = []byte{}
			}
			return blob, lsn, resultsFrom, why
		}
		why = errors.Join(why, fmt.Errorf("%s: %w", CheckpointName(at), err))
	}
	if why != nil {
		return nil, 0, 0, why
	}
	return nil, 0, 0, ErrNoCheckpoint
}

// ReadCheckpoint reads one of logicsrv's checkpoints.
func ReadCheckpoint(fsys FS, lsn uint64) (blob []byte, resultsFrom uint64, err error) {
	b, err := readWhole(fsys, CheckpointName(lsn))
	if err == nil {
		_, resultsFrom, blob, err = openCheckpoint(b, lsn)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", CheckpointName(lsn), err)
	}
	return blob, resultsFrom, nil
}

// openCheckpoint reads the content of the file that is named for an LSN.
func openCheckpoint(b []byte, at uint64) (lsn, resultsFrom uint64, blob []byte, err error) {
	lsn, resultsFrom, blob, err = journal.DecodeCheckpoint(b)
	if err == nil && lsn != at {
		err = formatErrorf("checkpoint", "lsn %d in a file named %d", lsn, at)
	}
	return lsn, resultsFrom, blob, err
}

// ListCheckpoints returns the LSNs of logicsrv's checkpoints, oldest first.
func ListCheckpoints(fsys FS) ([]uint64, error) {
	names, err := fsys.List(CheckpointDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the checkpoints: %w", err)
	}
	var lsns []uint64
	for _, name := range names {
		if lsn, ok := ParseCheckpointName(name); ok {
			lsns = append(lsns, lsn)
		}
	}
	slices.Sort(lsns)
	return lsns, nil
}

// maxWhole bounds a file that is read into memory at once.
const maxWhole = 4 << 30

func readWhole(fsys FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxWhole {
		return nil, formatErrorf(name, "%d bytes, more than the %d that are read", size, int64(maxWhole))
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); int64(n) < size {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}
