import com.rabbitmq.client.*;
import java.util.concurrent.*;

/** Publishes until it is told that the broker is blocked, and again that it is not, with a "full" line to whoever frees the disk. Usage: Blocked AMQP-URL */
public class Blocked {
  public static void main(String[] args) throws Exception {
    ConnectionFactory factory = new ConnectionFactory();
    factory.setUri(args[0]);
    var events = new LinkedBlockingQueue<String>();
    try (Connection connection = factory.newConnection()) {
      connection.addBlockedListener(reason -> events.add("blocked: " + reason), () -> events.add("unblocked"));
      Channel ch = connection.createChannel();
      ch.confirmSelect();
      String queue = ch.queueDeclare().getQueue();
      Thread publisher = new Thread(() -> {
        try {
          for (int i = 0; i < 10_000 && !Thread.interrupted(); i++, Thread.sleep(10)) ch.basicPublish("", queue, null, new byte[100]);
        } catch (Exception e) {
          // ended
        }
      });
      publisher.setDaemon(true);
      publisher.start();
      String first = events.poll(30, TimeUnit.SECONDS);
      if (!"blocked: low on disk".equals(first)) throw new AssertionError(first);
      System.out.println("full");
      String second = events.poll(30, TimeUnit.SECONDS);
      if (!"unblocked".equals(second)) throw new AssertionError(second);
      publisher.interrupt();
      publisher.join();
      if (!ch.waitForConfirms(30_000)) throw new AssertionError("not confirmed");
      System.out.println("blocked ok");
    }
  }
}
