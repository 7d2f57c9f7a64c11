//go:build !failpoints

package shmqueue

// The mutants are the negative controls of the crash tests: each leaves out one rule, and a
// test must notice. They exist only in builds with the tag failpoints.
const (
	mutantNoRepair   = false // a take-over cuts nothing
	mutantNoScrub    = false // a cut leaves the stamps behind it
	mutantNoRing     = false // a take-over leaves the consumer asleep
	mutantEarlyStamp = false // the stamp is stored before the payload
	mutantEarlyHead  = false // head moves before the record has been seen
)
