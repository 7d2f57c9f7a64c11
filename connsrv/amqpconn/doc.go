// Package amqpconn is the room of AMQP 0-9-1, as RabbitMQ speaks it: the state machine of one
// connection with its channels, without I/O. What the broker does is decided where it always is;
// here methods become records of ring 12345, and records of ring 54321 methods.
//
// Callers: connsrv/server makes a Conn for each connection that its AMQP listener accepts, and a
// Loop for each event loop; the reactor calls a Conn through session.Protocol.
//
// Invariants:
//
//  1. What comes on one channel takes effect in the order in which it came, and is answered so. While
//     a method of a channel waits for logicsrv nothing behind it on that channel is looked at, and a
//     method waits for the answers to what was published before; other channels go on as long as
//     the stream has nothing of that one in front.
//  2. Publishes of one pass over the socket with equal routing travel as one batch. It is put into
//     the ring before anything that came behind it takes effect.
//  3. A publish is confirmed when logicsrv says that its durability level is reached, in the order
//     of publishing; what was returned is returned before that.
//  4. A delivery tag is known until it was settled or its channel has ended. A message is in hand
//     from the Deliver until its verdict stands in the ring (session's invariant 3).
//  5. Memory is bounded: by the agreed size of frames and the largest message on the way in, by the
//     connection's share of the ring for publishes that are not answered, by
//     connection_memory_bytes for what waits to be sent. What logicsrv has given beyond that stands
//     in line as offsets.
//  6. An error has the code and the text that RabbitMQ gives; it ends its channel, or the
//     connection where the table of the protocol says so.
//  7. However the stream is cut into pieces, the same methods come out of it.
//  8. What a method changes of its room before its last answer it finds changed when it is carried out
//     again: a hand-over has it begin anew.
//
// Where to look: conn.go (frames), connection.go, channel.go, exchange.go, queue.go, basic.go,
// confirm.go, tx.go (one for each class), ask.go (questions to logicsrv), publish.go and run.go (the
// way in), consume.go, line.go, deliver.go and message.go (the way out), settle.go (verdicts),
// headers.go (what becomes of properties), resync.go; pass.go and recall.go (hand-over).
//
// Goroutines: none; a Conn and a Loop belong to their event loop. If the process dies here,
// clients connect again; what they had no confirm for they publish again, and what consumers held
// goes back to its queue. Upgraded by signal 12 it keeps them.
package amqpconn
