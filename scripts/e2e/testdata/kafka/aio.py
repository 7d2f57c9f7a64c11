"""aiokafka with its default settings: codecs, an idempotent producer, a group. Usage: aio.py HOST:PORT"""
import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

SERVERS = sys.argv[1]
COUNT = 300


async def consume(consumer, count):
    seen = []
    while len(seen) < count:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            seen += records
    return seen


async def check(codec):
    topic = f"aio-{codec}"
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS, compression_type=codec, enable_idempotence=True)
    await producer.start()
    sent = [await producer.send(topic, value=b"value %d" % i, key=b"key %d" % i) for i in range(COUNT)]
    await asyncio.gather(*sent)
    await producer.stop()
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=SERVERS, group_id=topic, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    records = await asyncio.wait_for(consume(consumer, COUNT), 45)
    assert sorted(r.value for r in records) == sorted(b"value %d" % i for i in range(COUNT)), "other values came"
    await consumer.commit()
    await consumer.stop()
    print("codec", codec, "ok")


async def main():
    for codec in [None, "gzip", "lz4", "zstd"]:
        await check(codec)


asyncio.run(main())
