package native_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/golden"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
)

func codeOf(err error) errcode.Code {
	var e *errcode.Error
	if errors.As(err, &e) {
		return e.Code
	}
	if err != nil {
		return 0xffff
	}
	return errcode.OK
}

func TestGoldenBodies(t *testing.T) {
	for i := range bodyCases {
		c := &bodyCases[i]
		golden.Check(t, "native_v3_"+c.name, c.layout, encoded(c))
		b := golden.Read(t, "native_v3_"+c.name)
		if again, err := c.redo(b); err != nil || !bytes.Equal(again, b) {
			t.Errorf("%s: read and written again: %x, %v", c.name, again, err)
		}
	}
}

func TestGoldenFrames(t *testing.T) {
	const frame = "length:4 command:2 flags:2 correlation:8 "
	golden.Check(t, "native_v3_frame_request", frame+"token:8",
		native.AppendFrame(nil, native.CmdPing, 0, 0x1122334455667788, &native.Ping{Token: 9}))
	golden.Check(t, "native_v3_frame_error", frame+"code:2 text:s",
		native.AppendError(nil, native.CmdFetch, 5, errcode.New(errcode.OffsetOutOfRange, "offset 7, from 9 on")))
}

func TestGoldenConstants(t *testing.T) { golden.Constants(t, "native_v3_constants") }

// Cut anywhere, a body is refused; so is one with a byte too many.
func TestBodiesCutAndLengthened(t *testing.T) {
	for i := range bodyCases {
		c := &bodyCases[i]
		b := encoded(c)
		for n := range b {
			if _, err := c.redo(b[:n:n]); codeOf(err) != errcode.Malformed && !(c.name == "hello" && codeOf(err) == errcode.UnsupportedVersion) {
				t.Errorf("%s cut to %d of %d bytes: %v", c.name, n, len(b), err)
			}
		}
		if _, err := c.redo(append(bytes.Clone(b), 0)); !c.open && codeOf(err) != errcode.Malformed {
			t.Errorf("%s with a byte behind it: %v", c.name, err)
		}
	}
}

func TestBodiesRefuseBadValues(t *testing.T) {
	patch := func(body native.Body, at int, v ...byte) []byte {
		b := body.Append(nil)
		copy(b[at:], v)
		return b
	}
	ack := &native.Ack{Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 1, Count: 1}}}
	for _, c := range []struct {
		name string
		b    []byte
		in   string
	}{
		{"a level of 5", patch(&native.Produce{}, 8, 5), "produce"},
		{"padding", patch(&native.Produce{}, 15, 1), "produce"},
		{"a level of 5", patch(&native.Publish{}, 0, 5), "publish"},
		{"a bool of 2", patch(&native.Publish{}, 1, 2), "publish"},
		{"65536 headers", binary.AppendUvarint(make([]byte, 34), 65536), "publish"},
		{"a time of -3", patch(&native.ListOffsets{}, 8, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "list_offsets"},
		{"a kind of 0", patch(&native.Subscribe{}, 32, 0), "subscribe"},
		{"a kind of 3", patch(&native.Subscribe{}, 32, 3), "subscribe"},
		{"a verdict of 0", patch(ack, 32, 0), "ack"},
		{"a verdict of 4", patch(ack, 32, 4), "ack"},
		{"an empty range", patch(ack, 42, 0), "ack"},
		{"a range beyond 2^64", patch(ack, 34, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), "ack"},
		{"a subscription and a lease", (&native.Ack{Sub: 1, Lease: 1, Verdict: ipc.VerdictAck}).Append(nil), "ack"},
		{"a time to live of -2", (&native.Publish{TTLMS: -2}).Append(nil), "publish"},
		{"the server's kind of number", (&native.Subscribe{Sub: native.PullerBit, Kind: native.SubQueue}).Append(nil), "subscribe"},
		{"no messages", (&native.Pull{}).Append(nil), "pull"},
		{"a lease that is acknowledged", (&native.Pull{Max: 1, AutoAck: true, InvisibleMS: 1}).Append(nil), "pull"},
		{"no lease", (&native.Extend{}).Append(nil), "extend"},
		{"a note of more bytes than there are", (&native.Deliver{NoteBytes: 1}).Append(nil), "deliver"},
		{"code 0", patch(&native.ErrorBody{Code: 1}, 0, 0), "error"},
		{"min above max", patch(&native.Hello{MinVersion: 1, MaxVersion: 1}, 8, 2), "hello"},
		{"a level of 5", patch(&native.CommitOffsets{}, 0, 5), "commit_offsets"},
		{"more batch bytes than there are", patch(&native.FetchReply{}, 24, 1), "fetch_reply"},
	} {
		for i := range bodyCases {
			if bodyCases[i].name != c.in {
				continue
			}
			if _, err := bodyCases[i].redo(c.b); codeOf(err) != errcode.Malformed {
				t.Errorf("%s with %s: %v", c.in, c.name, err)
			}
		}
	}
}

