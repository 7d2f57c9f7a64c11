package shmqueue

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawSegment makes a segment without the help of this package, as another program would.
func rawSegment(t *testing.T, key, size, mode int) []byte {
	t.Helper()
	id, err := unix.SysvShmGet(key, size, ipcCreat|ipcExcl|mode)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.SysvShmDetach(mem) })
	return mem
}

func TestSegmentLivesOn(t *testing.T) {
	key := freshKey(t)
	if _, err := Attach(key, 4096, false); !errors.Is(err, ErrNoSegment) {
		t.Fatalf("attach to nothing gave %v", err)
	}
	s, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	if !s.Created() || s.Recovered() || s.Key() != key {
		t.Fatalf("created %v, recovered %v, key %d", s.Created(), s.Recovered(), s.Key())
	}
	p, err := s.Ring().Producer()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Put(1, 0, []byte("stays")); err != nil {
		t.Fatal(err)
	}
	nonce := s.Ring().Nonce()
	if err := errors.Join(s.Check(), s.Detach(), s.Detach()); err != nil {
		t.Fatal(err)
	}
	again, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Detach() }()
	if again.Created() || again.Ring().Nonce() != nonce {
		t.Fatal("the second attach made a new ring")
	}
	c, err := again.Ring().Consumer()
	if err != nil {
		t.Fatal(err)
	}
	if rec, ok := c.Next(); !ok || string(rec.Payload) != "stays" {
		t.Fatalf("next gave %+v, %v", rec, ok)
	}
	info, err := Stat(key)
	if err != nil || info.Kind != "ring" || info.Attached != 1 || info.Mode != 0o600 || info.Size != uint64(MemorySize(4096)) || info.UID != os.Geteuid() || info.CreatorPID != os.Getpid() {
		t.Fatalf("Stat gave %+v, %v", info, err)
	}
	if err := Remove(key); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Fatalf("removing a segment in use gave %v", err)
	}
	if err := again.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := again.Check(); err == nil || !strings.Contains(err.Error(), "was removed") {
		t.Fatalf("Check of a removed segment gave %v", err)
	}
}

func TestRemove(t *testing.T) {
	key := freshKey(t)
	if err := Remove(key); !errors.Is(err, ErrNoSegment) {
		t.Fatalf("removing nothing gave %v", err)
	}
	s, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Detach(); err != nil {
		t.Fatal(err)
	}
	if err := Remove(key); err != nil {
		t.Fatal(err)
	}
	if _, err := Stat(key); !errors.Is(err, ErrNoSegment) {
		t.Fatalf("after Remove, Stat gave %v", err)
	}
	foreign := freshKey(t)
	rawSegment(t, foreign, 9000, 0o600)[3] = 1
	if err := Remove(foreign); err == nil || !strings.Contains(err.Error(), "not TriMQ's") {
		t.Fatalf("removing a foreign segment gave %v", err)
	}
}

// TestForeignSegments shows that whatever is not a ring of ours is refused, with the key, the
// reason and a way out, and left as it was.
func TestForeignSegments(t *testing.T) {
	size := MemorySize(4096)
	for _, tt := range []struct {
		name  string
		size  int
		mode  int
		write func(mem []byte)
		want  string
	}{
		{"other size", size + 4096, 0o600, nil, "bytes, wanted"},
		{"tiny", 100, 0o600, nil, "bytes, wanted"},
		{"open to the group", size, 0o660, nil, "has mode 0660"},
		{"text", size, 0o600, func(mem []byte) { copy(mem, "somebody else's table") }, "magic"},
		{"no magic, used header", size, 0o600, func(mem []byte) { mem[200] = 1 }, "not TriMQ's"},
		{"no magic, used data", size, 0o600, func(mem []byte) { mem[size-1] = 1 }, "not TriMQ's"},
		{"no magic, odd capacity", size, 0o600, func(mem []byte) { mem[17] = 1 }, "not TriMQ's"},
		{"metrics", size, 0o600, func(mem []byte) { complete((*identity)(unsafe.Pointer(&mem[0])), metricsMagic, 4096, nonceBit) }, "magic"},
		{"another version", size, 0o600, func(mem []byte) { _ = Format(mem, 4096, 1); mem[8] = 9 }, "version is 0x9"},
		{"head beyond tail", size, 0o600, func(mem []byte) { _ = Format(mem, 4096, 1); mem[384] = 16 }, "tail is"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			key := freshKey(t)
			mem := rawSegment(t, key, tt.size, tt.mode)
			if tt.write != nil {
				tt.write(mem)
			}
			before := string(mem)
			_, err := Attach(key, 4096, true)
			var segment *SegmentError
			if !errors.As(err, &segment) || segment.Key != key || segment.Mend == "" {
				t.Fatalf("attach gave %#v", err)
			}
			if !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), strconv.Itoa(key)) {
				t.Fatalf("attach says %q, want the key and %q", err, tt.want)
			}
			if string(mem) != before {
				t.Fatal("attach wrote to it")
			}
		})
	}
}

