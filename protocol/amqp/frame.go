package amqp

// A connection begins with the client's eight bytes; then frames go both ways:
//
//	| type u8 | channel u16 | size u32 | payload, size bytes | end u8 = 0xCE |
//
//	method   | class u16 | method u16 | arguments |
//	header   | class u16 | weight u16 = 0 | bodySize u64 | flags u16 | properties |
//	body     bytes of the content
//	heartbeat  nothing, on channel 0

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// ProtocolHeader is what a client sends first.
const ProtocolHeader = "AMQP\x00\x00\x09\x01"

// Sizes, in bytes.
const (
	FrameHeaderSize  = 7
	FrameOverhead    = FrameHeaderSize + 1
	MethodHeaderSize = 4
	// ContentHeaderSize is that of a header frame's payload up to the flags.
	ContentHeaderSize = 12
)

// Method numbers a method: its class in the upper half.
type Method uint32

// MethodOf puts a method's number together.
func MethodOf(class, method uint16) Method { return Method(class)<<16 | Method(method) }

// Class is the number of the method's class.
func (m Method) Class() uint16 { return uint16(m >> 16) }

// ID is the method's number in its class.
func (m Method) ID() uint16 { return uint16(m) }

// String is the method's name in the table.
func (m Method) String() string {
	if name := methodNames[m]; name != "" {
		return name
	}
	return strconv.Itoa(int(m.Class())) + "." + strconv.Itoa(int(m.ID()))
}

// Arguments are those of a method.
type Arguments interface {
	Method() Method
	Append(b []byte) []byte
	Decode(b []byte) error
}

// Frame is the head of a frame.
type Frame struct {
	Type    uint8
	Channel uint16
	Size    int // of the payload
}

// ParseFrame reads the head of a frame. REQUIRES: FrameHeaderSize bytes.
func ParseFrame(b []byte) Frame {
	return Frame{b[0], binary.BigEndian.Uint16(b[1:]), int(binary.BigEndian.Uint32(b[3:]))}
}

// AppendFrameHeader appends the head of a frame.
func AppendFrameHeader(b []byte, typ uint8, channel uint16, size int) []byte {
	b = append(b, typ, byte(channel>>8), byte(channel))
	return binary.BigEndian.AppendUint32(b, uint32(size))
}

// AppendMethod appends a whole frame with a method.
func AppendMethod(b []byte, channel uint16, m Arguments) []byte {
	start := len(b)
	b = AppendFrameHeader(b, FrameMethod, channel, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(m.Method()))
	b = m.Append(b)
	binary.BigEndian.PutUint32(b[start+3:], uint32(len(b)-start-FrameHeaderSize))
	return append(b, FrameEnd)
}

// AppendContentHeader appends a whole frame with a content's header: properties are its flags and
// properties as Properties.Append gives them.
func AppendContentHeader(b []byte, channel uint16, bodySize int, properties []byte) []byte {
	b = AppendFrameHeader(b, FrameHeader, channel, ContentHeaderSize+len(properties))
	b = binary.BigEndian.AppendUint32(b, ClassBasic<<16)
	b = binary.BigEndian.AppendUint64(b, uint64(bodySize))
	return append(append(b, properties...), FrameEnd)
}

// AppendHeartbeat appends a heartbeat.
func AppendHeartbeat(b []byte) []byte {
	return append(AppendFrameHeader(b, FrameHeartbeat, 0, 0), FrameEnd)
}

// ContentHeader is a header frame's payload.
type ContentHeader struct {
	Class      uint16
	BodySize   uint64
	Properties []byte // flags and properties, not looked into
}

// ParseContentHeader reads a header frame's payload up to the flags.
func ParseContentHeader(b []byte) (ContentHeader, error) {
	if len(b) < ContentHeaderSize+2 {
		return ContentHeader{}, fmt.Errorf("%w: a content header of %d bytes", ErrMalformed, len(b))
	}
	return ContentHeader{binary.BigEndian.Uint16(b), binary.BigEndian.Uint64(b[4:]), b[ContentHeaderSize:]}, nil
}

// MethodAt is the number of the method in a frame's payload. REQUIRES: MethodHeaderSize bytes.
func MethodAt(payload []byte) Method { return Method(binary.BigEndian.Uint32(payload)) }
