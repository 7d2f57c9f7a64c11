package replay

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/failpoint"
)

// Result is a checkpoint.
type Result struct {
	Blob   []byte
	Passed error // why it was not made from the newest one; nil: it was
	// Processor is the processor's time that a child took; 0 where there was none.
	Processor time.Duration
}

// Maker makes one checkpoint. It is used by one goroutine.
type Maker struct {
	cfg    core.Config
	fs     commitlog.FS
	lsn    uint64 // of the state that is wanted
	loaded Loaded // Core is nil until the first step is done
	reader *commitlog.Reader
	result Result
}

// NewMaker makes a checkpoint of the state at lsn. spare is memory for its blob, or nil.
// REQUIRES: persistsrv has written lsn.
func NewMaker(cfg core.Config, fs commitlog.FS, lsn uint64, spare []byte) *Maker {
	return &Maker{cfg: cfg, fs: fs, lsn: lsn, result: Result{Blob: spare[:0]}}
}

// slice is how many entries one step replays.
const slice = 64

// Step does the next piece of work; done says that Result is there. After an error the maker
// is of no use any more, but for Close.
func (m *Maker) Step() (done bool, err error) {
	switch {
	case m.loaded.Core == nil:
		return false, m.load()
	case m.loaded.Core.LSN() < m.lsn:
		return false, m.replaySome()
	}
	m.encode()
	return true, nil
}

// Result is the checkpoint. REQUIRES: Step has said that it is done.
func (m *Maker) Result() Result { return m.result }

// Close lets go of the log, at any time.
func (m *Maker) Close() {
	if m.reader != nil {
		_ = m.reader.Close() // it was only read
		m.reader = nil
	}
}

// Make takes all steps.
func (m *Maker) Make() (Result, error) {
	defer m.Close()
	for {
		if done, err := m.Step(); done || err != nil {
			return m.result, err
		}
	}
}

// load begins with the newest checkpoint.
func (m *Maker) load() error {
	l, err := Load(m.cfg, m.fs)
	if err != nil {
		return err
	}
	if l.LSN > m.lsn {
		return fmt.Errorf("checkpoint lsn=%d is ahead of the state at lsn=%d that is wanted", l.LSN, m.lsn)
	}
	if m.reader, err = commitlog.NewReader(m.fs, l.LSN+1); err != nil {
		return fmt.Errorf("open log at lsn=%d: %w", l.LSN+1, err)
	}
	m.reader.HeadsOnly(true)
	m.reader.StopAtDamage(true)
	m.loaded, m.result.Passed = l, l.Passed
	failpoint.Hit("logic.replay.loaded")
	return nil
}

// replaySome applies the next entries.
func (m *Maker) replaySome() error {
	c := m.loaded.Core
	for range slice {
		if c.LSN() == m.lsn {
			break
		}
		e, place, err := m.reader.Next()
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("it ends before lsn=%d", m.lsn)
		}
		if err != nil {
			return fmt.Errorf("read the log behind lsn=%d: %w", c.LSN(), err)
		}
		if e.LSN == m.lsn && failpoint.Broken("checkpoint-skips-entry") {
			e.Events = nil
		}
		if err := c.Replay(e); err != nil {
			return fmt.Errorf("replay lsn=%d at %+v: %w", e.LSN, place, err)
		}
	}
	c.Advance(m.lsn, m.lsn) // all that is read is written; it keeps the marks few
	failpoint.Hit("logic.replay.some")
	return nil
}

// encode makes the blob, in memory that is a little larger than the last one.
func (m *Maker) encode() {
	b := m.result.Blob
	if room := m.loaded.Bytes + m.loaded.Bytes/8 + 4096; cap(b) < room {
		b = make([]byte, 0, room)
	}
	m.result.Blob = m.loaded.Core.Checkpoint(b)
	m.loaded.Core = nil
	failpoint.Hit("logic.replay.made")
}
