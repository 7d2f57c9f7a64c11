"""librdkafka's client with its default settings: produce, consume, groups, admin. Usage: client.py HOST:PORT"""
import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic

SERVERS = {"bootstrap.servers": sys.argv[1]}
COUNT = 500


def produce(topic, **settings):
    failures = []
    producer = Producer({**SERVERS, **settings})
    for i in range(COUNT):
        producer.produce(topic, key=f"key {i}", value=f"value {i}", headers={"n": str(i)}, on_delivery=lambda e, m: failures.append(e) if e else None)
        producer.poll(0)
    assert producer.flush(30) == 0, "not all is delivered"
    assert not failures, failures[0]


def consume(consumer, count):
    seen = []
    deadline = time.time() + 45
    while len(seen) < count and time.time() < deadline:
        for message in consumer.consume(100, 1.0):
            if message.error():
                raise KafkaException(message.error())
            seen.append(message)
    assert len(seen) == count, f"{len(seen)} of {count} messages"
    return seen


def group(topic, name, **settings):
    consumer = Consumer({**SERVERS, "group.id": name, "auto.offset.reset": "earliest", "enable.auto.commit": False, **settings})
    consumer.subscribe([topic])
    return consumer


def check_codecs(admin):
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"]:
        topic = f"codec-{codec}"
        produce(topic, **{"compression.type": codec, "enable.idempotence": True})
        consumer = group(topic, f"group-{codec}")
        values = sorted(m.value() for m in consume(consumer, COUNT))
        assert values == sorted(f"value {i}".encode() for i in range(COUNT)), "other values came"
        consumer.commit(asynchronous=False)
        consumer.close()
        print("codec", codec, "ok")


def check_group(admin, name, **settings):
    topic = f"topic-{name}"
    for f in admin.create_topics([NewTopic(topic, num_partitions=4, replication_factor=1)]).values():
        f.result(30)
    produce(topic, acks="all")
    first = group(topic, name, **settings)
    consume(first, COUNT)
    first.commit(asynchronous=False)
    second = group(topic, name, **settings)
    deadline = time.time() + 45
    while len(second.assignment()) != 2 and time.time() < deadline:
        first.poll(0.1)
        second.poll(0.1)
    assert len(second.assignment()) == 2, f"the second member has {second.assignment()}"
    committed = first.committed([TopicPartition(topic, p) for p in range(4)], timeout=30)
    assert sum(p.offset for p in committed) == COUNT, committed
    first.close()
    second.close()
    print("group", name, "ok")


def check_admin(admin):
    for f in admin.create_topics([NewTopic("admin", 2, 1, config={"retention.ms": "3600000"})]).values():
        f.result(30)
    for f in admin.create_partitions([NewPartitions("admin", 3)]).values():
        f.result(30)
    resource = ConfigResource(ConfigResource.Type.TOPIC, "admin")
    assert admin.describe_configs([resource])[resource].result(30)["retention.ms"].value == "3600000"
    assert len(admin.list_topics(timeout=30).topics["admin"].partitions) == 3
    groups = [g.group_id for g in admin.list_consumer_groups().result(30).valid]
    assert "group-zstd" in groups, groups
    for f in admin.describe_consumer_groups(["group-zstd"]).values():
        assert f.result(30).group_id == "group-zstd"
    for f in admin.delete_consumer_groups(["group-zstd"]).values():
        f.result(30)
    for f in admin.delete_topics(["admin"]).values():
        f.result(30)
    print("admin ok")


def check_transactions(admin):
    topic = "transactions"
    producer = Producer({**SERVERS, "transactional.id": "python"})
    producer.init_transactions(30)
    for prefix in ["kept", "dropped", "more"]:
        producer.begin_transaction()
        for i in range(COUNT):
            producer.produce(topic, key=f"key {i}", value=f"{prefix} {i}")
        if prefix == "dropped":
            producer.flush(30)
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    consumer = group(topic, "group-transactions")  # committed messages are librdkafka's default
    values = [m.value() for m in consume(consumer, 2 * COUNT)]
    assert not [v for v in values if v.startswith(b"dropped")], "what was aborted came"
    assert consumer.poll(1.0) is None, "more came"
    producer.begin_transaction()
    producer.produce("transactions-to", value="value")
    positions = consumer.position(consumer.assignment())
    producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata(), 30)
    producer.commit_transaction(30)
    committed = consumer.committed(positions, timeout=30)
    assert [p.offset for p in committed] == [p.offset for p in positions], (committed, positions)
    consumer.close()
    print("transactions ok")


def read_all(topic):
    """what a partition holds, from its start to the end that it has now"""
    consumer = Consumer({**SERVERS, "group.id": "nobody", "enable.auto.commit": False, "enable.partition.eof": False})
    _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)
    consumer.assign([TopicPartition(topic, 0, 0)])
    seen = []
    deadline = time.time() + 30
    while consumer.position([TopicPartition(topic, 0)])[0].offset < end:
        assert time.time() < deadline, f"{len(seen)} messages, and the end {end} is not reached"
        for message in consumer.consume(100, 0.2):
            if message.error():
                raise KafkaException(message.error())
            seen.append(message)
    consumer.close()
    return seen


def check_compaction(admin):
    topic, keys, rounds = "compacted", 20, 10
    config = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0", "segment.ms": "1", "segment.bytes": "14", "delete.retention.ms": "3600000"}
    for f in admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1, config=config)]).values():
        f.result(30)
    producer = Producer(SERVERS)
    last = {}
    for n in range(rounds):
        for key in range(keys):
            value = None if n == rounds - 1 and key == 0 else f"value {n}".encode()
            producer.produce(topic, key=f"key {key}", value=value)
            last[f"key {key}".encode()] = value
        assert producer.flush(30) == 0, "not all is delivered"
    deadline = time.time() + 30
    while True:
        seen = read_all(topic)
        assert {m.key(): m.value() for m in seen} == last, "another last value"
        if len(seen) <= 2 * keys:  # what came last stays as it is
            break
        assert time.time() < deadline, f"{len(seen)} messages are still there"
        time.sleep(0.1)
    print("compaction ok")


def main():
    admin = AdminClient(SERVERS)
    check_codecs(admin)
    check_group(admin, "eager", **{"partition.assignment.strategy": "range"})
    check_group(admin, "cooperative", **{"partition.assignment.strategy": "cooperative-sticky"})
    check_group(admin, "modern", **{"group.protocol": "consumer"})
    check_transactions(admin)
    check_compaction(admin)
    check_admin(admin)


main()
