package amqpconn

import (
	"bytes"
	"fmt"
	"slices"
	"testing"

	"github.com/trimq/trimq/connsrv/session/roomtest"
	"github.com/trimq/trimq/protocol/amqp"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

func TestHandshake(t *testing.T) {
	r := newRig(t)
	r.feed([]byte(amqp.ProtocolHeader))
	start := one[*amqp.ConnectionStart](r)
	if start.VersionMinor != 9 || string(start.Mechanisms) != "AMQPLAIN PLAIN" || !capabilities(start.ServerProperties).has("basic.nack") {
		t.Errorf("start: %+v", start)
	}
	login := amqp.Table(nil).Add("LOGIN", amqp.String("guest")).Add("PASSWORD", amqp.String("guest"))
	r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionStartOk{Mechanism: []byte("AMQPLAIN"), Response: login}))
	if tune := one[*amqp.ConnectionTune](r); tune.ChannelMax != 7 || tune.FrameMax != 8192 || tune.Heartbeat != 10 {
		t.Errorf("tune: %+v", tune)
	}
	r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionTuneOk{}))
	r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionOpen{VirtualHost: []byte("/")}))
	one[*amqp.ConnectionOpenOk](r)
	r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionUpdateSecret{NewSecret: []byte("x")}))
	one[*amqp.ConnectionUpdateSecretOk](r)
	r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionClose{ReplyCode: 200}))
	one[*amqp.ConnectionCloseOk](r)
	if !r.link.Closed {
		t.Error("the link is open")
	}
}

func TestHandshakeRefused(t *testing.T) {
	startOk := func(m *amqp.ConnectionStartOk) []byte { return amqp.AppendMethod([]byte(amqp.ProtocolHeader), 0, m) }
	guest := &amqp.ConnectionStartOk{Mechanism: []byte("PLAIN"), Response: []byte("\x00guest\x00guest")}
	can := amqp.Table(nil).Add("authentication_failure_close", amqp.Bool(true))
	for _, c := range []struct {
		name string
		in   []byte
		code uint16
		text string
	}{
		{"password", startOk(&amqp.ConnectionStartOk{
			ClientProperties: amqp.Table(nil).Add("capabilities", amqp.Nested(can)), Mechanism: []byte("PLAIN"), Response: []byte("\x00guest\x00wrong"),
		}), 403, "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile."},
		{"mechanism", startOk(&amqp.ConnectionStartOk{Mechanism: []byte("EXTERNAL")}), 503, "COMMAND_INVALID - unknown authentication mechanism 'EXTERNAL'; there are PLAIN and AMQPLAIN"},
		{"frame_max", amqp.AppendMethod(startOk(guest), 0, &amqp.ConnectionTuneOk{FrameMax: 100}), 530, "NOT_ALLOWED - negotiated frame_max = 100 is lower than the minimum allowed value (4096)"},
		{"channel_max", amqp.AppendMethod(startOk(guest), 0, &amqp.ConnectionTuneOk{ChannelMax: 8}), 530, "NOT_ALLOWED - negotiated channel_max = 8 is higher than the maximum allowed value (7)"},
		{"vhost", amqp.AppendMethod(amqp.AppendMethod(startOk(guest), 0, &amqp.ConnectionTuneOk{}), 0, &amqp.ConnectionOpen{VirtualHost: []byte("x")}), 530, "NOT_ALLOWED - vhost x not found"},
		{"order", amqp.AppendMethod(startOk(guest), 0, &amqp.ConnectionOpen{}), 503, "COMMAND_INVALID - connection.open is not expected now on channel 0"},
		{"no frame end", append(startOk(guest), 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0), 501, "FRAME_ERROR - a frame of type 1 does not end where its size says"},
		{"large frame", append([]byte(amqp.ProtocolHeader), 1, 0, 0, 1, 0, 0, 0), 501, "FRAME_ERROR - frame of 16777224 bytes, at most 4096 were agreed"},
	} {
		r := newRig(t)
		r.feed(c.in)
		list := r.sent()
		m, ok := list[len(list)-1].(*amqp.ConnectionClose)
		if !ok || m.ReplyCode != c.code || string(m.ReplyText) != c.text {
			t.Errorf("%s: %T %+v", c.name, list[len(list)-1], list[len(list)-1])
			continue
		}
		r.feed(amqp.AppendMethod(nil, 0, &amqp.ConnectionCloseOk{}))
		if !r.link.Closed {
			t.Errorf("%s: the link is open", c.name)
		}
	}
}

