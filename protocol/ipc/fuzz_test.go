package ipc

import (
	"bytes"
	"runtime"
	"testing"
)

// FuzzDecode gives any bytes to the decoder of each record. Invariants: no panic; what is
// accepted encodes to the same bytes; allocation is bounded by the input's length.
func FuzzDecode(f *testing.F) {
	all := codecs()
	for i, c := range all {
		f.Add(byte(i), c.record)
	}
	f.Fuzz(func(t *testing.T, which byte, b []byte) {
		c := all[int(which)%len(all)]
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		again, err := c.redo(b)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > uint64(40*len(b)+1<<18) {
			t.Errorf("%s: %d bytes allocated for %d", c.name, grown, len(b))
		}
		if err == nil && !bytes.Equal(again, b) {
			t.Errorf("%s: %x encodes as %x", c.name, b, again)
		}
	})
}
