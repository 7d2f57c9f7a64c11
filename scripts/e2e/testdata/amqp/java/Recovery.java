import com.rabbitmq.client.*;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

/**
 * Automatic recovery of RabbitMQ's Java client. It publishes and consumes; whoever has started it ends the
 * connection when it says "ready", and writes a line when that has happened. Usage: Recovery AMQP-URL
 */
public class Recovery {
  static final long PATIENCE_S = 30;

  static void check(boolean ok, Object what) {
    if (!ok) throw new AssertionError(String.valueOf(what));
  }

  static void publish(Channel ch, String exchange, int from, int to) throws Exception {
    for (int i = from; i < to; i++) {
      ch.basicPublish(exchange, "key", MessageProperties.PERSISTENT_TEXT_PLAIN, ("message " + i).getBytes(StandardCharsets.UTF_8));
    }
    ch.waitForConfirmsOrDie(PATIENCE_S * 1000);
  }

  public static void main(String[] args) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setUri(args[0]);
    factory.setNetworkRecoveryInterval(200);
    factory.setAutomaticRecoveryEnabled(true);
    var recovered = new CountDownLatch(1);
    RecoverableConnection connection = (RecoverableConnection) factory.newConnection();
    connection.addRecoveryListener(new RecoveryListener() {
      @Override public void handleRecovery(Recoverable r) { recovered.countDown(); }
      @Override public void handleRecoveryStarted(Recoverable r) {}
    });
    Channel ch = connection.createChannel();
    ch.confirmSelect();
    ch.exchangeDeclare("recovered", "direct", false, true, null);
    String queue = ch.queueDeclare().getQueue();
    ch.queueBind(queue, "recovered", "key");
    var seen = new LinkedBlockingQueue<String>();
    ch.basicConsume(queue, false, (tag, d) -> {
      ch.basicAck(d.getEnvelope().getDeliveryTag(), false);
      seen.add(new String(d.getBody(), StandardCharsets.UTF_8));
    }, tag -> {});
    publish(ch, "recovered", 0, 10);
    for (int i = 0; i < 10; i++) check(("message " + i).equals(seen.poll(PATIENCE_S, TimeUnit.SECONDS)), "before");
    System.out.println("ready");
    System.in.read();
    check(recovered.await(PATIENCE_S, TimeUnit.SECONDS), "not recovered");
    publish(ch, "recovered", 10, 20); // exchange, queue, binding and consumer are there again
    for (int i = 10; i < 20; i++) check(("message " + i).equals(seen.poll(PATIENCE_S, TimeUnit.SECONDS)), "after");
    connection.close();
    System.out.println("recovery ok");
  }
}