// Frames that are none of a channel end the connection, each with its code.
func TestOddFrames(t *testing.T) {
	for _, c := range []struct {
		typ  byte
		code uint16
	}{{amqp.FrameHeartbeat, amqp.UnexpectedFrame}, {amqp.FrameHeader, amqp.UnexpectedFrame}, {amqp.FrameBody, amqp.UnexpectedFrame}, {0, amqp.FrameError}, {4, amqp.FrameError}} {
		r := newRig(t)
		r.open()
		r.feed(append(amqp.AppendFrameHeader(nil, c.typ, 1, 0), amqp.FrameEnd))
		if code, text := r.refusal(); code != c.code {
			t.Errorf("type %d: %d %s", c.typ, code, text)
		}
	}
}

func TestAnotherProtocol(t *testing.T) {
	r := newRig(t)
	r.feed([]byte("GET / HTTP/1.1\r\n"))
	if got := string(bytes.Join(r.link.Pieces, nil)); got != amqp.ProtocolHeader || !r.link.Closed {
		t.Errorf("%q is answered, closed: %v", got, r.link.Closed)
	}
}

// What comes together and is routed alike travels as one batch; the properties come back as they were.
func TestPublishesTravelTogether(t *testing.T) {
	r := newRig(t)
	r.open()
	var b []byte
	for i := range 5 {
		p := amqp.Properties{Flags: amqp.HasHeaders | amqp.HasDeliveryMode, DeliveryMode: 2, Headers: amqp.Table(nil).Add("n", amqp.Int32(int32(i)))}
		b = publish(b, &amqp.BasicPublish{RoutingKey: []byte("q")}, &p, fmt.Appendf(nil, "body %d", i))
	}
	b = publish(b, &amqp.BasicPublish{RoutingKey: []byte("other")}, &amqp.Properties{}, nil)
	r.feed(b)
	list, batches := r.publishes()
	if len(list) != 2 || list[0].Batch.Count != 5 || list[0].RoutingKey != "q" || list[1].Batch.Count != 1 || list[1].RoutingKey != "other" {
		t.Fatalf("%+v", list)
	}
	if list[0].Level != ipc.LevelMemory || list[0].TTLMS != ipc.NoTTL || list[0].Weight != 30 {
		t.Errorf("%+v", list[0])
	}
	if _, err := batch.Validate(batches[0]); err != nil {
		t.Error(err)
	}
	n := 0
	must(t, batch.Iterate(batches[0], func(rec *batch.Record) error {
		var p amqp.Properties
		if err := p.Decode(storedProperties(rec)); err != nil || p.DeliveryMode != 2 || string(rec.Value) != fmt.Sprintf("body %d", n) {
			t.Errorf("record %d: %q, %+v, %v", n, rec.Value, p, err)
		}
		headers := rec.AppendHeaders(nil)
		if len(headers) != 2 || headers[1].Key != "n" || string(headers[1].Value) != fmt.Sprint(n) {
			t.Errorf("headers of record %d: %v", n, headers)
		}
		n++
		return nil
	}))
}

