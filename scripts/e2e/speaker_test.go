package e2e

import (
	"bytes"
	"net"
	"testing"

	"github.com/trimq/trimq/protocol/admin"
	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
	"github.com/trimq/trimq/protocol/native"
	"github.com/trimq/trimq/scripts/broker"
)

// speaker is a connection that speaks frames: what the native protocol promises is tested without
// the client, which would hide some of it.
type speaker struct {
	t      *testing.T
	conn   net.Conn
	dec    *native.Decoder
	next   uint64 // correlation
	unread []native.Frame
}

// speak connects and says hello.
func speak(t *testing.T, b *broker.Broker) *speaker {
	t.Helper()
	s := &speaker{t: t, conn: raw(t, b)}
	s.dec = native.NewDecoder(s.conn, 64<<10, native.DefaultMaxFrame)
	s.call(native.CmdHello, &native.Hello{MinVersion: native.Version, MaxVersion: native.Version})
	return s
}

// bytesBody is a body that is encoded already.
type bytesBody []byte

func (b bytesBody) Append(to []byte) []byte { return append(to, b...) }

func (s *speaker) send(cmd native.Command, body native.Body) (correlation uint64) {
	s.t.Helper()
	s.next++
	if _, err := s.conn.Write(native.AppendFrame(nil, cmd, 0, s.next, body)); err != nil {
		s.t.Fatal(err)
	}
	return s.next
}

// until reads up to the first frame that fits; the others are kept for later calls.
func (s *speaker) until(fits func(f *native.Frame) bool) native.Frame {
	s.t.Helper()
	for i := range s.unread {
		if f := s.unread[i]; fits(&f) {
			s.unread = append(s.unread[:i], s.unread[i+1:]...)
			return f
		}
	}
	for {
		f, err := s.dec.Next()
		if err != nil {
			s.t.Fatalf("reading frames: %v", err)
		}
		f.Body = bytes.Clone(f.Body)
		if fits(&f) {
			return f
		}
		s.unread = append(s.unread, f)
	}
}

// try asks and returns the response.
func (s *speaker) try(cmd native.Command, body native.Body) native.Frame {
	s.t.Helper()
	correlation := s.send(cmd, body)
	return s.until(func(f *native.Frame) bool { return f.Correlation == correlation && f.Flags&native.FlagResponse != 0 })
}

// call is try for what must succeed; it returns the body.
func (s *speaker) call(cmd native.Command, body native.Body) []byte {
	s.t.Helper()
	f := s.try(cmd, body)
	if f.Flags&native.FlagError != 0 {
		m, _ := native.DecodeErrorBody(f.Body)
		s.t.Fatalf("%s: %s: %s", cmd, m.Code, m.Text)
	}
	return f.Body
}

// refused is try for what must not.
func (s *speaker) refused(code errcode.Code, cmd native.Command, body native.Body) {
	s.t.Helper()
	f := s.try(cmd, body)
	m, err := native.DecodeErrorBody(f.Body)
	if f.Flags&native.FlagError == 0 || err != nil || m.Code != code {
		s.t.Fatalf("%s is answered with %+v %+v, want %s", cmd, f.Header, m, code)
	}
}

// queue makes a queue and returns its id.
func (s *speaker) queue(name string, set admin.QueueSettings) uint64 {
	s.t.Helper()
	set.Durable = true
	m, err := admin.DecodeCreated(s.call(native.CmdCreateQueue, &admin.CreateQueue{Name: name, QueueSettings: set}))
	if err != nil {
		s.t.Fatal(err)
	}
	return m.Index
}

// topic makes a topic of one partition and returns its index.
func (s *speaker) topic(name string) uint64 {
	s.t.Helper()
	s.call(native.CmdCreateTopic, &admin.CreateTopic{Name: name, Partitions: 1})
	d, err := admin.DecodeDescription(s.call(native.CmdDescribe, &admin.Describe{Kind: admin.KindTopic, Names: []string{name}}))
	if err != nil || len(d.Topics) != 1 {
		s.t.Fatalf("%+v %v", d, err)
	}
	return d.Topics[0].Partitions[0].Index
}

