import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's client and a compacted topic, which it takes for a table. Usage: TableClient HOST:PORT */
public class TableClient {
  static final int KEYS = 20, ROUNDS = 10;
  static final TopicPartition TABLE = new TopicPartition("java-table", 0);

  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  static Properties settings(String servers) {
    Properties p = new Properties();
    p.put("bootstrap.servers", servers);
    return p;
  }

  /** What the partition holds, from its start to the end that it has now; returns the number of records. */
  static int read(String servers, Map<String, String> into) {
    int count = 0;
    try (var c = new KafkaConsumer<>(settings(servers), new StringDeserializer(), new StringDeserializer())) {
      c.assign(List.of(TABLE));
      c.seekToBeginning(List.of(TABLE));
      long end = c.endOffsets(List.of(TABLE)).get(TABLE), deadline = System.currentTimeMillis() + 30_000, before = -1;
      while (c.position(TABLE) < end) {
        check(System.currentTimeMillis() < deadline, count + " records, and the end " + end + " is not reached");
        for (var r : c.poll(Duration.ofMillis(200))) {
          check(r.offset() > before, "offset " + r.offset() + " after " + before);
          before = r.offset();
          into.put(r.key(), r.value());
          count++;
        }
      }
    }
    return count;
  }

  public static void main(String[] args) throws Exception {
    try (Admin admin = Admin.create(settings(args[0]))) {
      admin.createTopics(List.of(new NewTopic(TABLE.topic(), 1, (short) 1).configs(Map.of("cleanup.policy", "compact",
        "min.cleanable.dirty.ratio", "0", "segment.ms", "1", "segment.bytes", "14", "delete.retention.ms", "3600000")))).all().get();
    }
    Map<String, String> last = new HashMap<>();
    try (var p = new KafkaProducer<>(settings(args[0]), new StringSerializer(), new StringSerializer())) {
      for (int n = 0; n < ROUNDS; n++) {
        for (int key = 0; key < KEYS; key++) {
          String value = n == ROUNDS - 1 && key == 0 ? null : "value " + n;
          p.send(new ProducerRecord<>(TABLE.topic(), "key " + key, value));
          last.put("key " + key, value);
        }
        p.flush();
      }
    }
    for (long deadline = System.currentTimeMillis() + 30_000; ; Thread.sleep(100)) {
      Map<String, String> table = new HashMap<>();
      int count = read(args[0], table);
      check(table.equals(last), "the table is " + table);
      if (count <= 2 * KEYS) break; // what came last stays as it is
      check(System.currentTimeMillis() < deadline, count + " records are still there");
    }
    System.out.println("compaction ok");
  }
}
