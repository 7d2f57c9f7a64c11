package kafkaconn

import (
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/protocol/batch"
	"github.com/trimq/trimq/protocol/errcode"
	"github.com/trimq/trimq/protocol/topicconf"
)

// change1 is a request about one resource. Of a key without a value the default is wanted.
func change1(kind kmsg.ConfigResourceType, name string, op kmsg.IncrementalAlterConfigOp, pairs ...string) *kmsg.IncrementalAlterConfigsRequest {
	req, r := kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for i := 0; i < len(pairs); i += 2 {
		g := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		g.Name, g.Value, g.Op = pairs[i], &pairs[i+1], op
		if pairs[i+1] == "" {
			g.Value = nil
		}
		r.Configs = append(r.Configs, g)
	}
	req.Resources = append(req.Resources, r)
	return req
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
	set      = kmsg.IncrementalAlterConfigOpSet
	unset    = kmsg.IncrementalAlterConfigOpDelete
)

func TestIncrementalAlterConfigs(t *testing.T) {
	for version := int16(0); version <= 1; version++ {
		s := newStub(t)
		s.topic("a", 1)
		for _, row := range []struct {
			req  *kmsg.IncrementalAlterConfigsRequest
			code int16
			want string // what a's configuration is then
		}{
			{change1(ofTopic, "a", set, "retention.ms", "5", "max.message.bytes", "100"), codeNone, "max.message.bytes=100, retention.ms=5"},
			{change1(ofTopic, "a", unset, "retention.ms", ""), codeNone, "max.message.bytes=100"},
			{change1(ofTopic, "a", kmsg.IncrementalAlterConfigOpAppend, "cleanup.policy", "compact"), codeNone, "cleanup.policy=delete,compact, max.message.bytes=100"},
			{change1(ofTopic, "a", kmsg.IncrementalAlterConfigOpSubtract, "cleanup.policy", "delete"), codeNone, "cleanup.policy=compact, max.message.bytes=100"},
			{change1(ofTopic, "a", kmsg.IncrementalAlterConfigOpAppend, "retention.ms", "1"), codeInvalidConfig, ""},
			{change1(ofTopic, "a", set, "retention.ms", "soon"), codeInvalidConfig, ""},
			{change1(ofTopic, "a", set, "no.such.key", "1"), codeInvalidConfig, ""},
			{change1(ofTopic, "a", set, "min.insync.replicas", "2"), codeInvalidConfig, ""},
			{change1(ofTopic, "a", set, "retention.ms", ""), codeInvalidRequest, ""},
			{change1(ofTopic, "a", set, "retention.ms", "1", "retention.ms", "2"), codeInvalidRequest, ""},
			{change1(ofTopic, "none", set, "retention.ms", "1"), codeUnknownTopic, ""},
			{change1(ofTopic, "a/b", set, "retention.ms", "1"), codeInvalidTopic, ""},
			{change1(ofBroker, strconv.Itoa(nodeID), set, "num.partitions", "1"), codeInvalidRequest, ""},
			{change1(ofBroker, "5", set, "num.partitions", "1"), codeInvalidRequest, ""},
			{change1(kmsg.ConfigResourceTypeBrokerLogger, strconv.Itoa(nodeID), set, "x", "1"), codeInvalidRequest, ""},
			{change1(ofTopic, "a", unset, "max.message.bytes", "", "cleanup.policy", ""), codeNone, "as by default"},
		} {
			before := topicconf.Text(s.topics["a"].Configs)
			row.req.ValidateOnly = true
			for _, validate := range []bool{true, false} {
				row.req.ValidateOnly = validate
				got := call1(s, version, row.req, kmsg.NewPtrIncrementalAlterConfigsResponse()).Resources[0]
				if got.ErrorCode != row.code || (got.ErrorMessage == nil) != (row.code == codeNone) {
					t.Errorf("%+v: %+v", row.req.Resources[0], got)
				}
				if validate && topicconf.Text(s.topics["a"].Configs) != before {
					t.Errorf("%+v: validated, and done", row.req.Resources[0])
				}
			}
			if got := topicconf.Text(s.topics["a"].Configs); row.code == codeNone && got != row.want {
				t.Errorf("%+v: the configuration is %s", row.req.Resources[0], got)
			}
		}
		twice := change1(ofTopic, "a", set, "retention.ms", "9")
		twice.Resources = append(twice.Resources, twice.Resources[0])
		if list := call1(s, version, twice, kmsg.NewPtrIncrementalAlterConfigsResponse()).Resources; list[1].ErrorCode != codeInvalidRequest {
			t.Errorf("%+v", list)
		}
		s.refuses = errcode.Unavailable
		if got := call1(s, version, change1(ofTopic, "a", set, "retention.ms", "1"), kmsg.NewPtrIncrementalAlterConfigsResponse()).Resources[0]; got.ErrorCode != codeCoordinatorLoading {
			t.Errorf("%+v", got)
		}
	}
}

