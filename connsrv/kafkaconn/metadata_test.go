package kafkaconn

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/errcode"
)

// metadataRequest asks for topics by name; none: for all.
func metadataRequest(create bool, names ...string) *kmsg.MetadataRequest {
	req := kmsg.NewPtrMetadataRequest()
	req.AllowAutoTopicCreation = create
	for _, name := range names {
		t := kmsg.NewMetadataRequestTopic()
		t.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, t)
	}
	return req
}

// described lists names, codes and numbers of partitions.
func described(resp *kmsg.MetadataResponse) (list []topicLine) {
	for _, t := range resp.Topics {
		line := topicLine{code: t.ErrorCode, partitions: len(t.Partitions)}
		if t.Topic != nil {
			line.name = *t.Topic
		}
		list = append(list, line)
	}
	return list
}

type topicLine struct {
	name       string
	code       int16
	partitions int
}

func TestMetadata(t *testing.T) {
	for version := int16(0); version <= 12; version++ {
		s := newStub(t)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			s.topic(name, 1+len(s.topics))
		}
		all := call1(s, version, metadataRequest(false), kmsg.NewPtrMetadataResponse())
		if want := []topicLine{{"a", 0, 1}, {"b", 0, 2}, {"c", 0, 3}, {"d", 0, 4}, {"e", 0, 5}}; !slices.Equal(described(all), want) {
			t.Errorf("version %d: %+v", version, all)
		}
		if b := all.Brokers[0]; b.Host != "192.0.2.1" || b.Port != 9092 || b.NodeID != nodeID || version >= 2 && *all.ClusterID != "test" {
			t.Errorf("version %d: %+v", version, b)
		}
		some := call1(s, version, metadataRequest(false, "e", "b", "no/topic"), kmsg.NewPtrMetadataResponse())
		if want := []topicLine{{"e", 0, 5}, {"b", 0, 2}, {"no/topic", codeInvalidTopic, 0}}; !slices.Equal(described(some), want) {
			t.Errorf("version %d: %+v", version, some)
		}
		if p := some.Topics[0].Partitions[3]; p.Partition != 3 || p.Leader != nodeID || !slices.Equal(p.ISR, []int32{nodeID}) {
			t.Errorf("version %d: %+v", version, p)
		}
		if version < 4 { // older clients cannot say that they want no topic created
			continue
		}
		if got := described(call1(s, version, metadataRequest(false, "new"), kmsg.NewPtrMetadataResponse())); got[0].code != codeUnknownTopic {
			t.Errorf("version %d: %+v", version, got)
		}
	}
}

func TestMetadataOfNothing(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	req := metadataRequest(true)
	req.Topics = []kmsg.MetadataRequestTopic{}
	if resp := call1(s, 9, req, kmsg.NewPtrMetadataResponse()); len(resp.Topics) != 0 || len(resp.Brokers) != 1 {
		t.Errorf("%+v", resp)
	}
	s.refuses = errcode.Unavailable
	if got := described(call1(s, 9, metadataRequest(false, "a"), kmsg.NewPtrMetadataResponse())); got[0].code != codeLeaderNotAvailable {
		t.Errorf("%+v", got)
	}
}

func TestAutoCreate(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	got := described(call1(s, 9, metadataRequest(true, "new", "a", "other", "bad name"), kmsg.NewPtrMetadataResponse()))
	if want := []topicLine{{"new", 0, 2}, {"a", 0, 1}, {"other", 0, 2}, {"bad name", codeInvalidTopic, 0}}; !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	s.conn.settings.AutoCreate = false
	if got := described(call1(s, 9, metadataRequest(true, "third"), kmsg.NewPtrMetadataResponse())); got[0].code != codeUnknownTopic {
		t.Errorf("%+v", got)
	}
}

func TestMetadataByID(t *testing.T) {
	s := newStub(t)
	s.topic("a", 1)
	b := s.topic("b", 2)
	req := kmsg.NewPtrMetadataRequest()
	for _, id := range []topicID{b.UUID, {1, 2, 3}} {
		topic := kmsg.NewMetadataRequestTopic()
		topic.TopicID = id
		req.Topics = append(req.Topics, topic)
	}
	for range 2 { // unknown to the catalogue, then known
		resp := call1(s, 12, req, kmsg.NewPtrMetadataResponse())
		if got := described(resp); got[0] != (topicLine{"b", 0, 2}) || got[1].code != codeUnknownTopicID || resp.Topics[0].TopicID != b.UUID {
			t.Errorf("%+v", resp)
		}
	}
	req.Topics = req.Topics[:1]
	if got := described(call1(s, 12, req, kmsg.NewPtrMetadataResponse())); got[0] != (topicLine{"b", 0, 2}) {
		t.Errorf("%+v", got)
	}
}

func TestAdvertisedAddress(t *testing.T) {
	s := newStub(t)
	at, err := ParseEndpoint("broker.example:19092")
	must(t, err)
	s.conn.settings.Advertised = at
	if b := call1(s, 9, metadataRequest(false), kmsg.NewPtrMetadataResponse()).Brokers[0]; b.Host != "broker.example" || b.Port != 19092 {
		t.Errorf("%+v", b)
	}
	for _, bad := range []string{"broker", ":9092", "broker:0", "broker:port", "broker:70000"} {
		if at, err := ParseEndpoint(bad); err == nil {
			t.Errorf("%q is read as %+v", bad, at)
		}
	}
}
