// Package native is TriMQ's own wire protocol between clients and connsrv: frames, and the
// body of every command (docs/formats/native.md draws them byte by byte).
//
// Callers: connsrv/nativeconn on one side, clients/trimq on the other.
//
// Invariants:
//
//  1. ParseHeader refuses a length above the limit before anything is allocated for it.
//  2. What decodes encodes to the same bytes again: padding is zero, lengths are exact,
//     bytes behind a body are an error.
//  3. Errors are *errcode.Error with Malformed, FrameTooLarge or UnsupportedVersion, fit to
//     be sent back.
//  4. Command numbers and body layouts never change within a protocol version.
//
// The bodies of the administrative commands are those of package admin.
//
// Goroutines: none; a Decoder belongs to one goroutine. If the process dies here, nothing
// is lost: what was not answered is sent again by the client.
package native
