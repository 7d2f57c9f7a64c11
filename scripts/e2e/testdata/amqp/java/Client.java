import com.rabbitmq.client.*;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;

/** RabbitMQ's Java client: what its users do with a broker, and what they are told of errors. Usage: Client AMQP-URL */
public class Client {
  static final AMQP.BasicProperties PERSISTENT = MessageProperties.PERSISTENT_TEXT_PLAIN;
  static final long PATIENCE_MS = 20_000;
  static ConnectionFactory factory;
  static Connection connection;

  interface Check { void run(Channel ch) throws Exception; }

  static void check(boolean ok, Object what) {
    if (!ok) throw new AssertionError(String.valueOf(what));
  }

  static byte[] bytes(int i) { return ("message " + i).getBytes(StandardCharsets.UTF_8); }

  static String text(byte[] b) { return new String(b, StandardCharsets.UTF_8); }

  static <T> T next(BlockingQueue<T> q) throws Exception {
    T v = q.poll(PATIENCE_MS, TimeUnit.MILLISECONDS);
    check(v != null, "nothing comes");
    return v;
  }

  /** What comes to a consumer. */
  static BlockingQueue<Delivery> consume(Channel ch, String queue, boolean autoAck) throws IOException {
    var got = new LinkedBlockingQueue<Delivery>();
    ch.basicConsume(queue, autoAck, (tag, d) -> got.add(d), tag -> {});
    return got;
  }

  static Delivery get(Channel ch, String queue) throws Exception {
    for (long end = System.currentTimeMillis() + PATIENCE_MS; System.currentTimeMillis() < end; Thread.sleep(20)) {
      GetResponse r = ch.basicGet(queue, true);
      if (r != null) return new Delivery(r.getEnvelope(), r.getProps(), r.getBody());
    }
    throw new AssertionError("nothing comes to " + queue);
  }

  static void confirms(Channel ch) throws Exception {
    ch.queueDeclare("j-confirms", true, false, false, null);
    ch.confirmSelect();
    ch.basicPublish("", "j-confirms", PERSISTENT, bytes(0));
    check(ch.waitForConfirms(PATIENCE_MS), "one at a time");
    var open = new ConcurrentSkipListSet<Long>();
    var nacked = new LinkedBlockingQueue<Long>();
    ch.addConfirmListener((tag, multiple) -> {
      if (multiple) open.headSet(tag, true).clear(); else open.remove(tag);
    }, (tag, multiple) -> nacked.add(tag));
    for (int i = 1; i <= 1000; i++) {
      open.add(ch.getNextPublishSeqNo());
      ch.basicPublish("", "j-confirms", PERSISTENT, bytes(i));
    }
    ch.waitForConfirmsOrDie(PATIENCE_MS);
    check(open.isEmpty() && nacked.isEmpty(), open + " are not confirmed");
    check(ch.messageCount("j-confirms") == 1001, "not all are there");
  }

  static void returns(Channel ch) throws Exception {
    ch.confirmSelect();
    var order = new LinkedBlockingQueue<String>();
    ch.addReturnListener(r -> order.add(r.getReplyCode() + " " + r.getReplyText() + " " + r.getRoutingKey() + " " + text(r.getBody())));
    ch.addConfirmListener((tag, multiple) -> order.add("ack " + tag), (tag, multiple) -> order.add("nack " + tag));
    ch.basicPublish("", "j-nowhere", true, PERSISTENT, bytes(1));
    check(next(order).equals("312 NO_ROUTE j-nowhere message 1"), "the return");
    check(next(order).equals("ack 1"), "its confirm");
    ch.basicPublish("amq.direct", "j-nowhere", false, PERSISTENT, bytes(2));
    check(next(order).equals("ack 2"), "the confirm of what is not mandatory");
  }