// messages makes a batch of values, each also in the header word.
func messages(values ...string) []byte {
	var b batch.Builder
	for i, v := range values {
		b.Add(int64(1000+i), nil, []byte(v), []batch.RecordHeader{{Key: "word", Value: []byte(v)}})
	}
	return bytes.Clone(b.Seal(batch.None, batch.NoProducer, 0, 0))
}

// publish sends values to the default exchange.
func (s *speaker) publish(m native.Publish, values ...string) native.PublishReply {
	s.t.Helper()
	if m.TTLMS == 0 {
		m.TTLMS = ipc.NoTTL
	}
	r, err := native.DecodePublishReply(s.call(native.CmdPublish, bytesBody(append(m.Append(nil), messages(values...)...))))
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *speaker) produce(index, txn uint64, values ...string) {
	s.t.Helper()
	m := native.Produce{Index: index, Txn: txn}
	s.call(native.CmdProduce, bytesBody(append(m.Append(nil), messages(values...)...)))
}

// handed is one message that was delivered.
type handed struct {
	native.Deliver
	offset uint64
	value  string
	note   ipc.Note
}

// decode takes the messages out of a DELIVER.
func (s *speaker) decode(f native.Frame) (list []handed) {
	s.t.Helper()
	m, note, batches, err := native.DecodeDeliver(f.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	h := handed{Deliver: m}
	if len(note) > 0 {
		if h.note, err = native.DecodeNote(note); err != nil {
			s.t.Fatal(err)
		}
	}
	n := uint64(0)
	err = batch.Iterate(batches, func(r *batch.Record) error {
		if h.offset = m.Base + n; h.offset-m.First < uint64(m.Count) {
			h.value = string(r.Value)
			list = append(list, h)
		}
		n++
		return nil
	})
	if err != nil || len(list) != int(m.Count) {
		s.t.Fatalf("%+v brings %+v: %v", m, list, err)
	}
	return list
}

// receive reads n messages of a subscription.
func (s *speaker) receive(sub uint64, n int) (list []handed) {
	s.t.Helper()
	for len(list) < n {
		list = append(list, s.decode(s.until(func(f *native.Frame) bool {
			if f.Command != native.CmdDeliver {
				return false
			}
			m, _, _, err := native.DecodeDeliver(f.Body)
			return err == nil && m.Sub == sub
		}))...)
	}
	return list
}

// pull asks for messages and returns them.
func (s *speaker) pull(m native.Pull) (list []handed, reply native.PullReply) {
	s.t.Helper()
	correlation := s.send(native.CmdPull, &m)
	for {
		f := s.until(func(f *native.Frame) bool { return f.Correlation == correlation })
		switch {
		case f.Command == native.CmdDeliver:
			list = append(list, s.decode(f)...)
			continue
		case f.Flags&native.FlagError != 0:
			e, _ := native.DecodeErrorBody(f.Body)
			s.t.Fatalf("PULL: %s: %s", e.Code, e.Text)
		}
		reply, err := native.DecodePullReply(f.Body)
		if err != nil || int(reply.Count) != len(list) {
			s.t.Fatalf("%+v for %+v: %v", reply, list, err)
		}
		return list, reply
	}
}

// subscribe makes a consumer of a queue.
func (s *speaker) subscribe(sub, queue, limit uint64, timeoutMS uint64) {
	s.t.Helper()
	s.call(native.CmdSubscribe, &native.Subscribe{Sub: sub, Index: queue, Limit: limit, Kind: native.SubQueue, AckTimeoutMS: timeoutMS})
}

// settle passes a verdict on one message that is in hand.
func (s *speaker) settle(queue uint64, h handed, v ipc.Verdict) {
	s.t.Helper()
	s.call(native.CmdAck, &native.Ack{Sub: h.Sub, Queue: queue, Index: h.Index, Verdict: v, Ranges: []ipc.Range{{First: h.offset, Count: 1}}})
}

// values are those of messages, in order.
func values(list []handed) (out []string) {
	for i := range list {
		out = append(out, list[i].value)
	}
	return out
}
