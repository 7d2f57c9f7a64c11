package amqpconn

import (
	"log/slog"
	"testing"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/connsrv/session"
	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/shmqueue"
)

// rig is a room on a ring in plain memory.
type rig struct {
	tb   testing.TB
	dir  string // of the log
	conn *Conn
	lane *session.Lane
	link *roomtest.Link
	in   *shmqueue.Consumer
	buf  []byte
	want session.Want
	wait bool // the room has asked for a pause

	access     *access.Current
	attendance *access.Attendance
}

const rigCapacity = 1 << 20

func newRig(tb testing.TB) *rig {
	lane, in, dir := roomtest.Lane(tb, rigCapacity, 100<<10)
	r := &rig{tb: tb, dir: dir, lane: lane, in: in, access: users(tb), attendance: access.NewAttendance()}
	r.connect()
	return r
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// guest may do all, and limited some; passwords are their names.
func users(tb testing.TB) *access.Current {
	tb.Helper()
	all := []admin.Definition{{Kind: admin.DefVHost, Name: "/"}, {Kind: admin.DefVHost, Name: "closed"}}
	for _, name := range []string{"guest", "limited"} {
		cmd, err := (&definitions.User{Name: name, Password: &name}).Command(make([]byte, definitions.SaltBytes))
		must(tb, err)
		all = append(all, *cmd.Body.(*admin.Definition))
	}
	may := func(user, configure, write, read string) admin.Definition {
		return admin.Definition{Kind: admin.DefPermission, VHost: "/", Name: user, Values: []admin.Value{
			admin.TextValue("configure", configure), admin.TextValue("read", read), admin.TextValue("write", write),
		}}
	}
	all = append(all, may("guest", ".*", ".*", ".*"), may("limited", "^mine", "^(mine|amq.topic)", "^mine"), admin.Definition{
		Kind: admin.DefTopicPermission, VHost: "/", Name: "limited", Item: "amq.topic",
		Values: []admin.Value{admin.TextValue("read", ""), admin.TextValue("write", "^eu")},
	})
	c := &access.Current{}
	c.Store(access.NewTable(all))
	return c
}

// reply is a turn that brings one answer.
func (r *rig) reply(typ ipc.Type, payload []byte) {
	r.conn.Reply(typ, payload)
	r.conn.loop.Answered()
}

// connect puts a new room in the place of the last one.
func (r *rig) connect() {
	settings := &Settings{
		WindowRequests: 8, WindowBytes: 256 << 10, FrameMax: 8192, ChannelMax: 7, HeartbeatS: 10, Version: "1.2.3", Access: r.access, Attendance: r.attendance,
		UnixMS: func() int64 { return 1_000_000 }, Log: slog.New(slog.DiscardHandler),
	}
	r.link = &roomtest.Link{Peer: "127.0.0.1:4711"}
	r.conn = New(settings, NewLoop(r.lane), r.link)
	r.buf, r.want, r.wait = nil, session.Want{}, false
}

// feed does with some bytes what the reactor does: it shows them, and keeps what was not used.
func (r *rig) feed(b []byte) {
	r.buf = append(r.buf, b...)
	if r.wait && !r.link.Resumed {
		return
	}
	r.wait, r.link.Resumed = false, false
	for !r.link.Closed && len(r.buf) > 0 && len(r.buf) >= r.want.Bytes && !r.wait {
		r.link.Resumed = false
		used, want := r.conn.Input(r.buf)
		if used == 0 && !want.Pause && want.Bytes <= len(r.buf) && !r.link.Closed {
			r.tb.Fatalf("no progress with %d bytes: %+v", len(r.buf), want)
		}
		r.buf, r.want, r.wait = r.buf[used:], want, want.Pause
		r.want.Pause = false
	}
}

// sent are the frames that the room has sent since the last call: methods, and contents as their
// properties and bodies.
func (r *rig) sent() (list []any) {
	r.tb.Helper()
	for b := r.link.Take(); len(b) > 0; {
		f := amqp.ParseFrame(b)
		payload := b[amqp.FrameHeaderSize : amqp.FrameHeaderSize+f.Size]
		if b[amqp.FrameHeaderSize+f.Size] != amqp.FrameEnd {
			r.tb.Fatalf("a frame without an end: %x", b)
		}
		b = b[f.Size+amqp.FrameOverhead:]
		switch f.Type {
		case amqp.FrameMethod:
			_, m := decode(payload)
			list = append(list, m)
		default:
			list = append(list, append([]byte(nil), payload...))
		}
	}
	return list
}

// one is the only method that was sent.
func one[M any](r *rig) M {
	r.tb.Helper()
	list := r.sent()
	if len(list) != 1 {
		r.tb.Fatalf("%d frames were sent: %v", len(list), list)
	}
	m, ok := list[0].(M)
	if !ok {
		r.tb.Fatalf("%T was sent: %+v", list[0], list[0])
	}
	return m
}

// opening is what a client sends up to an open channel 1.
func opening() []byte {
	b := []byte(amqp.ProtocolHeader)
	can := amqp.Table(nil).Add("consumer_cancel_notify", amqp.Bool(true)).Add("authentication_failure_close", amqp.Bool(true)).Add("connection.blocked", amqp.Bool(true))
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionStartOk{
		ClientProperties: amqp.Table(nil).Add("capabilities", amqp.Nested(can)), Mechanism: []byte("PLAIN"), Response: []byte("\x00guest\x00guest"), Locale: []byte("en_US"),
	})
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionTuneOk{ChannelMax: 7, FrameMax: 8192})
	b = amqp.AppendMethod(b, 0, &amqp.ConnectionOpen{VirtualHost: []byte("/")})
	return amqp.AppendMethod(b, 1, &amqp.ChannelOpen{})
}

// open brings the room to an open channel 1.
func (r *rig) open() {
	r.tb.Helper()
	r.feed(opening())
	list := r.sent()
	if _, ok := list[len(list)-1].(*amqp.ChannelOpenOk); !ok || len(list) != 4 {
		r.tb.Fatalf("the opening is answered with %v", list)
	}
}

// publish is what a client sends to publish.
func publish(b []byte, m *amqp.BasicPublish, p *amqp.Properties, body []byte) []byte {
	b = amqp.AppendMethod(b, 1, m)
	b = amqp.AppendContentHeader(b, 1, len(body), p.Append(nil))
	for len(body) > 0 {
		n := min(len(body), 8192-amqp.FrameOverhead)
		b = append(append(amqp.AppendFrameHeader(b, amqp.FrameBody, 1, n), body[:n]...), amqp.FrameEnd)
		body = body[n:]
	}
	return b
}

// record is a record of ring 12345.
type record struct {
	typ     ipc.Type
	payload []byte
}

// records takes what stands in the ring.
func (r *rig) records() (list []record) {
	for {
		x, ok := r.in.Next()
		if !ok {
			r.in.Release(r.in.Read())
			return list
		}
		list = append(list, record{ipc.Type(x.Type), append([]byte(nil), x.Payload...)})
	}
}

// publishes are the Publish records in the ring, and their batches.
func (r *rig) publishes() (list []ipc.Publish, batches [][]byte) {
	r.tb.Helper()
	for _, x := range r.records() {
		if x.typ != ipc.TypePublish {
			continue
		}
		var m ipc.Publish
		off, err := m.Decode(x.payload)
		must(r.tb, err)
		list = append(list, m)
		batches = append(batches, x.payload[off:])
	}
	return list, batches
}