  static void verdicts(Channel ch) throws Exception {
    ch.queueDeclare("j-verdicts", true, false, false, null);
    for (int i = 0; i < 6; i++) ch.basicPublish("", "j-verdicts", PERSISTENT, bytes(i));
    ch.basicQos(2);
    var got = consume(ch, "j-verdicts", false);
    Delivery first = next(got), second = next(got);
    check(got.poll(300, TimeUnit.MILLISECONDS) == null, "more than the prefetch");
    ch.basicNack(first.getEnvelope().getDeliveryTag(), false, true);
    Delivery again = next(got);
    check(text(again.getBody()).equals("message 0") && again.getEnvelope().isRedeliver(), "what was nacked comes again first");
    ch.basicReject(again.getEnvelope().getDeliveryTag(), false);
    ch.basicAck(second.getEnvelope().getDeliveryTag(), false);
    Delivery last = null;
    for (int i = 2; i < 6; i++) {
      last = next(got);
      check(text(last.getBody()).equals("message " + i), text(last.getBody()));
      if (i % 2 == 1) ch.basicAck(last.getEnvelope().getDeliveryTag(), true);
    }
    check(ch.messageCount("j-verdicts") == 0 && ch.consumerCount("j-verdicts") == 1, "something is left");
  }

  static void exclusive(Channel ch) throws Exception {
    String name = ch.queueDeclare().getQueue();
    check(name.startsWith("amq.gen-"), name);
    try (Connection other = factory.newConnection()) {
      fails(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + name + "' in vhost '/'. It could be originally declared on another"
          + " connection or the exclusive property value does not match that of the original declaration.", other.createChannel(), c -> c.queueDeclarePassive(name));
      other.createChannel().queueDeclare("j-mine", false, true, false, null);
    }
    for (long end = System.currentTimeMillis() + PATIENCE_MS; ; Thread.sleep(20)) {
      try {
        Channel c = connection.createChannel();
        c.queueDeclarePassive("j-mine");
      } catch (IOException e) {
        if (closeOf(e).code == 404) break;
      }
      check(System.currentTimeMillis() < end, "an exclusive queue outlives its connection");
    }
    ch.queueDeclare("j-one", false, false, false, null);
    ch.basicConsume("j-one", false, "", false, true, null, new DefaultConsumer(ch));
    fails(403, "ACCESS_REFUSED - queue 'j-one' in vhost '/' in exclusive use", connection.createChannel(), c -> c.basicConsume("j-one", new DefaultConsumer(c)));
  }

  @SuppressWarnings("unchecked")
  static void deadLetters(Channel ch) throws Exception {
    ch.exchangeDeclare("j-dead", "topic", true);
    ch.queueDeclare("j-grave", true, false, false, null);
    ch.queueBind("j-grave", "j-dead", "#");
    ch.queueDeclare("j-mortal", true, false, false, Map.of("x-dead-letter-exchange", "j-dead", "x-message-ttl", 60_000, "x-max-length", 2));
    ch.basicPublish("", "j-mortal", PERSISTENT.builder().expiration("50").build(), bytes(0));
    Delivery d = get(ch, "j-grave");
    var death = ((List<Map<String, Object>>) d.getProperties().getHeaders().get("x-death")).get(0);
    check(death.get("reason").toString().equals("expired") && death.get("queue").toString().equals("j-mortal"), death);
    check(death.get("original-expiration").toString().equals("50") && d.getProperties().getExpiration() == null, death);
    for (int i = 1; i <= 3; i++) ch.basicPublish("", "j-mortal", PERSISTENT, bytes(i));
    d = get(ch, "j-grave");
    check(text(d.getBody()).equals("message 1") && d.getProperties().getHeaders().get("x-first-death-reason").toString().equals("maxlen"), d.getProperties());
    GetResponse r = ch.basicGet("j-mortal", false);
    ch.basicReject(r.getEnvelope().getDeliveryTag(), false);
    d = get(ch, "j-grave");
    check(text(d.getBody()).equals("message 2") && d.getEnvelope().getRoutingKey().equals("j-mortal"), d.getEnvelope());
  }

  static void priorities(Channel ch) throws Exception {
    ch.queueDeclare("j-ranked", true, false, false, Map.of("x-max-priority", 5));
    for (int i = 0; i < 6; i++) ch.basicPublish("", "j-ranked", PERSISTENT.builder().priority(i).build(), bytes(i));
    for (int i = 5; i >= 0; i--) {
      Delivery d = get(ch, "j-ranked");
      check(text(d.getBody()).equals("message " + i) && d.getProperties().getPriority() == i, text(d.getBody()));
    }
  }

