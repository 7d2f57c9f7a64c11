package shmqueue

// Words of ring A that logicsrv owns: for inputs that its core dies of (logicsrv/shell, poison.go), and
// for the moves of persistsrv's cursors that it wants to be woken for (await.go).
const (
	// WordPoisonPos: position + 1 of the record that the core died of last; 0: none.
	WordPoisonPos Word = 8
	// WordPoisonCount: how often in a row.
	WordPoisonCount Word = 9
	// WordAwaitWritten: while logicsrv sleeps, WordWritten is worth a ring of its bell from this LSN
	// on; 0: at every move.
	WordAwaitWritten Word = 10
	// WordAwaitSynced: likewise of WordSynced.
	WordAwaitSynced Word = 11
)

// StatusRecovered (ring C, persistsrv) says that persistsrv's recovery has been through since
// the rings were made: what the log holds is whole, and stays whole in a death of persistsrv.
// Until it is set, and while StatusSyncFailed is, logicsrv must not read the log.
const StatusRecovered = 1 << 4
