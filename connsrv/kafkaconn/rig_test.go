package kafkaconn

import (
	"bytes"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/shmqueue"
)

// rig is a room on a ring in plain memory.
type rig struct {
	tb   testing.TB
	conn *Conn
	loop *Loop
	link *roomtest.Link
	in   *shmqueue.Consumer
	dir  string // of the log
	buf  []byte
	want session.Want
	wait bool // the room has asked for a pause
	next int32
}

const rigCapacity = 1 << 20

func newRig(tb testing.TB) *rig {
	lane, in, dir := roomtest.Lane(tb, rigCapacity, 100<<10)
	r := &rig{tb: tb, loop: NewLoop(lane), in: in, dir: dir}
	r.connect()
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// connect puts a new room in the place of the last one.
func (r *rig) connect() {
	settings := &Settings{
		DataDir: "/data", Disk: func() (int64, int64, error) { return 1000, 900, nil },
		Access: new(access.Current), Nonce: func() string { return "ours" },
		Clock: func() int64 { return 1_800_000_000_000 }, WindowRequests: 8, WindowBytes: 256 << 10, Cluster: "test", AutoCreate: true, Partitions: 2, MaxReplication: 1, Log: slog.New(slog.DiscardHandler),
	}
	r.link = &roomtest.Link{}
	r.conn = New(settings, r.loop, r.link, netip.MustParseAddrPort("192.0.2.1:9092"))
	r.buf, r.want, r.wait = nil, session.Want{}, false
}

// feed does with some bytes what the reactor does: it shows them, keeps what was not used,
// and brings large bodies to their place once they are complete.
func (r *rig) feed(b []byte) {
	r.buf = append(r.buf, b...)
	if r.wait && !r.link.Resumed {
		return
	}
	r.wait, r.link.Resumed = false, false
	for !r.link.Closed && len(r.buf) > 0 && len(r.buf) >= r.want.Bytes && !r.wait {
		if r.want.Direct {
			dst := r.conn.Space(r.want.Bytes)
			if r.wait = dst == nil; r.wait {
				return
			}
			r.buf = r.buf[copy(dst, r.buf):]
			r.want = session.Want{}
			r.conn.Filled()
			continue
		}
		r.link.Resumed = false
		used, want := r.conn.Input(r.buf)
		if used == 0 && !want.Pause && want.Bytes <= len(r.buf) && !want.Direct && !r.link.Closed {
			r.tb.Fatalf("no progress with %d bytes: %+v", len(r.buf), want)
		}
		for i := range used { // the buffer is for all connections: others' bytes come there now
			r.buf[i] = 0xff
		}
		r.buf, r.want, r.wait = r.buf[used:], want, want.Pause
		r.want.Pause = false
	}
}

// frame encodes a request.
func (r *rig) frame(version int16, req kmsg.Request) []byte {
	r.next++
	req.SetVersion(version)
	return appendFrame(nil, r.next, req)
}

func appendFrame(b []byte, correlation int32, req kmsg.Request) []byte {
	from := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(req.Key()))
	b = binary.BigEndian.AppendUint16(b, uint16(req.GetVersion()))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	b = append(b, 0, 4, 't', 'e', 's', 't')
	if req.IsFlexible() {
		b = append(b, 0)
	}
	b = req.AppendTo(b)
	binary.BigEndian.PutUint32(b[from:], uint32(len(b)-from-4))
	return b
}

// sent takes all that the room has sent.
func (r *rig) sent() []byte {
	return r.link.Take()
}

// responses are the frames sent since the last call, without their sizes.
func (r *rig) responses() (list [][]byte) {
	r.tb.Helper()
	for b := r.sent(); len(b) > 0; {
		n := int(binary.BigEndian.Uint32(b))
		if n+4 > len(b) {
			r.tb.Fatalf("a frame of %d bytes, %d are there", n, len(b))
		}
		list = append(list, b[4:4+n])
		b = b[4+n:]
	}
	return list
}

// decode reads a response to the request of a correlation.
func decode[R kmsg.Response](r *rig, frame []byte, version int16, correlation int32, resp R) R {
	r.tb.Helper()
	resp.SetVersion(version)
	if got := int32(binary.BigEndian.Uint32(frame)); got != correlation {
		r.tb.Fatalf("the response is to request %d, want %d", got, correlation)
	}
	frame = frame[4:]
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		frame = frame[1:]
	}
	must(r.tb, resp.ReadFrom(frame))
	if again := resp.AppendTo(nil); !bytes.Equal(again, frame) {
		r.tb.Fatalf("encoded again the response has %d bytes, not %d", len(again), len(frame))
	}
	return resp
}

// testBatch builds a batch whose records' times begin at 1000.
func testBatch(n, size int) []byte {
	var b batch.Builder
	for i := range n {
		b.Add(int64(1000+i), nil, bytes.Repeat([]byte{byte(i)}, size), nil)
	}
	return append([]byte(nil), b.Seal(batch.None, batch.NoProducer, 0, 0)...)
}
