package errcode

import "fmt"

// row describes one code: its name on the command line and in logs, and whether the
// same request may be sent again.
type row struct {
	name  string
	retry bool
}

var rows = [...]row{
	OK:                  {"ok", false},
	Internal:            {"internal", true},
	Malformed:           {"malformed", false},
	UnsupportedVersion:  {"unsupported-version", false},
	UnsupportedCommand:  {"unsupported-command", false},
	FrameTooLarge:       {"frame-too-large", false},
	WindowExceeded:      {"window-exceeded", false},
	AuthRequired:        {"auth-required", false},
	AuthFailed:          {"auth-failed", false},
	TooManyConnections:  {"too-many-connections", true},
	ShuttingDown:        {"shutting-down", true},
	InvalidArgument:     {"invalid-argument", false},
	NotFound:            {"not-found", false},
	UnknownIndex:        {"unknown-index", false},
	AlreadyExists:       {"already-exists", false},
	Inequivalent:        {"inequivalent", false},
	InUse:               {"in-use", false},
	NotEmpty:            {"not-empty", false},
	CorruptBatch:        {"corrupt-batch", true},
	InvalidBatch:        {"invalid-batch", false},
	BatchTooLarge:       {"batch-too-large", false},
	OffsetOutOfRange:    {"offset-out-of-range", false},
	OutOfOrderSequence:  {"out-of-order-sequence", false},
	ProducerFenced:      {"producer-fenced", false},
	UnknownProducer:     {"unknown-producer", false},
	Unroutable:          {"unroutable", false},
	DiskFull:            {"disk-full", true},
	Unavailable:         {"unavailable", true},
	Timeout:             {"timeout", true},
	AccessRefused:       {"access-refused", false},
	LimitExceeded:       {"limit-exceeded", false},
	UnknownSubscription: {"unknown-subscription", false},
	Damaged:             {"damaged", false},
	Locked:              {"locked", false},
	LeaseExpired:        {"lease-expired", false},
	QueueFull:           {"queue-full", false},
	UnknownTxn:          {"unknown-transaction", false},
	TxnEnded:            {"transaction-ended", false},

	UnknownMember:         {"unknown-member", false},
	FencedMemberEpoch:     {"fenced-member-epoch", false},
	StaleMemberEpoch:      {"stale-member-epoch", false},
	IllegalGeneration:     {"illegal-generation", false},
	RebalanceInProgress:   {"rebalance-in-progress", false},
	MemberIDRequired:      {"member-id-required", false},
	FencedInstanceID:      {"fenced-instance-id", false},
	UnreleasedInstanceID:  {"unreleased-instance-id", true},
	InconsistentProtocol:  {"inconsistent-protocol", false},
	UnsupportedAssignor:   {"unsupported-assignor", false},
	InvalidSessionTimeout: {"invalid-session-timeout", false},

	TxnalUnknown:      {"unknown-transactional-id", false},
	TxnalFenced:       {"transactional-producer-fenced", false},
	TxnState:          {"invalid-transaction-state", false},
	InvalidTxnTimeout: {"invalid-transaction-timeout", false},

	NeedHeaders: {"need-headers", false},
}

// Count is above every code that there is; below it some numbers are not taken yet.
func Count() int { return len(rows) }

// Known says whether the code is one of ours.
func (c Code) Known() bool { return int(c) < len(rows) && rows[c].name != "" }

// String is the code's name, or its number where it has none.
func (c Code) String() string {
	if !c.Known() {
		return fmt.Sprintf("code-%d", uint16(c))
	}
	return rows[c].name
}

// Retriable says whether the same request may be sent again as it is. Unknown codes, which
// a newer broker may send, are not.
func (c Code) Retriable() bool { return c.Known() && rows[c].retry }

// Error is a refusal as it travels to the client.
type Error struct {
	Code Code
	Text string // for people; may be empty
}

// New makes an Error with a formatted text.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Text: fmt.Sprintf(format, args...)}
}

// Error is "code: text".
func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Is lets errors.Is compare with a bare code: errors.Is(err, &Error{Code: NotFound}).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Text == "" || t.Text == e.Text)
}
