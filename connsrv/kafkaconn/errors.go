package kafkaconn

import (
	"errors"

	"github.com/trimq/trimq/protocol/errcode"
)

// Error codes of Kafka that are used here.
const (
	codeNone                 = 0
	codeUnknown              = -1
	codeOffsetOutOfRange     = 1
	codeCorruptMessage       = 2
	codeUnknownTopic         = 3 // or partition
	codeLeaderNotAvailable   = 5
	codeNotLeader            = 6 // or follower: ask again
	codeRequestTimedOut      = 7
	codeMessageTooLarge      = 10
	codeCoordinatorLoading   = 14
	codeInvalidTopic         = 17
	codeInvalidRequiredAcks  = 21
	codeIllegalGeneration    = 22
	codeInconsistentProtocol = 23
	codeInvalidGroupID       = 24
	codeUnknownMember        = 25
	codeInvalidSession       = 26
	codeRebalanceInProgress  = 27
	codeTopicDenied          = 29
	codeGroupDenied          = 30
	codeClusterDenied        = 31
	codeInvalidTimestamp     = 32
	codeUnsupportedMechanism = 33
	codeIllegalSASLState     = 34
	codeUnsupportedVersion   = 35
	codeTopicExists          = 36
	codeInvalidPartitions    = 37
	codeInvalidReplication   = 38
	codeInvalidAssignment    = 39
	codeInvalidConfig        = 40
	codeInvalidRequest       = 42
	codePolicyViolation      = 44
	codeOutOfOrderSequence   = 45
	codeInvalidProducerEpoch = 47
	codeInvalidTxnState      = 48
	codeProducerIDMapping    = 49
	codeInvalidTxnTimeout    = 50
	codeTxnDenied            = 53
	codeNotAttempted         = 55 // for something else in the request has failed
	codeStorage              = 56
	codeLoginFailed          = 58
	codeUnknownProducer      = 59
	codeNonEmptyGroup        = 68
	codeGroupNotFound        = 69
	codeFetchSessionNotFound = 70
	codeInvalidFetchEpoch    = 71
	codeUnknownLeaderEpoch   = 75
	codeUnsupportedCodec     = 76
	codeMemberIDRequired     = 79
	codeFencedInstanceID     = 82
	codeGroupSubscribed      = 86 // to the topic
	codeInvalidRecord        = 87
	codeUnstableOffset       = 88
	codeProducerFenced       = 90
	codeResourceNotFound     = 91
	codeDuplicateResource    = 92
	codeUnacceptableSecret   = 93
	codeUnknownTopicID       = 100
	codeInvalidUpdate        = 95 // of a feature
	codeTxnIDNotFound        = 105
	codeFetchSessionTopicID  = 106 // a session that names topics otherwise
	codeFencedMemberEpoch    = 110
	codeUnreleasedInstanceID = 111
	codeUnsupportedAssignor  = 112
	codeStaleMemberEpoch     = 113
	codeInvalidRecordState   = 121
	codeShareSessionNotFound = 122
	codeInvalidShareEpoch    = 123
	codeShareSessionLimit    = 133
)

// kafkaCodes are Kafka's words for ours. What is not here is our own matter: codeUnknown.
var kafkaCodes = map[errcode.Code]int16{
	errcode.OK:                    codeNone,
	errcode.InvalidArgument:       codeInvalidRequest,
	errcode.NotFound:              codeUnknownTopic,
	errcode.UnknownIndex:          codeUnknownTopic,
	errcode.AlreadyExists:         codeTopicExists,
	errcode.Inequivalent:          codeTopicExists,
	errcode.CorruptBatch:          codeCorruptMessage,
	errcode.InvalidBatch:          codeInvalidRecord,
	errcode.BatchTooLarge:         codeMessageTooLarge,
	errcode.OffsetOutOfRange:      codeOffsetOutOfRange,
	errcode.OutOfOrderSequence:    codeOutOfOrderSequence,
	errcode.ProducerFenced:        codeInvalidProducerEpoch,
	errcode.UnknownProducer:       codeUnknownProducer,
	errcode.DiskFull:              codeStorage,
	errcode.Damaged:               codeStorage,
	errcode.Unavailable:           codeCoordinatorLoading,
	errcode.Timeout:               codeRequestTimedOut,
	errcode.LimitExceeded:         codePolicyViolation,
	errcode.UnknownMember:         codeUnknownMember,
	errcode.FencedMemberEpoch:     codeFencedMemberEpoch,
	errcode.StaleMemberEpoch:      codeStaleMemberEpoch,
	errcode.IllegalGeneration:     codeIllegalGeneration,
	errcode.RebalanceInProgress:   codeRebalanceInProgress,
	errcode.MemberIDRequired:      codeMemberIDRequired,
	errcode.FencedInstanceID:      codeFencedInstanceID,
	errcode.UnreleasedInstanceID:  codeUnreleasedInstanceID,
	errcode.InconsistentProtocol:  codeInconsistentProtocol,
	errcode.UnsupportedAssignor:   codeUnsupportedAssignor,
	errcode.InvalidSessionTimeout: codeInvalidSession,
	errcode.TxnalUnknown:          codeProducerIDMapping,
	errcode.TxnalFenced:           codeProducerFenced,
	errcode.TxnState:              codeInvalidTxnState,
	errcode.InvalidTxnTimeout:     codeInvalidTxnTimeout,
}

// codeOf is Kafka's code for an error; nil is none.
func codeOf(err error) int16 {
	if err == nil {
		return codeNone
	}
	var e *errcode.Error
	if errors.As(err, &e) {
		if code, ok := kafkaCodes[e.Code]; ok {
			return code
		}
	}
	return codeUnknown
}

// configCode is Kafka's code for an error about a configuration.
func configCode(err error) int16 {
	if is(err, errcode.InvalidArgument) {
		return codeInvalidConfig
	}
	return codeOf(err)
}

// is tells whether an error has one of our codes.
func is(err error, code errcode.Code) bool { return errors.Is(err, &errcode.Error{Code: code}) }

// textOf is an error's text for people, where the protocol has a place for it; nil is none.
func textOf(err error) *string {
	if err == nil {
		return nil
	}
	text := err.Error()
	return &text
}
