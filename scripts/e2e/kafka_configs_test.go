package e2e

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// kafkaAlter sets keys of a topic.
func kafkaAlter(t *testing.T, c *kgo.Client, topic string, pairs ...string) {
	t.Helper()
	req, r := kmsg.NewPtrIncrementalAlterConfigsRequest(), kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	for i := 0; i < len(pairs); i += 2 {
		g := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		g.Name, g.Value = pairs[i], &pairs[i+1]
		r.Configs = append(r.Configs, g)
	}
	req.Resources = append(req.Resources, r)
	if resp, err := req.RequestWith(testContext(t), c); err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("%v: %+v %v", pairs, resp, err)
	}
}

// kafkaSet are the keys that were set of a topic, with their values.
func kafkaSet(t *testing.T, c *kgo.Client, topic string) map[string]string {
	t.Helper()
	req, r := kmsg.NewPtrDescribeConfigsRequest(), kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, topic
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil || resp.Resources[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	set := map[string]string{}
	for _, g := range resp.Resources[0].Configs {
		if g.Source != kmsg.ConfigSourceDefaultConfig {
			set[g.Name] = *g.Value
		}
	}
	return set
}

// Configuration counts from the answer on, in all event loops, and outlives logicsrv.
func TestKafkaConfigs(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, map[string]string{"retention_check_ms": "50", "event_loops": "2", "kafka_partitions": "1"})
	ctx := testContext(t)
	one, other := kafkaClient(t, addr, kgo.AllowAutoTopicCreation()), kafkaClient(t, addr, kgo.ProducerBatchCompression(kgo.NoCompression()))
	kafkaProduce(t, one, "a", 0, 10)
	large := &kgo.Record{Topic: "a", Value: make([]byte, 2000)}
	if err := other.ProduceSync(ctx, large).FirstErr(); err != nil {
		t.Fatal(err)
	}
	kafkaAlter(t, one, "a", "max.message.bytes", "1000", "message.timestamp.type", "LogAppendTime")
	if err := b.Kill("logicsrv"); err != nil {
		t.Fatal(err)
	}
	if err := other.ProduceSync(ctx, large).FirstErr(); !errors.Is(err, kerr.MessageTooLarge) {
		t.Errorf("a batch that is larger than its topic takes: %v", err)
	}
	if got := fmt.Sprint(kafkaSet(t, other, "a")); got != "map[max.message.bytes:1000 message.timestamp.type:LogAppendTime]" {
		t.Error(got)
	}
	old := &kgo.Record{Topic: "a", Value: value(11), Timestamp: time.Unix(1000, 0)}
	if err := other.ProduceSync(ctx, old).FirstErr(); err != nil {
		t.Fatal(err)
	}
	list := kafkaConsume(t, kafkaClient(t, addr, kgo.ConsumeTopics("a")), 12)
	if last := list[11]; last.Offset != 11 || time.Since(last.Timestamp) > time.Minute || last.Attrs.TimestampType() != 1 {
		t.Errorf("%+v", last)
	}
	if n := kafkaDeleteRecords(t, one, "a", 5); n != 5 {
		t.Errorf("the topic begins at %d", n)
	}
	rest := kafkaConsume(t, kafkaClient(t, addr, kgo.ConsumeTopics("a"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())), 7)
	if rest[0].Offset != 5 {
		t.Errorf("the first offset is %d", rest[0].Offset)
	}
	kafkaAlter(t, one, "a", "retention.ms", "1")
	eventually(t, "retention", func() bool { return kafkaStart(t, other, "a") == 12 })
}

// kafkaDeleteRecords deletes what lies below an offset of a topic's only partition, and returns where it
// begins.
func kafkaDeleteRecords(t *testing.T, c *kgo.Client, topic string, offset int64) int64 {
	t.Helper()
	req, r, p := kmsg.NewPtrDeleteRecordsRequest(), kmsg.NewDeleteRecordsRequestTopic(), kmsg.NewDeleteRecordsRequestTopicPartition()
	r.Topic, p.Offset = topic, offset
	r.Partitions = append(r.Partitions, p)
	req.Topics = append(req.Topics, r)
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	return resp.Topics[0].Partitions[0].LowWatermark
}

// kafkaStart is where a topic's only partition begins.
func kafkaStart(t *testing.T, c *kgo.Client, topic string) int64 {
	t.Helper()
	req, r, p := kmsg.NewPtrListOffsetsRequest(), kmsg.NewListOffsetsRequestTopic(), kmsg.NewListOffsetsRequestTopicPartition()
	r.Topic, p.Timestamp = topic, -2
	r.Partitions = append(r.Partitions, p)
	req.Topics, req.ReplicaID = append(req.Topics, r), -1
	resp, err := req.RequestWith(testContext(t), c)
	if err != nil || resp.Topics[0].Partitions[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	return resp.Topics[0].Partitions[0].Offset
}
