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
//     requests, by connection_memory_bytes for what waits to be sent.
//  6. Fetches are served from the log below the known visible end without asking anyone.
//
// Goroutines: none; a Conn belongs to its event loop. If the process dies here, clients
// reconnect and send again what was not answered; idempotent producers are not doubled.
package nativeconn
