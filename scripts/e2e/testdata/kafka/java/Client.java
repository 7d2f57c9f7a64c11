import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's client with its default settings: produce, consume, groups, admin. Usage: Client HOST:PORT */
public class Client {
  static final int COUNT = 500;
  static String servers;

  static Properties settings(Object... more) {
    Properties p = new Properties();
    p.put("bootstrap.servers", servers);
    for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
    return p;
  }

  static void produce(String topic, Object... more) throws Exception {
    List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
    try (Producer<String, String> p = new KafkaProducer<>(settings(more), new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < COUNT; i++) sent.add(p.send(new ProducerRecord<>(topic, "key " + i, "value " + i)));
      for (var f : sent) f.get();
    }
  }

  static Consumer<String, String> group(String topic, String name, Object... more) {
    Properties p = settings(more);
    p.put("group.id", name);
    p.put("auto.offset.reset", "earliest");
    p.put("enable.auto.commit", "false");
    Consumer<String, String> c = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    c.subscribe(List.of(topic));
    return c;
  }

  static void consume(Consumer<String, String> c) {
    Set<String> seen = new HashSet<>();
    long deadline = System.currentTimeMillis() + 45_000;
    while (seen.size() < COUNT && System.currentTimeMillis() < deadline)
      for (var r : c.poll(Duration.ofMillis(500))) seen.add(r.value());
    check(seen.size() == COUNT, seen.size() + " of " + COUNT + " values");
  }

  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  static void checkGroup(Admin admin, String name, Object... more) throws Exception {
    String topic = "java-" + name;
    admin.createTopics(List.of(new NewTopic(topic, Optional.of(4), Optional.empty()))).all().get();
    produce(topic);
    try (var first = group(topic, name, more)) {
      consume(first);
      first.commitSync();
      try (var second = group(topic, name, more)) {
        long deadline = System.currentTimeMillis() + 45_000;
        while (second.assignment().size() != 2 && System.currentTimeMillis() < deadline) {
          first.poll(Duration.ofMillis(100));
          second.poll(Duration.ofMillis(100));
        }
        check(second.assignment().size() == 2, "the second member has " + second.assignment());
      }
      long sum = 0;
      for (var e : admin.listConsumerGroupOffsets(name).partitionsToOffsetAndMetadata().get().values()) sum += e.offset();
      check(sum == COUNT, "committed are " + sum);
      var d = admin.describeConsumerGroups(List.of(name)).all().get().get(name);
      check(d.members().size() >= 1, "members " + d);
    }
    System.out.println("group " + name + " ok");
  }

  public static void main(String[] args) throws Exception {
    servers = args[0];
    try (Admin admin = Admin.create(settings())) {
      for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
        produce("java-" + codec, "compression.type", codec);
        try (var c = group("java-" + codec, "java-" + codec)) {
          consume(c);
          c.commitSync();
          var p = new TopicPartition("java-" + codec, 0);
          check(c.endOffsets(List.of(p)).get(p) > 0, "no end");
          check(c.offsetsForTimes(Map.of(p, 0L)).get(p).offset() == 0, "not the first offset by time");
        }
        System.out.println("codec " + codec + " ok");
      }
      checkGroup(admin, "classic");
      checkGroup(admin, "modern", "group.protocol", "consumer");
      admin.createTopics(List.of(new NewTopic("admin", 2, (short) 1).configs(Map.of("retention.ms", "3600000")))).all().get();
      admin.createPartitions(Map.of("admin", NewPartitions.increaseTo(3))).all().get();
      var r = new ConfigResource(ConfigResource.Type.TOPIC, "admin");
      check(admin.describeConfigs(List.of(r)).all().get().get(r).get("retention.ms").value().equals("3600000"), "retention");
      check(admin.describeTopics(List.of("admin")).allTopicNames().get().get("admin").partitions().size() == 3, "partitions");
      check(admin.describeCluster().nodes().get().size() == 1, "nodes");
      check(admin.listConsumerGroups().all().get().size() >= 7, "groups");
      admin.deleteConsumerGroups(List.of("java-zstd")).all().get();
      admin.deleteTopics(List.of("admin")).all().get();
      System.out.println("admin ok");
    }
  }
}
