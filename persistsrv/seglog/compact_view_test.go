package seglog

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
)

// laundry is a log on the real file system with one compacted index, into which batches of two records go.
type laundry struct {
	t   *testing.T
	log *Log
	now int64
	lsn uint64

	hasty bool // a pass is broken off as soon as it has begun
}

func newLaundry(t *testing.T, dir string) *laundry {
	fs, err := vfs.NewOS(dir)
	if err != nil {
		t.Fatal(err)
	}
	d := &laundry{t: t, now: 1_000_000}
	d.log, err = Open(Options{
		FS: fs, Now: func() int64 { return d.now }, Salt: salts.Uint64, Pace: func(int) bool { return !d.hasty },
		Settings: Settings{
			SegmentBytes: 3000, SegmentMS: 1 << 40, IndexEntries: 8, IndexCheckpointBytes: 2500, IndexCheckpointMS: 1000,
			RoundBytes: 2000, OpenIndexFiles: 2, VerifyIndexBytes: 1 << 20, CompactKeys: 1000, CompactBytes: 1,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.log.Close() })
	half := ipc.IndexSettings{Index: compactedIndex, Compaction: ipc.Compaction{On: true, MaxLagMS: 1 << 62, TombstoneMS: tombstoneMS, ClosingBytes: 1}}
	d.add(&journal.Entry{Ops: []journal.IndexOp{
		{Kind: journal.OpCreate, Index: compactedIndex, Settings: ipc.IndexSettings{Index: compactedIndex}},
		{Kind: journal.OpCompact, Index: compactedIndex, Settings: half},
		{Kind: journal.OpClosing, Index: compactedIndex, Settings: half},
	}}, nil)
	return d
}

func (d *laundry) add(e *journal.Entry, raw []byte) {
	d.t.Helper()
	d.lsn++
	e.LSN, e.Term, e.Level, e.TimeMS = d.lsn, 1, ipc.LevelDisk, d.now
	if res, err := d.log.Add(e, func(uint64, int) []byte { return raw }); err != nil || res != Added {
		d.t.Fatalf("add lsn %d: %d %v", e.LSN, res, err)
	}
	if err := d.log.Flush(); err != nil {
		d.t.Fatal(err)
	}
}

// put stores a batch with a key that comes again in every batch, and one that comes again in every tenth.
func (d *laundry) put(i int) {
	d.t.Helper()
	var b batch.Builder
	b.Add(d.now, []byte("always"), fmt.Append(nil, i), nil)
	b.Add(d.now, fmt.Append(nil, "now and then ", i%10), fmt.Append(nil, i), nil)
	raw, base := bytes.Clone(b.Seal(batch.None, -1, -1, -1)), uint64(2*i)
	d.add(&journal.Entry{
		Items:  []journal.IndexItem{{Index: compactedIndex, Base: base, Count: 2, MaxTimeMS: d.now}},
		Bodies: []journal.Body{{RingPos: d.lsn, Length: uint32(len(raw)), CRC: batch.Header(raw).CRC(), Base: base}},
	}, raw)
}

// trim removes what lies below an offset.
func (d *laundry) trim(to uint64) {
	d.t.Helper()
	d.add(&journal.Entry{Ops: []journal.IndexOp{{Kind: journal.OpTrim, Index: compactedIndex, Offset: to}}}, nil)
}

func (d *laundry) sync() error {
	_, err := d.log.Sync()
	return err
}

// wash compacts, and has all removed that is not needed any more.
func (d *laundry) wash() {
	d.t.Helper()
	d.now += 1000
	if err := d.log.Compact(d.sync); err != nil {
		d.t.Fatal(err)
	}
	for range 2 {
		d.log.StatePart(&ipc.CheckpointPart{LSN: d.lsn, ResultsFrom: d.lsn, Parts: 1, Bytes: []byte("state")})
		if err := d.log.Maintain(true, d.sync); err != nil {
			d.t.Fatal(err)
		}
		d.add(&journal.Entry{}, nil)
	}
}

// viewOf opens a view, for as long as the test goes on.
func viewOf(t *testing.T, dir string) *commitlog.View {
	t.Helper()
	v, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return v
}

// walk reads an index to an end through a view, and returns the offsets of the records that it has.
func walk(t *testing.T, v *commitlog.View, from, end uint64, maxBytes int) (offsets []uint64) {
	t.Helper()
	ix, err := v.Index(compactedIndex)
	if err != nil {
		t.Fatal(err)
	}
	for at := from; at < end; {
		spans, err := ix.Spans(at, end, maxBytes, nil)
		if err != nil {
			t.Fatalf("offset %d: %v", at, err)
		}
		for i := range spans {
			s := &spans[i]
			for rest := s.Seg.Bytes(s.Off, s.Len); len(rest) > 0; {
				first, more, err := batch.Split(rest)
				if err == nil {
					err = batch.Iterate(first, func(rec *batch.Record) error {
						offsets = append(offsets, rec.Offset)
						return nil
					})
				}
				if err != nil {
					t.Fatalf("offset %d: %v", at, err)
				}
				rest = more
			}
			if s.End <= at {
				t.Fatalf("spans from %d end at %d", at, s.End)
			}
			at = s.End
			s.Seg.Release()
		}
	}
	return offsets
}

// TestViewsPassOverWhatIsGone reads a compacted index through views: one that has the old files mapped,
// and one that has not.
func TestViewsPassOverWhatIsGone(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	old := viewOf(t, dir)
	const n = 100
	for round := range 3 {
		for i := range n {
			d.put(round*n + i)
		}
		end := uint64(2 * n * (round + 1))
		walk(t, old, 0, end, 500) // it has them mapped now
		d.wash()
		fresh, err := commitlog.OpenView(dir)
		if err != nil {
			t.Fatal(err)
		}
		want := lastOffsets(n * (round + 1))
		for _, maxBytes := range []int{1, 300, 1 << 20} {
			if got := walk(t, fresh, 0, end, maxBytes); !slices.Equal(got, want) {
				t.Fatalf("%d bytes at a time: %v", maxBytes, got)
			}
			got := walk(t, old, 0, end, maxBytes) // it may have the old files, until it looks again
			for _, offset := range want {
				if !slices.Contains(got, offset) || !slices.IsSorted(got) {
					t.Fatalf("offset %d is not among %v", offset, got)
				}
			}
		}
		ix, err := fresh.Index(compactedIndex)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ix.Spans(3, 7, 1, nil); !errors.Is(err, commitlog.ErrGap) {
			t.Errorf("in a gap: %v", err)
		}
		if e, err := ix.Find(3); err != nil || e.Offset <= 3 || e.Offset > want[0] {
			t.Errorf("what follows offset 3 is %+v, %v", e, err)
		}
		if err := fresh.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.log.Stats(); s.Segments > 6 || s.Packs > 6 || s.Compactions != 3 {
		t.Errorf("what nobody needs is still there: %+v", s)
	}
}

// TestViewsLookAgain compacts what a view has mapped as a single file, of which nothing tells that it is full:
// what was compacted is not seen for ever.
func TestViewsLookAgain(t *testing.T) {
	dir := t.TempDir()
	d := newLaundry(t, dir)
	v := viewOf(t, dir)
	for i := range 5 {
		d.put(i)
	}
	if got := walk(t, v, 0, 10, 1<<20); len(got) != 10 {
		t.Fatalf("before: %v", got)
	}
	d.now += 1000
	if err := d.log.Compact(d.sync); err != nil {
		t.Fatal(err)
	}
	const want = 7 // a key of each batch, and the last one but one of the key that always comes, and the last
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got := walk(t, v, 0, 10, 1<<20)
		if len(got) == want {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("still there: %v", got)
		}
	}
}

// lastOffsets are those that stay of n batches: of each key that comes now and then the last one below
// the last batch, and the last batch; of the key that always comes the last one but that.
func lastOffsets(n int) (offsets []uint64) {
	for i := n - 11; i < n-1; i++ {
		offsets = append(offsets, uint64(2*i+1))
		if i == n-2 {
			offsets = slices.Insert(offsets, len(offsets)-1, uint64(2*i))
		}
	}
	return append(offsets, uint64(2*n-2), uint64(2*n-1))
}
