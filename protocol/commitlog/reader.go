package commitlog

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/journal"
)

// Damage is stored bytes that fail their check, with valid ones behind them.
type Damage struct {
	Segment  string // file name
	Position uint64 // log position of the first damaged byte
	End      uint64 // log position where valid entries go on
	LSN      uint64 // of the damaged entry
	Why      string
}

func (d *Damage) Error() string {
	return fmt.Sprintf("damaged log: segment %s, position %d to %d (lsn %d): %s", d.Segment, d.Position, d.End, d.LSN, d.Why)
}

// Place is where an entry lies in the log.
type Place struct {
	Segment  string
	Position uint64 // log position of the entry's first byte
	Offset   int64  // the same in the segment's file
	HeadLen  int    // bytes before the first body
	Length   int    // bytes of the whole entry
	Synced   uint64 // LSN that was on disk when it was written
}

// Reader reads the log entry by entry.
type Reader struct {
	fs FS
}

// NewReader reads the log beginning with the entry of fromLSN (0: the first there is).
func NewReader(fs FS, fromLSN uint64) (*Reader, error) {
	return &Reader{fs: fs}, nil
}

// VerifyBodies makes Next check the bodies too.
func (r *Reader) VerifyBodies(on bool) {}

// Next returns the next entry; its slices are good until the next call. io.EOF at the end,
// a torn tail included; a *Damage where entries are missing, after which Next goes on behind.
func (r *Reader) Next() (*journal.Entry, Place, error) {
	return nil, Place{}, errors.New("not yet")
}

// Body reads the bytes of body i of the entry that Next has returned last, appended to dst.
func (r *Reader) Body(i int, dst []byte) ([]byte, error) { return nil, errors.New("not yet") }

// Close closes the files.
func (r *Reader) Close() error { return nil }
