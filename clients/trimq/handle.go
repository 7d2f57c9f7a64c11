package trimq

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/trimq/trimq/protocol/wire"
)

// A receipt handle as text, which is opaque to whoever keeps it: base64url, without padding, of
//
//	| version u8 | queue uvarint | index uvarint | offset uvarint | lease uvarint | check u32 |
//
// check is the CRC-32 (IEEE) of what precedes it, little-endian, so that one that was cut off or
// mistyped is told from one that is over. Version ladder: 1, the first.

// Handle is the receipt handle of a message that was pulled: who has it can delete the message, give
// it back, or have it for longer. That of a leased message can be passed to another process, as
// text; it is void once the lease is over. Comparable.
type Handle struct {
	queue, index, offset, lease uint64

	// Without a lease: whose hand the message is in.
	sub uint64
	on  *conn
}

const (
	handleVersion  = 1
	handleTextSize = 64 // at most
)

var handleText = base64.RawURLEncoding.Strict()

func badHandle(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadHandle, fmt.Sprintf(format, args...))
}

// String is the handle as text; it is empty where the message is in the hand of a connection.
func (h Handle) String() string {
	if h.lease == 0 {
		return ""
	}
	b := []byte{handleVersion}
	for _, n := range [...]uint64{h.queue, h.index, h.offset, h.lease} {
		b = wire.AppendUvarint(b, n)
	}
	return handleText.EncodeToString(wire.AppendU32(b, crc32.ChecksumIEEE(b)))
}

// ParseHandle reads what String has made.
func ParseHandle(text string) (Handle, error) {
	if len(text) > handleTextSize {
		return Handle{}, badHandle("%d characters are too many", len(text))
	}
	b, err := handleText.DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // which base64 passes over
		return Handle{}, badHandle("%q is not base64url", text)
	}
	if len(b) < 5 {
		return Handle{}, badHandle("%q is too short", text)
	}
	body := b[:len(b)-4]
	c, check := wire.Read(body), wire.Read(b[len(b)-4:])
	if body[0] != handleVersion {
		return Handle{}, badHandle("%q is of version %d; this client reads %d", text, body[0], handleVersion)
	}
	if check.U32() != crc32.ChecksumIEEE(body) {
		return Handle{}, badHandle("%q is damaged: its check does not fit", text)
	}
	c.U8()
	h := Handle{queue: c.Uvarint(), index: c.Uvarint(), offset: c.Uvarint(), lease: c.Uvarint()}
	if err := c.Done("handle"); err != nil || h.lease == 0 {
		return Handle{}, badHandle("%q names no lease", text)
	}
	return h, nil
}

// MarshalText is String for encoders; a message without a lease has no handle to be encoded.
func (h Handle) MarshalText() ([]byte, error) {
	if h.lease == 0 {
		return nil, invalid("a message in the hand of a connection has no handle that another process could use: pull WithVisibility")
	}
	return []byte(h.String()), nil
}

// UnmarshalText is ParseHandle for decoders.
func (h *Handle) UnmarshalText(text []byte) (err error) {
	*h, err = ParseHandle(string(text))
	return err
}

// compare orders handles so that those that fit into one verdict stand together.
func (h Handle) compare(o Handle) int {
	return cmp.Or(cmp.Compare(h.queue, o.queue), cmp.Compare(h.index, o.index), cmp.Compare(h.lease, o.lease),
		cmp.Compare(h.sub, o.sub), cmp.Compare(h.offset, o.offset))
}

// holder is the handle without the message.
func (h Handle) holder() Handle {
	h.offset = 0
	return h
}
