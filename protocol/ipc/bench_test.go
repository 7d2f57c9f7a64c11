package ipc

import "testing"

// The message path: every one of these must report 0 allocs/op (TestHotPathAllocates
// asserts it).

func hotPath() map[string]func() {
	buf := make([]byte, 0, 4096)
	batch := make([]byte, 11)
	appendRec := append((&Append{head, 9, LevelDisk, 0, meta, TxnalNone}).Append(nil), batch...)
	publish := Publish{Head: head, Level: LevelPage, Mandatory: true, TTLMS: NoTTL, Batch: meta, Exchange: "orders", RoutingKey: "eu.de", Headers: []Header{{"format", "pdf"}}}
	publishRec := append(publish.Append(nil), batch...)
	ack := Ack{head, 1, 9, 9, 0, VerdictAck, 0, []Range{{10, 5}, {20, 1}}}
	ackRec := ack.Append(nil)
	appended, deliver, visible := find(nil, "appended"), find(nil, "deliver"), find(nil, "visible")
	var intoPublish Publish
	var intoAck Ack
	return map[string]func(){
		"append/encode":   func() { buf = (&Append{head, 9, LevelDisk, 0, meta, TxnalNone}).Append(buf[:0]) },
		"append/decode":   func() { _, _, _ = DecodeAppend(appendRec) },
		"publish/encode":  func() { buf = publish.Append(buf[:0]) },
		"publish/decode":  func() { _, _ = intoPublish.Decode(publishRec) },
		"ack/encode":      func() { buf = ack.Append(buf[:0]) },
		"ack/decode":      func() { _ = intoAck.Decode(ackRec) },
		"appended/encode": func() { buf = (&Appended{head, 9, 1000, false}).Append(buf[:0]) },
		"appended/decode": func() { _, _ = DecodeAppended(appended) },
		"deliver/encode":  func() { buf = (&Deliver{head, 1, 9, 118, 5, 2}).Append(buf[:0]) },
		"deliver/decode":  func() { _, _ = DecodeDeliver(deliver) },
		"visible/encode":  func() { buf = (&Visible{head, 9, 1003}).Append(buf[:0]) },
		"visible/decode":  func() { _, _ = DecodeVisible(visible) },
		"credit/encode":   func() { buf = (&Credit{head, 1, 600}).Append(buf[:0]) },
		"wait/encode":     func() { buf = (&Wait{head, 9, 1000}).Append(buf[:0]) },
	}
}

func TestHotPathAllocates(t *testing.T) {
	for name, run := range hotPath() {
		run() // slices that are used again get their memory
		if n := testing.AllocsPerRun(100, run); n != 0 {
			t.Errorf("%s: %v allocs", name, n)
		}
	}
}

func BenchmarkCodec(b *testing.B) {
	for name, run := range hotPath() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				run()
			}
		})
	}
}