// Confirms come in the order of publishing, whatever the order of the answers.
func TestConfirmsInOrder(t *testing.T) {
	r := newRig(t)
	r.open()
	r.feed(amqp.AppendMethod(nil, 1, &amqp.ConfirmSelect{}))
	one[*amqp.ConfirmSelectOk](r)
	for i := range 3 {
		r.feed(publish(publish(nil, &amqp.BasicPublish{RoutingKey: []byte{'a' + byte(i)}}, &amqp.Properties{}, nil), &amqp.BasicPublish{RoutingKey: []byte{'a' + byte(i)}}, &amqp.Properties{}, nil))
	}
	list, _ := r.publishes()
	answer := func(i int) {
		m := ipc.Published{Head: list[i].Head, Queues: 1, Full: uint32(i / 2)}
		r.reply(ipc.TypePublished, m.Append(nil))
	}
	answer(1)
	if list := r.sent(); len(list) > 0 {
		t.Fatalf("confirmed too early: %v", list)
	}
	answer(0)
	if m := one[*amqp.BasicAck](r); m.DeliveryTag != 4 || !m.Multiple {
		t.Errorf("%+v", m)
	}
	answer(0) // told twice
	answer(2) // a queue was full
	if m := one[*amqp.BasicNack](r); m.DeliveryTag != 6 || !m.Multiple {
		t.Errorf("%+v", m)
	}
}

// All that one turn confirms is confirmed with one method, and before what ends the channel.
func TestOneConfirmATurn(t *testing.T) {
	r := newRig(t)
	r.open()
	r.feed(amqp.AppendMethod(nil, 1, &amqp.ConfirmSelect{NoWait: true}))
	for i := range 4 {
		r.feed(publish(nil, &amqp.BasicPublish{Exchange: []byte("amq.direct"), RoutingKey: []byte{'a' + byte(i)}}, &amqp.Properties{}, nil))
	}
	list, _ := r.publishes()
	for i := range 3 {
		m := ipc.Published{Head: list[i].Head, Queues: 1}
		r.conn.Reply(ipc.TypePublished, m.Append(nil))
	}
	if got := r.sent(); len(got) > 0 {
		t.Fatalf("before the end of the turn: %v", got)
	}
	gone := ipc.Error{Head: list[3].Head, Code: uint16(errcode.AccessRefused)}
	r.reply(ipc.TypeError, gone.Append(nil))
	got := r.sent()
	if len(got) != 2 {
		t.Fatalf("%v", got)
	}
	if m, _ := got[0].(*amqp.BasicAck); m == nil || m.DeliveryTag != 3 || !m.Multiple {
		t.Errorf("%+v", got[0])
	}
	if m, _ := got[1].(*amqp.ChannelClose); m == nil || m.ReplyCode != amqp.AccessRefused {
		t.Errorf("%+v", got[1])
	}
}

// Small publishes gather while much is under way, and are looked at with each answer.
func TestGather(t *testing.T) {
	r := newRig(t)
	r.open()
	link := r.conn.link.(*roomtest.Link)
	body := make([]byte, minGather*gatherPart/2)
	r.feed(publish(nil, &amqp.BasicPublish{RoutingKey: []byte("a")}, &amqp.Properties{}, body))
	if link.Gathered != 0 {
		t.Errorf("with one under way %d bytes gather", link.Gathered)
	}
	r.feed(publish(nil, &amqp.BasicPublish{RoutingKey: []byte("b")}, &amqp.Properties{}, body))
	if link.Gathered < minGather || link.Gathered > maxGather {
		t.Errorf("%d bytes gather, want %d to %d", link.Gathered, minGather, maxGather)
	}
	list, _ := r.publishes()
	for i, m := range list {
		looks := link.Looks
		done := ipc.Published{Head: m.Head, Queues: 1}
		r.reply(ipc.TypePublished, done.Append(nil))
		if left := i+1 < len(list); left && link.Looks == looks || !left && link.Gathered != 0 {
			t.Errorf("behind answer %d: %d looks, %d bytes gather", i, link.Looks-looks, link.Gathered)
		}
	}
}

