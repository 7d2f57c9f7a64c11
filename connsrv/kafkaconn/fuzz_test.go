package kafkaconn

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/ipc"
)

// stream is some requests, one behind the other, each in the highest version that is served.
func stream(list ...kmsg.Request) (b []byte) {
	for i, req := range list {
		req.SetVersion(apiOf(req.Key()).max)
		b = appendFrame(b, int32(i), req)
	}
	return b
}

// goodStream holds one of each.
func goodStream() []byte {
	versions := kmsg.NewPtrApiVersionsRequest()
	versions.ClientSoftwareName, versions.ClientSoftwareVersion = "test", "1"
	old := asksToStore(1, "a", testBatch(3, 40))
	old.SetVersion(7)
	b := stream(
		versions, metadataRequest(true, "a", "new"), asksToStore(-1, "a", testBatch(3, 40), testBatch(400, 100), testBatch(1, 1)),
		asksToStore(0, "new", testBatch(2, 2)), andMore(asksToStore(-1, "none", testBatch(2, 2)), "a", testBatch(7, 7)),
		offsetsRequest("a", 2, timeLatest), fetchRequest(0, 1, 1<<20, from{"a", 0, 0}, from{"a", 1, 3}), kmsg.NewPtrInitProducerIDRequest(), joinRequest(),
		commitRequest("m1", "a", 5, 6), &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}},
		createRequest("b", 2, with("retention.ms", "9")), kmsg.NewPtrListGroupsRequest(), kmsg.NewPtrFindCoordinatorRequest(),
	)
	return appendFrame(b, 99, old)
}

// history feeds a stream in pieces and plays logicsrv; it returns what went into the ring and what
// was answered.
func history(t *testing.T, stream []byte, cut func() int) (records []taken, answers []byte, closed bool) {
	s := newStub(t)
	s.topic("a", 3)
	records = s.play(stream, cut)
	return records, s.sent(), s.link.Closed
}

// taken is a record that came out of the ring.
type taken struct {
	typ     ipc.Type
	payload string
}

// play feeds a stream in pieces and plays logicsrv; it returns what went into the ring.
func (s *stub) play(stream []byte, cut func() int) (records []taken) {
	for rest := stream; len(rest) > 0 && !s.link.Closed; {
		n := min(len(rest), cut())
		s.feed(rest[:n])
		rest = rest[n:]
		for more := true; more; {
			more = false
			for {
				rec, ok := s.in.Next()
				if !ok {
					break
				}
				more = true
				typ, payload := ipc.Type(rec.Type), slices.Clone(rec.Payload)
				s.in.Release(rec.End)
				records = append(records, taken{typ, string(payload)})
				s.between()
				s.take(typ, payload)
				s.between()
			}
			s.loop.Lane.Advance()
			s.feed(nil)
			more = more || s.in.Ready()
		}
	}
	return records
}

// FuzzAnySplit: however a stream is cut, the same records and answers come out of it, and nothing
// panics. Small inputs are of most use: go test -fuzz FuzzAnySplit -fuzzminimizetime 5x.
func FuzzAnySplit(f *testing.F) {
	good := goodStream()
	f.Add(good, uint64(1))
	f.Add(good[:len(good)-3], uint64(7))
	f.Add(append(slices.Clone(good), 0xff, 0xff, 0xff, 0xff, 1, 2, 3), uint64(3))
	for _, at := range []int{40, 200, 500, len(good) - 300} {
		bad := slices.Clone(good)
		bad[at] ^= 1
		f.Add(bad, uint64(at))
	}
	f.Fuzz(func(t *testing.T, stream []byte, seed uint64) {
		if len(stream) > 128<<10 {
			return
		}
		a, answersA, closedA := history(t, stream, func() int { return len(stream) })
		rnd := rand.New(rand.NewPCG(seed, 1))
		b, answersB, closedB := history(t, stream, func() int { return 1 + rnd.IntN(1<<rnd.IntN(16)) })
		if closedA != closedB {
			t.Fatalf("closed %t in one piece, %t in several", closedA, closedB)
		}
		if closedA { // what was under way then has no answer, and more may have been under way
			n, m := min(len(a), len(b)), min(len(answersA), len(answersB))
			a, b, answersA, answersB = a[:n], b[:n], answersA[:m], answersB[:m]
		}
		if !slices.Equal(a, b) {
			t.Fatalf("%d records in one piece, %d in several, or others", len(a), len(b))
		}
		if !bytes.Equal(answersA, answersB) {
			t.Fatal("the answers differ")
		}
	})
}

// FuzzReply: records of another process do not break a room, whatever they hold.
func FuzzReply(f *testing.F) {
	head := ipc.Head{Epoch: 1, Conn: 0x100, Req: 1 << 8}
	f.Add(uint16(ipc.TypeAppended), (&ipc.Appended{Head: head, Index: 10, Base: 5}).Append(nil))
	f.Add(uint16(ipc.TypeVisible), (&ipc.Visible{Head: head, Index: 10, End: 5}).Append(nil))
	f.Add(uint16(ipc.TypeError), (&ipc.Error{Head: head, Code: uint16(errcode.NotFound), Text: "x"}).Append(nil))
	f.Add(uint16(ipc.TypeGroupJoined), (&ipc.GroupJoined{Head: head, Member: "m"}).Append(nil))
	f.Add(uint16(ipc.TypeOffsetList), (&ipc.OffsetList{Head: head, Offsets: []ipc.OffsetCommit{{Index: 10, Offset: 5}}}).Append(nil))
	f.Add(uint16(ipc.TypeAdminReply), (&ipc.AdminReply{Head: head, Command: 16, Body: []byte{1, 0, 0, 0}}).Append(nil))
	f.Fuzz(func(t *testing.T, typ uint16, payload []byte) {
		for _, req := range []kmsg.Request{
			metadataRequest(true, "a"), asksToStore(-1, "a", testBatch(1, 1)), fetchRequest(500, 1, 1000, from{"a", 0, 0}), kmsg.NewPtrInitProducerIDRequest(),
			joinRequest(), commitRequest("m1", "b", 5), &kmsg.OffsetFetchRequest{Groups: []kmsg.OffsetFetchRequestGroup{{Group: "g"}}},
			createRequest("b", 2, nil), kmsg.NewPtrListGroupsRequest(), shareRequest([16]byte{1}),
		} {
			r := newRig(t)
			b := &topic{name: "b", id: topicID{1}, indexes: []uint64{10}}
			r.loop.topics.byName["b"], r.loop.topics.byID[b.id], r.loop.topics.byIndex[10] = b, b, partition{b, 0}
			r.feed(stream(req))
			r.conn.Reply(ipc.Type(typ), payload)
			r.feed(stream(fetchRequest(500, 1, 1000, from{"b", 0, 0})))
			r.conn.Reply(ipc.Type(typ), payload)
			r.conn.Broadcast(ipc.Type(typ), payload)
			r.conn.Resync(ipc.Marker{Term: 1, Ask: 1}, true)
			r.conn.AskAgain(true)
			r.conn.Deadline(1 << 40)
			r.conn.Shutdown()
			r.conn.Closed()
		}
	})
}
