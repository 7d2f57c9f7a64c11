package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/journal"
	"github.com/trimq/trimq/shmqueue"
	"golang.org/x/sys/unix"
)

// memory is the shared memory of a broker that is not there: this process holds all ends.
type memory struct {
	base     int
	rings    map[string]*shmqueue.Segment
	produce  map[string]*shmqueue.Producer
	consume  map[string]*shmqueue.Consumer
	detached bool
}

func newMemory(t *testing.T) *memory {
	t.Helper()
	m := &memory{
		base: 0x20000000 + rand.IntN(1<<28)*4, rings: map[string]*shmqueue.Segment{},
		produce: map[string]*shmqueue.Producer{}, consume: map[string]*shmqueue.Consumer{},
	}
	t.Cleanup(func() {
		m.detach()
		for _, s := range segments(m.base) {
			if in, err := shmqueue.Stat(s.key); err == nil {
				_, _ = unix.SysvShmCtl(in.ID, 0, nil) // IPC_RMID, whatever it holds by now
			}
		}
	})
	for _, s := range segments(m.base) {
		if !s.ring() {
			metrics, err := shmqueue.AttachMetrics(s.key, true)
			if err != nil {
				t.Fatal(err)
			}
			_ = metrics.Detach()
			continue
		}
		seg, err := shmqueue.Attach(s.key, 4096, true)
		if err != nil {
			t.Fatal(err)
		}
		seg.Ring().Word(shmqueue.WordIdentity).Store(77)
		m.rings[s.name] = seg
		var errs [2]error
		m.produce[s.name], errs[0] = seg.Ring().Producer()
		m.consume[s.name], errs[1] = seg.Ring().Consumer()
		if err := errors.Join(errs[:]...); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

func (m *memory) detach() {
	if !m.detached {
		for _, s := range m.rings {
			_ = s.Detach()
		}
	}
	m.detached = true
}

// put puts a record into a ring.
func (m *memory) put(t *testing.T, ring string, typ ipc.Type, payload []byte) {
	t.Helper()
	if _, err := m.produce[ring].Put(uint16(typ), 0, payload); err != nil {
		t.Fatal(err)
	}
}

// run runs `trimq shm`.
func (m *memory) run(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	return program(t, "", append(append([]string{"shm"}, args...), "--shm-key-base", fmt.Sprint(m.base))...)
}

// some puts a record into each ring.
func (m *memory) some(t *testing.T) {
	t.Helper()
	head := ipc.Head{Epoch: 3, Conn: 5<<8 | 1, Req: 9}
	m.put(t, "requests", ipc.TypeWait, (&ipc.Wait{Head: head, Index: 4, Beyond: 100}).Append(nil))
	m.put(t, "responses", ipc.TypeError, (&ipc.Error{Head: head, Code: 7, Text: "no \x1b[2J"}).Append(nil))
	m.put(t, "log", ipc.TypeEntry, (&journal.Entry{LSN: 12, Term: 2, Level: ipc.LevelDisk}).AppendRing(nil))
}

func TestShmShow(t *testing.T) {
	m := newMemory(t)
	m.some(t)
	m.rings["log"].Ring().Word(shmqueue.WordStatus).Store(1<<0 | 1<<4)
	code, out, errs := m.run(t, "show")
	if code != 0 {
		t.Fatal(code, errs)
	}
	me := os.Getpid()
	for _, want := range []string{
		"requests: ring, key ", "responses: ring, key ", "log: ring, key ", "metrics: metrics, key ",
		fmt.Sprintf("connsrv: pid %d, alive, epoch 1, since ", me), "head (released) 0, read kept by the consumer, tail (claimed) 64: 64 bytes in use, 1.6%",
		"read 0, tail", "logicsrv is awake", "status 17 (disk full, recovered)", "identity 0x4d", "records read", "nonce 0x",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	for ring, want := range map[string]string{
		"requests": "0 64 Wait 1:5/9 Index:4 Beyond:100", "responses": `Text:no \x1b[2J`,
		"log": "LSN:12 Term:2 Level:3 ",
	} {
		if code, out, errs := m.run(t, "show", ring); code != 0 || !strings.Contains(strings.Join(strings.Fields(out), " "), want) || strings.Count(out, ": ring, ") != 1 {
			t.Errorf("%s: exit code %d, %s\n%s", ring, code, errs, out)
		}
	}
	var views []shownView
	code, out, errs = m.run(t, "show", "responses", "--json")
	if err := json.Unmarshal([]byte(out), &views); code != 0 || err != nil {
		t.Fatal(code, errs, err)
	}
	if v := views[0]; v.Ring == nil || v.Ring.Producer.Daemon != "logicsrv" || len(v.InFlight) != 1 || v.InFlight[0].Type != "Error" || v.InFlight[0].Req != 9 {
		t.Errorf("%+v", v)
	}
	if code, out, _ := m.run(t, "ls"); code != 0 || strings.Count(out, fmt.Sprintf("%d alive", me)) != 6 || strings.Count(out, "\n") != 5 {
		t.Errorf("ls: exit code %d\n%s", code, out)
	}
}

// TestShmShowBadBytes: what cannot be decoded is shown as it is.
func TestShmShowBadBytes(t *testing.T) {
	m := newMemory(t)
	m.put(t, "requests", ipc.TypeWait, []byte("short"))
	m.put(t, "requests", 999, []byte{1, 2})
	m.put(t, "log", ipc.TypeEntry, []byte("no entry"))
	code, out, errs := m.run(t, "show", "requests")
	if code != 0 || !strings.Contains(out, "BAD: malformed record: wait: 73686f7274") || !strings.Contains(out, "type 999") {
		t.Errorf("exit code %d, %s\n%s", code, errs, out)
	}
	if code, out, errs = m.run(t, "verify"); code != exitFailed || strings.Count(out, "ERROR  requests: record at ") != 2 || strings.Count(out, "ERROR  log: record at ") != 1 {
		t.Errorf("verify: exit code %d, %s\n%s", code, errs, out)
	}
}

func TestShmVerify(t *testing.T) {
	m := newMemory(t)
	m.some(t)
	if code, out, errs := m.run(t, "verify"); code != 0 || strings.Count(out, ": sound;") != 4 {
		t.Fatalf("sound: exit code %d, %s\n%s", code, errs, out)
	}
	for _, tt := range []struct {
		want string
		harm func() (undo func())
	}{
		{"ERROR  log: word synced is 9, above written, which is 0", m.word("log", shmqueue.WordSynced, 9)},
		{"ERROR  log: word read is 999, beyond the tail", m.word("log", shmqueue.WordRead, 999)},
		{"ERROR  log: word status has unknown bits 0x400", m.word("log", shmqueue.WordStatus, 1<<10)},
		{"ERROR  requests: word 4 is 8, and has no meaning in this ring", m.word("requests", shmqueue.WordFirstLSN, 8)},
		{"ERROR  responses: identity: this is another broker's", m.word("responses", shmqueue.WordIdentity, 5)},
	} {
		undo := tt.harm()
		code, out, _ := m.run(t, "verify")
		if code != exitFailed || !strings.Contains(out, tt.want) {
			t.Errorf("%s: exit code %d\n%s", tt.want, code, out)
		}
		undo()
	}
	m.put(t, "requests", ipc.TypeMarker, (&ipc.Marker{Term: 1, Ask: 1}).Append(nil))
	if _, out, _ := m.run(t, "verify"); !strings.Contains(out, "ERROR  requests: record at 64 is a Marker, which has no business in this ring") {
		t.Errorf("a record of another ring:\n%s", out)
	}
	if _, err := m.produce["responses"].Claim(8, uint16(ipc.TypeMarker), 0); err != nil {
		t.Fatal(err)
	}
	if _, out, _ := m.run(t, "verify", "responses"); !strings.Contains(out, "note   responses: position ") || !strings.Contains(out, "may yet publish it") {
		t.Errorf("a claim:\n%s", out)
	}
}

// word is a harm that sets a word, and can be undone.
func (m *memory) word(ring string, w shmqueue.Word, v uint64) func() func() {
	return func() func() {
		p := m.rings[ring].Ring().Word(w)
		was := p.Swap(v)
		return func() { p.Store(was) }
	}
}

// TestShmForeign: a segment of another program's is named, and never touched; neither is one that
// is in use.
func TestShmForeign(t *testing.T) {
	m := newMemory(t)
	if code, _, errs := m.run(t, "rm"); code != exitFailed || !strings.Contains(errs, "is in use: 1 attachments") {
		t.Errorf("in use: exit code %d, %s", code, errs)
	}
	m.detach()
	key := segments(m.base)[1].key
	if err := shmqueue.Remove(key); err != nil {
		t.Fatal(err)
	}
	id, err := unix.SysvShmGet(key, 8192, 0o1000|0o600)
	if err != nil {
		t.Fatal(err)
	}
	mem, err := unix.SysvShmAttach(id, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(mem, "somebody else's bytes")
	_ = unix.SysvShmDetach(mem)
	for _, args := range []string{"show responses", "verify responses", "tail responses", "watch"} {
		code, out, errs := m.run(t, strings.Fields(args)...)
		if text := out + errs; code != exitFailed || !strings.Contains(text, "not TriMQ's") && !strings.Contains(text, "is not what is looked for") {
			t.Errorf("%s: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	if code, out, _ := m.run(t, "ls"); code != 0 || !strings.Contains(out, "foreign") {
		t.Errorf("ls: exit code %d\n%s", code, out)
	}
	if code, out, errs := m.run(t, "rm"); code != exitFailed || strings.Count(out, "is removed") != 3 || !strings.Contains(errs, "is left alone") {
		t.Errorf("rm: exit code %d, %s\n%s", code, errs, out)
	}
}

func TestShmTail(t *testing.T) {
	m := newMemory(t)
	m.some(t)
	code, out, errs := m.run(t, "tail", "requests", "--count", "1")
	if code != 0 || out != "0 64 Wait 1:5/9 Index:4 Beyond:100\n" {
		t.Fatalf("exit code %d, %q, %s", code, out, errs)
	}
	var lines []string
	ring := m.rings["responses"].Ring()
	f := &follower{
		ring: ring, most: 3, pos: ring.Head(),
		show: func(v recordView) { lines = append(lines, v.text()) },
		say:  func(format string, args ...any) { lines = append(lines, fmt.Sprintf("… "+format, args...)) },
	}
	look := func(want ...string) {
		t.Helper()
		lines = nil
		if _, err := f.look(0); err != nil {
			t.Fatal(err)
		}
		if len(lines) != len(want) {
			t.Fatalf("%q, want %q", lines, want)
		}
		for i := range want {
			if !strings.Contains(lines[i], want[i]) {
				t.Errorf("%q, want %q", lines[i], want[i])
			}
		}
	}
	turn := func(n int) {
		for range n {
			m.put(t, "responses", ipc.TypeMarker, (&ipc.Marker{Term: 1, Ask: 1}).Append(nil))
			for rec, ok := m.consume["responses"].Next(); ok; rec, ok = m.consume["responses"].Next() {
				m.consume["responses"].Release(rec.End)
			}
		}
	}
	look("Error")
	look()
	turn(2) // released before anybody looked: they are there all the same
	look("Marker", "Marker")
	turn(5) // too many for one look
	look("Marker", "Marker", "Marker", "… 64 bytes of records are not shown: there were too many")
	turn(200) // more than the ring holds
	look("… 6400 bytes of records are not shown: their place was claimed again")
	turn(1)
	look("Marker")
	if _, err := m.produce["responses"].Claim(8, uint16(ipc.TypeMarker), 0); err != nil {
		t.Fatal(err)
	}
	look()
	f.pos = ring.Tail() + 32 // where it would be if what it has seen were cut off
	look("… the end of the ring was taken over")
}

func TestShmWatch(t *testing.T) {
	m := newMemory(t)
	m.some(t)
	code, out, errs := m.run(t, "watch", "--interval", "10ms", "--count", "2")
	if code != 0 || strings.Count(out, "RECORDS/S") != 2 || strings.Count(out, "log: written lsn 0") != 2 || strings.Contains(out, "\x1b") {
		t.Fatalf("exit code %d, %s\n%s", code, errs, out)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var text, wrong bytes.Buffer // Ctrl-C is the way to end it
	if code := run(ctx, []string{"trimq", "shm", "watch", "--shm-key-base", fmt.Sprint(m.base)}, nil, &text, &wrong); code != 0 {
		t.Errorf("ended: exit code %d, %s", code, wrong.String())
	}
	if code, _, errs := program(t, "", "shm", "watch", "--shm-key-base", "2000000001"); code != exitFailed || !strings.Contains(errs, "does not exist") {
		t.Errorf("of nothing: exit code %d, %s", code, errs)
	}
}

// TestAlive tells a process from one that is gone, and from one that has its number now.
func TestAlive(t *testing.T) {
	if !alive(os.Getpid(), time.Now()) || alive(os.Getpid(), time.Now().Add(-24*365*time.Hour)) || alive(0, time.Now()) {
		t.Error("this process")
	}
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if alive(cmd.Process.Pid, time.Now()) {
		t.Errorf("pid %d has ended", cmd.Process.Pid)
	}
}