func TestPublishLeavesTheBatchAligned(t *testing.T) {
	for n := range 20 {
		m := native.Publish{Exchange: string(make([]byte, n)), RoutingKey: "key"}
		b := append(m.Append(nil), "batch"...)
		got, off, err := native.DecodePublish(b)
		if err != nil || off%8 != 0 || string(b[off:]) != "batch" || got.Exchange != m.Exchange || got.RoutingKey != "key" {
			t.Fatalf("exchange of %d bytes: %+v, batch at %d, %v", n, got, off, err)
		}
	}
	// The padding counts from the body's start, wherever the frame lies.
	m := native.Publish{Exchange: "e", RoutingKey: "key"}
	if a, b := m.Append(nil), m.Append(make([]byte, 3)); !bytes.Equal(a, b[3:]) {
		t.Fatalf("at 0 %x, at 3 %x", a, b[3:])
	}
}

func TestPatchPublish(t *testing.T) {
	m := native.Publish{Level: 2, Mandatory: true, Priority: 9, Weight: 1, Txn: 7, DelayMS: 2, TTLMS: 5, Exchange: "e", RoutingKey: "key"}
	b := m.Append(nil)
	native.PatchPublish(b, 1<<31, 1<<40)
	m.Weight, m.DelayMS = 1<<31, 1<<40
	if got, _, err := native.DecodePublish(b); err != nil || !reflect.DeepEqual(got, m) {
		t.Fatalf("patched to %+v, %v", got, err)
	}
}

func TestFetchReplyAndDeliverCarryBatches(t *testing.T) {
	f := native.FetchReply{Index: 1, NBytes: 5}
	if got, batches, err := native.DecodeFetchReply(append(f.Append(nil), "batch"...)); err != nil || got != f || string(batches) != "batch" {
		t.Errorf("FETCH response: %+v %q %v", got, batches, err)
	}
	d := native.Deliver{Sub: 1, Count: 7, NoteBytes: 4}
	if got, note, batches, err := native.DecodeDeliver(append(d.Append(nil), "notebatch"...)); err != nil || got != d || string(note) != "note" || string(batches) != "batch" {
		t.Errorf("DELIVER: %+v %q %q %v", got, note, batches, err)
	}
}

