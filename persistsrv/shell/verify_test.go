package shell

import (
	"bytes"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
)

func verify(t *testing.T, r *rig) (errs []commitlog.Finding, sum commitlog.Summary) {
	t.Helper()
	sum, err := commitlog.Verify(vfs.Reading(r.fs), func(f commitlog.Finding) {
		if f.Severity == commitlog.Error {
			errs = append(errs, f)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return errs, sum
}

// TestVerify finds nothing in a sound directory, and one changed byte anywhere in it.
func TestVerify(t *testing.T) {
	r := finished(t, 50)
	errs, sum := verify(t, r)
	if len(errs) > 0 || sum.LastLSN != 90 || sum.Entries != 90-sum.FirstLSN+1 || sum.Indexes == 0 || sum.IndexEntries == 0 {
		t.Fatalf("%+v %v", sum, errs)
	}
	places, lsns := r.places()
	for i, p := range places[:len(places)-3] {
		for off := int64(1); off < int64(p.Length)-8; off += int64(p.Length) / 5 {
			r.flip(p.Segment, p.Offset+off)
			if errs, _ := verify(t, r); len(errs) != 1 || errs[0].File != p.Segment || errs[0].Position != p.Position {
				t.Fatalf("lsn %d, byte %d: %+v", lsns[i], off, errs)
			}
			r.flip(p.Segment, p.Offset+off)
		}
	}
	for _, c := range []struct {
		file string
		off  int64
	}{
		{commitlog.IndexName(1, 0), 3}, {commitlog.IndexName(2, 0), commitlog.IndexHeaderSize + 7},
		{commitlog.IndexCheckpointName, 20}, {places[0].Segment, 17},
	} {
		if _, err := r.fs.Open(c.file); err != nil {
			continue // trimmed
		}
		r.flip(c.file, c.off)
		if errs, _ := verify(t, r); len(errs) == 0 {
			t.Errorf("byte %d of %s: nothing found", c.off, c.file)
		}
		r.flip(c.file, c.off)
	}
}

// TestDump prints each entry, and damage in its place.
func TestDump(t *testing.T) {
	r := finished(t, 51)
	places, lsns := r.places()
	r.flip(places[4].Segment, places[4].Offset+9)
	var out bytes.Buffer
	o := commitlog.DumpOptions{Events: true, Items: true}
	if err := commitlog.Dump(vfs.Reading(r.fs), &out, o); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	if n := strings.Count(text, "\nlsn="); n != len(lsns)-1 {
		t.Errorf("%d entries of %d", n, len(lsns))
	}
	for _, part := range []string{"damaged log: segment " + places[4].Segment, "item index=1 ", "ref index=", " partial", " note="} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}
