package kafkaconn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/trimq/trimq/protocol/batch"
)

// sessionRequest is a fetch of a session.
func sessionRequest(waitMS, id, epoch int32, list ...from) *kmsg.FetchRequest {
	req := fetchRequest(waitMS, 1, 1<<20, list...)
	req.SessionID, req.SessionEpoch = id, epoch
	return req
}

// forgets has a session fetch a partition no longer.
func forgets(req *kmsg.FetchRequest, topic string, partitions ...int32) *kmsg.FetchRequest {
	t := kmsg.NewFetchRequestForgottenTopic()
	t.Topic, t.TopicID, t.Partitions = topic, stubID(topic), partitions
	req.ForgottenTopics = append(req.ForgottenTopics, t)
	return req
}

// told lists the partitions of a response, each as topic/number:records.
func told(t *testing.T, resp *kmsg.FetchResponse) (list []string) {
	t.Helper()
	for i := range resp.Topics {
		topic := &resp.Topics[i]
		for _, p := range topic.Partitions {
			records := 0
			if len(p.RecordBatches) > 0 {
				records = checkBatches(t, p.RecordBatches, batch.Header(p.RecordBatches).BaseOffset())
			}
			list = append(list, fmt.Sprintf("%s/%d:%d", stubName(topic.Topic, topic.TopicID), p.Partition, records))
		}
	}
	return list
}

