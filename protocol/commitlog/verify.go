package commitlog

import "io"

// Severity of a Finding.
type Severity uint8

const (
	Note  Severity = 1 // normal, but good to know: a torn tail, a removed dead segment
	Error Severity = 2 // bytes are damaged or contradict each other
)

// Finding is something that Verify has seen.
type Finding struct {
	Severity Severity
	File     string
	Position uint64 // log position, or offset for an index
	What     string
}

// Summary counts what Verify has read.
type Summary struct {
	Segments, Entries, Batches, Indexes, IndexEntries uint64
	Bytes                                             uint64
	FirstLSN, LastLSN                                 uint64
	Errors                                            uint64
}

// Verify reads everything below a data directory and reports what it finds.
func Verify(fs FS, report func(Finding)) (Summary, error) { return Summary{}, nil }

// DumpOptions says what Dump prints.
type DumpOptions struct {
	FromLSN uint64
	Max     int  // entries; 0: all
	Events  bool // decode the events
	Items   bool // list index items and bodies
}

// Dump prints the log as text, one entry a line.
func Dump(fs FS, w io.Writer, o DumpOptions) error { return nil }
