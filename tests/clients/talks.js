// All that a client on mqtt.js does with a broker, over the transport of the URL. Prints the name of each theme that went well,
// and ends at the first that did not.
//
// usage: talks.js URL [the options of client.js] [SIZE...]
//        the sizes are those of payloads in bytes

'use strict';

const assert = require('node:assert/strict');
const { randomBytes } = require('node:crypto');
const { values, rest, isV5, open, connect } = require('./client.js');

const topic = (name) => `${values.id}/${name}`;
const end = (...clients) => Promise.all(clients.map((client) => client.endAsync()));

async function subscribed(name, filter, options = { qos: 2 }) {
  const client = await connect(name);
  const [granted] = await client.subscribeAsync(filter, options);
  assert.equal(granted.qos, options.qos);
  return client;
}

// From each QoS to each: the lower of the two comes, in order.
async function qos() {
  const publisher = await connect('publisher');
  for (const granted of [0, 1, 2]) {
    const subscriber = await subscribed('subscriber', topic('qos/+'), { qos: granted });
    for (const published of [0, 1, 2]) {
      const texts = Array.from({ length: 20 }, (_, number) => `${granted} ${published} ${number}`);
      await Promise.all(texts.map((text) => publisher.publishAsync(topic('qos/1'), text, { qos: published })));
      for (const text of texts) {
        const { payload, packet } = await subscriber.inbox.next(text);
        assert.deepEqual([payload.toString(), packet.qos], [text, Math.min(granted, published)]);
      }
    }
    assert.equal(subscriber.inbox.length, 0);
    await end(subscriber);
  }
  await end(publisher);
}

async function retained() {
  const publisher = await connect('publisher');
  const keep = (name, text) => publisher.publishAsync(topic(`kept/${name}`), text, { qos: 1, retain: true });
  for (const [name, text] of [['a', 'old'], ['a', 'new'], ['b', 'gone'], ['b', ''], ['c', 'last']]) await keep(name, text);
  const subscriber = await subscribed('subscriber', topic('kept/#'));
  for (const [name, text] of [['a', 'new'], ['c', 'last']]) {
    const message = await subscriber.inbox.next(`retained ${name}`);
    assert.deepEqual([message.topic, message.payload.toString(), message.packet.retain], [topic(`kept/${name}`), text, true]);
  }
  await keep('a', '');
  const { packet } = await subscriber.inbox.next('the end of a');
  assert.deepEqual([packet.retain, packet.payload.length], [false, 0]);
  await keep('c', '');
  await end(publisher, subscriber);
}

// A connection that is destroyed leaves its will; one that is ended with DISCONNECT does not.
async function will() {
  const listener = await subscribed('listener', topic('wills/+'));
  const mortal = (name) => connect('mortal', { will: { topic: topic(`wills/${name}`), payload: 'gone', qos: 2, retain: false } });
  await end(await mortal('ended'));
  (await mortal('destroyed')).stream.destroy();
  const { topic: heard, payload, packet } = await listener.inbox.next('a will');
  assert.deepEqual([heard, payload.toString(), packet.qos], [topic('wills/destroyed'), 'gone', 2]);
  assert.equal(listener.inbox.length, 0);
  await end(listener);
}

// Three members, one copy for each message, and nobody goes without.
async function shared() {
  const filter = `$share/crew/${topic('jobs/+')}`;
  const members = await Promise.all(['one', 'two', 'three'].map((name) => subscribed(name, filter, { qos: 1 })));
  const publisher = await connect('publisher');
  const jobs = Array.from({ length: 30 }, (_, number) => `job ${number}`);
  for (const job of jobs) await publisher.publishAsync(topic('jobs/1'), job, { qos: 1 });
  const done = [];
  for (const member of members) {
    for (let count = 0; count < jobs.length / members.length; count += 1) {
      done.push((await member.inbox.next('a third of the jobs')).payload.toString());
    }
    assert.equal(member.inbox.length, 0);
  }
  assert.deepEqual(done.sort(), jobs.sort());
  await end(publisher, ...members);
}

// What is published while a client is away comes when it is back.
async function resumed() {
  const kept = { clean: false, ...(isV5 && { properties: { sessionExpiryInterval: 600 } }) };
  const first = await connect('sleeper', kept);
  assert.equal(first.connack.sessionPresent, false);
  await first.subscribeAsync(topic('sleep/+'), { qos: 2 });
  await end(first);
  const publisher = await connect('publisher');
  for (const qos of [1, 2]) await publisher.publishAsync(topic('sleep/1'), `while away ${qos}`, { qos });
  const second = await connect('sleeper', kept);
  assert.equal(second.connack.sessionPresent, true);
  // With QoS 2, which the library hands over at PUBREL: QoS 1 would overtake it.
  await publisher.publishAsync(topic('sleep/1'), 'back', { qos: 2 });
  for (const text of ['while away 1', 'while away 2', 'back']) {
    assert.equal((await second.inbox.next(text)).payload.toString(), text);
  }
  await end(publisher, second);
  // Clean Session takes it away.
  const third = await connect('sleeper');
  assert.equal(third.connack.sessionPresent, false);
  await end(third);
}

