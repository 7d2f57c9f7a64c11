package journal

import "github.com/trimq/trimq/protocol/ipc"

// Entry is one turn of logicsrv: what it decided, in one atomic append to the commit log.
// On ring 65432 its bodies are references into ring 12345; in the log they are bytes.
type Entry struct {
	LSN    uint64    // last + 1
	Term   uint64    // logicsrv's
	Shard  uint32    // 0 until there are several
	Level  ipc.Level // the highest that an acknowledgement of this entry waits for
	Nonce  uint64    // of ring 12345
	Pos    uint64    // ring 12345 has been read up to here
	TimeMS int64     // Unix time of the turn; all its events happened then
	Events []byte    // encoded events, see Event
	Ops    []IndexOp
	Items  []IndexItem
	Bodies []Body
	Refs   []Ref
	Inline []byte // bodies that are in no ring 12345; of the ring form alone
}

// Body is one RecordBatch.
type Body struct {
	RingPos uint64 // where it lies in ring 12345 (position of its first byte), or InlineAt
	Length  uint32
	CRC     uint32 // the batch's own CRC32C
	Base    uint64 // patched into bytes 0–7 when it is written; bytes 8–15 are set from Length and the leader epoch
	Epoch   int32  // partition leader epoch, patched too
	Note    uint32 // NoteAt of the event that tells how it was published; 0: none does
}

// IndexItem makes a body of the entry part of an index.
type IndexItem struct {
	Index     uint64
	Base      uint64 // offset of the first record in this index
	Count     uint32
	Body      uint32 // which of Entry.Bodies
	MaxTimeMS int64
}

// OpKind says what an IndexOp does.
type OpKind uint8

const (
	OpCreate    OpKind = 1 // start an index at offset 0, with settings
	OpDelete    OpKind = 2 // drop it
	OpTrim      OpKind = 3 // offsets below Offset are no longer needed
	OpConfigure OpKind = 4 // change its settings; without the two below, it is not compacted
	OpCompact   OpKind = 5 // behind OpCreate or OpConfigure: it is compacted, of which this is one half of the settings
	OpClosing   OpKind = 6 // … and this the other
)

// IndexOp changes an index as a whole. Ops of an entry come before its items and references.
type IndexOp struct {
	Kind     OpKind
	Index    uint64
	Offset   uint64
	Settings ipc.IndexSettings
}
