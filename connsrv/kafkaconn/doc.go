// Package kafkaconn is the room of Kafka's protocol: the state machine of one connection of a
// Kafka client, without I/O. What the broker does is decided where it always is; here requests
// become records of ring 12345, and records of ring 54321 responses.
//
// Callers: connsrv/server makes a Conn for each connection that its Kafka listener accepts, and a
// Loop for each event loop; the reactor calls a Conn through session.Protocol.
//
// Invariants:
//
//  1. Responses leave in the order of their requests. Produce requests may be under way together;
//     any other request begins when all before it are answered, and none behind it begins before
//     it is, as with Kafka itself.
//  2. A batch stands in the ring only after its CRC was checked. It goes there from the socket, or
//     from the bytes that were read with others; it is in no other memory of ours.
//  3. However the stream is cut into pieces, the same records come out of it.
//  4. Memory is bounded: by the limit of each API's requests, which is gathered as it comes, by
//     one request under way (or the window of Produce requests), by what waits to be sent. What a
//     count in a request claims is checked against the bytes that are there.
//  5. An API, and a version of one, is served exactly if versions.go lists it.
//  6. The catalogue may be old, but what it says was true: who meets an index that is gone
//     forgets the topic, and the client asks again.
//  7. A request changes its room with its last answer, not before, and what it asks of logicsrv follows
//     from its bytes, from answers and from what is passed on: so the program that takes over can carry
//     it out again from its start, and asks nothing twice (recall.go). Fields that are new go over in
//     pass.go, or are named in its test.
//  8. Where clients log in (kafka_auth), nothing but that is carried out before, and nothing that the user has no
//     right to behind it: rights.go has what a request needs, censor.go what is not told.
//  9. The leader epoch of every partition is 0: nothing that was acknowledged is ever cut off.
//
// Where to look: conn.go (frames), line.go (order, what is asked of logicsrv), versions.go,
// catalogue.go (topics), fetchsession.go, sasl.go, one file for each family of APIs, resync.go, pass.go and recall.go.
//
// Goroutines: none; a Conn and a Loop belong to their event loop. If the process dies here,
// clients connect again and repeat what was not answered; idempotent producers are not doubled.
package kafkaconn
