package e2e

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/trimq/trimq/clients/trimq"
)

// Topics are created, grow and go; native clients see the same ones.
func TestKafkaTopics(t *testing.T) {
	t.Parallel()
	b, addr := kafkaBroker(t, nil)
	c, ctx := kafkaClient(t, addr), testContext(t)
	create, topic := kmsg.NewPtrCreateTopicsRequest(), kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = "made", 2, 1
	create.Topics = append(create.Topics, topic)
	if resp, err := create.RequestWith(ctx, c); err != nil || resp.Topics[0].ErrorCode != 0 || resp.Topics[0].NumPartitions != 2 {
		t.Fatalf("%+v %v", resp, err)
	}
	if resp, err := create.RequestWith(ctx, c); err != nil || resp.Topics[0].ErrorCode != 36 {
		t.Errorf("%+v %v", resp, err)
	}
	native := dial(t, b)
	p, err := native.NewProducer()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := p.ProduceSync(ctx, &trimq.Message{Topic: "made", Value: value(i)}); err != nil {
			t.Fatal(err)
		}
	}
	everyValue(t, kafkaConsume(t, kafkaClient(t, addr, kgo.ConsumeTopics("made")), 20), 20)
	// Native clients read all codecs; snappy is franz-go's default.
	for name, codec := range map[string]kgo.CompressionCodec{"gzip": kgo.GzipCompression(), "lz4": kgo.Lz4Compression(), "other": kgo.SnappyCompression()} {
		kafkaProduce(t, kafkaClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(codec)), name, 0, 20)
		expect(t, native, name, 20)
	}
	grow, grown := kmsg.NewPtrCreatePartitionsRequest(), kmsg.NewCreatePartitionsRequestTopic()
	grown.Topic, grown.Count = "made", 4
	grow.Topics = append(grow.Topics, grown)
	if resp, err := grow.RequestWith(ctx, c); err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	for partition := range int32(4) {
		kafkaPartition(t, addr, "made", partition)
	}
	drop, dropped := kmsg.NewPtrDeleteTopicsRequest(), kmsg.NewDeleteTopicsRequestTopic()
	dropped.Topic = kmsg.StringPtr("made")
	drop.Topics, drop.TopicNames = append(drop.Topics, dropped), []string{"made"}
	if resp, err := drop.RequestWith(ctx, c); err != nil || resp.Topics[0].ErrorCode != 0 {
		t.Fatalf("%+v %v", resp, err)
	}
	if resp, err := kmsg.NewPtrMetadataRequest().RequestWith(ctx, c); err != nil || len(resp.Topics) != 3 {
		t.Errorf("%+v %v", resp, err)
	}
}

// kafkaPartition produces to one partition.
func kafkaPartition(t *testing.T, addr, topic string, partition int32) {
	t.Helper()
	c := kafkaClient(t, addr, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err := c.ProduceSync(testContext(t), &kgo.Record{Topic: topic, Partition: partition, Value: value(0)}).FirstErr(); err != nil {
		t.Errorf("partition %d: %v", partition, err)
	}
}
