package seglog

import (
	"bytes"
	"fmt"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// stateCheckpoint collects logicsrv's checkpoint from its parts. The writer only copies each part
// out of ring 65432, whatever the size of all of them: that they are one file is the matter of
// Maintain.
type stateCheckpoint struct {
	coming readyCheckpoint
	next   uint32 // part that must come
	parts  uint32 // 0: none is under way
	ready  *readyCheckpoint
	kept   []keptCheckpoint // on disk, oldest first
}

type readyCheckpoint struct {
	lsn, resultsFrom uint64
	blob             [][]byte // in pieces
}

type keptCheckpoint struct{ lsn, resultsFrom uint64 }

// keepCheckpoints is how many of logicsrv's checkpoints stay.
const keepCheckpoints = 2

// StatePart takes one part of logicsrv's checkpoint. A part without the ones before it, as
// after a restart, is dropped: a checkpoint is never promised.
func (l *Log) StatePart(p *ipc.CheckpointPart) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := &l.state
	if p.Part == 0 {
		c.coming, c.next, c.parts = readyCheckpoint{lsn: p.LSN, resultsFrom: p.ResultsFrom}, 0, p.Parts
	}
	if c.parts == 0 || p.LSN != c.coming.lsn || p.Part != c.next || p.Parts != c.parts {
		c.coming, c.parts = readyCheckpoint{}, 0
		return
	}
	c.coming.blob = append(c.coming.blob, bytes.Clone(p.Bytes))
	if c.next++; c.next < c.parts {
		return
	}
	ready := c.coming
	c.ready, c.coming, c.parts = &ready, readyCheckpoint{}, 0
}

// storeState writes a checkpoint that has come whole, once the log is synced up to it:
// otherwise a power cut could leave a state whose messages are gone.
func (l *Log) storeState(sync func() error) error {
	l.mu.Lock()
	r := l.state.ready
	if r == nil || r.lsn > l.written {
		l.mu.Unlock()
		return nil
	}
	l.state.ready = nil
	l.mu.Unlock()
	if l.synced.Load() < r.lsn && !failpoint.Broken("checkpoint-unsynced") {
		if err := sync(); err != nil {
			return err
		}
	}
	file := append([][]byte{journal.CheckpointHeader(r.lsn, r.resultsFrom, r.blob...)}, r.blob...)
	if err := l.replaceFile(commitlog.CheckpointDir, commitlog.CheckpointName(r.lsn), file...); err != nil {
		return fmt.Errorf("checkpoint lsn=%d: %w", r.lsn, err)
	}
	return l.keepCheckpoint(keptCheckpoint{r.lsn, r.resultsFrom})
}

// keepCheckpoint notes a checkpoint that was stored, and removes those that it makes superfluous.
func (l *Log) keepCheckpoint(stored keptCheckpoint) error {
	l.mu.Lock()
	kept := l.state.kept
	if n := len(kept); n > 0 && kept[n-1].lsn == stored.lsn {
		kept = kept[:n-1]
	}
	kept = append(kept, stored)
	l.stats.Checkpoints++
	l.ckpt.changed = true
	l.mu.Unlock()
	for len(kept) > keepCheckpoints {
		if err := l.fs.Remove(commitlog.CheckpointName(kept[0].lsn)); err != nil && !isNotExist(err) {
			return fmt.Errorf("remove checkpoint lsn=%d: %w", kept[0].lsn, err)
		}
		kept = kept[1:]
	}
	l.mu.Lock()
	l.state.kept = kept
	l.mu.Unlock()
	return nil
}

// needed is the first LSN that logicsrv may want to read again: both kept checkpoints count.
func (l *Log) needed() uint64 {
	if len(l.state.kept) == 0 {
		return 0
	}
	first := l.written + 1
	for _, k := range l.state.kept {
		first = min(first, k.lsn+1, k.resultsFrom)
	}
	return first
}
