package trimq

import (
	"errors"
	"fmt"

	"github.com/trimq/trimq/protocol/errcode"
)

// What the client itself reports. Compare with errors.Is.
var (
	// ErrClosed: the client, producer or consumer has been closed.
	ErrClosed = errors.New("trimq: closed")
	// ErrUnreachable: the context ended while there was no connection; the reason follows.
	ErrUnreachable = errors.New("trimq: no broker was reached")
	// ErrTooLarge: the message does not fit into a frame of this broker.
	ErrTooLarge = errors.New("trimq: message too large")
	// ErrProtocol: the broker sent something that is not the protocol; the connection was given up.
	ErrProtocol = errors.New("trimq: protocol violation")
	// ErrUnknownOutcome: it was given up while the broker may or may not have stored the message.
	ErrUnknownOutcome = errors.New("trimq: outcome unknown")
	// ErrNoPartition: the topic has no partition of this number.
	ErrNoPartition = errors.New("trimq: no such partition")
	// ErrRecalled: the verdict on a message comes too late, for it has gone back to its queue: it
	// was held for longer than the consumer's acknowledgement time-out, or was pulled over a
	// connection that broke.
	ErrRecalled = errors.New("trimq: recalled")
	// ErrBadHandle: a text is no receipt handle.
	ErrBadHandle = errors.New("trimq: not a receipt handle")
	// ErrNotAssigned: the partition is not, or no longer, this member's: what was read of it and not
	// committed is read again by whoever has it.
	ErrNotAssigned = errors.New("trimq: the partition is not assigned to this member")
	// ErrMaxPollInterval: Poll was not called for longer than WithMaxPollInterval, and the member
	// has left its group.
	ErrMaxPollInterval = errors.New("trimq: Poll was not called in time, and the member has left its group")
	// ErrCorrupt: a batch's checksum does not fit, or it cannot be decoded.
	ErrCorrupt = errors.New("trimq: corrupt batch")
)

// What the broker refuses, for errors.Is. errors.As with an *Error gives code and text.
var (
	ErrNotFound         error = &Error{Code: errcode.NotFound}
	ErrUnknownIndex     error = &Error{Code: errcode.UnknownIndex}
	ErrAlreadyExists    error = &Error{Code: errcode.AlreadyExists}
	ErrInequivalent     error = &Error{Code: errcode.Inequivalent}
	ErrInUse            error = &Error{Code: errcode.InUse}
	ErrNotEmpty         error = &Error{Code: errcode.NotEmpty}
	ErrUnroutable       error = &Error{Code: errcode.Unroutable}
	ErrDiskFull         error = &Error{Code: errcode.DiskFull}
	ErrOffsetOutOfRange error = &Error{Code: errcode.OffsetOutOfRange}
	ErrAuthRequired     error = &Error{Code: errcode.AuthRequired}
	ErrAuthFailed       error = &Error{Code: errcode.AuthFailed}
	ErrShuttingDown     error = &Error{Code: errcode.ShuttingDown}
	ErrInvalidArgument  error = &Error{Code: errcode.InvalidArgument}
	ErrAccessRefused    error = &Error{Code: errcode.AccessRefused}
	ErrLimitExceeded    error = &Error{Code: errcode.LimitExceeded}
	ErrLocked           error = &Error{Code: errcode.Locked}
	ErrLeaseExpired     error = &Error{Code: errcode.LeaseExpired}
	ErrQueueFull        error = &Error{Code: errcode.QueueFull}
	ErrUnknownTxn       error = &Error{Code: errcode.UnknownTxn}
	ErrTxnEnded         error = &Error{Code: errcode.TxnEnded}

	ErrUnknownMember        error = &Error{Code: errcode.UnknownMember}
	ErrFencedMemberEpoch    error = &Error{Code: errcode.FencedMemberEpoch}
	ErrFencedInstanceID     error = &Error{Code: errcode.FencedInstanceID}
	ErrUnreleasedInstanceID error = &Error{Code: errcode.UnreleasedInstanceID}
	ErrInconsistentProtocol error = &Error{Code: errcode.InconsistentProtocol}
	ErrUnsupportedAssignor  error = &Error{Code: errcode.UnsupportedAssignor}
)

// Error is a refusal by the broker.
type Error = errcode.Error

// codeOf is the broker's code in err, or errcode.OK where there is none.
func codeOf(err error) errcode.Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return errcode.OK
}

// protocolError wraps what is wrong with bytes from the broker.
func protocolError(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProtocol, fmt.Errorf(format, args...))
}

// invalid is a mistake that the client itself finds.
func invalid(format string, args ...any) error {
	return fmt.Errorf("trimq: %w", errcode.New(errcode.InvalidArgument, format, args...))
}

// PartitionError is an error that concerns one partition; Fetch goes on with the others.
type PartitionError struct {
	Topic     string
	Partition uint32
	Offset    uint64 // where the consumer stands
	Err       error
}

// Error names partition and offset.
func (e *PartitionError) Error() string {
	return fmt.Sprintf("trimq: topic %s partition %d at offset %d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}

// Unwrap is the reason.
func (e *PartitionError) Unwrap() error { return e.Err }
