package native

// A frame, little endian as all of TriMQ's own formats:
//
//	| length u32 | command u16 | flags u16 | correlation u64 | body … |
//
// length counts the bytes after itself, so a frame without a body has length 12. A
// response repeats command and correlation of its request and sets FlagResponse; requests
// of a connection may be answered in any order, but PRODUCE and PUBLISH for one index or
// exchange are carried out in the order sent. Deliveries carry correlation 0.
//
// Version ladder: 1, never released; 2; 3, the one spoken: what the ladder of admin.md says.

import (
	"encoding/binary"

	"github.com/trimq/trimq/protocol/errcode"
)

const (
	// FrameHeaderSize is the size of a frame without its body.
	FrameHeaderSize = 16
	// lengthSize is the part of the header that length does not count.
	lengthSize = 4

	// Version is the protocol version spoken here.
	Version = 3

	// DefaultPort is where connsrv listens.
	DefaultPort = 7420

	// DefaultMaxFrame bounds a frame (length field and all) where nothing was negotiated.
	DefaultMaxFrame = 8 << 20
	// HandshakeMaxFrame bounds frames before HELLO and AUTH are through.
	HandshakeMaxFrame = 4 << 10
	// controlMaxBody bounds the bodies of requests that carry no messages.
	controlMaxBody = 1 << 20
)

// Flags of a frame.
type Flags uint16

const (
	FlagResponse Flags = 1 // answers the request with this correlation
	FlagError    Flags = 2 // with FlagResponse: the body is an ErrorBody
	FlagNoReply  Flags = 4 // on a request: do not answer, neither success nor failure

	knownFlags = FlagResponse | FlagError | FlagNoReply
)

// Header is the front of a frame.
type Header struct {
	Length      uint32 // bytes behind the length field
	Command     Command
	Flags       Flags
	Correlation uint64
}

// BodyLen is the size of the body.
func (h Header) BodyLen() int { return int(h.Length) + lengthSize - FrameHeaderSize }

// FrameLen is the size of the whole frame.
func (h Header) FrameLen() int { return int(h.Length) + lengthSize }

// ParseHeader reads the front of a frame of at most maxFrame bytes.
//
// REQUIRES: len(b) >= FrameHeaderSize; FrameHeaderSize <= maxFrame <= 1 GiB.
func ParseHeader(b []byte, maxFrame int) (Header, error) {
	h := Header{
		Length:      binary.LittleEndian.Uint32(b),
		Command:     Command(binary.LittleEndian.Uint16(b[4:])),
		Flags:       Flags(binary.LittleEndian.Uint16(b[6:])),
		Correlation: binary.LittleEndian.Uint64(b[8:]),
	}
	switch {
	case h.Length < FrameHeaderSize-lengthSize:
		return h, errcode.New(errcode.Malformed, "frame length %d is shorter than a frame header", h.Length)
	case uint64(h.Length)+lengthSize > uint64(maxFrame):
		return h, errcode.New(errcode.FrameTooLarge, "frame of %d bytes, at most %d", uint64(h.Length)+lengthSize, maxFrame)
	case h.Flags&^knownFlags != 0 || h.Flags&(FlagResponse|FlagError) == FlagError:
		return h, errcode.New(errcode.Malformed, "frame flags %#x", uint16(h.Flags))
	}
	return h, nil
}

// CheckRequest refuses a request's header that its command does not allow: no request at
// all, or a body larger than the command may have (bodies with a batch: the frame limit).
// The connection can go on after the body was skipped.
func CheckRequest(h Header) error {
	switch {
	case h.Flags&FlagResponse != 0:
		return errcode.New(errcode.Malformed, "a client sent a response")
	case !h.Command.Request():
		return errcode.New(errcode.UnsupportedCommand, "command %d is not served", uint16(h.Command))
	case !h.Command.CarriesBatch() && h.BodyLen() > controlMaxBody:
		return errcode.New(errcode.FrameTooLarge, "%s body of %d bytes, at most %d", h.Command, h.BodyLen(), controlMaxBody)
	}
	return nil
}

// PutHeader writes the header of a frame with bodyLen bytes of body.
//
// REQUIRES: len(b) >= FrameHeaderSize; bodyLen < 1 GiB.
func PutHeader(b []byte, cmd Command, flags Flags, correlation uint64, bodyLen int) {
	_ = b[FrameHeaderSize-1]
	binary.LittleEndian.PutUint32(b, uint32(bodyLen+FrameHeaderSize-lengthSize))
	binary.LittleEndian.PutUint16(b[4:], uint16(cmd))
	binary.LittleEndian.PutUint16(b[6:], uint16(flags))
	binary.LittleEndian.PutUint64(b[8:], correlation)
}

// AppendHeader is PutHeader at the end of b.
func AppendHeader(b []byte, cmd Command, flags Flags, correlation uint64, bodyLen int) []byte {
	var h [FrameHeaderSize]byte
	PutHeader(h[:], cmd, flags, correlation, bodyLen)
	return append(b, h[:]...)
}

// Body is what AppendFrame can put into a frame: every body type of this package and of
// package admin.
type Body interface{ Append(b []byte) []byte }

// AppendFrame appends a whole frame; a nil body is an empty one.
func AppendFrame(b []byte, cmd Command, flags Flags, correlation uint64, body Body) []byte {
	start := len(b)
	b = AppendHeader(b, cmd, flags, correlation, 0)
	if body != nil {
		b = body.Append(b)
	}
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start-lengthSize))
	return b
}

// AppendError appends the response that refuses a request. An error that is no
// *errcode.Error becomes Internal without its text, which may tell too much.
func AppendError(b []byte, cmd Command, correlation uint64, err error) []byte {
	body := ErrorBodyOf(err)
	return AppendFrame(b, cmd, FlagResponse|FlagError, correlation, &body)
}
