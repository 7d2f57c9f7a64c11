package wire

import "encoding/binary"

// The writing half of Cursor: each function appends what the method of its name reads.

// AppendU16 appends a little-endian integer, as do AppendU32 and AppendU64.
func AppendU16(b []byte, v uint16) []byte { return binary.LittleEndian.AppendUint16(b, v) }

// AppendU32 appends four bytes.
func AppendU32(b []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(b, v) }

// AppendU64 appends eight bytes.
func AppendU64(b []byte, v uint64) []byte { return binary.LittleEndian.AppendUint64(b, v) }

// AppendUvarint appends 1 to 10 bytes.
func AppendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

// AppendBool appends 0 or 1.
func AppendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// AppendString appends a length and the bytes.
func AppendString(b []byte, s string) []byte {
	return append(AppendUvarint(b, uint64(len(s))), s...)
}

// AppendBytes appends a length and the bytes.
func AppendBytes(b, s []byte) []byte {
	return append(AppendUvarint(b, uint64(len(s))), s...)
}

// AppendPad8 appends zeros until the bytes since start are a multiple of 8.
func AppendPad8(b []byte, start int) []byte {
	var zero [8]byte
	return append(b, zero[:-(len(b)-start)&7]...)
}