  static void transactions(Channel ch) throws Exception {
    ch.queueDeclare("j-tx", true, false, false, null);
    ch.txSelect();
    ch.basicPublish("", "j-tx", PERSISTENT, bytes(0));
    ch.txRollback();
    ch.basicPublish("", "j-tx", PERSISTENT, bytes(1));
    check(connection.createChannel().basicGet("j-tx", true) == null, "seen before the commit");
    ch.txCommit();
    GetResponse r = ch.basicGet("j-tx", false);
    check(text(r.getBody()).equals("message 1"), text(r.getBody()));
    ch.basicAck(r.getEnvelope().getDeliveryTag(), false);
    ch.txRollback();
    ch.basicAck(r.getEnvelope().getDeliveryTag(), false);
    ch.txCommit();
    fails(406, "PRECONDITION_FAILED - cannot switch from tx to confirm mode", ch, c -> c.confirmSelect());
  }

  static void copies(Channel ch) throws Exception {
    for (String q : List.of("j-to", "j-cc", "j-bcc")) ch.queueDeclare(q, true, false, false, null);
    ch.confirmSelect();
    Map<String, Object> headers = Map.of("CC", List.of("j-cc"), "BCC", List.of("j-bcc"));
    ch.basicPublish("", "j-to", PERSISTENT.builder().headers(headers).build(), bytes(7));
    ch.waitForConfirmsOrDie(PATIENCE_MS);
    for (String q : List.of("j-to", "j-cc", "j-bcc")) {
      Delivery d = get(ch, q);
      check(text(d.getBody()).equals("message 7") && d.getProperties().getHeaders().keySet().equals(Set.of("CC")), q + " " + d.getProperties());
    }
  }

  static void calls(Channel ch) throws Exception {
    ch.queueDeclare("j-rpc", false, false, false, null);
    Channel serving = connection.createChannel();
    var server = new RpcServer(serving, "j-rpc") {
      @Override public byte[] handleCall(Delivery d, AMQP.BasicProperties reply) { return ("re: " + text(d.getBody())).getBytes(StandardCharsets.UTF_8); }
    };
    Thread loop = new Thread(() -> {
      try { server.mainloop(); } catch (Exception e) { e.printStackTrace(); }
    });
    loop.start();
    RpcClient client = new RpcClient(new RpcClientParams().channel(ch).exchange("").routingKey("j-rpc").replyTo("amq.rabbitmq.reply-to").timeout((int) PATIENCE_MS));
    for (int i = 0; i < 20; i++) check(text(client.primitiveCall(bytes(i))).equals("re: message " + i), "a wrong answer");
    client.close();
    server.terminateMainloop();
    loop.join(PATIENCE_MS);
    fails(406, "PRECONDITION_FAILED - fast reply consumer does not exist", connection.createChannel(), c -> {
      c.basicPublish("", "j-rpc", PERSISTENT.builder().replyTo("amq.rabbitmq.reply-to").build(), bytes(0));
      c.queueDeclarePassive("j-rpc");
    });
  }

  static void cancelled(Channel ch) throws Exception {
    ch.queueDeclare("j-brief", false, false, false, null);
    var told = new LinkedBlockingQueue<String>();
    String tag = ch.basicConsume("j-brief", true, (t, d) -> {}, told::add);
    ch.queueDelete("j-brief");
    check(next(told).equals(tag), "the cancel notification");
  }

  static void streams(Channel ch) throws Exception {
    ch.queueDeclare("j-stream", true, false, false, Map.of("x-queue-type", "stream"));
    ch.confirmSelect();
    for (int i = 0; i < 10; i++) ch.basicPublish("", "j-stream", PERSISTENT, bytes(i));
    ch.waitForConfirmsOrDie(PATIENCE_MS);
    ch.basicQos(5);
    var got = new LinkedBlockingQueue<Delivery>();
    ch.basicConsume("j-stream", false, Map.of("x-stream-offset", 4L), (t, d) -> {
      ch.basicAck(d.getEnvelope().getDeliveryTag(), false);
      got.add(d);
    }, t -> {});
    for (long i = 4; i < 10; i++) {
      Delivery d = next(got);
      check(text(d.getBody()).equals("message " + i) && d.getProperties().getHeaders().get("x-stream-offset").equals(i), d.getProperties());
    }
  }

