import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** Apache Kafka's client, logged in by each mechanism. Usage: LoginClient HOST:PORT */
public class LoginClient {
  static final int COUNT = 100;
  static String servers;

  static Properties settings(String mechanism, String user, String password) {
    String module = mechanism.equals("PLAIN") ? "plain.PlainLoginModule" : "scram.ScramLoginModule";
    Properties p = new Properties();
    p.put("bootstrap.servers", servers);
    p.put("security.protocol", "SASL_PLAINTEXT");
    p.put("sasl.mechanism", mechanism);
    p.put("sasl.jaas.config", "org.apache.kafka.common.security." + module + " required username=\"" + user + "\" password=\"" + password + "\";");
    return p;
  }

  static void check(boolean ok, String what) {
    if (!ok) throw new AssertionError(what);
  }

  static void checkLogin(String mechanism, String user, String password) throws Exception {
    String topic = "app-java-" + mechanism + "-" + user;
    Properties mine = settings(mechanism, user, password);
    try (Producer<String, String> p = new KafkaProducer<>(mine, new StringSerializer(), new StringSerializer())) {
      for (int i = 0; i < COUNT; i++) p.send(new ProducerRecord<>(topic, "value " + i));
      p.flush();
      try {
        p.send(new ProducerRecord<>("other", "x")).get();
        check(user.equals("root"), "a topic of others is written to");
      } catch (ExecutionException e) {
        check(e.getCause() instanceof TopicAuthorizationException, "" + e.getCause());
      }
    }
    mine.put("group.id", topic);
    mine.put("auto.offset.reset", "earliest");
    int seen = 0;
    try (Consumer<String, String> c = new KafkaConsumer<>(mine, new StringDeserializer(), new StringDeserializer())) {
      c.subscribe(List.of(topic));
      long deadline = System.currentTimeMillis() + 45_000;
      while (seen < COUNT && System.currentTimeMillis() < deadline) seen += c.poll(Duration.ofMillis(500)).count();
    }
    check(seen == COUNT, seen + " of " + COUNT + " values");
  }

  public static void main(String[] args) throws Exception {
    servers = args[0];
    for (String mechanism : List.of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")) {
      checkLogin(mechanism, "app", "app");
      System.out.println("login " + mechanism + " ok");
    }
    try (Admin admin = Admin.create(settings("SCRAM-SHA-256", "root", "root"))) {
      var secret = new UserScramCredentialUpsertion("root", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), "other");
      admin.alterUserScramCredentials(List.of(secret)).all().get();
      check(admin.describeUserScramCredentials(List.of("root")).description("root").get().credentialInfos().size() == 2, "secrets of root");
      Thread.sleep(1500);
    }
    checkLogin("SCRAM-SHA-512", "root", "other");
    checkLogin("SCRAM-SHA-256", "root", "root");
    try (Admin admin = Admin.create(settings("SCRAM-SHA-512", "root", "root"))) {
      admin.listTopics().names().get();
      throw new AssertionError("a password that was changed goes on");
    } catch (ExecutionException e) {
      check(e.getCause() instanceof SaslAuthenticationException, "" + e.getCause());
    }
    System.out.println("secrets ok");
  }
}
