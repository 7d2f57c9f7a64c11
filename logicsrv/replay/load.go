package replay

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
)

// Loaded is the state that the newest checkpoint holds.
type Loaded struct {
	Core        *core.Core
	LSN         uint64
	ResultsFrom uint64 // 0: there is no checkpoint
	Bytes       int    // of its blob
	Passed      error  // why a newer one was passed over; nil: there is none
}

// Load loads the newest checkpoint that verifies. Where there is none the state is empty.
func Load(cfg core.Config, fs commitlog.FS) (Loaded, error) {
	blob, lsn, resultsFrom, err := commitlog.LatestCheckpoint(fs)
	if errors.Is(err, commitlog.ErrNoCheckpoint) {
		return Loaded{Core: core.New(cfg)}, nil
	}
	if blob == nil {
		return Loaded{}, err
	}
	c, wrong := core.Load(cfg, blob)
	if wrong != nil {
		return Loaded{}, fmt.Errorf("load checkpoint lsn=%d: %w", lsn, wrong)
	}
	return Loaded{c, lsn, resultsFrom, len(blob), err}, nil
}
