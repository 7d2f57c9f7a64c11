"""librdkafka's client, logged in by each mechanism. Usage: login.py HOST:PORT"""
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

COUNT = 100


def settings(mechanism, user, password):
    return {
        "bootstrap.servers": sys.argv[1], "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism,
        "sasl.username": user, "sasl.password": password,
    }


def check(mechanism):
    topic = f"app-python-{mechanism}"
    mine = settings(mechanism, "app", "app")
    failures = []
    producer = Producer(mine)
    for i in range(COUNT):
        producer.produce(topic, value=f"value {i}", on_delivery=lambda e, m: failures.append(e) if e else None)
    assert producer.flush(30) == 0 and not failures, failures
    consumer = Consumer({**mine, "group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    seen, deadline = 0, time.time() + 45
    while seen < COUNT and time.time() < deadline:
        for message in consumer.consume(100, 1.0):
            if message.error():
                raise KafkaException(message.error())
            seen += 1
    assert seen == COUNT, f"{seen} messages"
    consumer.close()
    denied = []
    try:
        producer.produce("other", value="x", on_delivery=lambda e, m: denied.append(e))
        producer.flush(30)
    except KafkaException as e:  # the client has learned it in between
        denied.append(e.args[0])
    assert denied[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED, denied
    print("login", mechanism, "ok")


def check_wrong():
    faults = []
    producer = Producer({**settings("SCRAM-SHA-256", "app", "wrong"), "error_cb": faults.append})
    try:
        producer.list_topics(timeout=2)
        raise AssertionError("a wrong password is as good as the right one")
    except KafkaException:
        pass
    producer.poll(1)
    assert any(f.code() == KafkaError._AUTHENTICATION for f in faults), faults
    print("wrong password ok")


for name in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]:
    check(name)
check_wrong()