// What reaches nothing comes back before it is confirmed, as it was.
func TestReturnBeforeAck(t *testing.T) {
	r := newRig(t)
	r.open()
	r.feed(amqp.AppendMethod(nil, 1, &amqp.ConfirmSelect{NoWait: true}))
	p := amqp.Properties{Flags: amqp.HasMessageID, MessageID: []byte("m")}
	r.feed(publish(nil, &amqp.BasicPublish{Exchange: []byte("amq.direct"), RoutingKey: []byte("k"), Mandatory: true}, &p, []byte("body")))
	list, _ := r.publishes()
	refusal := ipc.Error{Head: list[0].Head, Code: uint16(errcode.Unroutable)}
	r.reply(ipc.TypeError, refusal.Append(nil))
	got := r.sent()
	if len(got) != 4 {
		t.Fatalf("%v", got)
	}
	m, _ := got[0].(*amqp.BasicReturn)
	if m == nil || m.ReplyCode != 312 || string(m.ReplyText) != "NO_ROUTE" || string(m.Exchange) != "amq.direct" || string(m.RoutingKey) != "k" {
		t.Errorf("%+v", m)
	}
	if h, err := amqp.ParseContentHeader(got[1].([]byte)); err != nil || !bytes.Equal(h.Properties, p.Append(nil)) || h.BodySize != 4 {
		t.Errorf("%+v, %v", h, err)
	}
	if ack, _ := got[3].(*amqp.BasicAck); !bytes.Equal(got[2].([]byte), []byte("body")) || ack == nil || ack.DeliveryTag != 1 {
		t.Errorf("%v", got[2:])
	}
}

// A publish that finds no room waits, and goes before what comes behind it once there is some.
func TestPublishWaitsForRoom(t *testing.T) {
	r := newRig(t)
	r.open()
	body := bytes.Repeat([]byte{'x'}, 48<<10)
	for i := range 8 { // the share is 256 KiB
		r.feed(publish(nil, &amqp.BasicPublish{RoutingKey: []byte{'0' + byte(i)}}, &amqp.Properties{}, body))
	}
	list, _ := r.publishes()
	if len(list) != 5 || !r.conn.stuck {
		t.Fatalf("%d publishes went, stuck: %v", len(list), r.conn.stuck)
	}
	var keys []string
	for len(list) > 0 {
		for _, m := range list {
			keys = append(keys, m.RoutingKey)
			done := ipc.Published{Head: m.Head, Queues: 1}
			r.reply(ipc.TypePublished, done.Append(nil))
			r.feed(nil)
		}
		list, _ = r.publishes()
	}
	if !slices.Equal(keys, []string{"0", "1", "2", "3", "4", "5", "6", "7"}) {
		t.Errorf("published in the order %v", keys)
	}
}

// An error ends its channel; the number is free once the client has answered.
func TestChannelError(t *testing.T) {
	r := newRig(t)
	r.open()
	r.feed(amqp.AppendMethod(nil, 1, &amqp.BasicAck{DeliveryTag: 7}))
	if m := one[*amqp.ChannelClose](r); m.ReplyCode != 406 || string(m.ReplyText) != "PRECONDITION_FAILED - unknown delivery tag 7" || m.ClassID != 60 || m.MethodID != 80 {
		t.Errorf("%+v", m)
	}
	r.feed(publish(nil, &amqp.BasicPublish{RoutingKey: []byte("q")}, &amqp.Properties{}, []byte("lost")))
	if list, _ := r.publishes(); len(list) > 0 {
		t.Errorf("published behind the error: %+v", list)
	}
	r.feed(amqp.AppendMethod(amqp.AppendMethod(nil, 1, &amqp.ChannelCloseOk{}), 1, &amqp.ChannelOpen{}))
	one[*amqp.ChannelOpenOk](r)
	r.feed(amqp.AppendMethod(nil, 2, &amqp.BasicAck{DeliveryTag: 1}))
	if m := one[*amqp.ConnectionClose](r); m.ReplyCode != 504 || string(m.ReplyText) != "CHANNEL_ERROR - expected 'channel.open'" {
		t.Errorf("%+v", m)
	}
}