func TestOtherUsersSegment(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a segment away")
	}
	key := freshKey(t)
	s, err := Attach(key, 4096, true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Detach() }()
	var d unix.SysvShmDesc
	if _, err := unix.SysvShmCtl(s.ID(), ipcStat, &d); err != nil {
		t.Fatal(err)
	}
	d.Perm.Uid = 65534
	if _, err := unix.SysvShmCtl(s.ID(), 1 /* IPC_SET */, &d); err != nil {
		t.Fatal(err)
	}
	if _, err := Attach(key, 4096, true); err == nil || !strings.Contains(err.Error(), "belongs to uid 65534, we are uid 0") {
		t.Fatalf("attach gave %v", err)
	}
	look, err := Inspect(key)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = look.Detach() }()
}

func TestBadArguments(t *testing.T) {
	for _, key := range []int{0, -1, 1 << 31} {
		var segment *SegmentError
		if _, err := Attach(key, 4096, true); !errors.As(err, &segment) {
			t.Errorf("key %d gave %v", key, err)
		}
	}
	for _, capacity := range []uint64{0, 1, 255, 4097, 3 << 20, 1 << 40} {
		var segment *SegmentError
		if _, err := Attach(freshKey(t), capacity, true); !errors.As(err, &segment) {
			t.Errorf("capacity %d gave %v", capacity, err)
		}
		var format *FormatError
		if err := Format(make([]byte, 8192), capacity, 1); !errors.As(err, &format) {
			t.Errorf("format with capacity %d gave %v", capacity, err)
		}
	}
}

// TestInspectReadsOnly looks at a ring through a mapping that cannot be written.
func TestInspectReadsOnly(t *testing.T) {
	s, r := sysvRing(t, 4096)
	p, c := ends(t, r)
	for seq := range uint64(5) {
		if _, err := p.Put(2, 7, testRecord(seq)); err != nil {
			t.Fatal(err)
		}
	}
	rec, _ := c.Next()
	c.Release(rec.End)
	look, err := Inspect(s.Key())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = look.Detach() }()
	var seqs []uint64
	err = look.Ring().Walk(func(rec Record) bool {
		seq, err := testSeq(rec.Payload)
		if err != nil {
			t.Error(err)
		}
		seqs = append(seqs, seq)
		return len(seqs) < 3
	})
	if err != nil || fmt.Sprint(seqs) != "[1 2 3]" {
		t.Fatalf("walk gave %v, %v", seqs, err)
	}
	snapshot := look.Ring().Snapshot()
	if snapshot.Records != 1 || snapshot.Producer.PID != os.Getpid() || snapshot.Consumer.Epoch != 1 || snapshot.Used() == 0 || snapshot.Creator != os.Getpid() {
		t.Fatalf("snapshot %+v", snapshot)
	}
}

// TestCreationRace lets many processes create the same segment at once.
func TestCreationRace(t *testing.T) {
	key := freshKey(t)
	const racers = 8
	var children []*child
	for range racers {
		children = append(children, spawn(t, self(t), "race-creator", nil, strconv.Itoa(key)))
	}
	for _, c := range children { // all are up
		if !c.out.Scan() {
			t.Fatal("a racer did not start")
		}
	}
	for _, c := range children {
		if _, err := c.stdin.WriteString("go\n"); err != nil {
			t.Fatal(err)
		}
	}
	nonces := map[uint64]int{}
	created := 0
	for _, c := range children {
		said := c.finish(t)
		for _, nonce := range numbers(t, said, "nonce") {
			nonces[nonce]++
		}
		for _, line := range said {
			if line == "created" {
				created++
			}
		}
	}
	if len(nonces) != 1 || created != 1 {
		t.Fatalf("%d rings, %d creators", len(nonces), created)
	}
}

func init() { roles["race-creator"] = raceCreator }

// raceCreator: KEY. Creates or attaches once it is told to.
func raceCreator(args []string) int {
	key, err := strconv.Atoi(args[0])
	if err != nil {
		return complain(err)
	}
	fmt.Println("up")
	var b [1]byte
	if _, err := os.Stdin.Read(b[:]); err != nil {
		return complain(err)
	}
	s, err := Attach(key, 1<<20, true)
	if err != nil {
		return complain(err)
	}
	if s.Created() {
		fmt.Println("created")
	}
	fmt.Println("nonce", s.Ring().Nonce())
	fmt.Println("end")
	return 0
}
