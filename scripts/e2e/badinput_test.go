package e2e

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/trimq/trimq/clients/trimq"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
)

func hello() []byte {
	return native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version, Client: "raw"})
}

// answerTo sends bytes and reads until an error frame or the end of the connection.
func answerTo(t *testing.T, b *broker.Broker, input []byte) (code errcode.Code, text string, closed bool) {
	t.Helper()
	c := raw(t, b)
	if _, err := c.Write(input); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	for {
		_, flags, body, err := readFrame(c)
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Fatal("neither an answer nor an end")
			}
			return code, text, true
		}
		if native.Flags(flags)&native.FlagError != 0 {
			e, err := native.DecodeErrorBody(body)
			if err != nil {
				t.Fatal(err)
			}
			code, text = e.Code, e.Text
			if code != errcode.FrameTooLarge && code != errcode.UnsupportedVersion {
				return code, text, false
			}
		}
	}
}

// serves checks that the broker is well after somebody misbehaved.
func serves(t *testing.T, b *broker.Broker) {
	t.Helper()
	if _, err := dial(t, b).Ping(testContext(t)); err != nil {
		t.Error(err)
	}
	s, err := b.States()
	if err != nil {
		t.Fatal(err)
	}
	for name, st := range s {
		if st.State != "ready" || st.Restarts != 0 {
			t.Errorf("%s: %s after %d restarts: %s", name, st.State, st.Restarts, st.Reason)
		}
	}
}

func TestHostileBytes(t *testing.T) {
	b := started(t, map[string]string{"handshake_timeout_ms": "500", "max_frame_bytes": "\"64Ki\""})
	version9 := native.AppendFrame(nil, native.CmdHello, 0, 1, &native.Hello{MinVersion: 9, MaxVersion: 12, Client: "x"})
	oversized := hello()
	oversized = native.AppendHeader(oversized, native.CmdProduce, 0, 2, 1<<30)
	unknown := native.AppendHeader(hello(), native.Command(999), 0, 2, 0)
	early := native.AppendHeader(nil, native.CmdPing, 0, 1, 0)
	malformed := native.AppendHeader(hello(), native.CmdSubscribe, 0, 2, 3)
	malformed = append(malformed, 1, 2, 3)
	for _, tc := range []struct {
		name  string
		input []byte
		code  errcode.Code
	}{
		{"wrong version", version9, errcode.UnsupportedVersion},
		{"oversized frame", oversized, errcode.FrameTooLarge},
		{"unknown command", unknown, errcode.UnsupportedCommand},
		{"malformed body", malformed, errcode.Malformed},
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0},
		{"TLS", []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 padding padding"), 0},
		{"a request before HELLO", early, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, text, closed := answerTo(t, b, tc.input)
			if tc.code != 0 && code != tc.code {
				t.Errorf("answer %v %q, want %v", code, text, tc.code)
			}
			if tc.code == 0 && !closed && code == 0 {
				t.Error("neither an error nor an end")
			}
			t.Logf("%v %q, closed: %v", code, text, closed)
		})
	}
	serves(t, b)
}

func TestRandomBytes(t *testing.T) {
	b := started(t, map[string]string{"handshake_timeout_ms": "500", "idle_timeout_ms": "1000"})
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		c := raw(t, b)
		junk := make([]byte, 1+r.IntN(4096))
		for j := range junk {
			junk[j] = byte(r.Uint32())
		}
		if i%2 == 0 { // behind a good HELLO
			junk = append(hello(), junk...)
		}
		_, _ = c.Write(junk)
		if i%3 == 0 {
			c.Close()
			continue
		}
		_ = c.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("round %d: %v", i, err)
		}
	}
	serves(t, b)
}

func TestHalfOpenAndSlowClients(t *testing.T) {
	b := started(t, map[string]string{"handshake_timeout_ms": "300", "idle_timeout_ms": "1500"})
	silent, half, slow := raw(t, b), raw(t, b), raw(t, b)
	if _, err := half.Write(hello()[:5]); err != nil {
		t.Fatal(err)
	}
	go func() { // a byte at a time, far too slow for the handshake
		for _, x := range hello() {
			if _, err := slow.Write([]byte{x}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	for name, c := range map[string]net.Conn{"silent": silent, "half a HELLO": half, "a byte now and then": slow} {
		if _, err := io.Copy(io.Discard, c); err != nil && !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: %v", name, err)
		}
	}
	idle := raw(t, b)
	if _, err := idle.Write(hello()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, idle); err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("idle: %v", err)
	}
	serves(t, b)
}

// A frame that arrives in any pieces is the same frame.
func TestFramesInPieces(t *testing.T) {
	b := started(t, nil)
	c := raw(t, b)
	input := native.AppendFrame(hello(), native.CmdPing, 0, 2, &native.Ping{Token: 77})
	for _, x := range input {
		if _, err := c.Write([]byte{x}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if cmd, _, _, err := readFrame(c); err != nil || native.Command(cmd) != native.CmdHello {
		t.Fatal(cmd, err)
	}
	cmd, _, body, err := readFrame(c)
	if err != nil || native.Command(cmd) != native.CmdPing {
		t.Fatal(cmd, err)
	}
	if p, err := native.DecodePing(body); err != nil || p.Token != 77 {
		t.Error(p, err)
	}
}

func TestCorruptBatchIsRefused(t *testing.T) {
	b := started(t, nil)
	c := dial(t, b)
	topicOf(t, c, "t", trimq.LevelDisk)
	topics, err := c.Topics(testContext(t), "t")
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte{0x55}, 100)
	frame := native.AppendFrame(hello(), native.CmdProduce, 0, 2, &native.Produce{Index: topics[0].Partitions[0].Index})
	frame[len(hello())] += byte(len(body))
	code, text, _ := answerTo(t, b, append(frame, body...))
	if code != errcode.InvalidBatch && code != errcode.CorruptBatch && code != errcode.Malformed {
		t.Errorf("%v %q", code, text)
	}
	send(t, c, "t", 0, 10)
	expect(t, c, "t", 10)
}

func TestTooManyConnections(t *testing.T) {
	b := started(t, map[string]string{"max_connections": "5"})
	var held []net.Conn
	for range 5 {
		c := raw(t, b)
		if _, err := c.Write(hello()); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := readFrame(c); err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	code, text, closed := answerTo(t, b, hello())
	if !closed && code != errcode.TooManyConnections {
		t.Errorf("sixth connection: %v %q", code, text)
	}
	if code == errcode.TooManyConnections && !strings.Contains(text, "5") {
		t.Errorf("the limit is not named: %q", text)
	}
	held[0].Close()
	eventually(t, "room again", func() bool {
		c := raw(t, b)
		defer c.Close()
		if _, err := c.Write(hello()); err != nil {
			return false
		}
		_, flags, _, err := readFrame(c)
		return err == nil && native.Flags(flags)&native.FlagError == 0
	})
}
