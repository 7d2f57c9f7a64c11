// Package seglog is the commit log: segments, the indexes derived from them, and the
// checkpoints beside them.
//
// Called by persistsrv/shell. Formats and readers are protocol/commitlog's.
//
// The writer (one goroutine) gathers entries with Add into a round, and Flush brings the
// round to the page cache in three steps that can each be stopped by a full disk and taken up
// again: one gathered write of all entries, the indexes, then Written. Sync (another
// goroutine) makes what is written durable. Maintain (a third, or the second) does what may
// take long: logicsrv's checkpoints, the index checkpoint, removal of dead segments.
//
// Invariants:
//  1. Entries have consecutive LSNs. Add takes last + 1, answers lower ones without writing,
//     and refuses a gap.
//  2. Log bytes are in the page cache before the index entries that point to them, and these
//     before Written moves.
//  3. Synced moves only after a sync that covered all entries up to it, and the names of
//     their segments, has succeeded. After a failed sync nothing more is synced by this
//     process: its successor writes the unsynced entries again, into new files.
//  4. index.ckpt speaks only of what was synced before it was renamed into place; recovery
//     reads the log from there. A segment is removed only after an index checkpoint says that
//     nothing needs it (batch, note or origin of an index entry), and both kept checkpoints of logicsrv lie behind it.
//  5. An index's entries are a function of the log from the index's start on: recovery may
//     write any of them again.
//  6. A segment's salt is random and never changes while it has entries, as their checks
//     are salted with it. No reply and no log line tells it.
//  7. What references lead to is found before their entry is stored, and stored with it: no
//     index is needed to understand the log.
//  8. Offsets below an index's start are never promised again; start only grows.
//
// Goroutines: none of its own. mu guards everything that the three share; syncMu orders syncs.
// Lock order: syncMu → mu.
//
// If the process dies here, the successor's Open cuts what was half written, writes indexes
// again from the index checkpoint on, and goes on behind the last whole entry.
package seglog
