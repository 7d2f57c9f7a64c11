package server

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/trimq/trimq/connsrv/access"
	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/definitions"
	"github.com/trimq/trimq/shmqueue"
	"github.com/trimq/trimq/shmqueue/tier"
)

// guest may do all in the vhost "/".
func guest(t *testing.T) *access.Table {
	t.Helper()
	name := "guest"
	cmd, err := (&definitions.User{Name: name, Password: &name}).Command(make([]byte, definitions.SaltBytes))
	must(t, err)
	return access.NewTable([]admin.Definition{{Kind: admin.DefVHost, Name: "/"}, *cmd.Body.(*admin.Definition), {
		Kind: admin.DefPermission, VHost: "/", Name: name, Values: []admin.Value{
			admin.TextValue("configure", ".*"), admin.TextValue("read", ".*"), admin.TextValue("write", ".*"),
		},
	}})
}

// amqpClient is a connection that speaks AMQP.
type amqpClient struct {
	t    *testing.T
	conn net.Conn
}

func (b *broker) dialAMQP() *amqpClient {
	b.t.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.AMQPPort()))
	must(b.t, err)
	b.t.Cleanup(func() { conn.Close() })
	must(b.t, conn.SetDeadline(time.Now().Add(60*time.Second)))
	return &amqpClient{b.t, conn}
}

// frame reads the next frame: its head, and its payload.
func (c *amqpClient) frame() (amqp.Frame, []byte) {
	c.t.Helper()
	head := make([]byte, amqp.FrameHeaderSize)
	_, err := io.ReadFull(c.conn, head)
	must(c.t, err)
	f := amqp.ParseFrame(head)
	payload := make([]byte, f.Size+1)
	_, err = io.ReadFull(c.conn, payload)
	must(c.t, err)
	return f, payload[:f.Size]
}

// want reads a method.
func (c *amqpClient) want(m amqp.Method) amqp.Arguments {
	c.t.Helper()
	f, payload := c.frame()
	if f.Type != amqp.FrameMethod || amqp.MethodAt(payload) != m {
		c.t.Fatalf("frame %+v %q came, want %s", f, payload, m)
	}
	args := amqp.New(m)
	must(c.t, args.Decode(payload[amqp.MethodHeaderSize:]))
	return args
}

// A hand-over keeps AMQP's connections at any step of theirs, with what has come of frames and contents,
// with confirms that are due, and with what their users may do.
func TestAMQPAndAHandOver(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.AMQPListen, c.EventLoops = "127.0.0.1:0", 2 })
	b.access.Store(guest(t))
	c, port := b.dialAMQP(), b.AMQPPort()
	send := func(frame []byte) { // in two parts, each before a hand-over
		half := len(frame) / 2
		for _, part := range [][]byte{frame[:half], frame[half:]} {
			_, err := c.conn.Write(part)
			must(t, err)
			b.handOver()
		}
	}
	send([]byte(amqp.ProtocolHeader))
	c.want(amqp.MethodConnectionStart)
	send(amqp.AppendMethod(nil, 0, &amqp.ConnectionStartOk{Mechanism: []byte("PLAIN"), Response: []byte("\x00guest\x00guest")}))
	c.want(amqp.MethodConnectionTune)
	send(amqp.AppendMethod(nil, 0, &amqp.ConnectionTuneOk{Heartbeat: 60}))
	send(amqp.AppendMethod(nil, 0, &amqp.ConnectionOpen{VirtualHost: []byte("/")}))
	c.want(amqp.MethodConnectionOpenOk)
	send(amqp.AppendMethod(nil, 1, &amqp.ChannelOpen{}))
	c.want(amqp.MethodChannelOpenOk)
	send(amqp.AppendMethod(nil, 1, &amqp.ConfirmSelect{}))
	c.want(amqp.MethodConfirmSelectOk)
	body := bytes.Repeat([]byte("body"), 50_000) // in two frames
	for tag := range uint64(3) {
		frames := amqp.AppendMethod(nil, 1, &amqp.BasicPublish{RoutingKey: []byte("q")})
		frames = amqp.AppendContentHeader(frames, 1, len(body), (&amqp.Properties{}).Append(nil))
		for _, part := range [][]byte{body[:100_000], body[100_000:]} {
			frames = append(append(amqp.AppendFrameHeader(frames, amqp.FrameBody, 1, len(part)), part...), amqp.FrameEnd)
		}
		send(frames)
		if m := c.want(amqp.MethodBasicAck).(*amqp.BasicAck); m.DeliveryTag != tag+1 {
			t.Errorf("%+v instead of %d", m, tag+1)
		}
	}
	if views := b.Connections(); len(views) != 1 || views[0].User != "guest" || views[0].State != "running" || len(views[0].Channels) != 1 {
		t.Errorf("%+v", views)
	}
	if closed := b.counter(shmqueue.ConnClosedHandOver); closed != 0 || b.AMQPPort() != port {
		t.Errorf("%d connections closed, from port %d to %d", closed, port, b.AMQPPort())
	}
	send(amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{ReplyCode: 200}))
	c.want(amqp.MethodConnectionCloseOk)
}

// Of an AMQP connection that cannot be read no other one suffers.
func TestHandOverOfADamagedAMQPConnection(t *testing.T) {
	b := start(t, func(c *tier.Config) { c.AMQPListen, c.EventLoops = "127.0.0.1:0", 1 })
	b.access.Store(guest(t))
	first, second := b.dialAMQP(), b.dialAMQP()
	for _, c := range []*amqpClient{first, second} {
		_, err := c.conn.Write([]byte(amqp.ProtocolHeader))
		must(t, err)
		c.want(amqp.MethodConnectionStart)
	}
	p, _ := b.leave()
	p.loops.Loops[0].Conns[0].Room[0] = 99
	b.takeOver(p)
	if n, err := first.conn.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes came", n)
	}
	_, err := second.conn.Write(amqp.AppendMethod(nil, 0, &amqp.ConnectionStartOk{Mechanism: []byte("PLAIN"), Response: []byte("\x00guest\x00guest")}))
	must(t, err)
	second.want(amqp.MethodConnectionTune)
	if open, closed := b.counter(shmqueue.ConnOpen), b.counter(shmqueue.ConnClosedHandOver); open != 1 || closed != 1 {
		t.Errorf("%d open, %d closed", open, closed)
	}
}
