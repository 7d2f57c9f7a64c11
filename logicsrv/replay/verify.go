package replay

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
)

// Checked is one thing that Verify has looked at.
type Checked struct {
	What  string
	Wrong error // nil: it is as it should be
}

// looks bounds how often Verify begins again because a running broker has stored another checkpoint.
const looks = 5

// Verify checks all checkpoints that are kept: each is whole, loads, and is what its state encodes
// as; each, with the log up to the next, gives the next, byte by byte; and the newest, with the rest
// of the log, gives a state. It returns what it has looked at; err is what kept it from looking.
func Verify(fs commitlog.FS) (checked []Checked, err error) {
	for range looks {
		before, err := commitlog.ListCheckpoints(fs)
		if err != nil {
			return nil, err
		}
		if checked, err = verifyChain(fs, before); err != nil {
			return nil, err
		}
		after, err := commitlog.ListCheckpoints(fs)
		if err != nil {
			return nil, err
		}
		if slices.Equal(before, after) || !slices.ContainsFunc(checked, func(c Checked) bool { return c.Wrong != nil }) {
			break // what a running broker has removed meanwhile would look like a fault
		}
	}
	return checked, nil
}

func verifyChain(fs commitlog.FS, lsns []uint64) (checked []Checked, err error) {
	cfg, err := shardOfLog(fs)
	if err != nil {
		return nil, err
	}
	tell := func(wrong error, format string, args ...any) {
		checked = append(checked, Checked{fmt.Sprintf(format, args...), wrong})
	}
	var last *core.Core // the newest state that loads
	for _, lsn := range lsns {
		c, blob, wrong := LoadAt(cfg, fs, lsn)
		if wrong == nil && !bytes.Equal(c.Checkpoint(nil), blob) {
			wrong = fmt.Errorf("%s: the state that it holds is written otherwise", commitlog.CheckpointName(lsn))
		}
		if wrong != nil {
			tell(wrong, "checkpoint lsn=%d", lsn)
			continue
		}
		tell(nil, "checkpoint lsn=%d digest=%016x bytes=%d", lsn, c.Digest(), len(blob))
		if last != nil {
			from := last.LSN()
			tell(leadsTo(last, fs, lsn, blob), "checkpoint lsn=%d and the log give checkpoint lsn=%d", from, lsn)
		}
		last = c
	}
	from := "the log alone"
	if last == nil {
		last = core.New(cfg)
	} else {
		from = fmt.Sprintf("checkpoint lsn=%d and the rest of the log", last.LSN())
	}
	wrong := follow(last, fs, End)
	tell(wrong, "state lsn=%d digest=%016x, from %s", last.LSN(), last.Digest(), from)
	return checked, nil
}

// leadsTo applies the log to a state up to an LSN, where it must be what blob encodes.
func leadsTo(c *core.Core, fs commitlog.FS, lsn uint64, blob []byte) error {
	if err := follow(c, fs, lsn); err != nil {
		return err
	}
	if c.LSN() != lsn {
		return fmt.Errorf("the log ends at lsn=%d", c.LSN())
	}
	if !bytes.Equal(c.Checkpoint(nil), blob) {
		return fmt.Errorf("they give another state, digest=%016x: see trimq state diff", c.Digest())
	}
	return nil
}
