// Package wire reads and writes the small parts that TriMQ's own formats are made of:
// little-endian integers, strings with a length, counts.
//
// Called by the codecs of package protocol/… and by connsrv/handover. A leaf of the leaves.
//
// Invariants:
//  1. A Cursor never reads past its slice, and after its first error it yields zero values
//     only, so a decoder may read all its fields and look at Done once.
//  2. No length or count is believed before it was compared with the bytes that are left;
//     Count does so before the caller allocates.
//  3. An encoding is unique: padding is zero, a bool is 0 or 1, a uvarint is as short as it
//     can be. What decodes therefore encodes to the same bytes again.
//
// No goroutines; nothing here outlives a call, so a process may die anywhere.
package wire
