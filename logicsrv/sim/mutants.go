//go:build failpoints

package sim

// Mutant is one rule, of the restart protocol or of what queues do, that can be broken on purpose.
type Mutant struct {
	Name string // as package failpoint's Broken knows it
	What string // what goes wrong
}

// Mutants lists them all. Every one must be noticed within two thousand histories; most are within ten.
var Mutants = []Mutant{
	{"early-reply", "logicsrv hands replies over before their entry has reached its level"},
	{"disk-means-page", "logicsrv takes the written cursor for the synced one"},
	{"early-release-requests", "logicsrv releases requests as soon as they are decided"},
	{"release-before-handover", "logicsrv releases requests whose replies are not in ring 54321"},
	{"visible-early", "messages become visible when they are decided"},
	{"no-nonce", "rings made after a boot have the nonce of the ones before"},
	{"no-known-results", "a restarted logicsrv does not look for results in the log"},
	{"read-from-position", "a restarted logicsrv skips what it had read, instead of answering it again"},
	{"log-read-early", "a restarted logicsrv reads the log before persistsrv has appended all of ring 65432"},
	{"waits-not-retold", "connsrv does not tell parked waits again"},
	{"in-hand-not-retold", "connsrv does not tell what consumers hold"},
	{"no-marker", "logicsrv takes its soft state for known when it starts"},
	{"hello-syncs", "a Hello makes logicsrv take its soft state for known"},
	{"reject-not-journaled", "a refusal leaves no event"},
	{"alternate-ignored", "what matches no binding goes to no alternate exchange"},
	{"exchanges-not-walked", "bindings that lead to exchanges lead nowhere"},
	{"internal-open", "clients may publish to internal exchanges"},
	{"auto-delete-once", "an exchange goes with its last binding, and those that are emptied by that stay"},
	{"priorities-ignored", "messages of all priorities are delivered in order of coming"},
	{"consumer-priority-ignored", "consumers get messages whatever their priority"},
	{"handed-not-told", "connsrv does not tell what it has given out"},
	{"lost-ignored", "what may have been given to somebody who is gone does not come back"},
	{"handing-not-noted", "the log does not say whose connections may hold messages"},
	{"attempts-not-counted", "what comes back bears no number of attempts"},
	{"delivery-limit-ignored", "what came back too often is delivered again"},
	{"expiry-early", "messages expire a second early"},
	{"expiry-forgotten", "messages do not expire"},
	{"queue-limit-ignored", "a full queue that rejects takes messages"},
	{"newest-dropped", "the newest make room, not the oldest"},
	{"dead-letters-dropped", "the dead do not go to their dead-letter exchange"},
	{"dead-letter-twice", "the dead stay in their queue when they have gone on"},
	{"deaths-not-counted", "a second death of one reason is a row of its own"},
	{"circles-go-on", "what comes back by dead-lettering alone is not dropped"},
	{"pull-overtakes", "a pull is told that there is nothing, before all is visible that was published"},
	{"lease-ends-early", "leases end a second early"},
	{"lease-retold-twice", "a pull that is told again gets messages once more"},
	{"pulls-not-retold", "connsrv does not tell parked pulls again"},
	{"serials-count-on", "after a power cut leases and transactions get numbers that were told before"},
	{"ack-timeout-early", "a consumer's time is over a second early"},
	{"recall-not-told", "who loses a message to his time-out is not told"},
	{"crossing-ignored", "who gives back what was recalled gives back what was delivered again"},
	{"delay-early", "delayed messages come a second early"},
	{"delay-order-ignored", "delayed messages that are due in one turn come in any order"},
	{"txn-visible-early", "parts of transactions are visible before the commit"},
	{"commit-half", "a commit releases the first part alone"},
	{"stable-early", "what a transaction has sent is stable before its control batch is durable"},
	{"open-is-stable", "the stable end does not wait for open transactions"},
	{"aborts-forgotten", "committed readers are not told what was aborted"},
	{"commits-hidden", "committed readers are told of some commits as aborts"},
	{"finish-half", "a transaction ends in one of its partitions alone"},
	{"restart-halves", "a restarted logicsrv takes some batches of open transactions for others"},
	{"fence-open", "who was superseded under a transactional id goes on"},
	{"txnals-for-ever", "transactions have no time-out"},
	{"aborted-positions", "positions count though their transaction was aborted"},
	{"members-not-retold", "connsrv does not tell again for which groups it answers"},
	{"owner-outlived", "queues and transactions of a connection stay when it ends"},
	{"exclusive-shared", "an exclusive queue is open to all connections"},
	{"exclusive-joined", "consumers join an exclusive one"},
	{"transients-stay", "what is not durable stays when the rings are made anew"},
	{"unused-stay", "queues that nobody uses stay"},
	{"sac-two-active", "consumers of a queue with a single active one are all served"},
	{"active-forgotten", "after a restart of logicsrv another consumer is the active one"},
	{"more-keys-ignored", "a message goes where its first key leads alone"},
	{"more-keys-forgotten", "what is routed after a transaction or a death goes where its first key leads alone"},
	{"whole-ignored", "of what has to be taken as a whole a full queue gets its part"},
	{"no-headers-ignored", "what has headers that are not told is routed by those that are"},
	{"delayed-only-ignored", "every exchange delays what only some should"},
	{"keeping-not-told", "partitions keep what they had to before their topic was configured anew"},
	{"records-stay", "deleted records stay"},
	{"unseen-deleted", "records are deleted that nobody may see yet"},
	{"policies-ignored", "policies change nothing for queues"},
	{"vhosts-leave-queues", "queues outlive their vhost"},
	{"skip-not-journaled", "what a filter has skipped leaves no event"},
	{"purge-too-much", "a purge drops what is in hand"},
	{"seek-forgets", "a seek forgets what consumers hold"},
	{"results-of-own-only", "a checkpoint forgets where the results of a predecessor's inputs are"},
	{"results-forgotten", "a checkpoint says that no input waits whose result lies before it"},
	{"checkpoint-skips-entry", "a checkpoint lacks the last entry that it was made from"},
	{"term-of-ring-only", "after a boot the term begins at 1 again"},
	{"term-not-raised", "every logicsrv has the same term"},
	{"no-tail-repair", "a producer's successor does not cut what its predecessor had claimed"},
	{"sync-skipped", "a sync does nothing"},
	{"names-not-synced", "the sync of a directory does nothing"},
	{"cache-believed", "a restarted persistsrv takes what it finds for synced"},
	{"failed-sync-believed", "after a failed sync persistsrv believes the next one"},
	{"written-before-write", "persistsrv moves the written cursor before it writes"},
	{"early-release-log", "persistsrv releases entries when it has read them"},
	{"checkpoint-unsynced", "a checkpoint is stored though the log is not synced up to it"},
	{"revoke-not-awaited", "members of groups are given partitions that others have not given up"},
	{"session-expiry-early", "members of groups are out before their session is over"},
	{"joins-not-retold", "connsrv does not tell parked joins and syncs again"},
	{"sequences-ignored", "whatever an idempotent producer sends is taken for its next batch"},
	{"appends-dropped", "some batches are acknowledged and not stored"},
	{"commits-forgotten", "a group's positions stay where its first commit has put them"},
	{"compact-drops-last", "compaction removes the last record of a key with those before it"},
	{"compact-drops-tombstones", "compaction removes what stands for a deletion before its time"},
	{"compact-keeps-aborted", "compaction takes what was aborted for what counts"},
	{"compact-past-open", "compaction does not stop at the first open transaction"},
	{"compact-drops-aborts", "compaction removes the ends of aborted transactions"},
	{"compact-unsynced", "compaction removes what is followed by what a power cut takes away"},
	{"compact-forgets-trims", "compaction undoes what was trimmed while it was under way"},
	{"cut-without-truncate", "the torn end of the log is left in its file"},
}

// Hunt plays histories with a broken rule until one shows it. It returns how many it took and
// the violation; an empty one where none of them did.
func Hunt(mutant string, first uint64, histories int) (played int, why string) {
	var s Simulator
	for seed := first; seed < first+uint64(histories); seed++ {
		played++
		if r := s.Run(Options{Seed: seed, Mutant: mutant}); r.Violation != "" {
			return played, r.Violation
		}
	}
	return played, ""
}
