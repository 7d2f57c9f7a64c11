// Package shell is logicsrv without its process: it moves records between the three rings
// and the core, and holds back what must not leave yet.
//
//	ring 12345 ──Next──► core.Step ──EndTurn──► entry ──► ring 65432
//	           ◄─Release─┐                  └─► outputs ──gate──► ring 54321
//	                     └── a turn: its entry at its level, its outputs handed over
//
// Callers: logicsrv's main (Run) and logicsrv/sim (Step and StepReplay, in virtual time).
//
// All but one thing happens in Step, which never blocks and starts no goroutine. One Step looks at
// persistsrv's cursors, hands over what they have opened, reads one turn of inputs, lets the
// core decide it, puts the turn's entry into ring 65432 and releases ring 12345 as far as the
// one rule allows: durable, then handed over, then released. The one thing is a checkpoint: it is
// made beside the loop, from the log (replayer.go, package replay), and no turn waits for it.
//
// Invariants:
//
//  1. Entries enter ring 65432 in order of LSN without a gap, and the outputs of a turn never
//     enter ring 54321 before the turn's entry is in ring 65432.
//  2. An output computed at LSN n with level l leaves only when the cursor of l is at n or
//     beyond. Outputs of one level leave in the order in which they were computed.
//  3. ring 12345 is released up to a position only when every input below it has its entry at
//     its level (at least written, because bodies are gathered from the ring) and every output
//     of its turn stands in ring 54321.
//  4. While an entry waits for room in ring 65432 the core is not called: memory is bounded by
//     one turn and the limits of the gate.
//  5. After a restart ring 12345 is read from its head again. An input that the log knows is
//     answered from its journaled events, all others are decided as if they were new.
//  6. A checkpoint leads to the result of every input that is in ring 12345 when it is sent, and
//     never delays a turn by more than the copying of one part (parts.go).
//
// Goroutines: Step's, and one that Run starts and ends, for checkpoints. They share two channels.
//
// Killed anywhere: the rings and the log hold everything. What this package keeps in memory is
// a function of them; New and the recovery steps build it again (recover.go).
package shell