// TestAlterConfigs: what is not named has its default then.
func TestAlterConfigs(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		s := newStub(t)
		s.topic("a", 1)
		for _, pairs := range [][2]string{{"retention.ms", "5"}, {"retention.bytes", "6"}, {"retention.bytes", "soon"}} {
			req, r := kmsg.NewPtrAlterConfigsRequest(), kmsg.NewAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = ofTopic, "a"
			g := kmsg.NewAlterConfigsRequestResourceConfig()
			g.Name, g.Value = pairs[0], &pairs[1]
			r.Configs = append(r.Configs, g)
			req.Resources = append(req.Resources, r)
			got := call1(s, version, req, kmsg.NewPtrAlterConfigsResponse()).Resources[0]
			if (got.ErrorCode == codeInvalidConfig) != (pairs[1] == "soon") {
				t.Errorf("version %d: %v: %+v", version, pairs, got)
			}
		}
		if got := topicconf.Text(s.topics["a"].Configs); got != "retention.bytes=6" {
			t.Errorf("version %d: %s", version, got)
		}
	}
}

// TestProduceUnderConfiguration: a topic says how large batches are, and whose time they bear; another
// loop hears of a change.
func TestProduceUnderConfiguration(t *testing.T) {
	s := newStub(t)
	info := s.topic("a", 1)
	part := func() kmsg.ProduceResponseTopicPartition {
		return call1(s, 9, asksToStore(-1, "a", testBatch(2, 100)), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]
	}
	if got := part(); got.ErrorCode != codeNone || got.LogAppendTime != -1 {
		t.Errorf("%+v", got)
	}
	call1(s, 1, change1(ofTopic, "a", set, "max.message.bytes", "200"), kmsg.NewPtrIncrementalAlterConfigsResponse())
	if got := part(); got.ErrorCode != codeMessageTooLarge {
		t.Errorf("%+v", got)
	}
	configs, err := topicconf.Apply(nil, false, []topicconf.Change{{Key: topicconf.TimestampType, Value: topicconf.LogAppendTime}})
	must(t, err)
	info.Configs = configs // another connection has done so
	s.loop.TopicChanged("a")
	if got := part(); got.ErrorCode != codeNone || got.LogAppendTime != s.conn.settings.Clock() {
		t.Errorf("%+v", got)
	}
	stamped := testBatch(1, 1)
	meta, err := batch.Validate(stamped)
	must(t, err)
	batch.Stamp(stamped, &meta, 5)
	if got := call1(s, 9, asksToStore(-1, "a", stamped), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]; got.ErrorCode != codeNone {
		t.Errorf("%+v", got)
	}
	s.topic("b", 1)
	if got := call1(s, 9, asksToStore(-1, "b", stamped), kmsg.NewPtrProduceResponse()).Topics[0].Partitions[0]; got.ErrorCode != codeInvalidTimestamp {
		t.Errorf("%+v", got)
	}
}

func TestDeleteRecords(t *testing.T) {
	for version := int16(0); version <= 2; version++ {
		s := newStub(t)
		s.topic("a", 5)
		s.topic("b", 1).Configs, _ = topicconf.Apply(nil, false, []topicconf.Change{{Key: topicconf.CleanupPolicy, Value: topicconf.Compact}})
		for range 3 {
			s.store(s.topics["a"].Partitions[0].Index, testBatch(2, 10))
			s.store(s.topics["a"].Partitions[1].Index, testBatch(3, 10))
		}
		req := kmsg.NewPtrDeleteRecordsRequest()
		for name, offsets := range map[string][]int64{"a": {5, -1, 1, -2, 0, 0}, "b": {0}} {
			topic := kmsg.NewDeleteRecordsRequestTopic()
			topic.Topic = name
			for i, offset := range offsets {
				p := kmsg.NewDeleteRecordsRequestTopicPartition()
				p.Partition, p.Offset = int32(i), offset
				topic.Partitions = append(topic.Partitions, p)
			}
			req.Topics = append(req.Topics, topic)
		}
		want := map[string][][2]int64{
			"a": {{0, 5}, {0, 9}, {codeOffsetOutOfRange, -1}, {codeOffsetOutOfRange, -1}, {0, 0}, {codeUnknownTopic, -1}}, "b": {{codePolicyViolation, -1}},
		}
		for _, topic := range call1(s, version, req, kmsg.NewPtrDeleteRecordsResponse()).Topics {
			for i, p := range topic.Partitions {
				if got := [2]int64{int64(p.ErrorCode), p.LowWatermark}; got != want[topic.Topic][i] {
					t.Errorf("version %d: %s %d: %v, want %v", version, topic.Topic, i, got, want[topic.Topic][i])
				}
			}
		}
	}
}
