package batch_test

import (
	"testing"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/golden"
)

func TestControl(t *testing.T) {
	golden.Check(t, "batch_v2_control", headerLayout+
		"length:1 attributes:1 timestampDelta:1 offsetDelta:1 keyLength:1 key.version:2 key.type:2 valueLength:1 value.version:2 coordinatorEpoch:4 headers:1",
		batch.AppendControl(nil, 77, 3, true, 1_700_000_000_123))
	for _, commit := range []bool{true, false} {
		b := batch.AppendControl([]byte("front"), 77, 3, commit, 1_700_000_000_123)[5:]
		h := batch.Header(b)
		switch got, err := batch.ParseControl(b); {
		case err != nil || got != commit:
			t.Errorf("commit %t reads as %t, %v", commit, got, err)
		case len(b) != batch.ControlSize || h.Size() != batch.ControlSize || batch.Checksum(b) != h.CRC():
			t.Errorf("%d bytes, header says %d, CRC %x", len(b), h.Size(), h.CRC())
		case !h.Control() || !h.Transactional() || h.ProducerID() != 77 || h.ProducerEpoch() != 3 || h.BaseSequence() != -1 || h.Count() != 1:
			t.Errorf("header %x", b[:batch.HeaderSize])
		}
		err := batch.Iterate(b, func(r *batch.Record) error {
			if len(r.Key) != 4 || len(r.Value) != 6 || r.TimeMS != 1_700_000_000_123 {
				t.Errorf("record %+v", r)
			}
			return nil
		})
		if err != nil {
			t.Errorf("the record cannot be read: %v", err)
		}
		if _, err := batch.Validate(b); err == nil {
			t.Error("a client may send a control batch")
		}
	}
}

func FuzzParseControl(f *testing.F) {
	f.Add(batch.AppendControl(nil, 1, 0, true, 5))
	f.Add(batch.AppendControl(nil, 1, 0, false, 5)[:70])
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := batch.ParseControl(b); err == nil && !batch.Header(b).Control() {
			t.Error("what is no control batch is read as one")
		}
	})
}
