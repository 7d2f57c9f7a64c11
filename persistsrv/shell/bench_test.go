package shell

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/trimq/trimq/persistsrv/vfs"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
	"golang.org/x/sys/unix"
)

// benchRig appends entries that all refer to one batch in ring 12345.
type benchRig struct {
	b     *testing.B
	ringC *shmqueue.Ring
	prodC *shmqueue.Producer
	sh    *Shell
	entry journal.Entry
	buf   []byte
	dir   string
}

func newBenchRig(b *testing.B, size int) *benchRig {
	dir := b.TempDir()
	fs, err := vfs.NewOS(dir)
	if err != nil {
		b.Fatal(err)
	}
	ringA := heapRing(b, 1<<23, 1)
	r := &benchRig{b: b, ringC: heapRing(b, 1<<20, 2), dir: dir}
	var builder batch.Builder
	for builder.Len()+300 < size {
		builder.Add(1, nil, bytes.Repeat([]byte{'x'}, 250), nil)
	}
	raw := builder.Seal(batch.None, -1, -1, -1)
	prodA, err := ringA.Producer()
	if err != nil {
		b.Fatal(err)
	}
	slot, err := prodA.Claim(len(raw), uint16(ipc.TypeAppend), 0)
	if err != nil {
		b.Fatal(err)
	}
	copy(slot.Payload, raw)
	slot.Publish()
	if r.prodC, err = r.ringC.Producer(); err != nil {
		b.Fatal(err)
	}
	r.sh, err = New(Options{FS: fs, RingA: ringA, RingC: r.ringC, Now: func() int64 { return time.Now().UnixMilli() }, Salt: rand.Uint64})
	if err != nil {
		b.Fatal(err)
	}
	r.entry = journal.Entry{
		Term: 1, Level: ipc.LevelPage, Nonce: ringA.Nonce(), Events: make([]byte, 64),
		Items: []journal.IndexItem{{Index: 1, Count: uint32(builder.Count())}},
		Bodies: []journal.Body{{
			RingPos: slot.PayloadPos, Length: uint32(len(raw)),
			CRC: uint32(raw[17])<<24 | uint32(raw[18])<<16 | uint32(raw[19])<<8 | uint32(raw[20]),
		}},
	}
	return r
}

func (r *benchRig) put(level ipc.Level) {
	e := &r.entry
	e.LSN++
	e.Level = level
	r.buf = e.AppendRing(r.buf[:0])
	if _, err := r.prodC.Put(uint16(ipc.TypeEntry), 0, r.buf); err != nil {
		r.b.Fatal(err)
	}
	e.Items[0].Base += uint64(e.Items[0].Count)
	e.Bodies[0].Base = e.Items[0].Base
}

func (r *benchRig) step() {
	if _, err := r.sh.Step(); err != nil {
		r.b.Fatal(err)
	}
}

// keepSmall gives the disk back what a benchmark has written, so that it may run for long.
func keepSmall(b *testing.B, written int64) bool { return written < 2<<30 }

// BenchmarkAppend brings entries with one batch each from ring 65432 to the page cache, some
// at once as they come under load. raw is one pwrite of the same bytes into a file that is
// written over: no less can be done. The ratio of the two is what counts.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{4 << 10, 64 << 10, 256 << 10} {
		name := map[int]string{4 << 10: "4KiB", 64 << 10: "64KiB", 256 << 10: "256KiB"}[size]
		b.Run(name, func(b *testing.B) {
			r := newBenchRig(b, size)
			bytes := int64(r.entry.Bodies[0].Length)
			b.SetBytes(bytes)
			b.ReportAllocs()
			var written int64
			for b.Loop() {
				r.put(ipc.LevelPage)
				if r.entry.LSN%8 == 0 {
					r.step()
				}
				if written += bytes; !keepSmall(b, written) {
					b.StopTimer()
					r.restart()
					written = 0
					b.StartTimer()
				}
			}
		})
		b.Run(name+"/raw", func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			at := int64(0)
			for b.Loop() {
				if _, err := unix.Pwrite(int(f.Fd()), buf, at); err != nil {
					b.Fatal(err)
				}
				if at += int64(size); at >= 256<<20 {
					b.StopTimer()
					if err := f.Truncate(0); err != nil {
						b.Fatal(err)
					}
					at = 0
					b.StartTimer()
				}
			}
		})
	}
}

// restart removes old segments, which nobody else does here.
func (r *benchRig) restart() {
	names, _ := filepath.Glob(filepath.Join(r.dir, "commitlog", "*.log"))
	for _, n := range names[:len(names)-1] {
		_ = os.Remove(n)
	}
}

// BenchmarkAppendSync is one entry, synced before the next: the way of a single message at
// level disk through this tier. raw is pwrite and fdatasync of the same bytes at a file's end.
func BenchmarkAppendSync(b *testing.B) {
	for _, size := range []int{4 << 10, 256 << 10} {
		name := map[int]string{4 << 10: "4KiB", 256 << 10: "256KiB"}[size]
		b.Run(name, func(b *testing.B) {
			r := newBenchRig(b, size)
			b.SetBytes(int64(r.entry.Bodies[0].Length))
			for b.Loop() {
				r.put(ipc.LevelDisk)
				r.step()
				if err := r.sh.SyncLog(); err != nil {
					b.Fatal(err)
				}
				if r.ringC.Word(shmqueue.WordSynced).Load() != r.entry.LSN {
					b.Fatal("not synced")
				}
			}
		})
		b.Run(name+"/raw", func(b *testing.B) {
			f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
			if err != nil {
				b.Fatal(err)
			}
			defer f.Close()
			buf := make([]byte, size)
			b.SetBytes(int64(size))
			at := int64(0)
			for b.Loop() {
				if _, err := unix.Pwrite(int(f.Fd()), buf, at); err != nil {
					b.Fatal(err)
				}
				if err := unix.Fdatasync(int(f.Fd())); err != nil {
					b.Fatal(err)
				}
				at += int64(size)
			}
		})
	}
}
