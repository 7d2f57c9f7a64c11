package journal

import (
	"bytes"
	"errors"
	"testing"

	"github.com/trimq/trimq/protocol/ipc"
)

// txnalEventCodecs lists the events of transactional producers.
func txnalEventCodecs() []eventCodec {
	return []eventCodec{
		event(EvTxnalSet, "txnal_set", "id:s producer:8 epoch:2 lastEpoch:2 timeoutMS:4 pad:*",
			TxnalSet{4096, "shop-1", 77, 3, 2, 60_000}, DecodeTxnalSet),
		event(EvTxnAdded, "txn_added", "id:s group:s parts:v index:8 start:8 index:8 start:8 pad:*",
			TxnAdded{4096, "shop-1", "", []ipc.TxnPart{{Index: 9, Start: 100}, {Index: 10}}}, DecodeTxnAdded),
		event(EvTxnOffsetsHeld, "txn_offsets_held", "id:s group:s offsets:v index:8 offset:8 metadata:s leader:4 pad:*",
			TxnOffsetsHeld{4096, "shop-1", "g", []ipc.OffsetCommit{{Index: 9, Offset: 100, Metadata: "m", Leader: 4}}}, DecodeTxnOffsetsHeld),
		event(EvTxnFinished, "txn_finished", "id:s committed:1 producer:8 epoch:2 lastEpoch:2 markers:v index:8 base:8 pad:*",
			TxnFinished{4096, "shop-1", true, 77, 4, 3, []Target{{9, 101}}}, DecodeTxnFinished),
		event(EvTxnalsExpired, "txnals_expired", "ids:v id:s id:s pad:*", TxnalsExpired{4096, []string{"a", "shop-1"}}, DecodeTxnalsExpired),
	}
}

// TestInline: bodies that are logicsrv's own lie in the entry's ring form, and are found there alone.
func TestInline(t *testing.T) {
	e := exampleEntry()
	body, row := exampleBody(70, 1000)
	row.RingPos = InlineAt(8)
	e.Bodies = append(e.Bodies, row)
	e.Items = append(e.Items, IndexItem{Index: 12, Base: 1000, Count: 1, Body: uint32(len(e.Bodies) - 1)})
	e.Inline = append(append(make([]byte, 8), body...), 0, 0)
	ring := e.AppendRing(nil)
	if len(ring) != e.RingSize() {
		t.Errorf("ring form of %d bytes, RingSize says %d", len(ring), e.RingSize())
	}
	got, err := DecodeRing(ring)
	if err != nil {
		t.Fatal(err)
	}
	at, ok := got.Bodies[len(got.Bodies)-1].Inlined(&got)
	if !ok || !bytes.Equal(at, body) {
		t.Errorf("inline body: %t %x, want %x", ok, at, body)
	}
	if at, ok := got.Bodies[0].Inlined(&got); ok {
		t.Errorf("a body of ring 12345 is called inline: %x", at)
	}
	for _, at := range []int{16, 8192, -1} {
		e.Bodies[len(e.Bodies)-1].RingPos = InlineAt(at)
		if _, err := DecodeRing(e.AppendRing(nil)); !errors.Is(err, ErrEntry) {
			t.Errorf("an inline body at %d of %d bytes: %v", at, len(e.Inline), err)
		}
	}
	e.Inline = e.Inline[:75]
	if _, err := DecodeRing(e.AppendRing(nil)); !errors.Is(err, ErrEntry) {
		t.Errorf("inline bytes that are no multiple of 8: %v", err)
	}
}
