package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trimq/trimq/scripts/broker"
)

// kafkaTools are Apache Kafka's command-line tools, which `make kafka-clients` brings into bin/, at a
// broker.
type kafkaTools struct {
	t       *testing.T
	java    string
	archive string
	addr    string
}

// The classes behind the scripts that Kafka's distribution has.
const (
	kafkaTopics          = "org.apache.kafka.tools.TopicCommand"
	kafkaConfigs         = "kafka.admin.ConfigCommand"
	kafkaConsoleProducer = "org.apache.kafka.tools.ConsoleProducer"
	kafkaConsoleConsumer = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	kafkaConsoleShare    = "org.apache.kafka.tools.consumer.ConsoleShareConsumer"
	kafkaConsumerGroups  = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	kafkaShareGroups     = "org.apache.kafka.tools.consumer.group.ShareGroupCommand"
	kafkaGetOffsets      = "org.apache.kafka.tools.GetOffsetShell"
	kafkaProducerPerf    = "org.apache.kafka.tools.ProducerPerformance"
	kafkaConsumerPerf    = "org.apache.kafka.tools.ConsumerPerformance"
	kafkaVerifyProducer  = "org.apache.kafka.tools.VerifiableProducer"
	kafkaVerifyConsumer  = "org.apache.kafka.tools.VerifiableConsumer"
	kafkaBrokerAPIs      = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	kafkaGroups          = "org.apache.kafka.tools.GroupsCommand"
	kafkaLogDirs         = "org.apache.kafka.tools.LogDirsCommand"
	kafkaFeatures        = "org.apache.kafka.tools.FeatureCommand"
	kafkaTransactions    = "org.apache.kafka.tools.TransactionsCommand"
	kafkaSharePerf       = "org.apache.kafka.tools.ShareConsumerPerformance"
)

// toolPatience bounds one run of a tool: a Java machine starts in seconds, where others do so as well.
const toolPatience = 90 * time.Second

func newKafkaTools(t *testing.T) *kafkaTools {
	t.Helper()
	root, err := broker.Root()
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(root, "bin", "kafka-clients", "tools")
	if _, err := os.Stat(archive); err != nil {
		t.Skip("Apache Kafka's command-line tools are not there: `make kafka-clients` brings them")
	}
	java, err := exec.LookPath("java")
	if err != nil {
		t.Skip("there is no java")
	}
	_, addr := kafkaBroker(t, map[string]string{"group_initial_delay_ms": "0", "group_heartbeat_ms": "500"})
	return &kafkaTools{t, java, archive, addr}
}

// run runs a tool with lines on its standard input, and returns what it prints. Words in want must be
// in it.
func (k *kafkaTools) run(class, stdin string, args []string, want ...string) string {
	k.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), toolPatience)
	defer cancel()
	all := append([]string{"-Xmx256m", "-cp", filepath.Join(k.archive, "*"), class}, args...)
	cmd := exec.CommandContext(ctx, k.java, all...)
	cmd.Stdin = strings.NewReader(stdin)
	b, err := cmd.CombinedOutput()
	out := string(b)
	if err != nil {
		k.t.Errorf("%s %s: %v\n%s", class, args, err, out)
		return out
	}
	for _, word := range want {
		if !strings.Contains(out, word) {
			k.t.Errorf("%s %s: no %q in\n%s", class, args, word, out)
		}
	}
	return out
}

// at is args for a tool that takes the broker as --bootstrap-server.
func (k *kafkaTools) at(args ...string) []string {
	return append([]string{"--bootstrap-server", k.addr}, args...)
}

// lines are n lines, "key n:value n".
func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "key %d:%s\n", i, value(i))
	}
	return b.String()
}

// Topics, their configuration, and what is in them, with the console tools.
func TestKafkaToolsTopics(t *testing.T) {
	t.Parallel()
	k := newKafkaTools(t)
	k.run(kafkaTopics, "", k.at("--create", "--topic", "tools", "--partitions", "3", "--config", "retention.ms=3600000"), "Created topic tools")
	k.run(kafkaTopics, "", k.at("--describe", "--topic", "tools"), "PartitionCount: 3", "retention.ms=3600000", "Leader: 1", "Isr: 1")
	k.run(kafkaTopics, "", k.at("--alter", "--topic", "tools", "--partitions", "4"))
	k.run(kafkaTopics, "", k.at("--list"), "tools")
	k.run(kafkaConfigs, "", k.at("--describe", "--all", "--entity-type", "topics", "--entity-name", "tools"), "retention.ms=3600000")
	k.run(kafkaConsoleProducer, lines(100), k.at("--topic", "tools", "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", "--compression-codec", "lz4"))
	out := k.run(kafkaConsoleConsumer, "", k.at("--topic", "tools", "--from-beginning", "--max-messages", "100", "--formatter-property", "print.key=true", "--formatter-property", "print.headers=true", "--timeout-ms", "30000"), "Processed a total of 100 messages")
	for i := range 100 {
		if !strings.Contains(out, fmt.Sprintf("key %d\t%s\n", i, value(i))) {
			t.Fatalf("%s is missing in\n%s", value(i), out)
		}
	}
	total := 0
	for _, line := range strings.Split(k.run(kafkaGetOffsets, "", k.at("--topic", "tools")), "\n") {
		n := 0
		if parts := strings.Split(line, ":"); len(parts) == 3 {
			_, _ = fmt.Sscan(parts[2], &n)
		}
		total += n
	}
	if total != 100 {
		t.Errorf("the ends of all partitions sum up to %d", total)
	}
	k.run(kafkaTopics, "", k.at("--delete", "--topic", "tools"))
	if out := k.run(kafkaTopics, "", k.at("--list")); strings.Contains(out, "tools") {
		t.Errorf("a deleted topic is listed:\n%s", out)
	}
	k.run(kafkaBrokerAPIs, "", k.at(), "Produce(0)", "ShareFetch(78)")
}

