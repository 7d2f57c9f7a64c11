// Package core is the state of one shard of logicsrv and all that is decided about it:
// exchanges and bindings, queues, topics with partitions, idempotent producers, consumer groups
// with members and committed offsets. It is pure: no I/O, clock, goroutine, randomness or order of maps. The same core
// runs in the daemon, in recovery, in the simulator and in the inspection tools.
//
// Called by logicsrv/shell, in this order:
//
//	c := New(cfg) or Load(cfg, checkpoint)
//	for each entry of the log behind it { c.Replay(entry) }
//	c.Begin(term, written, synced)           // emits the first Marker
//	for {
//		c.Advance(written, synced)           // when persistsrv's cursors have moved
//		c.Tail(tail)                         // how far ring 12345 is filled
//		for … && !c.TurnFull() { c.Step(now, input) }
//		entry, out := c.EndTurn(now, nonce, pos)
//		… entry into ring 65432, then each output into ring 54321 once its gate is open
//		… again at once where c.Busy(), else when there is something new, or at c.NextTimer()
//	}
//	blob := c.Checkpoint(nil)                // between two turns
//
// The way of an input: Step → decide… (decide_*.go) appends events to the turn's buffer and
// outputs with their gates → apply (apply.go) reads these very bytes and changes the hard
// state → EndTurn hands out returned messages, deliveries, and the entry.
//
// Three kinds of state:
//
//   - hard: the fold of all events; struct state. In checkpoints, under the digest.
//   - derived: what follows from the hard state and the cursors (visibility.go), such as the
//     routers of exchanges (router.go) and the lists of what is bound to what.
//   - soft: consumers, credit, messages in hand, parked waits, pulls, joins and syncs. It is
//     connsrv's, which tells it again in answer to a Marker (resync.go). Timers, too: those of
//     soft state begin a full period with each term (timers.go).
//
// Invariants:
//
//  1. Only apply changes hard state, live and on replay. decide never does, and apply decides
//     nothing: an event that does not fit the state is damage, or our own bug.
//  2. Every input that could have changed hard state leaves an event with its position: its
//     effect, Duplicate, Unchanged or Rejected. Read again after a restart, it is answered
//     from that event (answer.go). What cannot be decoded is refused for its bytes alone and
//     leaves none; nor do reads and soft inputs, which are decided again, and members'
//     heartbeats that change nothing, which change nothing then either (Input.Passed).
//  3. What an input decides depends on the hard state and, for deliveries and returns alone,
//     on soft state; never on the turn that it falls into.
//  4. A reply leaves no earlier than what it tells is safe at the level that was asked for;
//     reads and refusals when all that they saw is (turn.go, readGate).
//  5. A message is visible once the cursor of its index's level has passed its entry, and
//     delivered only below that.
//  6. Nothing is delivered before all loops of connsrv have answered the latest Marker.
//     ready = [floor, visible) − acknowledged − in hand; an offset is in one hand at most.
//  7. No object per stored message: sets of offsets, one bit each at worst.
//  8. Equal hard states have equal checkpoints, byte by byte, however they came about. So
//     what keeps an order that is not one of its own (lists of bindings in a router) is in
//     none; producers stand in order of last use, which is hard state.
//  9. Everything has a limit (config.go), one input adds less than half of an entry, and no
//     bytes from outside make the core panic; invariant.Check is for our own bugs.
//
// Memory, in bytes, of what there may be much of: a queue 1,100; a partition 175; a binding
// 280, to a topic exchange 440, to a headers exchange with two headers 540; an acknowledged
// offset above the floor 1/8 at most, 16 for a full run of 1,024; messages that came back 24
// for a run of equal ones; a producer with one lane 210, 96 for each further one; a committed
// offset 40; a consumer with its connection 590; a parked wait 110; a delayed batch 80; an
// open transaction with one batch 450; a group 290; a member of one 460, and 50 for each
// partition that it has (TestMemory measures).
// 10,000 queues with 100,000 bindings, to exchanges of all types, are 50 MB (TestMemoryOfMany).
//
// Goroutines: none; a Core is used by one. If the process dies here, nothing is lost: the
// next one folds the log and reads the ring again.
package core
