// Package trimq is the Go client of TriMQ: producers, consumers of topics and queues, pulls,
// transactions, and administration, over the broker's native protocol (docs/client.md is a guide).
//
// Callers: applications; bin/trimq and bin/mq_perf. It imports packages of protocol only.
//
// A Client is a user's handle on a broker. It makes Producers, Consumers and QueueConsumers,
// each with a connection of its own, and has one itself for administration, metadata, commits and
// answers for producer groups, and another, once it pulls. All of them reconnect by themselves, to
// one of the client's addresses, with a pause that doubles and is spread at random.
//
// What is bound to a connection shares it: a producer that a QueueConsumer has made uses the
// consumer's, so that a transaction can have messages and verdicts. A link carries roles, then,
// which share the broker's window, and each of which counts its correlations from a number of its
// own (role.go).
//
// # Invariants
//
//  1. A message that Produce has taken is reported exactly once: with its place, with the
//     broker's refusal, or with ErrUnknownOutcome when it was given up while the broker may
//     have it.
//  2. An idempotent producer (the default) stores a message at most once, and the messages of
//     a partition in the order of Produce, through every loss of a connection. What is sent
//     again bears the same producer id, epoch and sequence, byte for byte; it gets others only
//     when it is known not to be stored (producer_recover.go).
//  3. At most the broker's window of requests and bytes is unanswered on a connection, and at
//     most WithBufferBytes of messages are taken and unreported. What does not fit waits in
//     the caller, until its context ends.
//  4. Messages share a batch only if the broker is told the same of all of them: destination,
//     routing key and headers where they matter, priority, delay, time to live, transaction
//     (lane.go). A delay is counted once, however often its batch is sent.
//  5. Poll gives the records of a partition in the order of their offsets, without a gap or
//     a repetition, through reconnections. Their CRC has been checked. A member of a group never
//     gives out records of a partition that may be another member's, and tells the broker that it
//     has given one up only when it no longer uses it (group.go).
//  6. Of a queue, a verdict is repeated until the broker confirms it. A message comes again
//     only when it was put back, or its connection broke before it was settled, or it was held
//     for longer than the acknowledgement time-out: then it is no longer given out, and a verdict
//     on it is ErrRecalled.
//  7. Commit returns nil only if the broker has said that the transaction is committed, and an
//     error that is neither ErrUnknownOutcome nor its context's only if it is not (txn_end.go).
//  8. Bytes from the broker never make the client panic or allocate beyond the frame limit:
//     what is not the protocol ends the connection with ErrProtocol, a batch that does not
//     decode is reported with ErrCorrupt for its partition or deliveries.
//  9. Nothing is allocated and no clock is read for each message; both happen for each batch.
//
// # Memory
//
// Produce copies a message into its batch and keeps nothing of it. Records alias the buffer
// that their frame was read into: a Fetch, Deliveries or Pulled owns them until it is released, and
// after that their memory is used again. Who does not release costs the garbage collector
// work, nothing else.
//
// # Goroutines
//
// Each connection has a reader (which also connects, and runs the callbacks of a producer)
// and a writer. The writer gathers everything that is ready whenever it is free and hands it
// to the socket in one vectored write; batching emerges from its being busy. Beside them: one
// goroutine for each Client that describes known topics every 30 s; decoders of a Consumer,
// at most GOMAXPROCS, while there is something to decode; one for a Consumer's asynchronous
// commits while there are any, one with WithAutoCommit, one for a member's heartbeats, and one that
// takes and gives up partitions, with the user's callbacks, while there is something to do; one that asks for a producer's identity; the workers of Serve; one
// for each question that a TxnChecker decides, at most 64. Close ends those that belong to what it
// closes, and waits for them.
//
// # Locks
//
// Lock order: roles.mu → stream.mu → Producer.mu → window.mu. link.mu is taken before roles.mu, and
// the others (Consumer.mu, QueueConsumer.mu, calls.mu, checks.mu, topicTable.mu) behind it, alone.
// Callbacks of a producer run under its link's roles.mu, held for reading: they must not make
// another producer on the same connection. Nothing else of a user's runs, and nothing blocks, under
// a lock.
//
// If the process dies here, what it had sent stands, and what it had taken and not sent is
// lost with it: a message is safe once it was reported without an error.
package trimq
