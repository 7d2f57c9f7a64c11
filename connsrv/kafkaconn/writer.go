package kafkaconn

import "encoding/binary"

// What responses that are built by hand consist of. flex: lengths are uvarints, plus one.

func appendCount(b []byte, flex bool, n int) []byte {
	if flex {
		return binary.AppendUvarint(b, uint64(n)+1)
	}
	return binary.BigEndian.AppendUint32(b, uint32(n))
}

// appendText appends a string. REQUIRES: it is shorter than 32 KiB.
func appendText(b []byte, flex bool, s string) []byte {
	if flex {
		b = binary.AppendUvarint(b, uint64(len(s))+1)
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	}
	return append(b, s...)
}

// appendNull appends a string that is null.
func appendNull(b []byte, flex bool) []byte {
	if flex {
		return append(b, 0)
	}
	return append(b, 0xff, 0xff)
}

// appendTags appends that there are no tags.
func appendTags(b []byte, flex bool) []byte {
	if flex {
		return append(b, 0)
	}
	return b
}
