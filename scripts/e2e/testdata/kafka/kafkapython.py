"""kafka-python with its default settings: codecs, groups, admin. Usage: kafkapython.py HOST:PORT"""
import sys
import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

SERVERS = sys.argv[1]
COUNT = 300


def produce(topic, **settings):
    producer = KafkaProducer(bootstrap_servers=SERVERS, **settings)
    sent = [producer.send(topic, key=b"key %d" % i, value=b"value %d" % i, headers=[("n", b"%d" % i)]) for i in range(COUNT)]
    for f in sent:
        f.get(timeout=30)
    producer.close()


def consume(consumer, count):
    seen = []
    deadline = time.time() + 45
    while len(seen) < count and time.time() < deadline:
        for records in consumer.poll(timeout_ms=500).values():
            seen += records
    assert len(seen) == count, f"{len(seen)} of {count} records"
    return seen


def group(topic, name):
    return KafkaConsumer(topic, bootstrap_servers=SERVERS, group_id=name, auto_offset_reset="earliest", enable_auto_commit=False)


admin = KafkaAdminClient(bootstrap_servers=SERVERS)
for codec in [None, "gzip", "snappy", "lz4", "zstd"]:
    topic = f"python-{codec}"
    admin.create_topics([NewTopic(topic, 2, 1)])
    produce(topic, compression_type=codec)
    consumer = group(topic, topic)
    records = consume(consumer, COUNT)
    assert sorted(r.value for r in records) == sorted(b"value %d" % i for i in range(COUNT)), "other values came"
    assert dict(records[0].headers)["n"] == records[0].key.split()[1], "other headers came"
    consumer.commit()
    at = TopicPartition(topic, 0)
    assert consumer.committed(at) == consumer.end_offsets([at])[at], "committed is another offset than the end"
    assert consumer.offsets_for_times({at: 0})[at].offset == 0, "not the first offset by time"
    consumer.close()
    print("codec", codec, "ok")

admin.create_topics([NewTopic("python-group", 4, 1)])
produce("python-group")
first, second = group("python-group", "pair"), group("python-group", "pair")
seen = []
deadline = time.time() + 45
while time.time() < deadline and (len(seen) < COUNT or len(first.assignment()) != 2 or len(second.assignment()) != 2):
    for c in (first, second):
        for records in c.poll(timeout_ms=200).values():
            seen += records
assert len({r.value for r in seen}) == COUNT and len(first.assignment()) == len(second.assignment()) == 2, f"{len(seen)} records"
second.close()
first.close()
print("group ok")

assert "python-group" in admin.list_topics(), "a topic is not listed"
admin.delete_topics(["python-group"])
assert "python-group" not in admin.list_topics(), "a deleted topic is listed"
print("admin ok")
