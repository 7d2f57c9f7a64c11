package session

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/errcode"
)

// logOf writes batches of ten records of so many bytes, and an index 1 that holds the fifth and
// the sixth record of each. It returns a lane that reads it.
func logOf(t *testing.T, batches, size int, codec batch.Codec) *Lane {
	t.Helper()
	dir := t.TempDir()
	log := (&commitlog.SegmentHeader{BaseLSN: 1, Capacity: 1 << 30}).Append(nil)
	index := (&commitlog.IndexHeader{Slots: 1000, Index: 1}).Append(nil)
	for i := range batches {
		var b batch.Builder
		for k := range 10 {
			b.Add(1, nil, fmt.Appendf(bytes.Repeat([]byte{'.'}, size), "%d of %d", k, i), nil)
		}
		raw := b.Seal(codec, batch.NoProducer, -1, -1)
		e := commitlog.Entry{
			Offset: uint64(2 * i), Position: uint64(len(log) - commitlog.SegmentHeaderSize), Length: uint32(len(raw)), Count: 2, Skip: 4,
			Flags: commitlog.FlagPartial | commitlog.FlagRebase,
		}
		log = append(log, raw...)
		log = append(log, make([]byte, -len(log)&7)...)
		index = e.Append(index)
	}
	for name, content := range map[string][]byte{commitlog.SegmentName(0): log, commitlog.IndexName(1, 0): index} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	view, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { view.Close() })
	return NewLane(&Rings{View: view, MaxBatch: 1 << 20}, 0)
}

// sent is what goes out for a reading, as text: offset and value of each record.
func sent(t *testing.T, r *Reading) (records []string) {
	t.Helper()
	bytes := 0
	for i := range r.Spans {
		cut := r.Cut(i)
		bytes += len(cut)
		if err := batch.Iterate(cut, func(rec *batch.Record) error {
			records = append(records, fmt.Sprintf("%d: %s", rec.Offset, rec.Value[len(rec.Value)-len("0 of 0"):]))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if bytes != r.Bytes {
		t.Fatalf("%d bytes, the reading says %d", bytes, r.Bytes)
	}
	return records
}

func TestReadCutsParts(t *testing.T) {
	for _, codec := range []batch.Codec{batch.None, batch.Zstd} {
		l := logOf(t, 8, 100, codec)
		r := l.Reading()
		for _, c := range []struct {
			offset, visible uint64
			max             int
			want            string
			base            uint64
		}{
			{0, 4, 1 << 20, "[0: 4 of 0 1: 5 of 0 2: 4 of 1 3: 5 of 1]", 0},
			{1, 4, 1 << 20, "[1: 5 of 0 2: 4 of 1 3: 5 of 1]", 1},
			{1, 3, 1 << 20, "[1: 5 of 0 2: 4 of 1]", 1},
			{4, 16, 1, "[4: 4 of 2]", 4},
			{4, 16, 300, "[4: 4 of 2 5: 5 of 2]", 4},
			{15, 16, 300, "[15: 5 of 7]", 15},
		} {
			if err := l.Read(r, 1, c.offset, c.visible, c.max); err != nil {
				t.Fatal(err)
			}
			got := sent(t, r)
			if fmt.Sprint(got) != c.want || r.Base != c.base || r.End != c.offset+uint64(len(got)) {
				t.Errorf("%s, %+v: %v from %d to %d", codec, c, got, r.Base, r.End)
			}
			r.Release()
		}
		if err := l.ReadStored(r, 1, 5, 6); err != nil || r.Cut(0) != nil || !r.Spans[0].Partial || r.Spans[0].First() != 4 || r.End != 6 {
			t.Errorf("%s: as it is stored: %+v %v", codec, r.Spans, err)
		}
		r.Release()
	}
}

// TestCutsAreBounded: batches that are small only as long as they are compressed do not hold up the
// event loop, and memory for them is not kept.
func TestCutsAreBounded(t *testing.T) {
	l := logOf(t, 100, 100_000, batch.Zstd)
	r := l.Reading()
	reads := 0
	for at := uint64(0); at < 200; at, reads = r.End, reads+1 {
		before := l.cutter.Batches
		if err := l.Read(r, 1, at, 200, 1<<30); err != nil {
			t.Fatal(err)
		}
		if n := l.cutter.Batches - before; n > maxCutBytes/1_000_000+2 {
			t.Fatalf("%d batches were decompressed at once", n)
		}
		sent(t, r)
		r.Release()
	}
	if reads < 100*1_000_000/maxCutBytes/2 || cap(r.cuts) > keptCutBytes {
		t.Errorf("%d reads; %d bytes are kept", reads, cap(r.cuts))
	}
	// One record that is too large in a frame of its own.
	l = logOf(t, 1, 2<<20, batch.Zstd)
	var e *errcode.Error
	if err := l.Read(l.Reading(), 1, 0, 2, 1000); !errors.As(err, &e) || e.Code != errcode.BatchTooLarge {
		t.Error(err)
	}
}
