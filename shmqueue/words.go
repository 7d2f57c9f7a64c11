package shmqueue

// Word names one of the shared words in a ring's header. Each lies on its own line and has
// one owner; ownership and repair are the business of the daemon named here.
type Word int

const (
	// WordWritten (ring C, persistsrv): all entries up to this LSN are in the page cache.
	WordWritten Word = 0
	// WordSynced (ring C, persistsrv): all entries up to this LSN are on the disk.
	WordSynced Word = 1
	// WordStatus (ring C, persistsrv; mirrored into ring B by logicsrv): the Status bits.
	WordStatus Word = 2
	// WordTerm (ring A, logicsrv): the term, raised by one at each start of logicsrv.
	WordTerm Word = 3
	// WordFirstLSN (ring C, persistsrv): the first LSN that the commit log still holds.
	WordFirstLSN Word = 4
	// WordRead (ring C, persistsrv): everything below this position of the ring has been
	// appended to the page cache.
	WordRead Word = 5
	// WordIdentity (every ring, set once by whoever comes first): whose the segment is.
	WordIdentity Word = 6
	// WordSpare has no meaning yet.
	WordSpare Word = 7

	wordCount = 16
)

// Status bits of WordStatus.
const (
	StatusDiskFull   = 1 << 0 // appends would soon fail: refuse new messages
	StatusSyncFailed = 1 << 1 // a sync failed; what it covered must be written again
)

// String is the word's name in listings.
func (w Word) String() string {
	switch w {
	case WordWritten:
		return "written"
	case WordSynced:
		return "synced"
	case WordStatus:
		return "status"
	case WordTerm:
		return "term"
	case WordFirstLSN:
		return "first_lsn"
	case WordRead:
		return "read"
	case WordIdentity:
		return "identity"
	case WordPoisonPos:
		return "poison_pos"
	case WordPoisonCount:
		return "poison_count"
	case WordAwaitWritten:
		return "await_written"
	case WordAwaitSynced:
		return "await_synced"
	default:
		return "spare"
	}
}