async function payloads() {
  const client = await subscribed('payloads', topic('payloads'));
  for (const size of rest.map(Number)) {
    for (const qos of [0, 1, 2]) {
      const payload = randomBytes(size);
      await client.publishAsync(topic('payloads'), payload, { qos });
      const came = await client.inbox.next(`payload of ${size} bytes`);
      assert.ok(came.payload.equals(payload) && came.packet.qos === qos, `${size} bytes with QoS ${qos} came as others`);
    }
  }
  await end(client);
}

// A question and its answer, under a topic that begins as the broker says.
async function properties() {
  const asker = await connect('asker', { properties: { requestResponseInformation: true } });
  const said = {
    payloadFormatIndicator: true,
    messageExpiryInterval: 600,
    contentType: 'text/plain',
    responseTopic: `${asker.connack.properties.responseInformation}${values.id}`,
    correlationData: Buffer.from([0, 1, 2, 255]),
    userProperties: { unit: ['K', 'mK'], site: 'north' },
  };
  const server = await subscribed('server', topic('questions'), { qos: 1, properties: { subscriptionIdentifier: 268_435_455 } });
  await asker.subscribeAsync(said.responseTopic, { qos: 1, properties: { subscriptionIdentifier: 7 } });
  await asker.publishAsync(topic('questions'), 'how warm?', { qos: 1, properties: said });
  const { packet } = await server.inbox.next('a question');
  const { subscriptionIdentifier, messageExpiryInterval, userProperties, ...others } = packet.properties;
  assert.equal(subscriptionIdentifier, 268_435_455);
  assert.ok(others.responseTopic.startsWith('answers/'));
  assert.ok(messageExpiryInterval > 500 && messageExpiryInterval <= 600);
  assert.deepEqual({ ...userProperties }, said.userProperties);
  const { payloadFormatIndicator, contentType, responseTopic, correlationData } = said;
  assert.deepEqual({ ...others }, { payloadFormatIndicator, contentType, responseTopic, correlationData });
  await server.publishAsync(others.responseTopic, '293 K', { qos: 1, properties: { correlationData: others.correlationData } });
  const answer = (await asker.inbox.next('the answer')).packet.properties;
  assert.deepEqual([answer.correlationData, answer.subscriptionIdentifier], [said.correlationData, 7]);
  await end(server, asker);
}

// Aliases both ways: ours by hand, and the broker's, which the library resolves.
async function aliases() {
  const properties = { topicAliasMaximum: 4 };
  const client = await connect('aliases', { properties });
  assert.ok(client.connack.properties.topicAliasMaximum > 0);
  const set = [];
  client.on('packetreceive', (packet) => packet.cmd === 'publish' && set.push(packet.properties?.topicAlias));
  await client.subscribeAsync(topic('alias/#'), { qos: 1 });
  await client.publishAsync(topic('alias/long/name'), 'named', { qos: 1, properties: { topicAlias: 1 } });
  for (const text of ['first', 'second']) await client.publishAsync('', text, { qos: 1, properties: { topicAlias: 1 } });
  for (const text of ['named', 'first', 'second']) {
    const message = await client.inbox.next(text);
    assert.deepEqual([message.topic, message.payload.toString()], [topic('alias/long/name'), text]);
  }
  assert.deepEqual(set, [1, 1, 1]);
  await end(client);
}

// The reason codes and strings of MQTT 5.0.
async function reasons() {
  const client = await connect('reasons');
  const { granted } = await client.unsubscribeAsync(topic('never'));
  assert.deepEqual([...granted], [0x11]);
  await end(client);
  const again = open('reasons', { clean: true });
  const lost = new Promise((resolve) => again.once('disconnect', resolve));
  await new Promise((resolve) => again.once('connect', resolve));
  const taker = await connect('reasons');
  assert.equal((await lost).reasonCode, 0x8e);
  await end(taker);
}

async function main() {
  const themes = [qos, retained, will, shared, resumed, payloads];
  if (isV5) themes.push(properties, aliases, reasons);
  for (const theme of themes) {
    await theme();
    console.log(theme.name);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
