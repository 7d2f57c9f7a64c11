package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/trimq/trimq/protocol/journal"
	"pgregory.net/rapid"
)

// countingFS is a directory whose files count, together, what is read of them.
type countingFS struct {
	memFS
	read *int64
}

func (c countingFS) Open(name string) (File, error) {
	f, err := c.memFS.Open(name)
	return countedFile{f, c.read}, err
}

type countedFile struct {
	File
	read *int64
}

func (f countedFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	*f.read += int64(n)
	return n, err
}

// logOf is a log of one segment, whose entries have these many bytes of events and of body.
func logOf(events, bodies []int) memFS {
	h := SegmentHeader{BaseLSN: 1, Capacity: 1 << 30, Salt: 0x0123456789abcdef}
	b := h.Append(nil)
	for i := range events {
		raw, body := batchOf(uint64(i+1), bytes.Repeat([]byte{byte(i)}, bodies[i]))
		e := journal.Entry{LSN: uint64(i + 1), Term: 1, Bodies: []journal.Body{body}}
		ev := journal.Rejected{Pos: uint64(i), Text: string(bytes.Repeat([]byte{'x'}, events[i]))}
		e.Events = ev.Append(nil)
		b = append(e.AppendDisk(b, uint64(i), h.EntrySalt(uint64(len(b)-SegmentHeaderSize))), raw...)
		b = append(b, make([]byte, -len(b)&7)...)
	}
	return memFS{SegmentName(0): b}
}

// heads reads all entries' heads, and says what they hold and how many bytes were read.
func heads(t interface{ Fatal(...any) }, m memFS, only bool) (found []string, read int64) {
	r, err := NewReader(countingFS{m, &read}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	r.HeadsOnly(only)
	for {
		e, p, err := r.Next()
		if err == io.EOF {
			return found, read
		}
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, fmt.Sprintf("%d at %d+%d: %x %v", e.LSN, p.Position, p.Length, crc32c(e.Events), e.Bodies))
	}
}

// TestHeadsOnly: with bodies left out the same entries are read.
func TestHeadsOnly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 40).Draw(t, "entries")
		sizes := func(of string, limit int) []int {
			return rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, limit)), n, n).Draw(t, of)
		}
		m := logOf(sizes("events", 20<<10), sizes("bodies", 400<<10))
		all, _ := heads(t, m, false)
		only, _ := heads(t, m, true)
		if len(all) != n || fmt.Sprint(all) != fmt.Sprint(only) {
			t.Fatalf("%d entries: all %v, heads only %v", n, all, only)
		}
	})
}

// TestHeadsOnlyReadsLittle: long bodies are passed over; short ones are read, as that is cheaper.
func TestHeadsOnlyReadsLittle(t *testing.T) {
	for _, c := range []struct {
		body, events int
		most         float64 // share of the log that may be read
	}{{256 << 10, 100, 0.02}, {32 << 10, 100, 0.15}, {256 << 10, 20 << 10, 0.2}, {1000, 100, 1.1}} {
		n := 2 << 20 / c.body
		events, bodies := make([]int, n), make([]int, n)
		for i := range n {
			events[i], bodies[i] = c.events, c.body
		}
		m := logOf(events, bodies)
		_, read := heads(t, m, true)
		// The first entry is read before anything is known.
		if share := float64(read-scanChunk) / float64(len(m[SegmentName(0)])); share > c.most {
			t.Errorf("bodies of %d bytes, events of %d: %.3f of the log was read, at most %.3f is expected", c.body, c.events, share, c.most)
		}
	}
}

// TestStopAtDamage: a place that cannot be read is an error as often as it is asked for, and
// nothing behind it is looked at.
func TestStopAtDamage(t *testing.T) {
	m := logOf([]int{10, 10, 10}, []int{1 << 20, 1 << 20, 1 << 20})
	b := m[SegmentName(0)]
	b[1<<19] ^= 1 // in the first body: nobody looks
	second := bytes.Index(b[SegmentHeaderSize+8:], []byte(journal.DiskMagic)) + SegmentHeaderSize + 8
	b[second+40] ^= 1
	var read int64
	r, err := NewReader(countingFS{m, &read}, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.HeadsOnly(true)
	r.StopAtDamage(true)
	if e, _, err := r.Next(); err != nil || e.LSN != 1 {
		t.Fatal(err)
	}
	for range 3 {
		var bad *BadEntry
		if _, _, err := r.Next(); !errors.As(err, &bad) || bad.Position != uint64(second-SegmentHeaderSize) {
			t.Fatal(err)
		}
	}
	if read > 1<<20 {
		t.Errorf("%d bytes were read", read)
	}
	if lsns, damages := readAll(t, m, 0); len(lsns) != 1 || len(damages) != 2 {
		t.Errorf("a search finds %v, %v", lsns, damages)
	}
}

// readStrictly reads heads up to the first place that cannot be read.
func readStrictly(t testing.TB, m memFS) {
	r, err := NewReader(m, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.HeadsOnly(true)
	r.StopAtDamage(true)
	for range 1000 {
		if _, _, err := r.Next(); err != nil {
			return
		}
	}
	t.Fatal("the reader comes to no end")
}

// BenchmarkReader reads a log of entries with one body of 64 KiB each.
func BenchmarkReader(b *testing.B) {
	const n = 256
	events, bodies := make([]int, n), make([]int, n)
	for i := range n {
		events[i], bodies[i] = 100, 64<<10
	}
	m := logOf(events, bodies)
	for _, only := range []bool{false, true} {
		b.Run(fmt.Sprintf("headsOnly=%t", only), func(b *testing.B) {
			r, err := NewReader(m, 0)
			if err != nil {
				b.Fatal(err)
			}
			r.HeadsOnly(only)
			for range b.N {
				if _, _, err := r.Next(); err == io.EOF {
					if r, err = NewReader(m, 0); err != nil {
						b.Fatal(err)
					}
					r.HeadsOnly(only)
				}
			}
		})
	}
}
