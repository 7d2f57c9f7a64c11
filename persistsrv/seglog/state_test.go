package seglog

import (
	"bytes"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"pgregory.net/rapid"
)

// TestCutAt: what is cut, put together again, is what it was, and its front is as long as asked.
func TestCutAt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 20), 0, 8).Draw(t, "pieces")
		n := rapid.IntRange(1, 60).Draw(t, "n")
		whole := bytes.Join(pieces, nil)
		var got []byte
		for rest := pieces; len(rest) > 0; {
			var front [][]byte
			front, rest = cutAt(rest, n)
			part := bytes.Join(front, nil)
			if len(part) > n || len(part) < n && len(rest) > 0 {
				t.Fatalf("a front of %d bytes, %d were asked for", len(part), n)
			}
			got = append(got, part...)
		}
		if !bytes.Equal(got, whole) || !bytes.Equal(bytes.Join(pieces, nil), whole) {
			t.Fatalf("%x became %x", whole, got)
		}
	})
}

// openState opens an empty log.
func openState(t *testing.T, mem *vfs.Mem) *Log {
	t.Helper()
	l, err := Open(Options{
		FS: mem, Now: func() int64 { return 0 }, Salt: salts.Uint64,
		Settings: Settings{SegmentBytes: 3000, SegmentMS: 1000, IndexEntries: 4, IndexCheckpointBytes: 2500, IndexCheckpointMS: 1000, RoundBytes: 2000},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestLargeState: a checkpoint of many parts is stored as it was, and in steps.
func TestLargeState(t *testing.T) {
	blob := bytes.Repeat([]byte("the state of logicsrv "), (2*syncStep+syncStep/2)/22)
	for _, size := range []int{1 << 20, 256 << 10, syncStep + 5} {
		mem := vfs.NewMem()
		l := openState(t, mem)
		syncs := 0
		mem.SetFault(func(c vfs.Call) error {
			if c.Op == "sync" && c.Name == commitlog.CheckpointName(0)+commitlog.TmpSuffix {
				syncs++
			}
			return nil
		})
		parts := uint32((len(blob) + size - 1) / size)
		for i := range parts {
			from := int(i) * size
			part := bytes.Clone(blob[from:min(len(blob), from+size)])
			l.StatePart(&ipc.CheckpointPart{ResultsFrom: 1, Part: i, Parts: parts, Bytes: part})
			clear(part) // the ring's memory is used again
		}
		if err := l.Maintain(false, func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		got, lsn, from, err := commitlog.LatestCheckpoint(vfs.Reading(mem))
		if err != nil || lsn != 0 || from != 1 || !bytes.Equal(got, blob) {
			t.Fatalf("%d bytes, lsn=%d, results from %d: %v", len(got), lsn, from, err)
		}
		if syncs != 3 {
			t.Fatalf("%d syncs", syncs)
		}
	}
}

// TestStateParts: parts that are not the next of the checkpoint under way end it, and are dropped.
func TestStateParts(t *testing.T) {
	part := func(lsn uint64, part, parts uint32) *ipc.CheckpointPart {
		return &ipc.CheckpointPart{LSN: lsn, Part: part, Parts: parts, Bytes: []byte{byte('a' + part)}}
	}
	for name, c := range map[string]struct {
		parts []*ipc.CheckpointPart
		want  string
	}{
		"whole":              {[]*ipc.CheckpointPart{part(0, 0, 2), part(0, 1, 2)}, "ab"},
		"begins too late":    {[]*ipc.CheckpointPart{part(0, 1, 2)}, ""},
		"one is missing":     {[]*ipc.CheckpointPart{part(0, 0, 3), part(0, 2, 3)}, ""},
		"of another one":     {[]*ipc.CheckpointPart{part(0, 0, 2), part(1, 1, 2)}, ""},
		"begins anew":        {[]*ipc.CheckpointPart{part(1, 0, 2), part(0, 0, 2), part(0, 1, 2)}, "ab"},
		"goes on after that": {[]*ipc.CheckpointPart{part(0, 0, 2), part(1, 0, 2), part(0, 1, 2)}, ""},
		"another count":      {[]*ipc.CheckpointPart{part(0, 0, 2), part(0, 1, 3)}, ""},
	} {
		l := openState(t, vfs.NewMem())
		for _, p := range c.parts {
			l.StatePart(p)
		}
		got := ""
		if r := l.state.ready; r != nil {
			got = string(bytes.Join(r.blob, nil))
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
