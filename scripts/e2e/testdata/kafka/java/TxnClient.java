import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Transactions of Apache Kafka's client with its default settings. Usage: TxnClient HOST:PORT */
public class TxnClient {
  static final int COUNT = 200;
  static String servers;

  static Properties settings(Object... more) {
    Properties p = new Properties();
    p.put("bootstrap.servers", servers);
    for (int i = 0; i < more.length; i += 2) p.put(more[i], more[i + 1]);
    return p;
  }

  static Producer<String, String> producer(String id) {
    Producer<String, String> p = new KafkaProducer<>(settings("transactional.id", id), new StringSerializer(), new StringSerializer());
    p.initTransactions();
    return p;
  }

  static Consumer<String, String> reader(String topic, String name, String isolation) {
    Properties p = settings("group.id", name, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "isolation.level", isolation);
    Consumer<String, String> c = new KafkaConsumer<>(p, new StringDeserializer(), new StringDeserializer());
    c.subscribe(List.of(topic));
    return c;
  }

  /** Polls until so many values have come, and a little longer. */
  static List<String> read(Consumer<String, String> c, int count) {
    List<String> seen = new ArrayList<>();
    long deadline = System.currentTimeMillis() + 45_000;
    while (seen.size() < count && System.currentTimeMillis() < deadline)
      for (var r : c.poll(Duration.ofMillis(500))) seen.add(r.value());
    for (var r : c.poll(Duration.ofMillis(500))) seen.add(r.value());
    check(seen.size() == count, seen.size() + " values, want " + count);
    return seen;
  }

  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  static void send(Producer<String, String> p, String topic, String prefix) {
    p.beginTransaction();
    for (int i = 0; i < COUNT; i++) p.send(new ProducerRecord<>(topic, "key " + i, prefix + i));
  }

  static void checkEnds() throws Exception {
    try (var p = producer("ends")) {
      send(p, "txn-ends", "kept ");
      p.commitTransaction();
      send(p, "txn-ends", "dropped ");
      p.flush();
      p.abortTransaction();
      send(p, "txn-ends", "more ");
      p.commitTransaction();
    }
    try (var c = reader("txn-ends", "committed", "read_committed"); var u = reader("txn-ends", "all", "read_uncommitted")) {
      for (String v : read(c, 2 * COUNT)) check(!v.startsWith("dropped"), v + " was aborted");
      read(u, 3 * COUNT);
    }
    System.out.println("ends ok");
  }

  static void checkFencing() {
    try (var old = producer("fenced")) {
      send(old, "txn-fenced", "old ");
      old.flush();
      try (var p = producer("fenced")) {
        send(p, "txn-fenced", "new ");
        p.commitTransaction();
      }
      boolean fenced = false;
      try {
        old.commitTransaction();
      } catch (ProducerFencedException | InvalidProducerEpochException e) {
        fenced = true;
      }
      check(fenced, "a producer that was superseded could commit");
    }
    try (var c = reader("txn-fenced", "fenced", "read_committed")) {
      for (String v : read(c, COUNT)) check(v.startsWith("new"), v + " was fenced");
    }
    System.out.println("fencing ok");
  }

  static void checkExactlyOnce(Admin admin) throws Exception {
    try (Producer<String, String> p = new KafkaProducer<>(settings(), new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < COUNT; i++) p.send(new ProducerRecord<>("txn-from", "key " + i, "value " + i));
    }
    int moved = 0, round = 0;
    try (var p = producer("mover"); var c = reader("txn-from", "movers", "read_committed")) {
      long deadline = System.currentTimeMillis() + 45_000;
      while (moved < COUNT && System.currentTimeMillis() < deadline) {
        var records = c.poll(Duration.ofMillis(500));
        if (records.isEmpty()) continue;
        p.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> at = new HashMap<>();
        for (var r : records) {
          p.send(new ProducerRecord<>("txn-to", r.key(), r.value()));
          at.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1));
        }
        p.sendOffsetsToTransaction(at, c.groupMetadata());
        if (round++ == 0) { // once more
          p.abortTransaction();
          for (var tp : at.keySet()) c.seek(tp, 0);
          continue;
        }
        p.commitTransaction();
        moved += records.count();
      }
    }
    try (var c = reader("txn-to", "moved", "read_committed")) {
      check(new HashSet<>(read(c, COUNT)).size() == COUNT, "values came twice");
    }
    long sum = 0;
    for (var e : admin.listConsumerGroupOffsets("movers").partitionsToOffsetAndMetadata().get().values()) sum += e.offset();
    check(sum == COUNT, "committed are " + sum);
    System.out.println("exactly once ok");
  }

  static void checkDescribed(Admin admin) throws Exception {
    try (var p = producer("described")) {
      send(p, "txn-described", "value ");
      p.flush();
      var d = admin.describeTransactions(List.of("described")).description("described").get();
      check(d.state() == TransactionState.ONGOING && !d.topicPartitions().isEmpty(), "described: " + d);
      boolean listed = false;
      for (var l : admin.listTransactions().all().get()) listed |= l.transactionalId().equals("described") && l.state() == TransactionState.ONGOING;
      check(listed, "an open transaction is not listed");
      var tp = d.topicPartitions().iterator().next();
      var active = admin.describeProducers(List.of(tp)).partitionResult(tp).get().activeProducers();
      check(active.size() == 1 && active.get(0).currentTransactionStartOffset().isPresent(), "producers " + active);
      p.abortTransaction();
    }
    System.out.println("described ok");
  }

  public static void main(String[] args) throws Exception {
    servers = args[0];
    try (Admin admin = Admin.create(settings())) {
      checkEnds();
      checkFencing();
      checkExactlyOnce(admin);
      checkDescribed(admin);
    }
  }
}
