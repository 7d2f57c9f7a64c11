package replay

import (
	"bytes"
	"strings"
	"testing"

	"github.com/trimq/trimq/logicsrv/core"
	"github.com/trimq/trimq/protocol/commitlog"
	"github.com/trimq/trimq/protocol/journal"
)

// TestStateAt: the state at each LSN is the one that lived, from whichever checkpoint.
func TestStateAt(t *testing.T) {
	h := sample(t)
	for _, stored := range []uint64{0, 3, 7} {
		if stored > 0 {
			h.store(stored, h.live[stored])
		}
		for lsn := uint64(1); lsn <= 10; lsn++ {
			c, err := State(h.files, lsn)
			if err != nil || !bytes.Equal(c.Checkpoint(nil), h.live[lsn]) {
				t.Fatalf("lsn=%d, newest checkpoint lsn=%d: %v", lsn, stored, err)
			}
		}
		if c, err := State(h.files, End); err != nil || c.LSN() != 10 {
			t.Fatalf("the end: %v", err)
		}
	}
	if _, err := State(h.files, 11); err == nil || !strings.Contains(err.Error(), "no state at lsn 11: the log ends at lsn 10") {
		t.Errorf("beyond the end: %v", err)
	}
}

// TestVerify: nothing is wrong with sound checkpoints; each thing that can be is found.
func TestVerify(t *testing.T) {
	faults := func(h *history) (text string) {
		checked, err := Verify(h.files)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checked {
			if c.Wrong != nil {
				text += c.What + ": " + c.Wrong.Error() + "\n"
			}
		}
		return text
	}
	sound := func() *history {
		h := sample(t)
		for _, lsn := range []uint64{3, 5, 8} {
			h.store(lsn, h.live[lsn])
		}
		return h
	}
	if text := faults(sound()); text != "" {
		t.Fatal(text)
	}
	if checked, _ := Verify(sound().files); len(checked) != 3+2+1 {
		t.Errorf("%+v", checked)
	}
	for want, harm := range map[string]func(h *history){
		"checkpoint lsn=5: checkpoint/checkpoint-00000000000000000005.ckpt: damaged checkpoint: CRC": func(h *history) {
			h.files[commitlog.CheckpointName(5)][70] ^= 1
		},
		"checkpoint lsn=3 and the log give checkpoint lsn=5: they give another state": func(h *history) {
			forged, err := core.Load(core.Config{}, h.live[5])
			if err != nil {
				t.Fatal(err)
			}
			blob := bytes.Replace(forged.Checkpoint(nil), []byte("\x01t"), []byte("\x01u"), 1)
			h.files[commitlog.CheckpointName(5)] = journal.AppendCheckpoint(nil, 5, 6, blob)
		},
		"checkpoint lsn=8: checkpoint/checkpoint-00000000000000000008.ckpt: checkpoint: lsn 5 in a file named 8": func(h *history) {
			h.files[commitlog.CheckpointName(8)] = h.files[commitlog.CheckpointName(5)]
		},
		"from checkpoint lsn=8 and the rest of the log: ": func(h *history) {
			name := commitlog.SegmentName(h.segment.Position)
			b := h.files[name]
			at := bytes.LastIndex(b, []byte(journal.DiskMagic))
			at = bytes.LastIndex(b[:at], []byte(journal.DiskMagic)) // of lsn 9
			b[at+30] ^= 1
		},
	} {
		h := sound()
		harm(h)
		if text := faults(h); !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}