  static void refused(Channel ch) throws Exception {
    fails(404, "NOT_FOUND - no queue 'j-missing' in vhost '/'", ch, c -> c.queueDeclarePassive("j-missing"));
    fails(404, "NOT_FOUND - no exchange 'j-missing' in vhost '/'", connection.createChannel(), c -> {
      c.basicPublish("j-missing", "", PERSISTENT, bytes(0));
      c.queueDeclarePassive("j-missing");
    });
    fails(406, "PRECONDITION_FAILED - unknown delivery tag 9", connection.createChannel(), c -> {
      c.basicAck(9, false);
      c.queueDeclarePassive("j-missing");
    });
    fails(540, "NOT_IMPLEMENTED - immediate=true", factory.newConnection().createChannel(), c -> {
      c.basicPublish("", "j-missing", false, true, PERSISTENT, bytes(0));
      c.queueDeclarePassive("j-missing");
    });
    ConnectionFactory wrong = factory.clone();
    wrong.setPassword("wrong");
    try {
      wrong.newConnection();
      throw new AssertionError("a wrong password was taken");
    } catch (AuthenticationFailureException e) {
      check(e.getMessage().contains("ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."), e.getMessage());
    }
    wrong = factory.clone();
    wrong.setVirtualHost("nowhere");
    try {
      wrong.newConnection();
      throw new AssertionError("a vhost that is not there was entered");
    } catch (IOException e) {
      AMQP.Connection.Close m = (AMQP.Connection.Close) ((ShutdownSignalException) e.getCause()).getReason();
      check(m.getReplyCode() == 530 && m.getReplyText().equals("NOT_ALLOWED - vhost nowhere not found"), m);
    }
  }

  interface Step { void run(Channel ch) throws IOException; }

  /** Why a channel or connection was closed. */
  record Close(int code, String text) {}

  static Close closeOf(Throwable e) {
    for (; e != null; e = e.getCause()) {
      if (e instanceof ShutdownSignalException s) {
        if (s.getReason() instanceof AMQP.Channel.Close c) return new Close(c.getReplyCode(), c.getReplyText());
        if (s.getReason() instanceof AMQP.Connection.Close c) return new Close(c.getReplyCode(), c.getReplyText());
      }
    }
    return new Close(0, "");
  }

  static void fails(int code, String text, Channel ch, Step step) throws Exception {
    try {
      step.run(ch);
    } catch (IOException | AlreadyClosedException e) {
      Close c = closeOf(e);
      check(c.code == code && c.text.equals(text.substring(0, Math.min(text.length(), 255))), c);
      return;
    }
    throw new AssertionError(text + ": it succeeds");
  }

  public static void main(String[] args) throws Exception {
    factory = new ConnectionFactory();
    factory.setUri(args[0]);
    var checks = new LinkedHashMap<String, Check>();
    checks.put("confirms", Client::confirms);
    checks.put("returns", Client::returns);
    checks.put("verdicts", Client::verdicts);
    checks.put("exclusive", Client::exclusive);
    checks.put("dead letters", Client::deadLetters);
    checks.put("priorities", Client::priorities);
    checks.put("transactions", Client::transactions);
    checks.put("copies", Client::copies);
    checks.put("calls", Client::calls);
    checks.put("cancelled", Client::cancelled);
    checks.put("streams", Client::streams);
    checks.put("refused", Client::refused);
    try {
      for (var e : checks.entrySet()) {
        connection = factory.newConnection();
        e.getValue().run(connection.createChannel());
        connection.close();
        System.out.println(e.getKey() + " ok");
      }
    } catch (Throwable e) { // connections have threads that would go on
      e.printStackTrace();
      System.exit(1);
    }
    System.exit(0);
  }
}
