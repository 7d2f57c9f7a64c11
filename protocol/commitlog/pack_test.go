package commitlog

import (
	"bytes"
	"errors"
	"testing"
)

func TestPackHeaderRefusesBadValues(t *testing.T) {
	good := goldenPack.Append(nil)
	if h, err := DecodePackHeader(good); err != nil || h != goldenPack {
		t.Fatalf("%+v %v", h, err)
	}
	for name, change := range map[string]func(h *PackHeader){
		"no entries":            func(h *PackHeader) { h.Entries = 0 },
		"too many entries":      func(h *PackHeader) { h.Entries = maxSlots + 1 },
		"a position of the log": func(h *PackHeader) { h.Position = PackPosition - 1 },
		"no offsets":            func(h *PackHeader) { h.End = h.Base },
	} {
		h := goldenPack
		change(&h)
		if _, err := DecodePackHeader(h.Append(nil)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
	var format *FormatError
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		if _, err := DecodePackHeader(bad); err == nil {
			t.Errorf("byte %d is not checked", at)
		}
	}
	if _, err := DecodePackHeader(good[:PackHeaderSize-1]); !errors.As(err, &format) {
		t.Error(err)
	}
}

// FuzzPackHeader: what decodes encodes to the same bytes.
func FuzzPackHeader(f *testing.F) {
	f.Add(goldenPack.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := DecodePackHeader(b)
		if err == nil && !bytes.Equal(h.Append(nil), b[:PackHeaderSize]) {
			t.Errorf("%+v", h)
		}
	})
}
