package replay

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// TestMain lets the test be the child as well. A child whose data directory is named "hang" does.
func TestMain(m *testing.M) {
	if !Asked(os.Args) {
		os.Exit(m.Run())
	}
	if len(os.Args) > 2 && filepath.Base(os.Args[2]) == "hang" {
		time.Sleep(time.Hour)
	}
	os.Exit(Child(os.Args, os.Stdout, os.Stderr))
}

// TestProcess: a child makes what the process itself would make, again and again into the same
// memory.
func TestProcess(t *testing.T) {
	h := sample(t)
	h.store(2, h.live[2])
	p := Process{Path: Self, Data: h.files.dump(t)}
	var spare []byte
	for _, lsn := range []uint64{2, 7, 10} {
		r, err := p.Make(t.Context(), lsn, spare)
		if err != nil || !bytes.Equal(r.Blob, h.live[lsn]) || r.Passed != nil {
			t.Fatalf("lsn=%d: %v, passed over: %v\nmade %x\nlive %x", lsn, err, r.Passed, r.Blob, h.live[lsn])
		}
		if r.Processor <= 0 {
			t.Errorf("it took %v of a processor", r.Processor)
		}
		spare = r.Blob
	}
}

// TestProcessPassesOver: the child says which checkpoint it could not use.
func TestProcessPassesOver(t *testing.T) {
	h := sample(t)
	h.store(2, h.live[2])
	h.store(3, h.live[3])
	name := commitlog.CheckpointDir + "/" + journal.CheckpointName(3)
	h.files[name][60] ^= 1
	r, err := Process{Path: Self, Data: h.files.dump(t)}.Make(t.Context(), 10, nil)
	if err != nil || !bytes.Equal(r.Blob, h.live[10]) || r.Passed == nil || !strings.Contains(r.Passed.Error(), name) {
		t.Fatalf("%v, passed over: %v", err, r.Passed)
	}
}

// TestProcessFails: what the child has to say about it is in the error.
func TestProcessFails(t *testing.T) {
	h := sample(t)
	dir := h.files.dump(t)
	for name, c := range map[string]struct {
		p    Process
		want string
	}{
		"the log is too short": {Process{Path: Self, Data: dir}, "it ends before lsn=11"},
		"of another shard":     {Process{Path: Self, Data: dir, Shard: 7}, "is of shard 0, not 7"},
		"no such program":      {Process{Path: dir + "/none", Data: dir}, "start the process that replays"},
		"another program":      {Process{Path: "/bin/true", Data: dir}, "unexpected EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := c.p.Make(t.Context(), 11, nil); err == nil || !strings.Contains(err.Error(), c.want) || r.Blob != nil {
				t.Errorf("%d bytes, %v; want %q", len(r.Blob), err, c.want)
			}
		})
	}
}

// TestProcessIsKilled: the end of the context is the end of the child.
func TestProcessIsKilled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hang")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := (Process{Path: Self, Data: dir}).Make(ctx, 1, nil); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Error(err)
	}
}

// TestChildRefuses: nobody else is to call it, and what is wrong is said.
func TestChildRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "for logicsrv's own use"},
		{"dir 0", "for logicsrv's own use"},
		{"dir x 1", `shard "x"`},
		{"dir 4294967296 1", `shard "4294967296"`},
		{"dir 0 -1", `lsn "-1"`},
	} {
		var out, say bytes.Buffer
		err := child(strings.Fields(c.args), &out, &say)
		if err == nil || !strings.Contains(err.Error(), c.want) || out.Len() > 0 {
			t.Errorf("%q: %v; want %q", c.args, err, c.want)
		}
	}
	if Asked([]string{"logicsrv"}) || Asked([]string{"logicsrv", "-config", "replay"}) || !Asked([]string{"logicsrv", "replay"}) {
		t.Error("a daemon is taken for a child, or a child for a daemon")
	}
}

// TestReceive: memory is used again where it is large enough, however the bytes come in.
func TestReceive(t *testing.T) {
	blob := bytes.Repeat([]byte("state"), 100_000)
	file := journal.AppendCheckpoint(nil, 5, 0, blob)
	for _, spare := range [][]byte{nil, make([]byte, 3), make([]byte, 10, len(file)), make([]byte, 1<<20)} {
		got, err := receive(iotest.HalfReader(bytes.NewReader(file)), 5, spare)
		if err != nil || !bytes.Equal(got, blob) {
			t.Fatalf("spare of %d bytes: %v", cap(spare), err)
		}
		if cap(spare) >= len(file) && &got[0] != &spare[:cap(spare)][journal.CheckpointHeaderSize] {
			t.Errorf("spare of %d bytes is not used", cap(spare))
		}
	}
	if _, err := receive(bytes.NewReader(file), 6, nil); err == nil || !strings.Contains(err.Error(), "lsn=5") {
		t.Error(err)
	}
}

// FuzzReceive: whatever comes from a child, it is a checkpoint as it was sent, or an error.
func FuzzReceive(f *testing.F) {
	file := journal.AppendCheckpoint(nil, 5, 0, []byte("the state of logicsrv"))
	f.Add(file)
	f.Add(file[:30])
	f.Add([]byte(nil))
	f.Add(append(bytes.Repeat([]byte{0xff}, journal.CheckpointHeaderSize), 1))
	f.Fuzz(func(t *testing.T, b []byte) {
		blob, err := receive(bytes.NewReader(b), 5, nil)
		if err != nil {
			return
		}
		_, from, sent, err := journal.DecodeCheckpoint(b[:journal.CheckpointHeaderSize+len(blob)])
		if err != nil || !bytes.Equal(sent, blob) || !bytes.HasPrefix(b, journal.AppendCheckpoint(nil, 5, from, blob)) {
			t.Errorf("%x became %x", b, blob)
		}
	})
}
