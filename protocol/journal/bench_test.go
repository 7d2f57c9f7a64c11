package journal

import "testing"

// All of these must report 0 allocs/op (TestEntryReusesMemory and TestDecodeReusesMemory
// assert it).
func BenchmarkCodec(b *testing.B) {
	e := exampleEntry()
	ring := e.AppendRing(nil)
	e = stored(e)
	disk := e.AppendDisk(nil, 70, salt)
	appended := (&Appended{4096, 9, 1000, 3, 900, 42, 5}).Append(nil)
	buf := make([]byte, 0, 4096)
	var into Entry
	for _, c := range []struct {
		name string
		run  func()
	}{
		{"entry/ring/encode", func() { buf = e.AppendRing(buf[:0]) }},
		{"entry/ring/decode", func() { _ = into.DecodeRing(ring) }},
		{"entry/disk/encode", func() { buf = e.AppendDisk(buf[:0], 70, salt) }},
		{"entry/disk/decode", func() { _, _, _, _ = into.DecodeDisk(disk, salt) }},
		{"appended/encode", func() { buf = (&Appended{4096, 9, 1000, 3, 900, 42, 5}).Append(buf[:0]) }},
		{"appended/decode", func() {
			r := Events(appended)
			ev, _ := r.Next()
			_, _ = DecodeAppended(ev)
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.run()
			}
		})
	}
}
