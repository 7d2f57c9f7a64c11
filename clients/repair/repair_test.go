package repair

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// sample is a data directory as persistsrv leaves it: three segments of four entries each, index
// checkpoint, two checkpoints of logicsrv (of no meaning), the marker.
func sample(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, b []byte) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	put(commitlog.MarkerName, []byte(commitlog.MarkerText))
	lsn, position := uint64(0), uint64(0)
	var ckpt commitlog.IndexCheckpoint
	for range 3 {
		h := commitlog.SegmentHeader{Position: position, BaseLSN: lsn + 1, CreatedMS: 1, Capacity: 1 << 16, Salt: 77 + position}
		b := h.Append(nil)
		for range 4 {
			lsn++
			e := journal.Entry{LSN: lsn, Term: 1, TimeMS: int64(lsn), Events: make([]byte, 0)}
			b = e.AppendDisk(b, lsn-1, h.EntrySalt(position+uint64(len(b)-commitlog.SegmentHeaderSize)))
		}
		put(commitlog.SegmentName(position), b)
		end := position + uint64(len(b)-commitlog.SegmentHeaderSize)
		ckpt.Segments = append(ckpt.Segments, commitlog.SegmentState{Position: position, BaseLSN: h.BaseLSN, LastLSN: lsn, End: end, Refs: 1, Salt: h.Salt})
		position = end
	}
	ckpt.LSN, ckpt.Position, ckpt.Term = lsn, position, 1
	put(commitlog.IndexCheckpointName, ckpt.Append(nil))
	for _, at := range []uint64{6, 11} {
		put(commitlog.CheckpointName(at), journal.AppendCheckpoint(nil, at, at+1, fmt.Appendf(nil, "state %d", at)))
	}
	return dir
}

