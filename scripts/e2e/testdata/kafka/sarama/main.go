// Sarama with its default settings, but for the versions of the protocol, which it does not find out:
// codecs, an idempotent producer, groups, admin. Usage: sarama HOST:PORT
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/IBM/sarama"
)

const count = 300

func check(err error) {
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// settings are the defaults, for a version of Kafka.
func settings(version sarama.KafkaVersion) *sarama.Config {
	c := sarama.NewConfig()
	c.Version = version
	c.Producer.Return.Successes = true
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	return c
}

func produce(addr, topic string, c *sarama.Config) {
	p, err := sarama.NewSyncProducer([]string{addr}, c)
	check(err)
	var list []*sarama.ProducerMessage
	for i := range count {
		list = append(list, &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(fmt.Sprint("key ", i)), Value: sarama.StringEncoder(fmt.Sprint("value ", i))})
	}
	check(p.SendMessages(list))
	check(p.Close())
}

// handler counts the values that come, and ends the session with the last one.
type handler struct {
	seen chan string
}

func (h *handler) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }
func (h *handler) ConsumeClaim(s sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			s.MarkMessage(m, "")
			h.seen <- string(m.Value)
		case <-s.Context().Done():
			return nil
		}
	}
}

func consume(addr, topic string, c *sarama.Config) {
	g, err := sarama.NewConsumerGroup([]string{addr}, topic, c)
	check(err)
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	h := &handler{make(chan string, count)}
	failed := make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			if err := g.Consume(ctx, []string{topic}, h); err != nil {
				failed <- err
				return
			}
		}
	}()
	seen := map[string]bool{}
	for len(seen) < count {
		select {
		case v := <-h.seen:
			seen[v] = true
		case err := <-failed:
			check(err)
		case <-ctx.Done():
			check(fmt.Errorf("%d of %d values", len(seen), count))
		}
	}
	check(g.Close())
}

func main() {
	addr := os.Args[1]
	admin, err := sarama.NewClusterAdmin([]string{addr}, settings(sarama.V2_8_0_0))
	check(err)
	for _, v := range []sarama.KafkaVersion{sarama.DefaultVersion, sarama.V2_8_0_0, sarama.MaxVersion} {
		topic := "sarama-" + v.String()
		check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false))
		produce(addr, topic, settings(v))
		consume(addr, topic, settings(v))
		fmt.Println("version", v, "ok")
	}
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		c := settings(sarama.V2_8_0_0)
		c.Producer.Compression = codec
		topic := "sarama-" + codec.String()
		check(admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false))
		produce(addr, topic, c)
		consume(addr, topic, c)
		fmt.Println("codec", codec, "ok")
	}
	c := settings(sarama.V2_8_0_0)
	c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
	check(admin.CreateTopic("sarama-idempotent", &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false))
	produce(addr, "sarama-idempotent", c)
	consume(addr, "sarama-idempotent", c)
	fmt.Println("idempotence ok")
	groups, err := admin.ListConsumerGroups()
	check(err)
	if len(groups) != 8 {
		check(fmt.Errorf("%d groups", len(groups)))
	}
	check(admin.DeleteConsumerGroup("sarama-zstd"))
	check(admin.DeleteTopic("sarama-zstd"))
	configs, err := admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: "sarama-gzip"})
	check(err)
	if len(configs) == 0 {
		check(fmt.Errorf("a topic has no configuration"))
	}
	check(admin.Close())
	fmt.Println("admin ok")
}
