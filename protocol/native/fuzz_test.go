package native_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

// FuzzBodies: any bytes to any decoder. No panic; a refusal is typed; what is accepted
// encodes to the same bytes again (so nothing was guessed, and no length was believed).
func FuzzBodies(f *testing.F) {
	for i := range bodyCases {
		f.Add(uint8(i), encoded(&bodyCases[i]))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		c := &bodyCases[int(which)%len(bodyCases)]
		again, err := c.redo(b)
		if err != nil {
			if code := codeOf(err); code != errcode.Malformed && code != errcode.UnsupportedVersion {
				t.Fatalf("%s: %v", c.name, err)
			}
			return
		}
		if !sameFront(c, b, again) {
			t.Fatalf("%s: %x became %x", c.name, b, again)
		}
	})
}

// FuzzDecoder: any stream. No panic; the frames are the stream's front; the buffer stays
// below the limit.
func FuzzDecoder(f *testing.F) {
	for i := range bodyCases {
		b := native.AppendFrame(nil, native.Command(i), native.FlagResponse, 1, bodyCases[i].body)
		f.Add(append(b, b...))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 512
		d := native.NewDecoder(bytes.NewReader(stream), 32, limit)
		rest := stream
		for {
			fr, err := d.Next()
			if err != nil {
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && codeOf(err) == 0xffff {
					t.Fatalf("untyped error %v", err)
				}
				return
			}
			again := append(native.AppendHeader(nil, fr.Command, fr.Flags, fr.Correlation, len(fr.Body)), fr.Body...)
			if len(again) > limit || !bytes.HasPrefix(rest, again) {
				t.Fatalf("frame of %d bytes is not the stream's front", len(again))
			}
			rest = rest[len(again):]
		}
	})
}
