package kafkaconn

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/ipc"
)

func TestApiVersions(t *testing.T) {
	s := newStub(t)
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
	for version := int16(0); version <= 4; version++ {
		resp := call1(s, version, req, kmsg.NewPtrApiVersionsResponse())
		if resp.ErrorCode != 0 || len(resp.ApiKeys) != len(apis) {
			t.Errorf("version %d: %+v", version, resp)
		}
		for _, k := range resp.ApiKeys {
			a := apiOf(k.ApiKey)
			if a == nil || a.max != k.MaxVersion || a.min != k.MinVersion && a.key != kmsg.Produce {
				t.Errorf("%+v is shown", k)
			}
		}
	}
	req.ClientSoftwareName = ""
	if resp := call1(s, 3, req, kmsg.NewPtrApiVersionsResponse()); resp.ErrorCode != codeInvalidRequest {
		t.Errorf("a client without a name: %+v", resp)
	}
}

// A version of ApiVersions that is not known is answered in version 0.
func TestApiVersionsOfTheFuture(t *testing.T) {
	s := newStub(t)
	b := s.frame(4, &kmsg.ApiVersionsRequest{})
	binary.BigEndian.PutUint16(b[6:], 77)
	s.feed(b)
	resp := decode(s.rig, s.responses()[0], 0, s.next, kmsg.NewPtrApiVersionsResponse())
	if resp.ErrorCode != codeUnsupportedVersion || len(resp.ApiKeys) != 1 || resp.ApiKeys[0].ApiKey != 18 || resp.ApiKeys[0].MaxVersion != 4 || s.link.Closed {
		t.Errorf("%+v", resp)
	}
}

// What cannot be answered ends the connection.
func TestWhatEndsTheConnection(t *testing.T) {
	raw := func(size int32, key, version int16, rest ...byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(size))
		b = binary.BigEndian.AppendUint16(b, uint16(key))
		b = binary.BigEndian.AppendUint16(b, uint16(version))
		return append(append(b, 0, 0, 0, 1), rest...)
	}
	for name, b := range map[string][]byte{
		"an unknown key":             raw(20, 1000, 0, 0, 0),
		"a negative key":             raw(20, -1, 0, 0, 0),
		"a negative size":            raw(-20, 3, 0, 0, 0),
		"a size too small":           raw(5, 3, 0, 0, 0),
		"a request too large":        raw(mediumRequest+1, 3, 0, 0, 0),
		"a version not served":       raw(12, 3, 99, 0, 0, 0, 0),
		"an old Produce":             raw(12, 0, 2, 0, 0, 0, 0),
		"a client id beyond the end": raw(12, 3, 1, 0x0f, 0),
		"a body that ends too early": raw(12, 3, 1, 0, 0, 0, 0),
		"a count beyond the end":     raw(14, 3, 1, 0, 0, 0, 0, 0, 9),
		"an HTTP request":            []byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
	} {
		s := newStub(t)
		if s.feed(b); !s.link.Closed || len(s.sent()) > 0 {
			t.Errorf("%s: closed %t", name, s.link.Closed)
		}
		s.feed(b) // nothing more is looked at
	}
}

func TestInitProducerID(t *testing.T) {
	s := newStub(t)
	req := kmsg.NewPtrInitProducerIDRequest()
	for version := int16(0); version <= 4; version++ {
		if resp := call1(s, version, req, kmsg.NewPtrInitProducerIDResponse()); resp.ErrorCode != 0 || resp.ProducerID != 7 || resp.ProducerEpoch != 0 {
			t.Errorf("version %d: %+v", version, resp)
		}
	}
	req.ProducerID, req.ProducerEpoch = 7, 3
	if resp := call1(s, 4, req, kmsg.NewPtrInitProducerIDResponse()); resp.ProducerEpoch != 4 {
		t.Errorf("%+v", resp)
	}
	req.TransactionalID = kmsg.StringPtr("t")
	req.TransactionTimeoutMillis = 5000
	if resp := call1(s, 4, req, kmsg.NewPtrInitProducerIDResponse()); resp.ErrorCode != 0 || resp.ProducerID != 8 || resp.ProducerEpoch != 4 {
		t.Errorf("%+v", resp)
	}
}

// offsetsRequest asks for the offset of a time in each partition of a topic.
func offsetsRequest(name string, partitions int32, timeMS int64) *kmsg.ListOffsetsRequest {
	req := kmsg.NewPtrListOffsetsRequest()
	topic := kmsg.NewListOffsetsRequestTopic()
	topic.Topic = name
	for partition := range partitions {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = partition, timeMS
		topic.Partitions = append(topic.Partitions, p)
	}
	req.Topics = append(req.Topics, topic)
	return req
}

