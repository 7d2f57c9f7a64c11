"""pika: confirms, returns, prefetch, redelivery, dead letters, transactions, cancels. Usage: client.py AMQP-URL"""
import sys

import pika
from pika.exceptions import ChannelClosedByBroker, NackError, UnroutableError

URL = pika.URLParameters(sys.argv[1] + "?heartbeat=5&blocked_connection_timeout=30")
PERSISTENT = pika.BasicProperties(delivery_mode=2, headers={"n": 1, "text": "x", "list": [1, "a"]}, message_id="m", priority=3)


def confirms(ch):
    ch.queue_declare("confirms", durable=True, arguments={"x-max-length": 3, "x-overflow": "reject-publish"})
    ch.confirm_delivery()
    for i in range(3):
        ch.basic_publish("", "confirms", b"%d" % i, PERSISTENT, mandatory=True)
    try:
        ch.basic_publish("", "confirms", b"too much", PERSISTENT)
        raise AssertionError("a full queue has taken a message")
    except NackError:
        pass
    try:
        ch.basic_publish("", "nowhere", b"lost", PERSISTENT, mandatory=True)
        raise AssertionError("what reaches no queue was taken")
    except UnroutableError as e:
        assert e.messages[0].body == b"lost" and e.messages[0].properties.message_id == "m"
    method, properties, body = ch.basic_get("confirms", auto_ack=True)
    assert (body, method.message_count) == (b"0", 2) and properties == PERSISTENT, (method, properties)


def redelivery(ch):
    ch.queue_declare("redelivery", durable=True)
    ch.basic_qos(prefetch_count=2)
    for i in range(4):
        ch.basic_publish("", "redelivery", b"%d" % i)
    seen = []
    for method, _, body in ch.consume("redelivery", inactivity_timeout=10):
        seen.append((body, method.redelivered))
        if len(seen) == 1:
            ch.basic_nack(method.delivery_tag, requeue=True)
        else:
            ch.basic_ack(method.delivery_tag)
        if len(seen) == 5:
            break
    ch.cancel()
    assert sorted(seen) == [(b"0", False), (b"0", True), (b"1", False), (b"2", False), (b"3", False)], seen


def dead_letters(ch):
    ch.exchange_declare("dead", "topic", durable=True)
    ch.queue_declare("grave", durable=True)
    ch.queue_bind("grave", "dead", "gone.#")
    ch.queue_declare("mortal", durable=True, arguments={"x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "gone.away"})
    ch.basic_publish("", "mortal", b"rejected", PERSISTENT)
    method, _, _ = next(ch.consume("mortal", inactivity_timeout=10))
    ch.basic_reject(method.delivery_tag, requeue=False)
    ch.cancel()
    method, properties, body = next(ch.consume("grave", inactivity_timeout=10))
    ch.basic_ack(method.delivery_tag)
    ch.cancel()
    death = properties.headers["x-death"][0]
    assert (body, method.exchange, method.routing_key) == (b"rejected", "dead", "gone.away"), method
    assert (death["reason"], death["queue"], death["count"], death["routing-keys"]) == ("rejected", "mortal", 1, ["mortal"]), death


def transactions(ch):
    ch.queue_declare("tx", durable=True)
    ch.tx_select()
    ch.basic_publish("", "tx", b"rolled back")
    ch.tx_rollback()
    ch.basic_publish("", "tx", b"committed")
    assert ch.basic_get("tx")[0] is None
    ch.tx_commit()
    method, _, body = ch.basic_get("tx")
    assert body == b"committed", body
    ch.basic_ack(method.delivery_tag)
    ch.tx_rollback()
    ch.basic_ack(method.delivery_tag)
    ch.tx_commit()


def cancelled(ch):
    ch.queue_declare("brief")
    told = []
    ch.add_on_cancel_callback(told.append)
    ch.basic_consume("brief", lambda *_: None)
    ch.queue_delete("brief")
    ch.connection.process_data_events(2)
    assert len(told) == 1, told


def errors(ch):
    try:
        ch.queue_declare("missing", passive=True)
        raise AssertionError("a queue is there that nobody has declared")
    except ChannelClosedByBroker as e:
        assert (e.reply_code, e.reply_text) == (404, "NOT_FOUND - no queue 'missing' in vhost '/'"), e


for check in (confirms, redelivery, dead_letters, transactions, cancelled, errors):
    connection = pika.BlockingConnection(URL)
    check(connection.channel())
    connection.close()
    print(check.__name__, "ok")
