// Package model says what queues do, as docs/queues.md has it, in the most naive way: a message
// is an object, a queue a list of them. It is no broker. It is shown what logicsrv takes in, what
// it decides and what it tells, turn by turn, and judges each step: legal or not, and whether
// something that must have happened has not.
//
// Called by logicsrv/sim, for the turns that the shell shows (shell.Options.Turned).
//
// A turn is judged in this order (walk.go):
//
//  1. its inputs and its events, as they were decided: each event must be a legal answer to the
//     input that it belongs to, or to the time, and then changes the model;
//  2. its outputs: who is given what, who is told what;
//  3. what must hold behind a turn: nothing is overdue, nothing was passed over (after.go).
//
// What follows from the events is the model's hard state, and is folded anew where a death or a
// power cut has taken entries back (Turn.LSN). The rest is what consumers are and hold; it is
// learned from inputs and outputs, and forgotten with each new term, as logicsrv does.
//
// What the model judges is written from the document, not from the core. Of the core it only
// takes over the shape of what it is shown: that a turn has one time, that it gives out messages
// behind its inputs, and that it may need a few turns more for what does not fit into an entry.
//
// Invariants:
//  1. A rule that was used is counted (rules.go), so that nobody believes in one that never is.
//  2. The model never repairs what it finds wrong: the first violation ends the history.
//
// No goroutines. It lives and dies with a history.
package model
