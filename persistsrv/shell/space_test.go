package shell

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

func (r *rig) status() uint64 { return r.ringC.Word(shmqueue.WordStatus).Load() }

// turnOver steps for so long that everything due by time has happened.
func (r *rig) turnOver() {
	r.t.Helper()
	for n := range 40 {
		if err := r.step(n); err != nil {
			r.t.Fatal(err)
		}
		r.now += 20
	}
}

// TestDiskFull fills the disk, behind the reserve and to its last byte. The status says it
// before it is full; nothing is lost, what is stored can be read, and everything goes on when
// there is room.
func TestDiskFull(t *testing.T) {
	r := newRig(t, script(60, 200))
	r.set.DiskReserveBytes = 40 << 10
	r.mem.SetCapacity(100 << 10)
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	r.turns = r.turns[:10]
	r.turnOver()
	if r.status()&StatusDiskFull != 0 || r.synced != 10 {
		t.Fatalf("status %#x, synced %d, at the start", r.status(), r.synced)
	}
	all := script(60, 200)
	for n := 20; r.status()&StatusDiskFull == 0; n += 5 {
		if n > len(all) {
			t.Fatal("the disk never came to be full")
		}
		if r.synced != uint64(len(r.turns)) {
			t.Fatalf("before the disk was told to be full, synced stayed at %d of %d", r.synced, len(r.turns))
		}
		r.turns = all[:n]
		r.turnOver()
	}
	told := len(r.turns)
	r.turns = all // a logicsrv that goes on all the same
	r.turnOver()
	if r.done() {
		t.Fatal("all of it fitted: the test shows nothing")
	}
	if r.told < uint64(told) {
		t.Fatalf("what came before the status, %d entries, was not written: %d", told, r.told)
	}
	if n := r.logged(); n < int(r.told) {
		t.Fatalf("the log can be read to %d, written is %d", n, r.told)
	}
	r.mem.SetCapacity(10 << 20)
	for n := 0; !r.done(); n++ {
		if n > 100 {
			t.Fatalf("does not go on: synced %d", r.synced)
		}
		r.turnOver()
	}
	if r.status()&StatusDiskFull != 0 {
		t.Fatal("the status stays")
	}
	r.check()
}

// TestStartOnFullDisk starts where recovery itself has no room, and waits for it.
func TestStartOnFullDisk(t *testing.T) {
	r := newRig(t, script(61, 60))
	r.mem.SetCapacity(1)
	if err := r.start(); !errors.Is(err, ErrFull) || r.status()&StatusDiskFull == 0 {
		t.Fatalf("%v, status %#x", err, r.status())
	}
	r.mem.SetCapacity(0)
	r.mem.Kill()
	r.run(func() { t.Fatal("died") })
	r.check()
}

// settings tells, as logicsrv does at its start, which indexes there are.
func (r *rig) configure(term uint64, perPart int, settings ...ipc.IndexSettings) {
	parts := (len(settings) + perPart - 1) / perPart
	for p := range parts {
		c := ipc.Configure{
			Term: term, Part: uint32(p), Parts: uint32(parts), Settings: settings[p*perPart : min(len(settings), (p+1)*perPart)],
		}
		r.put(ipc.TypeConfigure, c.Append(nil))
	}
}

