package amqpconn

import (
	"unsafe"

	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/commitlog"
)

// copiedBody is up to which size a body is copied to be sent. A larger one is sent from the log,
// where it lies there as it is: it costs no memory while it waits.
const copiedBody = 32 << 10

// mapped is where a body lies in the log; its zero value: it does not.
type mapped struct {
	src session.Source
	off int64
}

// placeOf is where a part of a batch that is not compressed lies in the log.
func placeOf(s *commitlog.Span, whole, part []byte) mapped {
	if len(part) == 0 {
		return mapped{}
	}
	skew := uintptr(unsafe.Pointer(unsafe.SliceData(part))) - uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	if skew >= uintptr(len(whole)) {
		return mapped{} // it was decompressed
	}
	return mapped{s.Seg, s.Off + int64(skew)}
}

// sendContent queues a method with a content.
func (c *Conn) sendContent(channel uint16, m amqp.Arguments, properties, body []byte, at mapped) {
	b := amqp.AppendMethod(c.lane.Scratch(), channel, m)
	b = amqp.AppendContentHeader(b, channel, len(body), properties)
	most := c.frameMax - amqp.FrameOverhead
	if len(body) > copiedBody && at.src != nil {
		copy(c.append(len(b)), b)
		c.sendMapped(channel, len(body), at)
		return
	}
	for len(body) > 0 {
		n := min(len(body), most)
		b = amqp.AppendFrameHeader(b, amqp.FrameBody, channel, n)
		b = append(append(b, body[:n]...), amqp.FrameEnd)
		body = body[n:]
		if len(b) > copiedBody {
			copy(c.append(len(b)), b)
			b = b[:0]
		}
	}
	if len(b) > 0 {
		copy(c.append(len(b)), b)
	}
}

// sendMapped queues a body that lies in the log, in as many frames as it takes.
func (c *Conn) sendMapped(channel uint16, size int, at mapped) {
	most := c.frameMax - amqp.FrameOverhead
	var head [amqp.FrameHeaderSize]byte
	for size > 0 {
		n := min(size, most)
		b := amqp.AppendFrameHeader(head[:0], amqp.FrameBody, channel, n)
		copy(c.append(len(b)), b)
		c.link.WriteRange(at.src, at.off, n)
		c.append(1)[0] = amqp.FrameEnd
		at.off += int64(n)
		size -= n
	}
}
