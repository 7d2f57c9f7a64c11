package kafkaconn

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// A request frame, big endian, as all of Kafka's protocol:
//
//	| size i32 | key i16 | version i16 | correlation i32 | clientID i16 + bytes, −1: none | tags, if flexible | body |
//
// and its response:
//
//	| size i32 | correlation i32 | tags, if flexible, but none for ApiVersions | body |
//
// size counts the bytes behind it. tags: uvarint count, each | number uvarint | size uvarint | bytes |.

const (
	sizeBytes     = 4
	headFixed     = 14 // up to the client id
	maxClientID   = 4 << 10
	responseFront = 8 // size and correlation
)

// requestHead is what a request begins with.
type requestHead struct {
	size        int // of the frame behind its size
	key         int16
	version     int16
	correlation int32
}

// parseHead reads the fixed part. REQUIRES: headFixed bytes are there.
func parseHead(b []byte) (h requestHead, clientID int) {
	return requestHead{
		size: int(int32(binary.BigEndian.Uint32(b))), key: int16(binary.BigEndian.Uint16(b[4:])),
		version: int16(binary.BigEndian.Uint16(b[6:])), correlation: int32(binary.BigEndian.Uint32(b[8:])),
	}, max(0, int(int16(binary.BigEndian.Uint16(b[12:]))))
}

// flexible tells whether a request of that key and version has tags.
func flexible(key, version int16) bool {
	switch kmsg.Key(key) {
	case kmsg.Produce:
		return version >= 9
	case kmsg.Fetch:
		return version >= 12
	}
	req := kmsg.RequestForKey(key)
	if req == nil {
		return false
	}
	req.SetVersion(version)
	return req.IsFlexible()
}