func look(t testing.TB, dir string, giveUp bool) *Plan {
	t.Helper()
	p, err := Look(dir, Options{GiveUp: giveUp, Now: time.Unix(1e9, 0)})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// repair does all that there is to do, and returns what it did and left.
func repair(t testing.TB, dir string, giveUp bool) (did, left []string) {
	t.Helper()
	for n := 0; ; n++ {
		p := look(t, dir, giveUp)
		if len(p.Steps) == 0 {
			return did, p.Left
		}
		if n == 5 {
			t.Fatalf("it comes to no end: %q", did)
		}
		if _, err := p.Do(func(s Step) { did = append(did, s.What) }); err != nil {
			t.Fatal(err)
		}
	}
}

// sums are the checksums of all files.
func sums(t testing.TB, dir string) map[string][32]byte {
	all := map[string][32]byte{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path[len(dir)+1:]] = sha256.Sum256(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestNothingToDo: a sound directory is left as it is.
func TestNothingToDo(t *testing.T) {
	dir := sample(t)
	if did, left := repair(t, dir, true); len(did)+len(left) > 0 {
		t.Errorf("did %q, left %q", did, left)
	}
}

// harm is one that TestRepairs does.
type harm func(t testing.TB, dir string)

// flip changes a byte; at < 0 counts from the end.
func flip(name string, at int) harm {
	return func(t testing.TB, dir string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if at < 0 {
			at += len(b)
		}
		b[at] ^= 0x10
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func swapped(a, b string) harm {
	return func(t testing.TB, dir string) {
		at := func(name string) string { return filepath.Join(dir, filepath.FromSlash(name)) }
		if err := errors.Join(os.Rename(at(a), at("x")), os.Rename(at(b), at(a)), os.Rename(at("x"), at(b))); err != nil {
			t.Fatal(err)
		}
	}
}

func gone(name string) harm {
	return func(t testing.TB, dir string) {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Fatal(err)
		}
	}
}

const headSize = journal.DiskHeaderSize

// TestRepairs: each harm has its steps, and nothing else is done; what was changed is kept.
func TestRepairs(t *testing.T) {
	second, third := commitlog.SegmentName(4*headSize), commitlog.SegmentName(8*headSize)
	for name, c := range map[string]struct {
		harms  []harm
		giveUp bool
		did    []string // the beginnings of what is done
		left   string
		end    uint64 // the last LSN that is there; 0: 12
	}{
		"marker":                 {harms: []harm{flip(commitlog.MarkerName, 3)}, did: []string{"write TRIMQ anew"}},
		"index checkpoint":       {harms: []harm{flip(commitlog.IndexCheckpointName, 30)}, did: []string{"set aside index.ckpt"}},
		"checkpoint":             {harms: []harm{flip(commitlog.CheckpointName(6), -1)}, did: []string{"set aside checkpoint/checkpoint-00000000000000000006.ckpt, which is damaged; logicsrv begins with an older one"}},
		"swapped checkpoints":    {harms: []harm{swapped(commitlog.CheckpointName(6), commitlog.CheckpointName(11))}, did: []string{"give files back the names"}},
		"swapped segments":       {harms: []harm{swapped(second, third)}, did: []string{"give files back the names"}},
		"header":                 {harms: []harm{flip(second, 17)}, did: []string{"write the header of " + second}},
		"header, salt lost too":  {harms: []harm{flip(second, 50), gone(commitlog.IndexCheckpointName)}, did: []string{"set aside " + second, "enter lsn 5 to 8"}},
		"old entry":              {harms: []harm{flip(second, 64+headSize+30)}, did: []string{"enter lsn 6 to 6 into damage.known as lost"}},
		"entry to be replayed":   {harms: []harm{flip(third, 64+3*headSize+30)}, left: "logicsrv has to replay the log from lsn 12 on"},
		"the same, given up":     {harms: []harm{flip(third, 64+3*headSize+30)}, giveUp: true, did: []string{"end the log before " + third}, end: 11},
		"missing segment":        {harms: []harm{gone(second)}, did: []string{"enter lsn 5 to 8"}},
		"no checkpoint is whole": {harms: []harm{flip(commitlog.CheckpointName(6), -1), flip(commitlog.CheckpointName(11), -1), gone(commitlog.SegmentName(0))}, did: []string{"set aside", "set aside"}, left: "the state can only come from a copy"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := sample(t)
			for _, do := range c.harms {
				do(t, dir)
			}
			before := sums(t, dir)
			look(t, dir, c.giveUp)
			if after := sums(t, dir); len(after) != len(before) {
				t.Error("Look has changed something")
			}
			did, left := repair(t, dir, c.giveUp)
			for i, want := range c.did {
				if i >= len(did) || !strings.HasPrefix(did[i], want) {
					t.Errorf("%d: did %q, want %q", i, did, want)
				}
			}
			if c.left == "" && len(did) != len(c.did) || !strings.Contains(strings.Join(left, "\n"), c.left) || (c.left == "") != (len(left) == 0) {
				t.Errorf("did %q, left %q, want %q", did, left, c.left)
			}
			keepsAll(t, before, sums(t, dir))
			if c.left == "" {
				ends(t, dir, max(c.end, 12*(1-min(c.end, 1))))
			}
		})
	}
}

// keepsAll: each file that there was is still there, under some name.
func keepsAll(t testing.TB, before, after map[string][32]byte) {
	t.Helper()
	there := map[[32]byte]bool{}
	for _, sum := range after {
		there[sum] = true
	}
	for name, sum := range before {
		if !there[sum] && name != commitlog.KnownDamageName {
			t.Errorf("%s as it was is nowhere", name)
		}
	}
}

// ends reads the log to its end.
func ends(t *testing.T, dir string, want uint64) {
	t.Helper()
	r, err := commitlog.NewReader(commitlog.DirFS(dir), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	last := uint64(0)
	for {
		e, _, err := r.Next()
		var d *commitlog.Damage
		if errors.As(err, &d) {
			continue
		}
		if err != nil {
			break
		}
		last = e.LSN
	}
	if last != want {
		t.Errorf("the log ends at lsn %d, should at %d", last, want)
	}
	sum, err := commitlog.Verify(commitlog.DirFS(dir), func(f commitlog.Finding) {
		if f.Severity == commitlog.Error {
			t.Logf("%+v", f)
		}
	})
	if err != nil || sum.Errors > 0 {
		t.Errorf("verify: %d errors, %v", sum.Errors, err)
	}
}

func TestLock(t *testing.T) {
	dir := t.TempDir()
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
	lock.Close()
	if lock, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

// FuzzRepair damages files in any way: file, place and value of each byte are drawn. Looking never
// panics; a repair comes to an end, after which there is nothing more to do; and every file that
// there was is kept as it was.
func FuzzRepair(f *testing.F) {
	f.Add([]byte{0, 0, 3, 1})
	f.Add([]byte{2, 0, 70, 9, 3, 0, 17, 1})
	f.Add([]byte{4, 1, 10, 255, 5, 0, 30, 3, 6, 0, 4, 4})
	f.Fuzz(func(t *testing.T, damage []byte) {
		dir := sample(t)
		var names []string
		for name := range sums(t, dir) {
			names = append(names, name)
		}
		slices.Sort(names)
		for ; len(damage) >= 4; damage = damage[4:] {
			path := filepath.Join(dir, names[int(damage[0])%len(names)])
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if at := int(damage[1])<<8 | int(damage[2]); at < len(b) {
				b[at] ^= damage[3]
			} else {
				b = b[:at%(len(b)+1)]
			}
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		before := sums(t, dir)
		if _, err := Look(dir, Options{GiveUp: true}); err != nil {
			return // of another version
		}
		did, _ := repair(t, dir, true)
		keepsAll(t, before, sums(t, dir))
		if t.Failed() {
			t.Logf("did %q", did)
		}
	})
}
