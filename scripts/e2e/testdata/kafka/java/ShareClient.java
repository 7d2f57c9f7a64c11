import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/** Share groups with Apache Kafka's client: implicit and explicit acknowledgements, redelivery, administration. Usage: ShareClient HOST:PORT */
public class ShareClient {
  static final int COUNT = 1000;
  static String servers;

  static Properties settings(Object... more) {
    Properties p = new Properties();
    p.put("bootstrap.servers", servers);
    for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
    return p;
  }

  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  static void produce(String topic, int count, Object... more) throws Exception {
    List<java.util.concurrent.Future<RecordMetadata>> sent = new ArrayList<>();
    try (Producer<String, String> p = new KafkaProducer<>(settings(more), new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < count; i++) sent.add(p.send(new ProducerRecord<>(topic, "key " + i, "value " + i)));
      for (var f : sent) f.get();
    }
  }

  static ShareConsumer<String, String> member(String topic, String group, Object... more) {
    Properties p = settings(more);
    p.put("group.id", group);
    var c = new KafkaShareConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    c.subscribe(List.of(topic));
    return c;
  }

  static void configure(Admin admin, String group, String... values) throws Exception {
    var r = new ConfigResource(ConfigResource.Type.GROUP, group);
    List<AlterConfigOp> ops = new ArrayList<>();
    for (int i = 0; i < values.length; i += 2) ops.add(new AlterConfigOp(new ConfigEntry(values[i], values[i + 1]), AlterConfigOp.OpType.SET));
    admin.incrementalAlterConfigs(Map.of(r, ops)).all().get();
    var shown = admin.describeConfigs(List.of(r)).all().get().get(r);
    for (int i = 0; i < values.length; i += 2) check(shown.get(values[i]).value().equals(values[i + 1]), values[i]);
  }

  /** Two members share one partition; what they have polled is accepted with the next poll. */
  static void implicit(Admin admin) throws Exception {
    admin.createTopics(List.of(new NewTopic("implicit", 1, (short) 1))).all().get();
    configure(admin, "implicit", "share.auto.offset.reset", "earliest");
    produce("implicit", COUNT, "compression.type", "zstd");
    Set<String> seen = new HashSet<>();
    int total = 0;
    try (var a = member("implicit", "implicit", "max.poll.records", "50"); var b = member("implicit", "implicit", "max.poll.records", "50")) {
      long deadline = System.currentTimeMillis() + 60_000;
      while (seen.size() < COUNT && System.currentTimeMillis() < deadline)
        for (var c : List.of(a, b))
          for (var r : c.poll(Duration.ofMillis(500))) {
            check(r.deliveryCount().get() == 1, "delivered " + r.deliveryCount());
            seen.add(r.value());
            total++;
          }
      check(seen.size() == COUNT && total == COUNT, seen.size() + " of " + COUNT + " values, in " + total + " deliveries");
      var d = admin.describeShareGroups(List.of("implicit")).all().get().get("implicit");
      check(d.members().size() == 2, "members " + d);
    }
    System.out.println("implicit ok");
  }

  /** A record is released, rejected or accepted as its number says; what was released comes again. */
  static void explicit(Admin admin) throws Exception {
    admin.createTopics(List.of(new NewTopic("explicit", 3, (short) 1))).all().get();
    configure(admin, "explicit", "share.auto.offset.reset", "earliest", "share.record.lock.duration.ms", "15000");
    produce("explicit", COUNT);
    Map<String, Integer> accepted = new HashMap<>();
    Set<String> rejected = new HashSet<>(), renewed = new HashSet<>();
    try (var c = member("explicit", "explicit", "share.acknowledgement.mode", "explicit", "share.acquire.mode", "record_limit", "max.poll.records", "100")) {
      long deadline = System.currentTimeMillis() + 90_000;
      while (accepted.size() + rejected.size() < COUNT && System.currentTimeMillis() < deadline) {
        var records = c.poll(Duration.ofMillis(500));
        check(records.count() <= 100, records.count() + " records, at most 100 are asked for");
        for (var r : records) {
          int n = Integer.parseInt(r.key().substring(4));
          if (n % 10 == 0 && r.deliveryCount().get() < 3) {
            c.acknowledge(r, AcknowledgeType.RELEASE);
          } else if (n % 10 == 1) {
            c.acknowledge(r, AcknowledgeType.REJECT);
            rejected.add(r.key());
          } else {
            if (n % 10 == 2 && renewed.add(r.key())) {
              c.acknowledge(r, AcknowledgeType.RENEW); // the next poll has it again
              continue;
            }
            c.acknowledge(r, AcknowledgeType.ACCEPT);
            accepted.merge(r.key(), r.deliveryCount().get().intValue(), Integer::sum);
          }
        }
        for (var results : c.commitSync().values()) check(results.isEmpty(), "commit: " + results);
      }
      check(rejected.size() == COUNT / 10 && accepted.size() == COUNT - COUNT / 10, accepted.size() + " accepted, " + rejected.size() + " rejected");
      for (int i = 0; i < COUNT; i++) {
        int want = i % 10 == 1 ? 0 : i % 10 == 0 ? 3 : 1;
        check(accepted.getOrDefault("key " + i, 0) == want, "key " + i + " accepted at delivery " + accepted.get("key " + i) + ", want " + want);
      }
    }
    System.out.println("explicit ok");
  }

  static void admin(Admin admin) throws Exception {
    var p = new TopicPartition("explicit", 0);
    long deadline = System.currentTimeMillis() + 20_000;
    while (!admin.describeShareGroups(List.of("explicit")).all().get().get("explicit").members().isEmpty() && System.currentTimeMillis() < deadline) Thread.sleep(100);
    var spec = Map.of("explicit", new ListShareGroupOffsetsSpec());
    long end = admin.listOffsets(Map.of(p, OffsetSpec.latest())).all().get().get(p).offset();
    var at = admin.listShareGroupOffsets(spec).partitionsToOffsetInfo("explicit").get().get(p);
    check(at.startOffset() == end && at.lag().get() == 0, "offset " + at + " of " + end);
    admin.alterShareGroupOffsets("explicit", Map.of(p, 5L)).all().get();
    at = admin.listShareGroupOffsets(spec).partitionsToOffsetInfo("explicit").get().get(p);
    check(at.startOffset() == 5 && at.lag().get() == end - 5, "offset " + at);
    admin.deleteShareGroupOffsets("explicit", Set.of("explicit")).all().get();
    check(admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().size() == 1, "groups");
    admin.deleteShareGroups(List.of("implicit")).all().get();
    check(admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().isEmpty(), "groups are left");
    System.out.println("admin ok");
  }

  public static void main(String[] args) throws Exception {
    servers = args[0];
    try (Admin admin = Admin.create(settings())) {
      implicit(admin);
      explicit(admin);
      admin(admin);
    }
  }
}
