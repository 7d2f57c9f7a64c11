// Package session holds what a connection is to the broker, whatever protocol it speaks:
// the interface of a protocol's room, the requests that wait for an answer, the messages
// that a consumer has in hand, the event loop's lane to logicsrv, through which all of that is
// told again when logicsrv restarts, and the sieve that puts batches through filters. It does
// no I/O.
//
// Callers: connsrv/reactor drives rooms through Protocol and is driven through Link;
// connsrv/nativeconn, and later rooms, are built from the parts here; package server
// connects the lanes to the rings.
//
// Invariants:
//
//  1. A record put into ring 12345 bears this connsrv's epoch, and a request number that
//     no other request of the epoch has.
//  2. Its request stays pending until a reply with its number comes. Whoever sends a second
//     one (a restarted logicsrv does) finds nothing.
//  3. An offset is in hand from the Deliver until its verdict stands in the ring: there is
//     no instant at which a Marker's answer would leave it out and no verdict says why.
//  4. A Marker is answered with everything that is soft: consumers with what they have in
//     hand, producer groups that are answered for, parked waits and, behind its end, parked
//     pulls. Requests are not repeated otherwise: their records are in the ring.
//  5. Who waits for room in the ring is served in order; records that nobody waits for (end
//     of a connection, end of a wait, a marker's answer) go before all requests.
//  6. A visible end never falls; to know an old one is safe.
//  7. No filter decides on a batch whose CRC was not checked: a damaged message that does not
//     match would be gone, and nobody would know.
//
// Goroutines: none. Everything belongs to one event loop, but Rings, which is read-only,
// and Lane.Wants. If the process dies here, its sockets die with it; its successor's Hello
// makes logicsrv forget its consumers, and what they had in hand goes back.
package session