// Groups of all kinds, with the tools for them.
func TestKafkaToolsGroups(t *testing.T) {
	t.Parallel()
	k := newKafkaTools(t)
	k.run(kafkaTopics, "", k.at("--create", "--topic", "tools", "--partitions", "2"))
	k.run(kafkaConsoleProducer, lines(60), k.at("--topic", "tools"))
	consume := func(group, protocol string) {
		k.run(kafkaConsoleConsumer, "", k.at("--topic", "tools", "--group", group, "--from-beginning", "--max-messages", "60", "--timeout-ms", "30000", "--consumer-property", "group.protocol="+protocol), "Processed a total of 60 messages")
	}
	consume("g-classic", "classic")
	consume("g-modern", "consumer")
	for _, group := range []string{"g-classic", "g-modern"} {
		k.run(kafkaConsumerGroups, "", k.at("--describe", "--group", group), "tools", group)
		k.run(kafkaConsumerGroups, "", k.at("--describe", "--group", group, "--state"), "Empty")
		k.run(kafkaConsumerGroups, "", k.at("--reset-offsets", "--group", group, "--topic", "tools", "--to-earliest", "--execute"), group, "tools")
	}
	k.run(kafkaConsumerGroups, "", k.at("--list"), "g-classic", "g-modern")
	k.run(kafkaConfigs, "", k.at("--alter", "--entity-type", "groups", "--entity-name", "g-share", "--add-config", "share.auto.offset.reset=earliest"), "Completed updating config")
	k.run(kafkaConfigs, "", k.at("--describe", "--entity-type", "groups", "--entity-name", "g-share"), "share.auto.offset.reset=earliest")
	k.run(kafkaConsoleShare, "", k.at("--topic", "tools", "--group", "g-share", "--max-messages", "60", "--timeout-ms", "30000"), "Processed a total of 60 messages")
	k.run(kafkaShareGroups, "", k.at("--list"), "g-share")
	k.run(kafkaShareGroups, "", k.at("--describe", "--group", "g-share"), "tools")
	k.run(kafkaShareGroups, "", k.at("--reset-offsets", "--group", "g-share", "--topic", "tools", "--to-earliest", "--execute"), "tools")
	k.run(kafkaGroups, "", k.at("--list"), "g-classic", "g-modern", "g-share")
	k.run(kafkaShareGroups, "", k.at("--delete", "--group", "g-share"), "successful")
	k.run(kafkaConsumerGroups, "", k.at("--delete", "--group", "g-classic", "--group", "g-modern"), "successful")
}

// The performance tools and the verifiable ones.
func TestKafkaToolsLoad(t *testing.T) {
	t.Parallel()
	k := newKafkaTools(t)
	k.run(kafkaTopics, "", k.at("--create", "--topic", "load", "--partitions", "2"))
	for _, acks := range []string{"all", "1", "0"} {
		k.run(kafkaProducerPerf, "", k.at("--topic", "load", "--num-records", "5000", "--record-size", "250", "--throughput", "-1", "--command-property", "acks="+acks), "5000 records sent")
	}
	k.run(kafkaConsumerPerf, "", k.at("--topic", "load", "--num-records", "10000", "--timeout", "30000"), "fetch.nMsg.sec")
	k.run(kafkaConfigs, "", k.at("--alter", "--entity-type", "groups", "--entity-name", "perf", "--add-config", "share.auto.offset.reset=earliest"), "Completed")
	k.run(kafkaSharePerf, "", k.at("--topic", "load", "--group", "perf", "--num-records", "10000", "--timeout", "30000"), "nMsg.sec")
	k.run(kafkaVerifyProducer, "", k.at("--topic", "verified", "--max-messages", "500", "--acks", "-1"), `"sent":500`, `"acked":500`)
	k.run(kafkaVerifyConsumer, "", k.at("--topic", "verified", "--group-id", "verifier", "--max-messages", "500", "--reset-policy", "earliest"), `"shutdown_complete"`)
}

// What the tools ask of a broker: sizes, features, transactions, users.
func TestKafkaToolsBroker(t *testing.T) {
	t.Parallel()
	k := newKafkaTools(t)
	k.run(kafkaConsoleProducer, lines(20), k.at("--topic", "sized"))
	k.run(kafkaLogDirs, "", k.at("--describe", "--topic-list", "sized"), `"partition":"sized-0"`, `"error":null`)
	k.run(kafkaFeatures, "", k.at("describe"), "transaction.version", "FinalizedVersionLevel: 2")
	k.run(kafkaTransactions, "", k.at("list"), "TransactionalId")
	k.run(kafkaConfigs, "", k.at("--alter", "--entity-type", "users", "--entity-name", "ann", "--add-config", "SCRAM-SHA-256=[iterations=4096,password=secret]"), "Completed")
	k.run(kafkaConfigs, "", k.at("--describe", "--entity-type", "users", "--entity-name", "ann"), "SCRAM-SHA-256=iterations=4096")
}
