// kafkajs with its default settings: produce, consume in a group, admin. Usage: kafkajs.js HOST:PORT
const { Kafka, CompressionTypes, logLevel } = require('kafkajs');
const assert = require('assert');

const kafka = new Kafka({ brokers: [process.argv[2]], logLevel: logLevel.ERROR });
const COUNT = 300;

async function produce(topic, settings, compression) {
  const producer = kafka.producer(settings);
  await producer.connect();
  const messages = [...Array(COUNT).keys()].map((i) => ({ key: `key ${i}`, value: `value ${i}`, headers: { n: `${i}` } }));
  await producer.send({ topic, messages, compression });
  await producer.disconnect();
}

async function consume(topic, groupId) {
  const consumer = kafka.consumer({ groupId });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const seen = new Set();
  await new Promise((done, failed) => {
    setTimeout(() => failed(new Error(`${seen.size} of ${COUNT} values`)), 45000).unref();
    consumer.run({
      eachMessage: async ({ message }) => {
        assert.equal(message.headers.n.toString(), message.key.toString().slice(4));
        seen.add(message.value.toString());
        if (seen.size === COUNT) done();
      },
    });
  });
  await consumer.disconnect();
}

(async () => {
  const admin = kafka.admin();
  await admin.connect();
  for (const [name, compression] of [['none', CompressionTypes.None], ['gzip', CompressionTypes.GZIP]]) {
    const topic = `js-${name}`;
    await admin.createTopics({ topics: [{ topic, numPartitions: 3 }], waitForLeaders: true });
    await produce(topic, {}, compression);
    await consume(topic, topic);
    const offsets = await admin.fetchOffsets({ groupId: topic, topics: [topic] });
    assert.equal(offsets[0].partitions.length, 3);
    console.log('codec', name, 'ok');
  }
  await admin.createTopics({ topics: [{ topic: 'js-idempotent' }] });
  await produce('js-idempotent', { idempotent: true, maxInFlightRequests: 1 });
  await consume('js-idempotent', 'js-idempotent');
  console.log('idempotence ok');
  const groups = (await admin.listGroups()).groups.map((g) => g.groupId);
  assert.ok(groups.includes('js-gzip'));
  assert.equal((await admin.describeGroups(['js-gzip'])).groups[0].state, 'Empty');
  await admin.setOffsets({ groupId: 'js-gzip', topic: 'js-gzip', partitions: [{ partition: 0, offset: '0' }] });
  await admin.deleteGroups(['js-none']);
  const ends = await admin.fetchTopicOffsets('js-gzip');
  assert.equal(ends.reduce((sum, p) => sum + Number(p.high), 0), COUNT);
  assert.equal((await admin.describeCluster()).brokers.length, 1);
  await admin.deleteTopics({ topics: ['js-none'] });
  await admin.disconnect();
  console.log('admin ok');
})().catch((e) => {
  console.error(e);
  process.exit(1);
});
