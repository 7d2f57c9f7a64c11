package replay

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
)

// States of a data directory, for people: `trimq state`. Nothing is changed, and the directory may be
// a running broker's: what comes after the beginning is not looked at.

// End as an LSN is the end of the log.
const End = ^uint64(0)

// shardOfLog is the shard that the log is of, for states refuse others.
func shardOfLog(fs commitlog.FS) (core.Config, error) {
	segs, err := commitlog.ListSegments(fs)
	for i := range segs {
		if segs[i].HeaderErr == nil {
			return core.Config{Shard: segs[i].Header.Shard}, err
		}
	}
	return core.Config{}, err
}

// LoadAt loads one checkpoint.
func LoadAt(cfg core.Config, fs commitlog.FS, lsn uint64) (c *core.Core, blob []byte, err error) {
	if blob, _, err = commitlog.ReadCheckpoint(fs, lsn); err == nil {
		if c, err = core.Load(cfg, blob); err != nil {
			err = fmt.Errorf("%s: %w", commitlog.CheckpointName(lsn), err)
		}
	}
	return c, blob, err
}

// State is the state at an LSN: the newest checkpoint that is not above it, and the log behind that.
func State(fs commitlog.FS, lsn uint64) (*core.Core, error) {
	cfg, err := shardOfLog(fs)
	if err != nil {
		return nil, err
	}
	lsns, err := commitlog.ListCheckpoints(fs)
	if err != nil {
		return nil, err
	}
	lsns = slices.DeleteFunc(lsns, func(at uint64) bool { return at > lsn })
	c := core.New(cfg)
	if len(lsns) > 0 {
		if c, _, err = LoadAt(cfg, fs, lsns[len(lsns)-1]); err != nil {
			return nil, err
		}
	}
	if err := follow(c, fs, lsn); err != nil {
		return nil, err
	}
	if c.LSN() < lsn && lsn != End {
		return nil, fmt.Errorf("there is no state at lsn %d: the log ends at lsn %d", lsn, c.LSN())
	}
	return c, nil
}

// follow applies the log's entries up to an LSN, or to the end.
func follow(c *core.Core, fs commitlog.FS, lsn uint64) error {
	r, err := commitlog.NewReader(fs, c.LSN()+1)
	if err != nil {
		return err
	}
	defer r.Close()
	r.HeadsOnly(true)
	for c.LSN() < lsn {
		e, place, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read the log behind lsn=%d: %w", c.LSN(), err)
		}
		if err := c.Replay(e); err != nil {
			return fmt.Errorf("replay lsn=%d at position %d of %s: %w", e.LSN, place.Position, place.Segment, err)
		}
		c.Advance(c.LSN(), c.LSN()) // all that is read is written; it keeps the marks few
	}
	return nil
}