func TestListOffsets(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 2)
	s.store(a.Partitions[0].Index, testBatch(10, 10)) // times 1000 to 1009
	s.store(a.Partitions[0].Index, testBatch(20, 10)) // times 1000 to 1019
	for version := int16(1); version <= 11; version++ {
		for _, row := range []struct{ time, offset, at int64 }{
			{timeLatest, 30, -1}, {timeEarliest, 0, -1}, {0, 0, 1000}, {1005, 5, 1005}, {1015, 25, 1015}, {1020, -1, -1},
			{timeMax, 29, 1019}, {timeEarliestLocal, 0, -1}, {timeLatestTiered, -1, -1}, {timePendingUpload, -1, -1},
		} {
			if version < sinceVersion[row.time] {
				row.offset, row.at = -1, -1
			}
			got := call1(s, version, offsetsRequest("a", 3, row.time), kmsg.NewPtrListOffsetsResponse()).Topics[0].Partitions
			if p := got[0]; p.Offset != row.offset || p.Timestamp != row.at || (p.ErrorCode == codeUnsupportedVersion) != (version < sinceVersion[row.time]) {
				t.Errorf("version %d, time %d: %+v", version, row.time, p)
			}
			if got[1].Offset > 0 || got[2].ErrorCode != codeUnknownTopic && version >= sinceVersion[row.time] {
				t.Errorf("version %d, time %d: %+v", version, row.time, got[1:])
			}
		}
	}
}

// TestListOffsetsOfWhatIsLeft: the index tells of each batch the latest time up to there, which may
// have been that of a record that is gone.
func TestListOffsetsOfWhatIsLeft(t *testing.T) {
	s := newStub(t)
	index := s.topic("a", 1).Partitions[0].Index
	s.store(index, testBatch(10, 10)) // times 1000 to 1009
	s.store(index, testBatch(2, 10))  // 1000, 1001; the index says 1009
	s.store(index, testBatch(7, 10))  // 1000 to 1006
	for _, row := range []struct {
		start              uint64
		time, offset, want int64
	}{{3, 1001, 3, 1003}, {9, 1000, 9, 1009}, {10, 1001, 11, 1001}, {10, 1003, 15, 1003}, {11, 1000, 11, 1001}, {10, 1007, -1, -1}} {
		s.begin(index, row.start)
		req, topic, p := kmsg.NewPtrListOffsetsRequest(), kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
		p.Timestamp, topic.Topic = row.time, "a"
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		if got := call1(s, 7, req, kmsg.NewPtrListOffsetsResponse()).Topics[0].Partitions[0]; got.Offset != row.offset || got.Timestamp != row.want {
			t.Errorf("from %d, time %d: %+v", row.start, row.time, got)
		}
	}
}

func TestOffsetForLeaderEpoch(t *testing.T) {
	s := newStub(t)
	a := s.topic("a", 1)
	s.store(a.Partitions[0].Index, testBatch(10, 10))
	for version := int16(2); version <= 4; version++ {
		req := kmsg.NewPtrOffsetForLeaderEpochRequest()
		topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
		topic.Topic = "a"
		for i, epoch := range []int32{0, 5, 0} {
			p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
			p.Partition, p.LeaderEpoch = int32(i/2), epoch
			topic.Partitions = append(topic.Partitions, p)
		}
		req.Topics = append(req.Topics, topic)
		got := call1(s, version, req, kmsg.NewPtrOffsetForLeaderEpochResponse()).Topics[0].Partitions
		if got[0].EndOffset != 10 || got[0].LeaderEpoch != 0 || got[1].EndOffset != -1 || got[2].ErrorCode != codeUnknownTopic {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

// logicsrv hears of the end of a connection that it knows.
func TestEndOfAConnection(t *testing.T) {
	s := newStub(t)
	call1(s, 9, metadataRequest(false), kmsg.NewPtrMetadataResponse())
	s.conn.Ended()
	if s.conn.Closed(); !s.link.Closed {
		t.Error("not closed")
	}
	if s.turn(); s.seen[ipc.TypeConnClosed] != 1 {
		t.Error("logicsrv was not told")
	}
	s.connect()
	s.conn.Ended()
	s.conn.Closed()
	if s.turn(); s.seen[ipc.TypeConnClosed] != 1 {
		t.Error("logicsrv was told of what it never knew")
	}
}
