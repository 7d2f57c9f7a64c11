package shell

import (
	"errors"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/commitlog"
)

// TestScrub damages old entries, which recovery does not read. They are found soon after the
// start all the same; the batches that are broken, and only those, are marked in the indexes,
// and a fetch of them is an error.
func TestScrub(t *testing.T) {
	r := finished(t, 70)
	places, lsns := r.places()
	var harmed []uint64
	for i := 2; i < len(places)-20; i += 9 {
		p := places[i]
		if off := int64(p.HeadLen) + 30; off < int64(p.Length) {
			r.flip(p.Segment, p.Offset+off) // in the first body
			harmed = append(harmed, lsns[i])
		}
	}
	if len(harmed) < 3 {
		t.Fatal("the script has too few batches for this test")
	}
	r.restart()
	if s := r.sh.Log().Stats(); s.RecoveryScanned > 0 || len(r.sh.Damages()) > 0 {
		t.Fatalf("recovery has read the log: %+v", s)
	}
	for range 10 {
		if _, err := r.sh.Step(); err != nil {
			t.Fatal(err)
		}
		if r.sh.MaintainDue() {
			if err := r.sh.Maintain(); err != nil {
				t.Fatal(err)
			}
		}
		r.now += 60
	}
	if r.sh.MaintainDue() {
		t.Fatal("does not come to an end")
	}
	if d := r.sh.Damages(); len(d) != len(harmed) || d[0].LSN != harmed[0] {
		t.Fatalf("%d entries are damaged, found: %+v", len(harmed), d)
	}
	r.now += 100
	if _, err := r.sh.Step(); err != nil {
		t.Fatal(err)
	}
	if r.status()&StatusDamaged == 0 {
		t.Fatal("the status does not say it")
	}
	marked := r.checkMarks()
	if marked == 0 {
		t.Fatal("nothing is marked")
	}
	// The marks outlive a restart.
	if err := errors.Join(r.sh.Finish(), r.sh.Close()); err != nil {
		t.Fatal(err)
	}
	r.restart()
	if n := r.checkMarks(); n != marked {
		t.Fatalf("%d marks of %d are left", n, marked)
	}
}

// checkMarks says how many index entries are marked, and sees that they are the right ones.
func (r *rig) checkMarks() (marked int) {
	r.t.Helper()
	fsys := vfs.Reading(r.fs)
	ids, err := commitlog.ListIndexes(fsys)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, id := range ids {
		for _, e := range r.live(id) {
			b, err := commitlog.ReadBatch(fsys, e)
			if err == nil {
				_, err = batch.Validate(b)
			}
			if mark := e.Flags&commitlog.FlagDamaged != 0; mark != (err != nil) {
				r.t.Fatalf("index %d, %+v: marked %v, its batch: %v", id, e, mark, err)
			} else if mark {
				marked++
			}
		}
	}
	return marked
}

// TestViewOfDamage fetches over a marked batch.
func TestViewOfDamage(t *testing.T) {
	r, dir := osRig(t, script(71, 40))
	r.run(func() { t.Fatal("died") })
	v, err := commitlog.OpenView(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	entries := r.live(1)
	e := entries[len(entries)/2]
	segs, err := commitlog.ListSegments(vfs.Reading(r.fs))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segs {
		if e.Position >= s.Position && e.Position < s.End {
			harm(t, r.fs, s.Name, commitlog.SegmentHeaderSize+int64(e.Position-s.Position)+40)
		}
	}
	if err := errors.Join(r.sh.Finish(), r.sh.Close()); err != nil {
		t.Fatal(err)
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	if err := r.sh.Log().Scrub(1 << 20); err != nil {
		t.Fatal(err)
	}
	ix, err := v.Index(1)
	if err != nil {
		t.Fatal(err)
	}
	end := entries[len(entries)-1].End()
	if _, err := ix.Spans(e.Offset, end, 1<<20, nil); !errors.Is(err, commitlog.ErrDamaged) {
		t.Fatalf("a damaged batch is fetched: %v", err)
	}
	spans, err := ix.Spans(entries[len(entries)/2-1].Offset, end, 1<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := entries[len(entries)/2-1].Offset
	for _, s := range spans {
		if at, err = checkSpan(s, at); err != nil {
			t.Fatal(err)
		}
		s.Seg.Release()
	}
	if at != e.Offset {
		t.Fatalf("a fetch before the damage ends at %d, want %d", at, e.Offset)
	}
	if at, err = fetchFrom(ix, e.End(), end, 500); err != nil || at != end {
		t.Fatalf("behind the damage: %d of %d, %v", at, end, err)
	}
}

// harm changes one byte of a file.
func harm(t testing.TB, fsys vfs.FS, name string, off int64) {
	t.Helper()
	f, err := fsys.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 0x55
	if _, err := f.WritevAt([][]byte{b[:]}, off); err != nil {
		t.Fatal(err)
	}
}