// A session names its partitions once; then its responses tell what is new, and nothing else.
func TestFetchSession(t *testing.T) {
	for _, version := range []int16{7, 11, 12, 13, 18} {
		s := newStub(t)
		a, b := s.topic("a", 2), s.topic("b", 1)
		fetch := func(req *kmsg.FetchRequest) *kmsg.FetchResponse {
			t.Helper()
			return call1(s, version, req, kmsg.NewPtrFetchResponse())
		}
		expect := func(what string, resp *kmsg.FetchResponse, want ...string) {
			t.Helper()
			if got := told(t, resp); resp.ErrorCode != 0 || !slices.Equal(got, want) {
				t.Errorf("version %d, %s: %v, want %v; %+v", version, what, got, want, resp)
			}
		}
		first := fetch(sessionRequest(0, 0, 0, from{"a", 0, 0}, from{"a", 1, 0}, from{"b", 0, 0}))
		id := first.SessionID
		if expect("opened", first, "a/0:0", "a/1:0", "b/0:0"); id <= 0 {
			t.Fatalf("version %d: session %d", version, id)
		}
		expect("nothing new", fetch(sessionRequest(0, id, 1)))
		s.store(a.Partitions[1].Index, testBatch(1, 10))
		if resp := fetch(sessionRequest(0, id, 2)); resp.SessionID != id {
			t.Errorf("version %d: session %d in the answer", version, resp.SessionID)
		} else {
			expect("one has come", resp, "a/1:1")
		}
		expect("it is read on", fetch(sessionRequest(0, id, 3, from{"a", 1, 1})))
		s.store(a.Partitions[0].Index, testBatch(1, 10))
		s.store(b.Partitions[0].Index, testBatch(1, 10))
		s.store(a.Partitions[1].Index, testBatch(1, 10))
		expect("who had something comes last", fetch(sessionRequest(0, id, 4)), "a/0:1", "b/0:1", "a/1:1")
		expect("one is forgotten", fetch(forgets(sessionRequest(0, id, 5, from{"a", 0, 1}, from{"a", 1, 2}), "b", 0)))
		expect("and comes again", fetch(sessionRequest(0, id, 6, from{"b", 0, 1})), "b/0:0")
		s.begin(b.Partitions[0].Index, 1)
		expect("its start has moved", fetch(sessionRequest(0, id, 7)), "b/0:0")
		expect("errors are told each time", fetch(sessionRequest(0, id, 8, from{"b", 0, 9})), "b/0:0")
		expect("errors are told each time", fetch(sessionRequest(0, id, 9)), "b/0:0")
		expect("and that it is well again", fetch(sessionRequest(0, id, 10, from{"b", 0, 1})), "b/0:0")
		last := fetch(forgets(forgets(sessionRequest(0, id, 11), "b", 0), "a", 0, 1))
		if expect("nothing is left", last); last.SessionID != 0 {
			t.Errorf("version %d: session %d that fetches nothing", version, last.SessionID)
		}
		if resp := fetch(sessionRequest(0, id, 12)); resp.ErrorCode != codeFetchSessionNotFound || resp.SessionID != 0 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
}

// Who is not at one with the broker about a session is told so, and may begin again.
func TestFetchSessionErrors(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	one := from{"a", 0, 0}
	open := func(version int16, id int32) int32 {
		return call1(s, version, sessionRequest(0, id, 0, one), kmsg.NewPtrFetchResponse()).SessionID
	}
	code := func(version int16, id, epoch int32) int16 {
		return call1(s, version, sessionRequest(0, id, epoch), kmsg.NewPtrFetchResponse()).ErrorCode
	}
	id := open(12, 0)
	for _, row := range []struct {
		version   int16
		id, epoch int32
		code      int16
	}{
		{12, id, 2, codeInvalidFetchEpoch}, {12, id + 1, 1, codeFetchSessionNotFound}, {12, 0, 1, codeFetchSessionNotFound},
		{13, id, 1, codeFetchSessionTopicID}, {12, id, 1, codeNone}, {12, id, 1, codeInvalidFetchEpoch}, {11, id, 2, codeNone},
	} {
		if got := code(row.version, row.id, row.epoch); got != row.code {
			t.Errorf("%+v: %d", row, got)
		}
	}
	next := open(13, id) // in its place
	if got := code(12, id, 3); next == id || got != codeFetchSessionNotFound {
		t.Errorf("sessions %d and %d, code %d", id, next, got)
	}
	if resp := call1(s, 13, sessionRequest(0, next, -1, one), kmsg.NewPtrFetchResponse()); resp.ErrorCode != 0 || resp.SessionID != 0 || len(resp.Topics) != 1 {
		t.Errorf("the last fetch: %+v", resp)
	}
	if got := code(13, next, 1); got != codeFetchSessionNotFound {
		t.Errorf("a session that was ended: %d", got)
	}
}

// A connection has few sessions, and they have bounds: the one that was used longest ago makes room.
func TestFetchSessionLimits(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	var ids []int32
	for range maxFetchSessions {
		ids = append(ids, call1(s, 12, sessionRequest(0, 0, 0, from{"a", 0, 0}), kmsg.NewPtrFetchResponse()).SessionID)
	}
	goesOn := func(id, epoch int32) bool {
		return call1(s, 12, sessionRequest(0, id, epoch), kmsg.NewPtrFetchResponse()).ErrorCode == codeNone
	}
	if !goesOn(ids[0], 1) {
		t.Error("a session has made room before the bound")
	}
	call1(s, 12, sessionRequest(0, 0, 0, from{"a", 0, 0}), kmsg.NewPtrFetchResponse())
	if !goesOn(ids[0], 2) || goesOn(ids[1], 1) || !goesOn(ids[2], 1) {
		t.Error("another one has made room than that which was used longest ago")
	}
	var many []from
	for i := range int32(maxSessionParts + 1) {
		many = append(many, from{"a", i, 0})
	}
	if resp := call1(s, 12, sessionRequest(0, 0, 0, many...), kmsg.NewPtrFetchResponse()); resp.SessionID != 0 || len(fetched(resp)) != len(many) {
		t.Errorf("session %d with too many partitions", resp.SessionID)
	}
	if resp := call1(s, 12, sessionRequest(0, ids[0], 3, many...), kmsg.NewPtrFetchResponse()); resp.SessionID != 0 || resp.ErrorCode != 0 {
		t.Errorf("session %d grows beyond its bound: %d", resp.SessionID, resp.ErrorCode)
	}
	if goesOn(ids[0], 4) {
		t.Error("a session goes on that has grown too large")
	}
}

// A fetch of a session waits as any does, for all partitions of the session.
func TestFetchSessionLongPoll(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 3)
	id := call1(s, 13, sessionRequest(0, 0, 0, from{"a", 0, 0}, from{"a", 1, 0}, from{"a", 2, 0}), kmsg.NewPtrFetchResponse()).SessionID
	s.feed(s.frame(13, sessionRequest(500, id, 1)))
	s.turn()
	if len(s.waits) != 3 || len(s.link.Pieces) > 0 {
		t.Fatalf("%d waits", len(s.waits))
	}
	s.store(a.Partitions[2].Index, testBatch(1, 10))
	s.turn()
	if got := told(t, decode(s.rig, s.responses()[0], 13, s.next, kmsg.NewPtrFetchResponse())); !slices.Equal(got, []string{"a/2:1"}) {
		t.Errorf("%v", got)
	}
	s.feed(s.frame(13, sessionRequest(500, id, 2, from{"a", 2, 1})))
	s.turn()
	s.drop("a")
	s.answerWaits()
	s.turn()
	resp := decode(s.rig, s.responses()[0], 13, s.next, kmsg.NewPtrFetchResponse())
	if list := fetched(resp); len(list) == 0 || list[0].ErrorCode != codeUnknownTopicID {
		t.Errorf("a topic that has gone: %+v", resp)
	}
}

