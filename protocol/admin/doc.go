// Package admin holds the administrative commands and their replies. A native frame's body
// and the body of an ipc.Admin record are the same bytes, so connsrv passes them through.
//
// Called by the clients (make commands, read replies), by logicsrv/core (the reverse) and
// by journal, whose binding events carry a CreateBinding.
//
// Strings of decoded values are copies.
//
// Invariants:
//  1. What decodes encodes to the same bytes; bytes behind the end are refused.
//  2. A decoder never panics, and allocates at most a small multiple of what it was given.
//  3. Values are checked for their form here, for their meaning (is the name allowed, is the
//     exchange type known) in logicsrv/core, which can say what is wrong with them.
//
// No goroutines, no state.
package admin
