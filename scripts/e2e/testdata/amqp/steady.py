"""Publishes with confirms and consumes over one connection until its input ends: all comes, once and in order."""

import sys
import threading

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.queue_declare("steady", durable=True)
channel.confirm_delivery()
channel.basic_qos(prefetch_count=5)

ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()

seen = []


def on_message(_channel, method, _properties, body):
    if method.redelivered:
        sys.exit(f"{body} is redelivered")
    seen.append(int(body))
    channel.basic_ack(method.delivery_tag)


channel.basic_consume("steady", on_message)
sent = 0
while not ended.is_set() or sent < 100:
    channel.basic_publish("", "steady", str(sent), pika.BasicProperties(delivery_mode=2), mandatory=True)
    sent += 1
    connection.process_data_events(time_limit=0)
while len(seen) < sent:
    connection.process_data_events(time_limit=1)
if seen != list(range(sent)):
    sys.exit(f"{sent} were sent, and came as {seen}")
connection.close()
print("ok")