// TestSessionsAsAModel: what responses of a session tell, laid over what was told before, is what a fetch without a
// session tells.
func TestSessionsAsAModel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newStub(t)
		a := s.topic("a", 4)
		type line struct {
			end, start int64
			code       int16
		}
		offsets, seen := map[int32]int64{}, map[int32]line{}
		id, epoch := int32(0), int32(0)
		for range rapid.IntRange(5, 25).Draw(r, "rounds") {
			for range rapid.IntRange(0, 3).Draw(r, "batches") {
				s.store(a.Partitions[rapid.IntRange(0, 3).Draw(r, "partition")].Index, testBatch(1, 10))
			}
			req := sessionRequest(0, id, epoch)
			for number := range int32(4) {
				_, have := offsets[number]
				switch rapid.IntRange(0, 3).Draw(r, "change") {
				case 0:
					offsets[number] = int64(rapid.IntRange(-1, 5).Draw(r, "offset"))
					req.Topics = append(req.Topics, fetchRequest(0, 0, 0, from{"a", number, offsets[number]}).Topics...)
				case 1:
					if have && epoch > 0 {
						delete(offsets, number)
						delete(seen, number)
						forgets(req, "a", number)
					}
				}
			}
			resp := call1(s, 13, req, kmsg.NewPtrFetchResponse())
			for _, p := range fetched(resp) {
				seen[p.Partition] = line{p.HighWatermark, p.LogStartOffset, p.ErrorCode}
			}
			if resp.ErrorCode != 0 || (resp.SessionID == 0) != (len(offsets) == 0) {
				r.Fatalf("%d partitions, %+v", len(offsets), resp)
			}
			if id, epoch = resp.SessionID, epoch+1; id == 0 {
				epoch = 0
			}
			whole := fetchRequest(0, 1, 1<<20)
			for number := range int32(4) {
				if offset, ok := offsets[number]; ok {
					whole.Topics = append(whole.Topics, fetchRequest(0, 0, 0, from{"a", number, offset}).Topics...)
				}
			}
			for _, p := range fetched(call1(s, 13, whole, kmsg.NewPtrFetchResponse())) {
				if want := (line{p.HighWatermark, p.LogStartOffset, p.ErrorCode}); seen[p.Partition] != want {
					r.Fatalf("partition %d: the session has told %+v, it is %+v", p.Partition, seen[p.Partition], want)
				}
			}
		}
	})
}
