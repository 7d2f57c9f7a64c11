//go:build failpoints

package shmqueue

import "os"

// MutantVariable is the environment variable that breaks one rule of the ring on purpose, so
// that the crash tests can show that they would notice.
const MutantVariable = "TRIMQ_RING_MUTANT"

var (
	mutantNoRepair   = os.Getenv(MutantVariable) == "no-repair"   // a take-over cuts nothing
	mutantNoScrub    = os.Getenv(MutantVariable) == "no-scrub"    // a cut leaves the stamps behind it
	mutantNoRing     = os.Getenv(MutantVariable) == "no-ring"     // a take-over leaves the consumer asleep
	mutantEarlyStamp = os.Getenv(MutantVariable) == "early-stamp" // the stamp is stored before the payload
	mutantEarlyHead  = os.Getenv(MutantVariable) == "early-head"  // head moves before the record has been seen
)
