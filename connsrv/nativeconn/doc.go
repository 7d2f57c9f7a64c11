// Package nativeconn is the room of TriMQ's own protocol (protocol/native): the state
// machine of one connection, without I/O.
//
// Callers: connsrv/server makes a Conn for each connection that the reactor accepts; the
// reactor calls it through session.Protocol.
//
// Invariants:
//
//  1. However the stream is cut into pieces, the same commands come out of it.
//  2. Every request gets one answer, but for those that want none. Answers to PRODUCE and
//     PUBLISH come when logicsrv says that their durability level is reached.
//  3. A batch stands in the ring only after its CRC was checked; one that arrived damaged
//     is discarded where it lies.
//  4. A request that finds no room in the ring stays in the input, and nothing behind it is
//     looked at: nothing is dropped or overtaken.
//  5. Memory is bounded: by the frame limit on the way in, by the negotiated window for
//     requests, by connection_memory_bytes for what waits to be sent. What logicsrv has given
//     beyond that stands in line as offsets, in order, and the number of those is bounded.
//  6. Fetches are served from the log below the known visible end without asking anyone.
//  7. A message that cannot be read ends its consumer or pull, and goes back; one that a filter
//     cannot be put to is delivered; one whose note is lost is delivered without. None is
//     skipped for such a reason.
//  8. A verdict takes messages out of the hand when its record is put; one that is part of a
//     commit when that is answered. What is refused leaves the hand as it was.
//
// Where to look: conn.go (frames), produce.go, fetch.go and push.go (partitions), consume.go,
// line.go and deliver.go (queues), verdicts.go, pull.go, txn.go, resync.go, reply.go, pass.go
// (hand-over).
//
// Goroutines: none; a Conn belongs to its event loop. If the process dies here, clients
// reconnect and send again what was not answered; idempotent producers are not doubled.
package nativeconn
