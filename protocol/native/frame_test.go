package native_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
)

func TestParseHeader(t *testing.T) {
	for _, c := range []struct {
		name   string
		length uint32
		flags  native.Flags
		max    int
		want   errcode.Code
	}{
		{"empty body", 12, 0, 16, errcode.OK},
		{"shorter than a header", 11, 0, 1024, errcode.Malformed},
		{"length 0", 0, 0, 1024, errcode.Malformed},
		{"at the limit", 1020, native.FlagResponse, 1024, errcode.OK},
		{"above the limit", 1021, 0, 1024, errcode.FrameTooLarge},
		{"the greatest length", math.MaxUint32, 0, 1 << 30, errcode.FrameTooLarge},
		{"error response", 12, native.FlagResponse | native.FlagError, 1024, errcode.OK},
		{"error without response", 12, native.FlagError, 1024, errcode.Malformed},
		{"unknown flag", 12, 8, 1024, errcode.Malformed},
	} {
		b := make([]byte, native.FrameHeaderSize)
		native.PutHeader(b, native.CmdPing, c.flags, 77, 0)
		binary.LittleEndian.PutUint32(b, c.length)
		h, err := native.ParseHeader(b, c.max)
		if codeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
		if h.Command != native.CmdPing || h.Flags != c.flags || h.Correlation != 77 || h.Length != c.length {
			t.Errorf("%s: %+v", c.name, h)
		}
	}
}

func TestCheckRequest(t *testing.T) {
	for _, c := range []struct {
		name string
		h    native.Header
		want errcode.Code
	}{
		{"ping", native.Header{Length: 20, Command: native.CmdPing}, errcode.OK},
		{"large produce", native.Header{Length: 8 << 20, Command: native.CmdProduce}, errcode.OK},
		{"large ack", native.Header{Length: 8 << 20, Command: native.CmdAck}, errcode.FrameTooLarge},
		{"response", native.Header{Length: 20, Command: native.CmdPing, Flags: native.FlagResponse}, errcode.Malformed},
		{"server's command", native.Header{Length: 20, Command: native.CmdDeliver}, errcode.UnsupportedCommand},
		{"reserved", native.Header{Length: 20, Command: 29}, errcode.UnsupportedCommand},
		{"unknown", native.Header{Length: 20, Command: 999}, errcode.UnsupportedCommand},
	} {
		if err := native.CheckRequest(c.h); codeOf(err) != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// However the bytes arrive, the frames come out as they went in; bodies that were detached
// keep their bytes.
func TestDecoderAgainstAnyArrival(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bodies := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 1, 30).Draw(t, "bodies")
		var stream []byte
		for i, body := range bodies {
			stream = append(native.AppendHeader(stream, native.CmdPing, 0, uint64(i), len(body)), body...)
		}
		var r io.Reader = bytes.NewReader(stream)
		switch rapid.IntRange(0, 3).Draw(t, "arrival") {
		case 1:
			r = iotest.OneByteReader(r)
		case 2:
			r = iotest.HalfReader(r)
		case 3:
			r = iotest.DataErrReader(r)
		}
		d := native.NewDecoder(r, rapid.IntRange(0, 300).Draw(t, "buffer"), 1024)
		kept := make(map[int][]byte)
		for i, body := range bodies {
			f, err := d.Next()
			if err != nil || f.Correlation != uint64(i) || !bytes.Equal(f.Body, body) || f.BodyLen() != len(body) {
				t.Fatalf("frame %d: %+v, %v; want body %x", i, f, err, body)
			}
			if rapid.Bool().Draw(t, "detach") {
				kept[i] = f.Body
				var next []byte
				if rapid.Bool().Draw(t, "give") {
					next = make([]byte, rapid.IntRange(0, 400).Draw(t, "next"))
				}
				d.Detach(next)
			}
		}
		if _, err := d.Next(); !errors.Is(err, io.EOF) || d.Buffered() != 0 {
			t.Fatalf("after the last: %v, %d bytes", err, d.Buffered())
		}
		for i, body := range kept {
			if !bytes.Equal(body, bodies[i]) {
				t.Fatalf("frame %d was overwritten after Detach", i)
			}
		}
	})
}

type lyingReader struct{ n int }

func (l lyingReader) Read([]byte) (int, error) { return l.n, nil }

func TestDecoderErrors(t *testing.T) {
	whole := native.AppendFrame(nil, native.CmdPing, 0, 1, &native.Ping{})
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		r    io.Reader
		want error
	}{
		{"nothing", bytes.NewReader(nil), io.EOF},
		{"header cut", bytes.NewReader(whole[:7]), io.ErrUnexpectedEOF},
		{"body cut", bytes.NewReader(whole[:20]), io.ErrUnexpectedEOF},
		{"broken", io.MultiReader(bytes.NewReader(whole[:20]), iotest.ErrReader(broken)), broken},
		{"no progress", lyingReader{0}, io.ErrNoProgress},
		{"too large", bytes.NewReader(native.AppendHeader(nil, native.CmdPing, 0, 1, 4096)), &errcode.Error{Code: errcode.FrameTooLarge}},
	} {
		d := native.NewDecoder(c.r, 64, 1024)
		if _, err := d.Next(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, n := range []int{-1, 1 << 20} {
		if _, err := native.NewDecoder(lyingReader{n}, 64, 1024).Next(); err == nil {
			t.Errorf("a reader that claims %d bytes is believed", n)
		}
	}
}

func TestDecoderSetMaxFrame(t *testing.T) {
	stream := native.AppendHeader(nil, native.CmdPing, 0, 1, 2000)
	stream = append(stream, make([]byte, 2000)...)
	d := native.NewDecoder(bytes.NewReader(stream), 64, 100)
	if _, err := d.Next(); codeOf(err) != errcode.FrameTooLarge {
		t.Fatal(err)
	}
	d.SetMaxFrame(4096)
	if f, err := d.Next(); err != nil || len(f.Body) != 2000 {
		t.Fatalf("%d bytes, %v", len(f.Body), err)
	}
}

func BenchmarkDecoder(b *testing.B) {
	one := native.AppendFrame(nil, native.CmdProduce, native.FlagResponse, 1, &native.ProduceReply{Base: 1})
	stream := bytes.Repeat(one, 1000)
	r := bytes.NewReader(stream)
	d := native.NewDecoder(r, 64<<10, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		f, err := d.Next()
		if errors.Is(err, io.EOF) {
			r.Reset(stream)
			continue
		}
		if _, err := native.DecodeProduceReply(f.Body); err != nil {
			b.Fatal(err)
		}
	}
}