// TestRetention trims by size and by time, removes dead segments, and never what logicsrv's
// older checkpoint needs.
func TestRetention(t *testing.T) {
	r := newRig(t, script(62, 200))
	r.run(func() { t.Fatal("died") })
	fsys := vfs.Reading(r.fs)
	ids, err := commitlog.ListIndexes(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var settings []ipc.IndexSettings
	for _, id := range ids {
		s := ipc.IndexSettings{Index: id}
		switch id {
		case 1:
			s.RetentionBytes = 2000
		case 2:
			s.RetentionMS = 1000
		case 3:
			s.RetentionMS, s.RetentionBytes = 1<<40, 1<<40
		}
		settings = append(settings, s)
	}
	r.configure(2, 2, settings...)
	r.now = r.turns[150].entry.TimeMS + 1000
	for n := range 3 {
		if err := r.step(n); err != nil {
			t.Fatal(err)
		}
	}
	bytes := 0
	for _, e := range r.live(1) {
		bytes += int(e.Length)
	}
	if bytes > 2000 || bytes < 500 {
		t.Errorf("index 1 holds %d bytes, the limit is 2000", bytes)
	}
	if es := r.live(2); len(es) == 0 || es[0].MaxTimeMS < r.turns[150].entry.TimeMS || es[0].MaxTimeMS > r.turns[165].entry.TimeMS {
		t.Errorf("index 2 begins with %+v, want time %d", es, r.turns[150].entry.TimeMS)
	}
	if es, want := r.live(3), r.model(200)[3]; len(es) != len(want.entries) && es[0].Offset > want.start {
		t.Errorf("index 3 has %d entries of %d", len(es), len(want.entries))
	}
	r.deadSegments(settings)
}

// live lists the entries of an index that are not trimmed.
func (r *rig) live(id uint64) []commitlog.Entry {
	r.t.Helper()
	start, entries, err := commitlog.ReadIndex(vfs.Reading(r.fs), id)
	if err != nil {
		r.t.Fatal(err)
	}
	for i := range entries {
		if entries[i].End() > start {
			return entries[i:]
		}
	}
	return nil
}

func (r *rig) deadSegments(settings []ipc.IndexSettings) {
	r.t.Helper()
	fsys := vfs.Reading(r.fs)
	lsns, err := commitlog.ListCheckpoints(fsys)
	if err != nil || len(lsns) != 2 {
		r.t.Fatal(lsns, err)
	}
	for i := range settings {
		settings[i].RetentionBytes, settings[i].RetentionMS = 0, 1
	}
	r.configure(3, 100, settings...)
	r.now += 1 << 30
	r.turnOver()
	segs, err := commitlog.ListSegments(fsys)
	if err != nil {
		r.t.Fatal(err)
	}
	if first := segs[0].Header.BaseLSN; first > lsns[0]-2 || first+20 < lsns[0] {
		r.t.Fatalf("the log begins at lsn %d; the older checkpoint is at %d and wants results from %d", first, lsns[0], lsns[0]-3)
	}
	if n := r.logged(); n != 200 {
		r.t.Fatalf("the log ends at %d", n)
	}
	r.mem.Kill()
	r.sh = nil
	if err := r.start(); err != nil {
		r.t.Fatal(err)
	}
	if d := r.sh.Damages(); len(d) > 0 {
		r.t.Fatal(d)
	}
	for _, s := range settings {
		if es := r.live(s.Index); len(es) > 0 {
			r.t.Fatalf("index %d came back: %+v", s.Index, es)
		}
	}
}

// TestConfigureRemoves shows which indexes go when logicsrv does not name them: those of an
// earlier term, and only if no part of the list was missed.
func TestConfigureRemoves(t *testing.T) {
	r := newRig(t, script(63, 8)) // indexes 1, 2 and 3, made in term 1
	r.run(func() { t.Fatal("died") })
	count := func() int {
		t.Helper()
		r.turnOver()
		ids, err := commitlog.ListIndexes(vfs.Reading(r.fs))
		if err != nil {
			t.Fatal(err)
		}
		return len(ids)
	}
	second := ipc.Configure{Term: 5, Part: 1, Parts: 2, Settings: []ipc.IndexSettings{{Index: 1}}}
	r.put(ipc.TypeConfigure, second.Append(nil))
	if n := count(); n != 3 {
		t.Fatalf("after the second part alone there are %d indexes", n)
	}
	r.configure(1, 9, ipc.IndexSettings{Index: 1})
	if n := count(); n != 3 {
		t.Fatalf("after a list of the term that made them there are %d indexes", n)
	}
	r.configure(2, 1, ipc.IndexSettings{Index: 1}, ipc.IndexSettings{Index: 7})
	if n := count(); n != 2 {
		t.Fatalf("after a list of two there are %d indexes", n)
	}
}

// TestDataDirectory shows what persistsrv says of directories that it cannot use.
func TestDataDirectory(t *testing.T) {
	start := func(dir string) error {
		fs, err := vfs.NewOS(dir)
		if err != nil {
			return err
		}
		r := newRig(t, nil)
		r.fs = fs
		if err = r.start(); err == nil {
			t.Cleanup(func() { r.sh.Close() })
		}
		return err
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := start(file); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("a file: %v", err)
	}
	if err := start(dir); err == nil || !strings.Contains(err.Error(), "not TriMQ's (file)") {
		t.Errorf("a directory of somebody else: %v", err)
	}
	good := filepath.Join(dir, "a", "b")
	if err := start(good); err != nil {
		t.Errorf("a directory to be made: %v", err)
	}
	if err := start(good); !errors.Is(err, vfs.ErrLocked) || !strings.Contains(err.Error(), "another persistsrv") {
		t.Errorf("a directory in use: %v", err)
	}
	for name, content := range map[string]string{
		"commitlog/notes.txt": "", "index/notes.txt": "", commitlog.MarkerName: "TriMQ data directory, format 99\n",
	} {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := start(dir); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) {
			t.Errorf("with a foreign %s: %v", name, err)
		}
	}
}

// TestReadOnly shows that a file system that cannot be written to is named at the start.
func TestReadOnly(t *testing.T) {
	r := newRig(t, nil)
	r.mem.SetFault(func(c vfs.Call) error {
		if c.Changes() && c.Op != "sync" && c.Op != "syncdir" && c.Op != "lock" {
			return fs.ErrPermission
		}
		return nil
	})
	if err := r.start(); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "data directory") {
		t.Fatal(err)
	}
}
