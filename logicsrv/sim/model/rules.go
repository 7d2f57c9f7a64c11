package model

// Rule is one thing that docs/queues.md says and the model has looked at. It is counted each time
// that it has made a difference, so that a rule that no history ever uses is seen.
type Rule int

// The rules.
const (
	RuleOrder Rule = iota
	RulePriority
	RuleConsumerPriority
	RuleInTurn
	RuleAttempts
	RuleLost
	RuleExpired
	RuleExpiredByQueue
	RuleExpiredOnReturn
	RuleInTime
	RuleDropHead
	RuleDropLowest
	RuleDropBytes
	RuleReject
	RuleRejectDeadLetter
	RuleDeadLetter
	RuleDeathAgain
	RuleDeathKey
	RuleCircle
	RuleNoExchange
	RuleDeliveryLimit
	RuleLease
	RuleLeaseEnd
	RuleLeaseMoved
	RuleLeaseGivenBack
	RuleLeaseDeleted
	RuleLeaseRefused
	RuleLeaseAgain
	RulePullWaits
	RulePullEmpty
	RuleDelay
	RuleDelayOrder
	RuleCommit
	RuleRollback
	RuleTxnVerdict
	RuleTxnEndAgain
	RuleTxnEndRefused
	RuleTxnCheck
	RuleTxnGivenUp
	RuleTxnOwner
	RuleExclusiveGone
	RuleLocked
	RuleInUse
	RuleAutoDelete
	RuleExpires
	RuleTransient
	RuleSingleActive
	RuleFailover
	RuleAckTimeout
	RuleRecallLate
	RuleSubscription
	RuleSkip
	RulePurge
	RulePurgeKeeps
	RuleSeekBack
	RuleSeekForward
	RuleDescribe
	RuleFull
	RuleMoreKeys
	RuleWhole
	RuleNeedHeaders
	RuleDelayedOnly
	RuleConfigured
	RuleRecordsDeleted
	RuleBeyond
	RulePolicy
	RuleVHost
	Rules // how many there are
)

var ruleNames = [Rules]string{
	RuleOrder:            "what is older is delivered first",
	RulePriority:         "what has a higher priority is delivered first",
	RuleConsumerPriority: "consumers of a higher priority come first",
	RuleInTurn:           "consumers are served in turn",
	RuleAttempts:         "earlier attempts are told",
	RuleLost:             "what may have been given to somebody who is gone comes back",
	RuleExpired:          "a message expires by its own time",
	RuleExpiredByQueue:   "a message expires by its queue's time",
	RuleExpiredOnReturn:  "what expired in hand dies when it comes back",
	RuleInTime:           "what may expire is delivered in time",
	RuleDropHead:         "the oldest make room",
	RuleDropLowest:       "the oldest of the lowest priority make room",
	RuleDropBytes:        "so many bytes make room",
	RuleReject:           "a full queue does not take a message",
	RuleRejectDeadLetter: "what a full queue does not take is dead-lettered",
	RuleDeadLetter:       "a dead message goes where its dead-letter exchange leads",
	RuleDeathAgain:       "a second death of one reason is counted",
	RuleDeathKey:         "dead letters get the queue's key",
	RuleCircle:           "a circle without rejection ends",
	RuleNoExchange:       "without the exchange the dead are dropped",
	RuleDeliveryLimit:    "what came back too often is dead",
	RuleLease:            "what is pulled with a time-out is leased",
	RuleLeaseEnd:         "it comes back when the lease is over",
	RuleLeaseMoved:       "a lease is set to another end",
	RuleLeaseGivenBack:   "a lease is given back",
	RuleLeaseDeleted:     "a leased message is deleted",
	RuleLeaseRefused:     "a lease that is over is refused",
	RuleLeaseAgain:       "a pull that is told again gets the same lease",
	RulePullWaits:        "a pull waits for a message",
	RulePullEmpty:        "a pull finds nothing",
	RuleDelay:            "a delayed message comes when it is due",
	RuleDelayOrder:       "delayed messages come in order of time",
	RuleCommit:           "a commit releases all parts",
	RuleRollback:         "a rollback releases none",
	RuleTxnVerdict:       "verdicts of a commit count with it",
	RuleTxnEndAgain:      "an end is answered as the first time",
	RuleTxnEndRefused:    "the other end is refused",
	RuleTxnCheck:         "a member is asked for a decision",
	RuleTxnGivenUp:       "without a decision it is rolled back",
	RuleTxnOwner:         "a transaction ends with its connection",
	RuleExclusiveGone:    "an exclusive queue goes with its connection",
	RuleLocked:           "an exclusive queue is locked to others",
	RuleInUse:            "an exclusive consumer is the only one",
	RuleAutoDelete:       "a queue goes with its last consumer",
	RuleExpires:          "a queue that nobody uses goes",
	RuleTransient:        "what is not durable goes with the rings",
	RuleSingleActive:     "one consumer at a time gets messages",
	RuleFailover:         "the next one gets them after its end",
	RuleAckTimeout:       "what is held for too long comes back",
	RuleRecallLate:       "who has lost a message to a lease is told after a restart",
	RuleSubscription:     "a queue over a topic has its messages",
	RuleSkip:             "what a filter does not match is done with",
	RulePurge:            "a purge drops what is ready",
	RulePurgeKeeps:       "a purge keeps what is in hand",
	RuleSeekBack:         "a seek brings messages back",
	RuleSeekForward:      "a seek passes over messages",
	RuleDescribe:         "a description counts right",
	RuleFull:             "a queue never holds more than it may",
	RuleMoreKeys:         "a message goes where any of its keys leads",
	RuleWhole:            "what a full queue cannot take as a whole is refused",
	RuleNeedHeaders:      "headers that are looked at are asked for",
	RuleDelayedOnly:      "a time that only a delaying exchange heeds is not heeded by others",
	RuleConfigured:       "a topic gets another configuration",
	RuleRecordsDeleted:   "a partition begins later",
	RuleBeyond:           "what is not visible yet is not deleted",
	RulePolicy:           "a policy changes what counts for a queue",
	RuleVHost:            "a queue goes with its vhost",
}

func (r Rule) String() string { return ruleNames[r] }

// saw counts a rule.
func (m *Model) saw(r Rule) { m.Seen[r]++ }
