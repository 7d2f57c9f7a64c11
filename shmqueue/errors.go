package shmqueue

import (
	"errors"
	"fmt"
)

var (
	// ErrFull says that the ring has no room for the record now.
	ErrFull = errors.New("ring is full")
	// ErrTooLarge says that the record would not fit an empty ring of this capacity.
	ErrTooLarge = errors.New("record is larger than the ring takes")
	// ErrNoSegment says that there is no segment with the key.
	ErrNoSegment = errors.New("no such segment")
)

// FormatError says that memory is not a ring, or not one that this version can use.
type FormatError struct {
	Field string // the header word that is wrong
	Got   uint64
	Want  string // what it should have been
	Mend  string // what to do about it
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("ring header: %s is %#x, want %s; %s", e.Field, e.Got, e.Want, e.Mend)
}

// RecordError says that a published record cannot be right. The consumer stops before it.
type RecordError struct {
	Pos        uint64 // position of the record
	Length     uint32
	Type       uint16
	Head, Tail uint64
	Why        string
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("ring record at %d (type %d, length %d, ring [%d, %d)): %s",
		e.Pos, e.Type, e.Length, e.Head, e.Tail, e.Why)
}

// damaged is the error for a record whose length cannot be right.
func damaged(pos, meta, head, tail uint64) *RecordError {
	return &RecordError{
		Pos: pos, Length: uint32(meta), Type: uint16(meta >> 32), Head: head, Tail: tail,
		Why: "its length leads beyond the tail or the end of the data area; the ring is damaged: " + mendRing,
	}
}

// SegmentError says why a SysV segment cannot be used.
type SegmentError struct {
	Key  int
	What string // what is wrong
	Mend string // what to do about it
	Err  error  // the cause, where there is one
}

func (e *SegmentError) Error() string {
	s := fmt.Sprintf("shared memory segment %d (%#x): %s", e.Key, uint32(e.Key), e.What)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Mend != "" {
		s += "; " + e.Mend
	}
	return s
}

func (e *SegmentError) Unwrap() error { return e.Err }
