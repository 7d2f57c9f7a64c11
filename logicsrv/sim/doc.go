// Package sim plays histories of a whole broker in one goroutine: the real core, logicsrv's
// real shell, persistsrv's real shell and log writer over a file system that can be crashed,
// and the real rings on heap memory. Only connsrv and the clients are models (connsrv.go,
// client_*.go). Time is virtual and every choice comes from one random source, so a seed is
// a history and can be played again:
//
//	go run -tags failpoints ./logicsrv/sim/cmd/sim -seed 17 -v
//
// Faults: the death of each tier at any failpoint (every store to shared memory, every file
// operation), of several at once, power cuts that tear and reorder what was not synced, stalls,
// full rings, a full disk, a failing sync, a log that cannot be read for checkpoints, slow and dying
// clients. Then the faults stop and everything must drain.
//
// What must hold, always (ledger.go, follow.go, final.go):
//
//  1. What was acknowledged is stored and visible: at page and memory through any deaths of
//     processes, at disk through power cuts too. What the synced cursor covers survives them.
//  2. It is stored once. Nothing that was refused is stored, and what is stored is what was sent.
//  3. The offsets of an index have no gap, and the messages of one producer keep their order.
//  4. Nothing is visible before it has reached its level, and no visible end goes back.
//  5. A message is not delivered while a live consumer holds it, nor after its ack.
//  6. Every request is answered, and every parked one once there is something to tell.
//  7. The replayed state is the live one, from the log alone and from the checkpoint, and each
//     checkpoint that is stored is what the live state was at its LSN.
//  8. The log and its indexes pass verification.
//  9. In each consumer group a partition is one member's at a time: it is given on once its owner
//     has given it up, or has been silent for its session. Nobody is out before that, and in
//     the end everything is shared out. All who are told a generation are told the same of it.
//  10. What queues do is what docs/queues.md says: package model, which knows that document and
//     not the core, judges every turn (judge.go).
//  11. Of a transaction of a transactional producer all is committed or nothing, in every partition and
//     group, and once; committed readers see what was committed alone, and never see it go (bank.go).
//  12. Of a compacted partition only that goes for which there is a reason: of each key the last record that counts stays,
//     and what has no key, and what is in an open transaction; and of what was aborted committed readers are told nothing, nor is
//     anything hidden from them that was committed (washing.go).
//  13. The number that a lease or a transaction was told to have nothing else has, ever after.
//
// In half of the histories topics are compacted while everybody goes on (laundry.go).
//
// Half of the histories have a theme (theme.go): queues of random properties, exchanges that come
// and go, pulls with leases, delays, transactions, subscriptions with filters.
//
// mutants.go lists rules that can be broken on purpose; the tests show that each is noticed.
//
// Callers: the tests here and cmd/sim. One history at a time in a process, because the
// failpoints' handler is one variable. It is built with the tag failpoints only, and is the
// one package of logicsrv that may import persistsrv. If it dies, nothing is left behind.
package sim
