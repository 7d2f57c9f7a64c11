package commitlog

import "errors"

// ErrNoCheckpoint says that there is no checkpoint at all: state begins empty at LSN 0.
var ErrNoCheckpoint = errors.New("no checkpoint")

// LatestCheckpoint reads logicsrv's newest checkpoint that is whole. Where a newer one is
// damaged, the older is returned together with an error that says why (blob != nil);
// ErrNoCheckpoint if there is none.
//
// persistsrv puts the envelope around the blob: the bytes of all CheckpointParts, one after
// the other, are the blob that comes back here.
func LatestCheckpoint(fs FS) (blob []byte, lsn, resultsFrom uint64, err error) {
	return nil, 0, 0, ErrNoCheckpoint
}
