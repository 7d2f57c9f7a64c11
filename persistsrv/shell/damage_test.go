package shell

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/shmqueue"
)

// finished runs a script to its end and stops persistsrv.
func finished(t *testing.T, seed uint64) *rig {
	r := newRig(t, script(seed, 90))
	r.run(func() { t.Fatal("died") })
	if err := errors.Join(r.sh.Finish(), r.sh.Close()); err != nil {
		t.Fatal(err)
	}
	r.sh = nil
	return r
}

// flip changes one byte of a file.
func (r *rig) flip(name string, off int64) {
	r.t.Helper()
	harm(r.t, r.fs, name, off)
}

// places lists where the entries lie.
func (r *rig) places() (ps []commitlog.Place, lsns []uint64) {
	rd, err := commitlog.NewReader(vfs.Reading(r.mem), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	for {
		e, p, err := rd.Next()
		if err != nil {
			return ps, lsns
		}
		ps, lsns = append(ps, p), append(lsns, e.LSN)
	}
}

// restart starts persistsrv again with a log that can be looked at.
func (r *rig) restart() string {
	r.t.Helper()
	var text bytes.Buffer
	r.mem.Kill()
	sh, err := New(Options{
		FS: r.mem, RingA: r.ringA, RingC: r.ringC, Settings: r.set, Now: func() int64 { return r.now }, Salt: r.salts.Uint64,
		Log: slog.New(slog.NewTextHandler(&text, nil)),
	})
	if err != nil {
		r.t.Fatal(err)
	}
	r.sh = sh
	return text.String()
}

// TestDamageInTheMiddle damages each entry in turn, in its head and in its bodies. Persistsrv
// starts, says where the damage is, and all other entries can be read.
func TestDamageInTheMiddle(t *testing.T) {
	whole := finished(t, 20)
	places, lsns := whole.places()
	for i, p := range places[:len(places)-1] {
		for _, off := range []int64{8, int64(p.HeadLen) - 3, int64(p.HeadLen) + 20} {
			if off >= int64(p.Length) || off > int64(p.HeadLen) && len(whole.turns[lsns[i]-1].bodies) == 0 {
				continue
			}
			r := finished(t, 20)
			r.flip(p.Segment, p.Offset+off)
			if err := r.mem.Remove(commitlog.IndexCheckpointName); err != nil {
				t.Fatal(err) // so that the whole log is read
			}
			text := r.restart()
			d := r.sh.Damages()
			if len(d) != 1 || d[0].Segment != p.Segment || d[0].Position != p.Position || d[0].LSN != lsns[i] || d[0].End != p.Position+uint64(p.Length) {
				t.Fatalf("lsn %d at %+v: damages %+v", lsns[i], p, d)
			}
			if !strings.Contains(text, "level=ERROR") || !strings.Contains(text, p.Segment) {
				t.Fatalf("the log file does not say it: %s", text)
			}
			if r.ringC.Word(shmqueue.WordStatus).Load()&StatusDamaged == 0 {
				t.Fatal("the status does not say it")
			}
			if w := r.sh.Log().Written(); w != 90 {
				t.Fatalf("lsn %d damaged: the log ends at %d", lsns[i], w)
			}
			if off > int64(p.HeadLen) {
				r.checkMarks()
			}
			r.readAround(lsns[0], lsns[i], off > int64(p.HeadLen))
		}
	}
}

// readAround reads the whole log but for one damaged entry.
func (r *rig) readAround(from, lsn uint64, body bool) {
	r.t.Helper()
	rd, err := commitlog.NewReader(vfs.Reading(r.mem), 0)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rd.Close()
	rd.VerifyBodies(true)
	var d *commitlog.Damage
	for want := from; want <= uint64(len(r.turns)); want++ {
		e, _, err := rd.Next()
		if want == lsn {
			if !errors.As(err, &d) || d.LSN != lsn || d.NextLSN != lsn+1 {
				r.t.Fatalf("lsn %d is damaged, the reader says %v", lsn, err)
			}
			continue
		}
		if err != nil || e.LSN != want {
			r.t.Fatalf("lsn %d: %v", want, err)
		}
	}
}

// TestSegmentHeaderDamage damages the header of each segment, and with it the salt that proves
// its entries. The index checkpoint has it too; without that one, what is lost is told.
func TestSegmentHeaderDamage(t *testing.T) {
	segs, err := commitlog.ListSegments(vfs.Reading(finished(t, 20).mem))
	if err != nil || len(segs) < 3 {
		t.Fatal(segs, err)
	}
	for i, seg := range segs {
		for _, known := range []bool{true, false} {
			r := finished(t, 20)
			r.flip(seg.Name, 50) // in the salt
			if !known {
				if err := r.mem.Remove(commitlog.IndexCheckpointName); err != nil {
					t.Fatal(err)
				}
			}
			// As after a reboot: no cursor tells what was synced.
			r.ringC.Word(shmqueue.WordSynced).Store(0)
			r.ringC.Word(shmqueue.WordWritten).Store(0)
			text := r.restart()
			if d := r.sh.Damages(); (len(d) == 0 || d[0].Segment != seg.Name) && (!known || seg.End > seg.Position && i+1 < len(segs)) {
				t.Errorf("segment %d, salt known %v: damages %+v", i, known, d)
			}
			if !strings.Contains(text, seg.Name) && !known {
				t.Errorf("segment %d: the log file does not say it: %s", i, text)
			}
			if _, lsns := r.places(); known && (len(lsns) == 0 || lsns[len(lsns)-1] != 90) {
				t.Errorf("segment %d: the reader reads lsn %d", i, lsns)
			}
			if w := r.sh.Log().Written(); w != 90 && (known || i+1 < len(segs)) {
				t.Errorf("segment %d, salt known %v: the log ends at %d", i, known, w)
			}
		}
	}
}

// TestIndexDamage damages or removes files of indexes: they are made anew from the log.
func TestIndexDamage(t *testing.T) {
	for name, harm := range map[string]func(r *rig, file string){
		"header":  func(r *rig, file string) { r.flip(file, 17) },
		"entry":   func(r *rig, file string) { r.flip(file, commitlog.IndexHeaderSize+3) },
		"missing": func(r *rig, file string) { _ = r.mem.Remove(file) },
		"emptied": func(r *rig, file string) { f, _ := r.mem.Open(file); _ = f.Truncate(0) },
		"shorter": func(r *rig, file string) { f, _ := r.mem.Open(file); _ = f.Truncate(commitlog.IndexHeaderSize + 30) },
		"rubbish": func(r *rig, file string) {
			f, _ := r.mem.Open(file)
			_, _ = f.WritevAt([][]byte{make([]byte, 300)}, 20)
		},
		"no index": func(r *rig, file string) { _ = r.sh },
	} {
		t.Run(name, func(t *testing.T) {
			r := finished(t, 21)
			fsys := vfs.Reading(r.mem)
			ids, err := commitlog.ListIndexes(fsys)
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range ids {
				bases, err := commitlog.ListIndexFiles(fsys, id)
				if err != nil {
					t.Fatal(err)
				}
				harm(r, commitlog.IndexName(id, bases[0]))
			}
			r.restart()
			r.checkIndexes(90)
			if rebuilt := r.sh.Log().Stats().Rebuilt; rebuilt == 0 && name != "no index" {
				t.Fatal("nothing was rebuilt")
			}
			if d := r.sh.Damages(); len(d) > 0 {
				t.Fatal(d)
			}
		})
	}
}

// TestCheckpointDamage shows that without a good index checkpoint the log is read from its
// beginning, and that a damaged checkpoint of logicsrv gives way to the older one.
func TestCheckpointDamage(t *testing.T) {
	r := finished(t, 22)
	r.flip(commitlog.IndexCheckpointName, 50)
	lsns, err := commitlog.ListCheckpoints(vfs.Reading(r.mem))
	if err != nil || len(lsns) != 2 {
		t.Fatal(lsns, err)
	}
	r.flip(commitlog.CheckpointName(lsns[1]), 60)
	r.restart()
	r.checkIndexes(90)
	if s := r.sh.Log().Stats(); s.RecoveredFrom != 0 {
		t.Fatalf("read from %d", s.RecoveredFrom)
	}
	blob, lsn, _, err := commitlog.LatestCheckpoint(vfs.Reading(r.mem))
	if err == nil || lsn != lsns[0] || !bytes.Equal(blob, r.turns[lsn-1].state) {
		t.Fatalf("checkpoint %d, error %v", lsn, err)
	}
}

// TestLostEnd takes away what was synced: the end of a segment's file, a whole segment, all
// of the log. Persistsrv starts and says so.
func TestLostEnd(t *testing.T) {
	for name, harm := range map[string]func(r *rig, segs []commitlog.SegmentFile){
		"end of the last": func(r *rig, segs []commitlog.SegmentFile) {
			f, _ := r.mem.Open(segs[len(segs)-1].Name)
			_ = f.Truncate(segs[len(segs)-1].Size - 100)
		},
		"last":   func(r *rig, segs []commitlog.SegmentFile) { _ = r.mem.Remove(segs[len(segs)-1].Name) },
		"middle": func(r *rig, segs []commitlog.SegmentFile) { _ = r.mem.Remove(segs[len(segs)/2].Name) },
		"end of the middle": func(r *rig, segs []commitlog.SegmentFile) {
			f, _ := r.mem.Open(segs[len(segs)/2].Name)
			_ = f.Truncate(segs[len(segs)/2].Size - 64)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := finished(t, 23)
			segs, err := commitlog.ListSegments(vfs.Reading(r.mem))
			if err != nil || len(segs) < 4 {
				t.Fatal(len(segs), err)
			}
			harm(r, segs)
			r.boot()
			r.restart()
			if len(r.sh.Damages()) == 0 {
				t.Fatal("nothing is reported")
			}
			for range 3 { // and it works
				if _, err := r.sh.Step(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
