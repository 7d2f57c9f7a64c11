package seglog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// benchOpen opens a log of the real file system, new or not.
func benchOpen(b *testing.B, dir string) *Log {
	fs, err := vfs.NewOS(dir)
	if err != nil {
		b.Fatal(err)
	}
	l, err := Open(Options{
		FS: fs, Now: func() int64 { return time.Now().UnixMilli() }, Salt: rand.Uint64,
		Settings: Settings{
			SegmentBytes: 256 << 20, SegmentMS: 1 << 40, IndexEntries: 65536, IndexCheckpointBytes: 1 << 40, IndexCheckpointMS: 1 << 40,
			RoundBytes: 16 << 20, OpenIndexFiles: 512, VerifyIndexBytes: 1 << 20,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// benchLog is a log with an index 1 of n batches of ten records.
func benchLog(b *testing.B, n int) (*Log, *journal.Entry) {
	l := benchOpen(b, b.TempDir())
	b.Cleanup(func() { l.Close() })
	var bb batch.Builder
	for range 10 {
		bb.Add(1, nil, bytes.Repeat([]byte{'x'}, 20), nil)
	}
	raw := bytes.Clone(bb.Seal(batch.None, -1, -1, -1))
	e := &journal.Entry{Term: 1, Level: ipc.LevelPage, Events: journal.AppendNote(nil, journal.EvRouted, 1, []byte("how it was published"))}
	e.Bodies = []journal.Body{{Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Note: journal.NoteAt(0)}}
	e.Items = []journal.IndexItem{{Index: 1, Count: 10}}
	for range n {
		addTo(b, l, e, raw)
		e.Items[0].Base += 10
		e.Bodies[0].Base += 10
	}
	if err := l.Flush(); err != nil {
		b.Fatal(err)
	}
	e.Items, e.Bodies = nil, nil
	return l, e
}

// addTo adds an entry, and flushes the round every eighth time, as under load.
func addTo(b *testing.B, l *Log, e *journal.Entry, raw []byte) {
	e.LSN++
	src := func(uint64, int) []byte { return raw }
	res, err := l.Add(e, src)
	if err == nil && (res == Blocked || e.LSN%8 == 0) {
		err = l.Flush()
	}
	if err == nil && res == Blocked {
		_, err = l.Add(e, src)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// BenchmarkSmallSyncs syncs after each small entry, as a few messages a millisecond do: with a file that
// grows each time, and with one whose size runs ahead.
func BenchmarkSmallSyncs(b *testing.B) {
	for _, c := range []struct {
		name  string
		ahead int64
	}{{"growing", 0}, {"ahead", 1 << 20}} {
		b.Run(c.name, func(b *testing.B) {
			l, e := benchLog(b, 1)
			l.set.AheadBytes = c.ahead
			e.Events = bytes.Repeat([]byte{'x'}, 400)
			for b.Loop() {
				e.LSN++
				_, err := l.Add(e, nil)
				if err == nil {
					err = l.Flush()
				}
				if err == nil {
					_, err = l.Sync()
				}
				if err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkOpen opens a log with 5,000 indexes that have a few entries each, as after a stop in good order.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	l := benchOpen(b, dir)
	var bb batch.Builder
	bb.Add(1, nil, bytes.Repeat([]byte{'x'}, 20), nil)
	raw := bytes.Clone(bb.Seal(batch.None, -1, -1, -1))
	e := &journal.Entry{Term: 1, Level: ipc.LevelPage, Bodies: []journal.Body{{Length: uint32(len(raw)), CRC: batch.Header(raw).CRC()}}}
	for i := range uint64(20_000) {
		at := i / 5000
		e.Items, e.Bodies[0].Base = []journal.IndexItem{{Index: i%5000 + 1, Base: at, Count: 1}}, at
		addTo(b, l, e, raw)
	}
	sync := func() error {
		_, err := l.Sync()
		return err
	}
	if err := errors.Join(l.Flush(), l.Maintain(true, sync), l.Close()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := benchOpen(b, dir).Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRefs appends entries with references, of single records of an index with 300,000
// batches: one at its end, as a message that is rejected at once; a run of 64 that expire; 64
// anywhere.
func BenchmarkRefs(b *testing.B) {
	const batches = 300_000
	for name, c := range map[string]struct {
		refs   int
		offset func(i uint64) uint64
	}{
		"one at the end": {1, func(uint64) uint64 { return 10*batches - 1 }},
		"a run of 64":    {64, func(i uint64) uint64 { return i % (10 * batches) }},
		"64 anywhere":    {64, func(uint64) uint64 { return rand.Uint64N(10 * batches) }},
	} {
		b.Run(name, func(b *testing.B) {
			l, e := benchLog(b, batches)
			e.Refs = make([]journal.Ref, c.refs)
			b.ReportAllocs()
			next := uint64(0)
			for b.Loop() {
				for i := range e.Refs {
					e.Refs[i] = journal.Ref{Index: 2, Base: next, Source: 1, SourceOffset: c.offset(next), Count: 1, MaxTimeMS: -1}
					next++
				}
				addTo(b, l, e, nil)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(next), "ns/ref")
			if l.Stats().DamagedRefs > 0 {
				b.Fatal("some lead to nothing")
			}
		})
	}
}

// BenchmarkItems is the same with a small batch of its own in each entry.
func BenchmarkItems(b *testing.B) {
	l, e := benchLog(b, 1)
	raw := bytes.Repeat([]byte{0}, 300)
	raw[16] = 2
	e.Bodies = []journal.Body{{Length: uint32(len(raw)), Note: journal.NoteAt(0)}}
	e.Items = []journal.IndexItem{{Index: 2, Count: 10}}
	b.ReportAllocs()
	for b.Loop() {
		addTo(b, l, e, raw)
		e.Items[0].Base += 10
		e.Bodies[0].Base += 10
	}
}

// BenchmarkCompaction compacts an index of batches of ten records of 100 bytes, each of which has been followed by nine
// more of its key, but for the last: what is read and looked at, a second; a tenth of it is written.
func BenchmarkCompaction(b *testing.B) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		b.Run(codec.String(), func(b *testing.B) {
			const batches = 20_000
			records, bytesRead := 0, int64(0)
			for range b.N {
				b.StopTimer()
				l := compactionLog(b, batches, codec)
				bytesRead = int64(l.indexes[1].bytes)
				b.StartTimer()
				if err := l.Compact(func() error { _, err := l.Sync(); return err }); err != nil {
					b.Fatal(err)
				}
				if s := l.Stats(); s.Compactions != 1 || s.CompactedRecords < batches*8 {
					b.Fatalf("%+v", s)
				}
				records += 10 * batches
			}
			b.SetBytes(bytesRead)
			b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// compactionLog is a log with an index 1 that is to be compacted.
func compactionLog(b *testing.B, batches int, codec batch.Codec) *Log {
	l, e := benchLog(b, 0)
	l.set.CompactBytes, l.set.CompactKeys = 1, 1<<20
	settings := ipc.IndexSettings{Index: 1, Compaction: ipc.Compaction{On: true, MaxLagMS: 1 << 62, ClosingBytes: 1}}
	e.Ops = []journal.IndexOp{
		{Kind: journal.OpCreate, Index: 1, Settings: ipc.IndexSettings{Index: 1}},
		{Kind: journal.OpCompact, Index: 1, Settings: settings}, {Kind: journal.OpClosing, Index: 1, Settings: settings},
	}
	var bb batch.Builder
	for i := range batches {
		bb.Reset()
		for k := range 10 {
			bb.Add(1, fmt.Appendf(nil, "key %d", (i*10+k)%batches), bytes.Repeat([]byte{'a' + byte(k)}, 100), nil)
		}
		raw, base := bb.Seal(codec, -1, -1, -1), uint64(10*i)
		e.LSN, e.Events = uint64(i+1), nil
		e.Bodies = []journal.Body{{RingPos: e.LSN, Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Base: base}}
		e.Items = []journal.IndexItem{{Index: 1, Base: base, Count: 10, MaxTimeMS: 1}}
		if _, err := l.Add(e, func(uint64, int) []byte { return raw }); err != nil {
			b.Fatal(err)
		}
		e.Ops = nil
		if err := l.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	return l
}

// BenchmarkCompactionKeys tells what a key costs in the memory of a pass.
func BenchmarkCompactionKeys(b *testing.B) {
	const n = 2_000_000 // as many as a pass remembers at most
	var before, after runtime.MemStats
	for range b.N {
		runtime.GC()
		runtime.ReadMemStats(&before)
		keys := map[[2]uint64]uint64{}
		for i := range uint64(n) {
			keys[keyOf(binary.LittleEndian.AppendUint64(nil, i))] = i
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(len(keys)), "bytes/key")
	}
}