func TestHeartbeats(t *testing.T) {
	r := newRig(t)
	r.feed(bytes.Replace(opening(), (&amqp.ConnectionTuneOk{ChannelMax: 7, FrameMax: 8192}).Append(nil), (&amqp.ConnectionTuneOk{ChannelMax: 7, FrameMax: 8192, Heartbeat: 10}).Append(nil), 1))
	r.sent()
	if r.link.Deadline != 6000 {
		t.Fatalf("the deadline is %d", r.link.Deadline)
	}
	r.link.LaterMS = 5000
	r.conn.Deadline(6000)
	if got := bytes.Join(r.link.Pieces, nil); !bytes.Equal(got, amqp.AppendHeartbeat(nil)) {
		t.Errorf("sent %x", got)
	}
	r.link.LaterMS = 15000
	r.feed(amqp.AppendHeartbeat(nil))
	r.conn.Deadline(16000)
	r.link.LaterMS = 34000
	r.conn.Deadline(35000)
	if r.link.Closed {
		t.Fatal("closed too early")
	}
	r.link.LaterMS = 35000
	r.conn.Deadline(36000)
	if !r.link.Closed {
		t.Error("the link of who sends no heartbeats is open")
	}
}

// Where it turns out that headers are looked at, what comes next does not overtake what is published again.
func TestPublishedAgainInOrder(t *testing.T) {
	r := newRig(t)
	r.open()
	p := amqp.Properties{Flags: amqp.HasHeaders, Headers: amqp.Table(nil).Add("format", amqp.String("pdf"))}
	send := func(key string) {
		r.feed(publish(nil, &amqp.BasicPublish{Exchange: []byte("amq.headers"), RoutingKey: []byte(key)}, &p, nil))
	}
	send("a")
	send("b")
	list, _ := r.publishes()
	refuse := func(m ipc.Publish) {
		refusal := ipc.Error{Head: m.Head, Code: uint16(errcode.NeedHeaders)}
		r.reply(ipc.TypeError, refusal.Append(nil))
	}
	refuse(list[0])
	send("c")
	refuse(list[1])
	var keys []string
	for list, _ = r.publishes(); len(list) > 0; list, _ = r.publishes() {
		for _, m := range list {
			keys = append(keys, m.RoutingKey)
			done := ipc.Published{Head: m.Head, Queues: 1}
			r.reply(ipc.TypePublished, done.Append(nil))
			r.feed(nil)
		}
	}
	if !slices.Equal(keys, []string{"a", "b", "c"}) {
		t.Errorf("published in the order %v", keys)
	}
}

// Behind the default exchange it is a queue of which is found out that headers are looked at, when its messages die.
func TestQueueLooksAtHeaders(t *testing.T) {
	r := newRig(t)
	r.open()
	p := amqp.Properties{Flags: amqp.HasHeaders, Headers: amqp.Table(nil).Add("format", amqp.String("pdf"))}
	send := func(key string) (headers []ipc.Header) {
		r.feed(publish(nil, &amqp.BasicPublish{RoutingKey: []byte(key)}, &p, nil))
		list, _ := r.publishes()
		if len(list) != 1 || list[0].NoHeaders == (len(list[0].Headers) > 0) {
			t.Fatalf("%+v", list)
		}
		if key == "mortal" && len(list[0].Headers) == 0 {
			refusal := ipc.Error{Head: list[0].Head, Code: uint16(errcode.NeedHeaders)}
			r.reply(ipc.TypeError, refusal.Append(nil))
			list, _ = r.publishes()
		}
		done := ipc.Published{Head: list[0].Head, Queues: 1}
		r.reply(ipc.TypePublished, done.Append(nil))
		r.feed(nil)
		return list[0].Headers
	}
	for _, key := range []string{"mortal", "mortal", "other"} {
		if headers := send(key); (len(headers) == 1) != (key == "mortal") {
			t.Errorf("%s: %v", key, headers)
		}
	}
}
