// Package journal holds what one turn of logicsrv leaves behind: the entry of the commit
// log, the events in it, and the envelope of a checkpoint.
//
// Called by logicsrv/core (makes and replays events), persistsrv/seglog and
// protocol/commitlog (the disk form of an entry), and the inspection tools.
// docs/formats/journal.md draws everything byte by byte.
//
// An entry has two forms. On ring 65432 its bodies are references into ring 12345
// (AppendRing, DecodeRing). In the log a header with magic, version, lengths and CRCs comes
// first and the bodies' bytes follow (AppendDisk, DecodeDisk, PeekDisk). The sections
// between, events, ops, items, body table and references, are the same in both, but for what
// persistsrv finds of the references.
//
// Invariants:
//  1. An entry is atomic: its head CRC covers all but the bodies, and each body is covered
//     by its own CRC32C together with the body table. The head's checks are salted, so that
//     nobody can make a body in which an entry is found.
//  2. Every input that could have changed hard state leaves an event with its position: its
//     effect, or Duplicate, Unchanged or Rejected. A redo after a restart therefore finds
//     the outcome of every input below the position reached, and answers the same again.
//  3. An event stands on its own: it bears its absolute input position.
//  4. An event that index entries lead to, a note, can be checked without the head around it.
//  5. What decodes encodes to the same bytes. A decoder never panics, and allocates at most
//     a small multiple of what it was given.
//
// No goroutines, no state; nothing to do where a process dies.
package journal
