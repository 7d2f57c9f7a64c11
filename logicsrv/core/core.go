package core

import (
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// Input is one record of ring 12345, in the order of the ring.
type Input struct {
	Pos        uint64   // ring position of the record: its identity together with the ring's nonce
	PayloadPos uint64   // ring position of Payload's first byte; a body is found there by persistsrv
	Type       ipc.Type // the record's type word
	Payload    []byte   // valid during Step only
	// Known is what the journal holds of this input (its events, encoded) when it is read
	// again after a restart. The core repeats the answer and decides nothing.
	Known []byte
	// Refuse, if not empty, is why this input is given up undecided (the core died of it
	// before): it is rejected with errcode.Internal and this text, and the rejection journaled.
	Refuse string
}

// Output is one record for ring 54321.
type Output struct {
	// Gate and Level: the record may leave once the cursor of Level has reached Gate, and
	// never before the entry of its own turn stands in ring 65432. LevelMemory: no cursor.
	Gate   uint64
	Level  ipc.Level
	Type   ipc.Type
	Record []byte // valid until the next EndTurn
}

// Core is the state of one shard.
type Core struct{}

// New returns the state before the first entry.
func New(cfg Config) *Core { return &Core{} }

// Load returns the state that a checkpoint holds.
func Load(cfg Config, blob []byte) (*Core, error) { return New(cfg), nil }

// Replay applies one entry of the log. REQUIRES: e.LSN == LSN()+1, no Begin yet.
func (c *Core) Replay(e *journal.Entry) error { return nil }

// LSN is that of the last entry in the state.
func (c *Core) LSN() uint64 { return 0 }

// Position tells how far ring 12345 had been read when the last entry was made.
func (c *Core) Position() (nonce, pos uint64) { return 0, 0 }

// Digest is a fingerprint of the hard state.
func (c *Core) Digest() uint64 { return 0 }

// Checkpoint appends the hard state to dst. REQUIRES: between EndTurn and the next Step.
func (c *Core) Checkpoint(dst []byte) []byte { return dst }

// Begin ends recovery: soft state is empty and asked for with the term's first Marker.
func (c *Core) Begin(term, written, synced uint64) {}

// Step takes one input in.
func (c *Core) Step(nowMS int64, in Input) {}

// TurnBytes is what the entry of the turn so far would take in ring 65432 (Entry.RingSize);
// the shell ends the turn before it outgrows a record.
func (c *Core) TurnBytes() int { return 0 }

// Advance tells that persistsrv has moved its cursors.
func (c *Core) Advance(written, synced uint64) {}

// EndTurn closes the turn: entry is nil where nothing happened that must be kept.
func (c *Core) EndTurn(nowMS int64, nonce, pos uint64) (entry *journal.Entry, out []Output) {
	return nil, nil
}

// Settings lists what persistsrv needs to know of every index, in order of index.
func (c *Core) Settings() []ipc.IndexSettings { return nil }

// TurnFull asks for EndTurn before the next Step: the entry is about to outgrow its record.
func (c *Core) TurnFull() bool { return false }

// Busy says that a turn without any input would still have something to do.
func (c *Core) Busy() bool { return false }
