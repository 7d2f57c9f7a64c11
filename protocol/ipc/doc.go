// Package ipc holds the records that the daemons put into each other's rings: what connsrv
// asks of logicsrv (ring 12345), what logicsrv answers (ring 54321), and what logicsrv hands
// to persistsrv besides log entries (ring 65432; the entries are package journal's).
//
// Called by connsrv/session, logicsrv/core and persistsrv/shell, and by the inspection tools.
// docs/formats/ipc.md draws every record byte by byte.
//
// For each record T there is (*T).Append, which appends the encoding and allocates nothing
// where there is room, and DecodeT. Byte slices of a decoded record alias what was decoded;
// strings are copies, but for those of Publish, which alias too (its REQUIRES says so).
//
// Invariants:
//  1. What decodes encodes to the same bytes: padding is zero, lengths have one form, bytes
//     behind the end are refused.
//  2. A decoder never panics, and allocates at most a small multiple of what it was given.
//  3. An answer bears the Head of its question; the epoch in it keeps a successor of connsrv
//     from taking an answer for its own.
//  4. All a record says is absolute (credit, offsets, visible ends), so that hearing it
//     twice, as happens after a restart, changes nothing.
//
// No goroutines. Nothing here has state, so a process may die anywhere.
package ipc
