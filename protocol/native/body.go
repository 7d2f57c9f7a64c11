package native

import (
	"errors"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/wire"
)

// Bodies are drawn in docs/formats/native.md; here the struct's fields stand in the order
// of the bytes unless a codec says otherwise. string and bytes are a uvarint length and the
// bytes, a list is a uvarint count and the elements, bool is one byte 0 or 1.
//
// Decoded strings are copies, except where a type says that they alias the frame.

// Limits of what a body may hold, beside the size of its frame.
const (
	maxHeaders = 1024    // of PUBLISH
	maxRanges  = 1 << 16 // of ACK
	maxOffsets = 1 << 16 // of COMMIT_OFFSETS and FETCH_OFFSETS
	maxTiers   = 64      // of INFO
	maxPairs   = 4096    // of INFO
)

// malformed turns a cursor's complaint into what the client gets to see.
func malformed(err error) error {
	if err == nil {
		return nil
	}
	return &errcode.Error{Code: errcode.Malformed, Text: err.Error()}
}

// ErrorBody is the body of a response with FlagError.
type ErrorBody struct {
	Code errcode.Code
	Text string
}

// ErrorBodyOf is the body that tells err.
func ErrorBodyOf(err error) ErrorBody {
	var e *errcode.Error
	if errors.As(err, &e) {
		return ErrorBody{Code: e.Code, Text: e.Text}
	}
	return ErrorBody{Code: errcode.Internal}
}

// Err is the error that the body tells.
func (m *ErrorBody) Err() error { return &errcode.Error{Code: m.Code, Text: m.Text} }

// Append encodes the body.
func (m *ErrorBody) Append(b []byte) []byte {
	b = wire.AppendU16(b, uint16(m.Code))
	return wire.AppendString(b, m.Text)
}

// DecodeErrorBody decodes it.
func DecodeErrorBody(b []byte) (ErrorBody, error) {
	c := wire.Read(b)
	m := ErrorBody{Code: errcode.Code(c.U16()), Text: c.String()}
	if m.Code == errcode.OK {
		c.Fail(wire.ErrOutOfRange)
	}
	return m, malformed(c.Done("error body"))
}

// Empty is the body of requests and responses without one.
type Empty struct{}

// Append encodes nothing.
func (Empty) Append(b []byte) []byte { return b }

// DecodeEmpty refuses a body where there should be none.
func DecodeEmpty(b []byte) (Empty, error) {
	c := wire.Read(b)
	return Empty{}, malformed(c.Done("empty body"))
}