func TestDecodeAckUsesTheMemoryItIsGiven(t *testing.T) {
	m := native.Ack{Sub: 1, Index: 2, Verdict: ipc.VerdictAck, Ranges: []ipc.Range{{First: 1, Count: 2}, {First: 5, Count: 1}}}
	b, room := m.Append(nil), make([]ipc.Range, 0, 8)
	if n := testing.AllocsPerRun(100, func() {
		if got, err := native.DecodeAck(b, room); err != nil || &got.Ranges[0] != &room[:1][0] {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func TestNegotiate(t *testing.T) {
	for _, c := range []struct {
		low, high uint16
		want      errcode.Code
	}{{3, 3, errcode.OK}, {0, 9, errcode.OK}, {4, 9, errcode.UnsupportedVersion}, {0, 2, errcode.UnsupportedVersion}} {
		m := native.Hello{MinVersion: c.low, MaxVersion: c.high}
		if v, err := m.Negotiate(); codeOf(err) != c.want || err == nil && v != native.Version {
			t.Errorf("%d to %d: %d, %v", c.low, c.high, v, err)
		}
	}
}

func TestAuth(t *testing.T) {
	secret, challenge := []byte("s3cret"), []byte("0123456789abcdef")
	proof := native.AuthProof(secret, challenge, "u")
	for _, c := range []struct {
		name string
		m    native.Auth
		want bool
	}{
		{"secret", native.Auth{Mechanism: native.AuthSecret, Proof: secret}, true},
		{"wrong secret", native.Auth{Mechanism: native.AuthSecret, Proof: []byte("s3creT")}, false},
		{"proof", native.Auth{Mechanism: native.AuthHMAC, User: "u", Proof: proof}, true},
		{"proof of another user", native.Auth{Mechanism: native.AuthHMAC, User: "v", Proof: proof}, false},
		{"proof as secret", native.Auth{Mechanism: native.AuthSecret, User: "u", Proof: proof}, false},
		{"unknown mechanism", native.Auth{Mechanism: "plain", Proof: secret}, false},
	} {
		if got := native.VerifyAuth(&c.m, secret, challenge); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	m := native.Auth{Mechanism: native.AuthHMAC, User: "u", Proof: proof}
	if native.VerifyAuth(&m, secret, []byte("another challenge")) {
		t.Error("a proof fits another challenge")
	}
}

func TestErrorBodyOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want native.ErrorBody
	}{
		{errcode.New(errcode.NotFound, "x"), native.ErrorBody{Code: errcode.NotFound, Text: "x"}},
		{errors.Join(errors.New("a"), errcode.New(errcode.InUse, "y")), native.ErrorBody{Code: errcode.InUse, Text: "y"}},
		{errors.New("/etc/passwd: permission denied"), native.ErrorBody{Code: errcode.Internal}},
	} {
		if got := native.ErrorBodyOf(c.err); got != c.want {
			t.Errorf("%v: %+v", c.err, got)
		}
	}
	m := native.ErrorBody{Code: errcode.InUse, Text: "t"}
	if !errors.Is(m.Err(), &errcode.Error{Code: errcode.InUse}) {
		t.Error(m.Err())
	}
}

func TestCommandTable(t *testing.T) {
	for cmd, want := range map[native.Command]admin.Command{
		native.CmdCreateExchange: admin.CmdCreateExchange, native.CmdCreateQueue: admin.CmdCreateQueue,
		native.CmdCreateBinding: admin.CmdCreateBinding, native.CmdDescribe: admin.CmdDescribe,
		native.CmdCreateTopic: admin.CmdCreateTopic, native.CmdDeleteTopic: admin.CmdDeleteTopic,
		native.CmdAddPartitions: admin.CmdAddPartitions, native.CmdDeleteExchange: admin.CmdDeleteExchange,
		native.CmdDeleteQueue: admin.CmdDeleteQueue, native.CmdDeleteBinding: admin.CmdDeleteBinding,
		native.CmdPurge: admin.CmdPurge, native.CmdSeek: admin.CmdSeek,
		native.CmdDeleteGroup: admin.CmdDeleteGroup, native.CmdResetOffsets: admin.CmdResetOffsets, native.CmdDeleteOffsets: admin.CmdDeleteOffsets,
		native.CmdAbortTxnal: admin.CmdAbortTxnal,
	} {
		if uint16(cmd) != uint16(want) || !cmd.Admin() || !cmd.Request() || cmd.CarriesBatch() {
			t.Errorf("%s is %d, in package admin %d", cmd, cmd, want)
		}
	}
	for _, cmd := range []native.Command{29, 0, 9, 52, 59, 65535} {
		if cmd.Request() || cmd.ServerSent() || cmd.Admin() {
			t.Errorf("%s is served", cmd)
		}
	}
	for _, cmd := range []native.Command{native.CmdDeliver, native.CmdSubClosed, native.CmdGoodbye, native.CmdRecall, native.CmdCheckTxn} {
		if cmd.Request() || !cmd.ServerSent() {
			t.Errorf("%s is not the server's", cmd)
		}
	}
	if !native.CmdPublish.CarriesBatch() || !native.CmdProduce.CarriesBatch() || native.CmdAck.CarriesBatch() {
		t.Error("who carries a batch")
	}
	if native.CmdProduce.String() != "PRODUCE" || native.Command(9).String() != "command 9" {
		t.Error("names")
	}
}
